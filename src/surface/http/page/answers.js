// Answers side by side: what each model says while it says it, then the whole answer with what it took, or its error.

import { contested, marks, members, words } from "./differences.js";
import { announce, byId, count, dollars, duration, make, percent, size } from "./elements.js";

const TEXTS = [
  ["description", "Description"],
  ["text", "Answer"],
  ["detected_text", "Text in the image"],
];

/** A place for the answers to one question: a column for each name. */
export class Board {
  constructor(names) {
    this.columns = names.map((name) => new Column(name));
    byId("columns").replaceChildren(...this.columns.map((column) => column.element));
    byId("columns").dataset.count = String(names.length);
    // The line is there from the beginning, so that answers do not move when it is filled.
    byId("agreement").replaceChildren(names.length > 1 ? make("span", { class: "about" }, "How far they agree is told when all are done.") : "");
    byId("answers").hidden = false;
    byId("answers-error").replaceChildren();
  }

  /** A model has said more. */
  hear(index, text) {
    this.columns[index]?.hear(text);
  }

  /** This became of a model. */
  end(index, outcome) {
    this.columns[index]?.end(outcome);
  }

  /** All is there: what became of each, and how far they agree. */
  finish(outcomes, { agreement, cost }) {
    outcomes.forEach((outcome, index) => {
      if (!this.columns[index].outcome) this.end(index, outcome);
    });
    showAgreement(agreement, cost);
    this.mark(byId("mark").checked);
    byId("mark-choice").hidden = outcomes.filter((outcome) => !outcome.error).length < 2;
  }

  /** The question as a whole failed: said in the place of every answer that is still missing. */
  fail(error) {
    const waiting = this.columns.filter((column) => !column.outcome);
    if (this.columns.length === 1) return this.end(0, { error });
    waiting.forEach((column) => column.stop("not answered"));
    byId("answers-error").replaceChildren(complaint(error));
    announce(`Failed: ${error.message}`);
  }

  cancel() {
    this.columns.filter((column) => !column.outcome).forEach((column) => column.stop("cancelled"));
    announce("Cancelled.");
  }

  /** Marks where answers differ, or shows them plain. */
  mark(isWanted) {
    const done = this.columns.filter((column) => column.outcome && !column.outcome.error);
    const isMarked = isWanted && done.length > 1;
    for (const [key] of TEXTS) {
      const having = done.filter((column) => typeof column.outcome[key] === "string");
      const found = isMarked && having.length > 1 ? marks(having.map((column) => column.outcome[key])) : [];
      having.forEach((column, index) => column.showText(key, found[index]));
    }
    const data = done.filter((column) => column.outcome.data !== undefined);
    const differing = isMarked && data.length > 1 ? contested(data.map((column) => column.outcome.data)) : new Set();
    data.forEach((column) => column.showData(differing));
  }
}

/** One model's place. */
class Column {
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
    if (outcome.error) {
      this.stop("failed");
      // What was said until then may be of use; it is no answer.
      this.speaking?.classList.add("partial");
      this.body.replaceChildren(complaint(outcome.error), ...(this.speaking ? [this.speaking] : []));
      announce(`${this.name} failed: ${outcome.error.message}`);
      return;
    }
    this.stop(outcome.finish_reason === "stop" ? "answered" : WORDS[outcome.finish_reason]);
    this.parts = {};
    const texts = TEXTS.filter(([key]) => typeof outcome[key] === "string").map(([key, label]) => this.section(key, label));
    const data = outcome.data === undefined ? null : (this.parts.data = make("div", { class: "data" }));
    this.body.replaceChildren(...texts, ...(data ? [data] : []), ...this.account(outcome));
    texts.forEach((_, index) => this.showText(TEXTS.filter(([key]) => typeof outcome[key] === "string")[index][0]));
    if (data) this.showData(new Set());
    announce(`${this.name} answered in ${duration(outcome.latency_ms)}.`);
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
    const rows = [...members(this.outcome.data)].map(row);
    this.parts.data.replaceChildren(make("table", {}, make("caption", { class: "hidden" }, `What ${this.name} found`), make("tbody", {}, ...rows)));
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
    setTimeout(() => (button.textContent = "Copy"), 2000);
  }
}

const WORDS = { length: "cut", refusal: "filtered" };

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

