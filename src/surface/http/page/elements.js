// Elements and figures, as the page shows them. Whatever comes from elsewhere becomes text here and never markup.

/** An element with these attributes and children; children that are no elements become text. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null && child !== false));
  return element;
}

export const byId = (id) => document.getElementById(id);

/** Says something to those who listen to the page. Nothing is said twice in a row by repeating it. */
export function announce(text) {
  byId("announcement").textContent = text;
}

/** US dollars, with as many digits as small sums need. */
export function dollars(amount) {
  if (amount === 0) return "$0";
  if (amount < 0.000001) return "< $0.000001";
  const digits = amount >= 1 ? 2 : Math.min(6, 2 - Math.floor(Math.log10(amount)));
  return `$${amount.toFixed(digits)}`;
}

export function duration(milliseconds) {
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  const seconds = milliseconds / 1000;
  return seconds < 60 ? `${seconds.toFixed(1)} s` : `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

export const count = (number) => number.toLocaleString("en");

export function size(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  return bytes < 1 << 20 ? `${Math.round(bytes / 1024)} KiB` : `${(bytes / (1 << 20)).toFixed(1)} MiB`;
}

export const percent = (share) => `${Math.round(share * 100)} %`;

const rate = (amount) => `$${amount < 0.01 ? amount : amount.toFixed(2)}`;

/** What a model costs, in few characters: a page, or a million tokens in and out. */
export function price(model) {
  if (model.price_usd_per_page) return `${rate(model.price_usd_per_page)} a page`;
  const tokens = model.price_usd_per_million;
  if (!tokens) return "price not known";
  return tokens.input + tokens.output === 0 ? "$0" : `${rate(tokens.input)} / ${rate(tokens.output)}`;
}
