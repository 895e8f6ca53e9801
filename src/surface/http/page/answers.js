// Answers side by side: a column for each model, where they differ, and how far they agree.

import { complaint } from "./account.js";
import { Column, TEXTS } from "./column.js";
import { contested, marks } from "./differences.js";
import { announce, byId, dollars, isAmount, make, percent, sentence } from "./elements.js";
import { told } from "./fault.js";

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

  /** This became of a model. What cannot be shown of one leaves the others as they are. */
  end(index, outcome) {
    const column = this.columns[index];
    try {
      column?.end(outcome);
    } catch (fault) {
      column.spoil(told(fault));
    }
  }

  /** All is there: what became of each, and how far they agree. */
  finish(outcomes, summary) {
    outcomes.forEach((outcome, index) => {
      if (!this.columns[index]?.outcome) this.end(index, outcome);
    });
    showAgreement(summary);
    this.mark(byId("mark").checked);
    byId("mark-choice").hidden = this.answered().length < 2;
  }

  /** The columns that show an answer. */
  answered() {
    return this.columns.filter((column) => column.isShown);
  }

  /** The question as a whole failed: said in the place of every answer that is still missing. */
  fail(error) {
    const waiting = this.columns.filter((column) => !column.outcome);
    if (this.columns.length === 1 && waiting.length === 1) return this.end(0, { error });
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
    const done = this.answered();
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

/** How far the answers agree, and what all of them cost. */
function showAgreement({ agreement, cost, warnings = [] }) {
  const sum = isAmount(cost) ? make("p", { class: "figure" }, `${dollars(cost)} together`) : null;
  const notes = warnings.map((words) => make("p", { class: "about" }, sentence(words)));
  byId("agreement").replaceChildren(...[alike(agreement), sum, ...notes].filter(Boolean));
}

/** The mean over all pairs, with the pairs behind it where there are several. */
function alike(agreement) {
  if (!isAmount(agreement?.mean)) return null;
  const by = { __proto__: null, edits: "counting edits between the texts", members: "counting members that are the same" };
  const how = (pair) => make("span", { class: "about" }, ` ${by[pair.by] ?? ""}`);
  const whole = make("span", { class: "agreement-figure" }, `${percent(agreement.mean)} agreement`);
  if (agreement.pairs.length === 1) return make("p", {}, whole, how(agreement.pairs[0]));
  const line = (pair) => make("li", {}, `${pair.models.join(" and ")}: ${percent(pair.similarity)}`, how(pair));
  return make("details", {}, make("summary", {}, whole), make("ul", {}, ...agreement.pairs.map(line)));
}
