// The form's words: what is asked, in which manner, and for how much at most.

import { byId, make } from "./elements.js";
import { remember, settings } from "./settings.js";

/** What a task is called by people; others are shown by their names. */
const TASKS = { __proto__: null, describe: "Describe", ocr: "Read the text", ask: "Answer a question", extract: "Fill in a schema" };
const REMEMBERED = ["task", "detail", "max-tokens", "max-cost"];
const FIELDS = [...REMEMBERED, "prompt", "schema"];
const COST = /^(\d+(\.\d*)?|\.\d+)$/;
const TOKENS = /^[1-9]\d*$/;

/** Something that the user has to put right, and where. */
export class Mistake extends Error {
  constructor(field, message) {
    super(message);
    this.field = field;
  }
}

/** Sets up the fields, with what was in them last time. */
export function setUpQuestion() {
  byId("form").addEventListener("change", ({ target }) => {
    showSchema();
    // Only what was touched: a list that is not there yet has nothing chosen, and that is no choice.
    if (REMEMBERED.includes(target.id)) remember({ [target.id]: target.value });
  });
  const { task, detail, "max-tokens": tokens, "max-cost": cost } = settings();
  fill({ task, detail, "max-tokens": tokens, "max-cost": cost });
}

/** Puts these into the fields; others stay as they are. */
export function fill(values) {
  for (const name of FIELDS) if (typeof values[name] === "string") byId(name).value = values[name];
  // A list takes no value that it does not have.
  if (byId("detail").selectedIndex < 0) byId("detail").value = "auto";
  showSchema();
}

/** Lists the tasks of the server; the chosen one stays chosen. */
export function showTasks(names) {
  const before = byId("task").value || settings().task;
  const option = (name) => make("option", { value: name }, taskName(name));
  const automatic = make("option", { value: "" }, "As it follows from the question");
  byId("task").replaceChildren(automatic, ...names.map(option));
  byId("task").value = names.includes(before) ? before : "";
  showSchema();
}

export const taskName = (task) => TASKS[task] ?? task.replaceAll("_", " ");

function showSchema() {
  byId("schema-field").hidden = byId("task").value !== "extract";
}

/** The question in the words of the interface. Throws what the user has to put right. */
export function question() {
  const wanted = {};
  const [task, prompt, detail] = ["task", "prompt", "detail"].map((name) => byId(name).value.trim());
  const most = amount("max-tokens", TOKENS, "Most tokens must be a whole number, such as 500.");
  if (task) wanted.task = task;
  if (prompt) wanted.prompt = prompt;
  if (detail !== "auto") wanted.detail = detail;
  if (most !== null) wanted.max_output_tokens = most;
  if (task === "ask" && !prompt) throw new Mistake(byId("prompt"), "Type the question that is to be answered.");
  if (task === "extract") wanted.schema = schema();
  return wanted;
}

/** What all models together may cost; null where that was left open. */
export const mostCost = () => amount("max-cost", COST, "Most cost must be an amount in dollars with a point, such as 0.50.");

/** A number that somebody typed; null when nothing was. What cannot be read is no number, and no lack of a limit. */
function amount(id, form, message) {
  const text = byId(id).value.trim();
  if (text === "") return null;
  if (!form.test(text)) throw new Mistake(byId(id), message);
  return Number(text);
}

function schema() {
  let read;
  try {
    read = JSON.parse(byId("schema").value);
  } catch {
    read = null;
  }
  if (read !== null && typeof read === "object" && !Array.isArray(read)) return read;
  throw new Mistake(byId("schema"), "The schema has to be a JSON Schema, such as {\"type\": \"object\", …}.");
}
