// One model's place: what it says while it says it, then its whole answer with what that took, or its error.

import { complaint, figures, sent } from "./account.js";
import { members, words } from "./differences.js";
import { announce, count, duration, make } from "./elements.js";

/** The texts of an answer, and what they are called. */
export const TEXTS = [
  ["description", "Description"],
  ["text", "Answer"],
  ["detected_text", "Text in the image"],
];
/** What an answer is called that did not simply end. */
const WORDS = { __proto__: null, length: "cut", refusal: "filtered" };
/** Members of data that are shown: a browser takes long over tables of many thousands. */
const MOST_ROWS = 500;

/** One model's place. */
export class Column {
  constructor(name) {
    this.name = name;
    this.began = performance.now();
    this.badge = make("span", { class: "badge" }, "asked");
    this.clock = make("span", { class: "clock figure", "aria-hidden": "true" });
    this.body = make("div", { class: "said" });
    const id = `answer-${crypto.getRandomValues(new Uint32Array(1))[0]}`;
    const heading = make("h3", { id }, name);
    const head = make("header", {}, heading, make("span", { class: "progress" }, this.badge, this.clock));
    this.element = make("article", { class: "answer", "aria-labelledby": id, "aria-busy": "true" }, head, this.body);
    this.ticking = setInterval(() => this.tick(), 100);
  }

  tick() {
    if (!this.element.isConnected) clearInterval(this.ticking);
    this.clock.textContent = duration(Math.round((performance.now() - this.began) / 100) * 100);
  }

  hear(text) {
    if (this.outcome) return;
    if (!this.speaking) {
      this.badge.textContent = "answering";
      this.element.dataset.state = "answering";
      this.speaking = make("p", { class: "text" });
      this.body.replaceChildren(this.speaking);
    }
    this.speaking.append(text);
  }

  /** It will say no more. */
  stop(word) {
    clearInterval(this.ticking);
    this.element.setAttribute("aria-busy", "false");
    this.element.dataset.state = word;
    this.badge.textContent = word;
    this.clock.remove();
  }

  end(outcome) {
    this.outcome = outcome;
    if (outcome.error) return this.fail(outcome);
    this.stop(WORDS[outcome.finish_reason] ?? "answered");
    this.parts = {};
    const said = TEXTS.filter(([key]) => typeof outcome[key] === "string");
    const texts = said.map(([key, label]) => this.section(key, label));
    const data = outcome.data === undefined ? null : (this.parts.data = make("div", { class: "data" }));
    this.body.replaceChildren(...texts, ...(data ? [data] : []));
    said.forEach(([key]) => this.showText(key));
    if (data) this.showData(new Set());
    this.isShown = true;
    this.body.append(...this.account(outcome));
    announce(`${this.name} answered in ${duration(outcome.latency_ms)}.`);
  }

  fail({ error, cost_usd: cost }) {
    this.stop("failed");
    // What was said until then may be of use; it is no answer.
    this.speaking?.classList.add("partial");
    this.body.replaceChildren(complaint(error, cost), ...(this.speaking ? [this.speaking] : []));
    announce(`${this.name} failed: ${error.message}`);
  }

  /** Something of it cannot be shown; what can stays. */
  spoil(error) {
    this.stop("failed");
    this.body.prepend(complaint(error));
  }

  section(key, label) {
    const text = make("p", { class: key === "detected_text" ? "text verbatim" : "text" });
    this.parts[key] = text;
    return make("section", {}, key === "text" ? null : make("h4", {}, label), text);
  }

  /** Shows a text with these of its words marked. */
  showText(key, marked = new Set()) {
    const text = this.outcome[key];
    if (text === "") return this.parts[key].replaceChildren(make("span", { class: "about" }, "none"));
    if (marked.size === 0) return this.parts[key].replaceChildren(text);
    this.parts[key].replaceChildren(...runs(words(text), marked));
  }

  showData(differing) {
    const row = ([path, value]) => {
      const cell = differing.has(path) ? make("mark", {}, value) : value;
      return make("tr", {}, make("th", { scope: "row" }, path), make("td", {}, cell));
    };
    const all = [...members(this.outcome.data)];
    const rows = all.slice(0, MOST_ROWS).map(row);
    const more = all.length - rows.length;
    const rest = more > 0 ? make("p", { class: "about" }, `${count(more)} more are not shown; a copy has all of them.`) : null;
    const table = make("table", {}, make("caption", { class: "hidden" }, `What ${this.name} found`), make("tbody", {}, ...rows));
    this.parts.data.replaceChildren(...[table, rest].filter(Boolean));
  }

  /** What the answer took, what to know about it, and what was sent for it. */
  account(outcome) {
    const warnings = outcome.warnings ?? [];
    const list = warnings.length > 0 ? make("ul", { class: "warnings", "aria-label": "Warnings" }, ...warnings.map((words) => make("li", {}, words))) : null;
    const copy = make("button", { type: "button", class: "quiet", onclick: () => this.copy(copy) }, "Copy");
    return [list, figures(outcome), sent(outcome), make("p", { class: "actions" }, copy)].filter(Boolean);
  }

  async copy(button) {
    const { data } = this.outcome;
    const texts = TEXTS.map(([key]) => this.outcome[key]).filter(Boolean);
    const whole = data === undefined ? texts.join("\n\n") : JSON.stringify(data, null, 2);
    const done = await navigator.clipboard?.writeText(whole).then(() => true, () => false);
    button.textContent = done ? "Copied" : "Copying is not allowed here";
    announce(button.textContent);
    setTimeout(() => (button.textContent = "Copy"), 2000);
  }
}

/** Words as text, those that are marked in one element for each run of them. */
function runs(all, marked) {
  const pieces = [];
  for (const [index, word] of all.entries()) {
    const is = marked.has(index);
    const last = pieces.at(-1);
    if (last?.is === is) last.text += word;
    else pieces.push({ is, text: word });
  }
  return pieces.flatMap(({ is, text }) => (is ? [make("mark", {}, text.trimEnd()), text.slice(text.trimEnd().length)] : [text]));
}