function figures(outcome) {
  const { usage } = outcome;
  const details = usage && [
    [usage.image_tokens, "of images"],
    [usage.cached_tokens, "from the vendor's cache"],
    [usage.reasoning_tokens, "of thought"],
    [usage.pages, "pages"],
  ];
  const more = (details ?? []).filter(([number]) => number).map(([number, words]) => `${count(number)} ${words}`).join(", ");
  const tokens = usage && `${count(usage.input_tokens)} in, ${count(usage.output_tokens)} out${more ? ` (${more})` : ""}`;
  const rows = [
    ["Model", `${outcome.provider}/${outcome.model}`],
    ["Latency", duration(outcome.latency_ms)],
    ["Cost", outcome.cached ? "$0, from memory" : outcome.cost_usd === undefined ? "not known" : dollars(outcome.cost_usd)],
    ["Tokens", tokens ?? "not told"],
  ];
  return make("dl", { class: "figures" }, ...rows.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", { class: "figure" }, value))));
}

/** What became of the images before they were sent, and who was asked. */
function sent(outcome) {
  const shape = (image) => [image.format.toUpperCase(), image.width && `${image.width} × ${image.height}`, size(image.bytes)].filter(Boolean).join(", ");
  const images = (outcome.images ?? []).map((image) => {
    const came = shape(image) === shape(image.sent) ? "" : ` It came as ${shape(image)}.`;
    const steps = image.steps.length > 0 ? image.steps.join(", ").replaceAll("_", " ") : "passed on as it was";
    return make("li", {}, `${shape(image.sent)}: ${steps}.`, make("span", { class: "about" }, came));
  });
  const attempts = (outcome.route?.attempts ?? []).map((attempt) =>
    make("li", {}, `${attempt.model}: ${attempt.outcome.replaceAll("_", " ")}, ${duration(attempt.latency_ms)}`),
  );
  const rule = outcome.route ? make("p", { class: "about" }, `Chosen by the ${outcome.route.rule === "request" ? "question itself" : `rule ${outcome.route.rule}`}`) : null;
  const parts = [make("h4", {}, images.length === 1 ? "Image" : "Images"), make("ul", {}, ...images), make("h4", {}, "Calls"), make("ul", {}, ...attempts), rule];
  return make("details", { class: "sent" }, make("summary", {}, "What was sent"), ...parts.filter(Boolean));
}

/** An error: what it is called, what went wrong, and what to do about it. */
export function complaint(error) {
  const wait = error.retry_after_s ? `Worth another try in ${error.retry_after_s} s.` : error.retryable ? "Worth another try." : null;
  return make(
    "div",
    { class: "complaint" },
    make("p", { class: "code" }, error.code),
    make("p", {}, sentence(error.message)),
    error.advice ? make("p", { class: "advice" }, sentence(error.advice)) : null,
    wait ? make("p", { class: "advice" }, wait) : null,
  );
}

function sentence(text) {
  // Names stay as they are written.
  const whole = /^[a-z]+[ ,]/.test(text) ? text.charAt(0).toUpperCase() + text.slice(1) : text;
  return /[.!?…]$/.test(whole) ? whole : `${whole}.`;
}

/** How far the answers agree, and what all of them cost. */
function showAgreement(agreement, cost) {
  const sum = cost === undefined ? null : make("p", { class: "figure" }, `${dollars(cost)} together`);
  byId("agreement").replaceChildren(...[alike(agreement), sum].filter(Boolean));
}

/** The mean over all pairs, with the pairs behind it where there are several. */
function alike(agreement) {
  if (agreement?.mean === undefined) return null;
  const by = { edits: "counting edits between the texts", members: "counting members that are the same" };
  const how = (pair) => make("span", { class: "about" }, ` ${by[pair.by] ?? ""}`);
  const whole = make("span", { class: "agreement-figure" }, `${percent(agreement.mean)} agreement`);
  if (agreement.pairs.length === 1) return make("p", {}, whole, how(agreement.pairs[0]));
  const line = (pair) => make("li", {}, `${pair.models.join(" and ")}: ${percent(pair.similarity)}`, how(pair));
  return make("details", {}, make("summary", {}, whole), make("ul", {}, ...agreement.pairs.map(line)));
}
