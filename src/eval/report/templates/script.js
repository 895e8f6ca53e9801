// Filters for the questions and sorting for the tables. Everything is there without it.
"use strict";

// ---- sorting --------------------------------------------------------------------------------------------------------

function key(row, column) {
  const cell = row.cells[column];
  const text = cell.dataset.key ?? cell.textContent.trim();
  const number = Number(text.replaceAll(",", ""));
  return text === "" || text === "–" ? null : Number.isNaN(number) ? text : number;
}

function compare(one, other) {
  if (one === null || other === null) return 0;
  return typeof one === "number" && typeof other === "number" ? one - other : String(one).localeCompare(String(other));
}

function sort(table, header) {
  const column = header.cellIndex;
  const isRising = header.getAttribute("aria-sort") !== "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", isRising ? "ascending" : "descending");
  const rows = [...table.tBodies[0].rows].map((row) => ({ row, key: key(row, column) }));
  // What is not known comes last, whichever way.
  rows.sort((a, b) => (a.key === null) - (b.key === null) || (isRising ? 1 : -1) * compare(a.key, b.key));
  table.tBodies[0].append(...rows.map(({ row }) => row));
}

for (const table of document.querySelectorAll("table.sortable")) {
  for (const header of table.querySelectorAll("th[data-sort]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    button.addEventListener("click", () => sort(table, header));
    header.append(button);
  }
}

// ---- filters --------------------------------------------------------------------------------------------------------

const items = [...document.querySelectorAll("#items > details")];
const [filters, outcome, tag, text, found] = ["filters", "by-outcome", "by-tag", "by-text", "found"].map((id) => document.getElementById(id));
const isFailure = (mark) => mark === "w" || mark === "e";
const texts = new Map();

function textOf(item) {
  if (!texts.has(item)) texts.set(item, item.textContent.toLowerCase());
  return texts.get(item);
}

function hasOutcome(item, wanted) {
  const marks = [...item.dataset.marks].filter((mark) => mark !== "o");
  const failures = marks.filter(isFailure).length;
  switch (wanted) {
    case "": return true;
    case "disagree": return "disagrees" in item.dataset;
    case "failed": return marks.length > 0 && failures === marks.length;
    case "passed": return marks.length > 0 && failures === 0;
    default: return failures === 1 && isFailure(item.dataset.marks[Number(wanted)]);
  }
}

function filter() {
  const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const item of items) {
    const hasTag = !tag || tag.value === "" || item.dataset.tags.split(" ").includes(tag.value);
    const fits = hasTag && hasOutcome(item, outcome.value) && words.every((word) => textOf(item).includes(word));
    item.hidden = !fits;
    shown += fits;
  }
  found.textContent = `${shown.toLocaleString("en")} of ${items.length.toLocaleString("en")} questions`;
}

let waiting;
filters.hidden = items.length === 0;
filters.addEventListener("submit", (event) => event.preventDefault());
filters.addEventListener("input", () => {
  clearTimeout(waiting);
  waiting = setTimeout(filter, 120);
});
document.getElementById("unfold").addEventListener("click", () => {
  // More would take a while and help nobody.
  for (const item of items.filter((item) => !item.hidden).slice(0, 100)) item.open = true;
});
document.getElementById("fold").addEventListener("click", () => {
  for (const item of items) item.open = false;
});
filter();
