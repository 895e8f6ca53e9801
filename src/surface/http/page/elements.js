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

/** The longest that those who listen to the page are told at once. */
const LONGEST_SAID = 300;

/** Says something to those who listen to the page. */
export function announce(text) {
  byId("announcement").textContent = beginning(text, LONGEST_SAID);
}

/** A sentence of what somebody else wrote as a part of one. Names stay as they are written. */
export function sentence(text) {
  const words = String(text ?? "");
  const whole = /^[a-z]+[ ,]/.test(words) ? words.charAt(0).toUpperCase() + words.slice(1) : words;
  return /[.!?…]$/.test(whole) ? whole : `${whole}.`;
}

/** The beginning of a text that may be as long as somebody liked. */
export const beginning = (text, most) => (text.length > most ? `${text.slice(0, most).trimEnd()}…` : text);

const UNSEEN = /[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu;

/** A name in which nothing is hidden, and nothing turns around what stands behind it. */
export const plainly = (name) => name.replace(UNSEEN, "\ufffd");

// ---- figures --------------------------------------------------------------------------------------------------------

const UNKNOWN = "not known";

/** Whether this is an amount of something. What is none is shown as not known, and nothing breaks over it. */
export const isAmount = (value) => typeof value === "number" && Number.isFinite(value) && value >= 0;

/** A way to show amounts, for whatever comes. */
const shown = (how) => (value) => (isAmount(value) ? how(value) : UNKNOWN);

/** US dollars, with as many digits as small sums need. */
export const dollars = shown((amount) => {
  if (amount === 0) return "$0";
  if (amount < 0.000001) return "< $0.000001";
  const digits = amount >= 1 ? 2 : Math.min(6, 2 - Math.floor(Math.log10(amount)));
  return `$${amount.toFixed(digits)}`;
});

export const duration = shown((milliseconds) => {
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  const seconds = Math.round(milliseconds / 100) / 10;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)} min ${whole % 60} s`;
});

export const count = shown((number) => number.toLocaleString("en"));

export const size = shown((bytes) => {
  if (bytes < 1024) return `${bytes} B`;
  return bytes < 1 << 20 ? `${Math.round(bytes / 1024)} KiB` : `${(bytes / (1 << 20)).toFixed(1)} MiB`;
});

export const percent = shown((share) => `${Math.round(share * 100)} %`);

const rate = (amount) => `$${amount < 0.01 ? amount : amount.toFixed(2)}`;

/** What a model costs, in few characters: a page, or a million tokens in and out. */
export function price(model) {
  if (isAmount(model.price_usd_per_page) && model.price_usd_per_page > 0) return `${rate(model.price_usd_per_page)} a page`;
  const { input, output } = model.price_usd_per_million ?? {};
  if (!isAmount(input) || !isAmount(output)) return "price not known";
  return input + output === 0 ? "$0" : `${rate(input)} / ${rate(output)}`;
}
