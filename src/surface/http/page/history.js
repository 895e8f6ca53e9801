// What was asked in this browser: the newest questions with their answers and small pictures. Nothing of it is on the server.

import { announce, beginning, byId, dollars, isAmount, make } from "./elements.js";
import { preview } from "./images.js";

const MOST_RUNS = 50;
/** Characters of one run's answers; a longer one is not kept. */
const LARGEST_RUN = 1 << 20;
/** Characters of a question that stand in the list. */
const LONGEST_TITLE = 200;

let chosen = () => {};

/** Sets up the list; `choose` is called with a run that is to be shown again. */
export async function setUpHistory(choose) {
  chosen = choose;
  byId("history-clear").addEventListener("click", () => byId("clear-dialog").showModal());
  byId("clear-no").addEventListener("click", () => byId("clear-dialog").close());
  byId("clear-yes").addEventListener("click", async () => {
    byId("clear-dialog").close();
    await request("readwrite", (runs) => runs.clear());
    announce("The history is empty.");
    await show();
  });
  await show();
}

/** Keeps a run, and drops the oldest beyond the bound. */
export async function keep(run) {
  if (JSON.stringify(run.outcomes).length > LARGEST_RUN) return;
  await request("readwrite", (runs) => runs.add(run));
  const keys = (await request("readonly", (runs) => runs.getAllKeys())) ?? [];
  for (const key of keys.slice(0, -MOST_RUNS)) await request("readwrite", (runs) => runs.delete(key));
  await show();
}

async function show() {
  const runs = await request("readonly", (store) => store.getAll());
  const list = (runs ?? []).reverse();
  byId("history-list").replaceChildren(...list.map(entry));
  byId("history-clear").hidden = list.length === 0;
  byId("history-note").textContent = runs
    ? list.length === 0
      ? "Questions and answers are kept here, in this browser only."
      : `The newest ${MOST_RUNS} questions stay in this browser only.`
    : "This browser keeps no history.";
}

function entry(run) {
  const title = beginning(run.question.prompt || run.question.task || "describe", LONGEST_TITLE);
  const cost = run.outcomes.map((outcome) => outcome.cost_usd).filter(isAmount).reduce((sum, one) => sum + one, 0);
  const names = run.outcomes.map((outcome) => outcome.model_requested).join(", ");
  const when = new Date(run.at).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
  const again = () => chosen(run);
  const remove = async () => {
    await request("readwrite", (runs) => runs.delete(run.id));
    announce("Removed from the history.");
    await show();
    byId("history-heading").focus();
  };
  return make(
    "li",
    { class: "run" },
    make(
      "button",
      { type: "button", class: "run-open", onclick: again },
      run.pictures[0] ? preview(run.pictures[0]) : null,
      make("span", { class: "run-title", dir: "auto" }, title),
      make("span", { class: "about" }, names),
      make("span", { class: "about" }, `${when}${cost > 0 ? `, ${dollars(cost)}` : ""}`),
    ),
    make("button", { type: "button", class: "quiet", "aria-label": `Delete: ${title}`, onclick: remove }, "Delete"),
  );
}

let opening;

function database() {
  opening ??= new Promise((done, failed) => {
    const asked = indexedDB.open("visiongate", 1);
    asked.onupgradeneeded = () => asked.result.createObjectStore("runs", { keyPath: "id", autoIncrement: true });
    asked.onsuccess = () => done(asked.result);
    asked.onerror = () => failed(asked.error);
  });
  return opening;
}

/** What a request to the store of runs gives; nothing where the browser keeps nothing. */
async function request(mode, work) {
  try {
    const runs = (await database()).transaction("runs", mode).objectStore("runs");
    const asked = work(runs);
    return await new Promise((done, failed) => {
      asked.onsuccess = () => done(asked.result);
      asked.onerror = () => failed(asked.error);
    });
  } catch {
    return undefined;
  }
}
