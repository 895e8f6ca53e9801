// The page: puts a question about images to the models that were chosen, and shows their answers while they come.

import { Failure, ask } from "./api.js";
import { Board } from "./answers.js";
import { announce, byId, make } from "./elements.js";
import { keep, setUpHistory } from "./history.js";
import { forgetHandles, handles, hasPictures, kept, preview, setUpImages } from "./images.js";
import { askAfter, setUpKey } from "./key.js";
import { choose, chosen, refreshModels, setUpModels } from "./models.js";
import { refreshStatus } from "./status.js";

const SETTINGS = "visiongate.settings";
const THEMES = ["auto", "light", "dark"];
const STATUS_EVERY_MS = 15_000;
/** What a task is called by people; others are shown by their names. */
const TASKS = { describe: "Describe", ocr: "Read the text", ask: "Answer a question", extract: "Fill in a schema" };
const FIELDS = ["task", "prompt", "detail", "max-tokens", "max-cost", "schema"];

let running = null;
let board = null;

// ---- settings -------------------------------------------------------------------------------------------------------

function settings() {
  try {
    return JSON.parse(localStorage.getItem(SETTINGS)) ?? {};
  } catch {
    return {};
  }
}

function remember(more) {
  try {
    localStorage.setItem(SETTINGS, JSON.stringify({ ...settings(), ...more }));
  } catch {
    // A browser that keeps nothing is told again next time.
  }
}

function setUpTheme() {
  const show = (theme) => {
    document.documentElement.dataset.theme = theme;
    byId("theme").textContent = `Theme: ${theme}`;
  };
  byId("theme").addEventListener("click", () => {
    const theme = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length];
    remember({ theme });
    show(theme);
  });
  show(THEMES.includes(settings().theme) ? settings().theme : "auto");
}

// ---- the question ---------------------------------------------------------------------------------------------------

function fill(values) {
  for (const name of FIELDS) if (values[name] !== undefined) byId(name).value = values[name];
  showSchema();
}

function showSchema() {
  byId("schema-field").hidden = byId("task").value !== "extract";
}

/** The question in the words of the interface. Throws what the user has to put right. */
function question() {
  const wanted = {};
  const [task, prompt, detail] = ["task", "prompt", "detail"].map((name) => byId(name).value.trim());
  const most = amount("max-tokens", /^[1-9]\d*$/, "Most tokens must be a whole number, such as 500.");
  if (task) wanted.task = task;
  if (prompt) wanted.prompt = prompt;
  if (detail !== "auto") wanted.detail = detail;
  if (most !== null) wanted.max_output_tokens = most;
  if (task === "ask" && !prompt) throw new Mistake("prompt", "Type the question that is to be answered.");
  if (task === "extract") wanted.schema = schema();
  return wanted;
}

const COST = /^(\d+(\.\d*)?|\.\d+)$/;
const WRONG_COST = "Most cost must be an amount in dollars with a point, such as 0.50.";

/** A number that somebody typed; null when nothing was. What cannot be read is no number, and no lack of a limit. */
function amount(id, form, message) {
  const text = byId(id).value.trim();
  if (text === "") return null;
  if (!form.test(text)) throw new Mistake(id, message);
  return Number(text);
}

function schema() {
  try {
    return JSON.parse(byId("schema").value);
  } catch {
    throw new Mistake("schema", "The schema has to be a JSON Schema, such as {\"type\": \"object\", …}.");
  }
}

class Mistake extends Error {
  constructor(field, message) {
    super(message);
    this.field = field;
  }
}

function complain(mistake) {
  byId("form-error").textContent = mistake.message;
  byId(mistake.field).focus();
}

// ---- asking ---------------------------------------------------------------------------------------------------------

async function start() {
  if (running) return;
  byId("form-error").textContent = "";
  let [wanted, limit] = [null, null];
  try {
    if (!hasPictures()) throw new Mistake("files", "Add an image first: drop it, paste it or choose a file.");
    wanted = question();
    limit = amount("max-cost", COST, WRONG_COST);
  } catch (mistake) {
    return complain(mistake);
  }
  const [names, pictures, controller] = [chosen(), kept(), new AbortController()];
  running = controller;
  showRunning();
  board = new Board(names.length > 0 ? names : ["The server's choice"]);
  showAsked(wanted, pictures);
  showAnswers();
  try {
    const outcome = await asked(names, limit, wanted, controller.signal);
    // Whatever becomes of the history, the answer is there.
    keep({ at: Date.now(), question: { ...wanted, models: names }, pictures, ...outcome }).catch(() => {});
  } catch (failure) {
    fail(failure);
  } finally {
    running = null;
    showRunning();
    refreshStatus().catch(() => {});
  }
}

/** Puts the question, and gives what became of each model. */
async function asked(names, limit, wanted, signal) {
  const [image, ...more] = await handles(signal);
  const several = names.length > 1;
  const one = names.length === 1 ? { model: names[0] } : {};
  const whom = several ? { models: names, ...(limit === null ? {} : { max_cost_usd: limit }) } : one;
  const images = more.length > 0 ? { image, more_images: more } : { image };
  const place = (data) => (several ? names.indexOf(data.model) : 0);
  let end = null;
  const heard = {
    delta: (data) => board.hear(place(data), data.text),
    result: (data) => board.end(data.index, data),
    answer: (data) => (end = data),
    error: (data) => {
      throw new Failure(200, data.error);
    },
  };
  const path = several ? "v1/compare" : "v1/analyze";
  await ask(path, { ...images, ...whom, ...wanted, stream: true }, signal, (name, data) => heard[name]?.(data));
  if (!end) throw new Failure(200, { code: "CUT", message: "the connection ended before the answer did", retryable: true });
  const outcome = several ? { outcomes: end.answers, agreement: end.agreement, cost: end.cost_usd } : { outcomes: [end], agreement: null };
  board.finish(outcome.outcomes, outcome);
  if (several) announceEnd(outcome.outcomes);
  return outcome;
}

/** Brings the answers into view where they are out of it, as on a phone. */
function showAnswers() {
  const { top } = byId("answers").getBoundingClientRect();
  if (top < 0 || top > innerHeight * 0.75) byId("answers").scrollIntoView({ block: "start" });
}

function announceEnd(outcomes) {
  const failed = outcomes.filter((outcome) => outcome.error).length;
  announce(`${outcomes.length - failed} of ${outcomes.length} models answered${failed > 0 ? `, ${failed} failed` : ""}.`);
}

function fail(failure) {
  if (failure.name === "AbortError") return board.cancel();
  forgetHandles();
  board.fail(failure.error ?? { code: "PAGE", message: failure.message });
  askAfter(failure);
}

/** Shows which of the two buttons there is to press. Whoever was on the one is led to the other. */
function showRunning() {
  const [ask, cancel] = [byId("ask"), byId("cancel")];
  const [shown, gone] = running ? [cancel, ask] : [ask, cancel];
  const wasThere = document.activeElement === gone;
  shown.hidden = false;
  if (wasThere) shown.focus();
  gone.hidden = true;
}

/** Says above the answers what was asked about which images. */
function showAsked(wanted, pictures) {
  const small = pictures.slice(0, 4).map((picture) => make("span", { class: "small", title: picture.name }, preview(picture)));
  const words = wanted.prompt ?? TASKS[wanted.task ?? "describe"] ?? wanted.task;
  byId("asked").replaceChildren(...small, make("span", { class: "asked-words" }, words));
}

/** Shows a run of the history again, and fills in its question. */
function showAgain(run) {
  if (running) return;
  const { prompt = "", task = "", detail = "auto", max_output_tokens: most = "", schema: wanted, models = [] } = run.question;
  fill({ prompt, task, detail, "max-tokens": most, schema: wanted ? JSON.stringify(wanted, null, 2) : "" });
  choose(models);
  board = new Board(run.outcomes.map((outcome, index) => models[index] ?? outcome.model_requested));
  showAsked(run.question, run.pictures);
  board.finish(run.outcomes, run);
  byId("answers-heading").focus();
  showAnswers();
}

// ---- the server -----------------------------------------------------------------------------------------------------

async function connect() {
  forgetHandles();
  try {
    const status = await refreshStatus();
    showTasks(status.tasks);
    await refreshModels(status.providers);
    byId("server-error").textContent = "";
  } catch (failure) {
    const words = failure.status === 401 ? "This server answers only with a key." : `${failure.message}.`;
    byId("server-error").textContent = words;
    askAfter(failure);
  }
}

function showTasks(names) {
  const before = byId("task").value || settings().task || "";
  const option = (name) => make("option", { value: name }, TASKS[name] ?? name.replaceAll("_", " "));
  const automatic = make("option", { value: "" }, "As it follows from the question");
  byId("task").replaceChildren(automatic, ...names.map(option));
  byId("task").value = names.includes(before) ? before : "";
  showSchema();
}

function setUpKeyboard() {
  document.addEventListener("keydown", (event) => {
    if (document.querySelector("dialog[open]")) return;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      start();
    }
    const isOpen = document.querySelector(":popover-open") !== null;
    if (event.key === "Escape" && !isOpen) running?.abort();
  });
}

function setUpForm() {
  byId("form").addEventListener("submit", (event) => {
    event.preventDefault();
    start();
  });
  byId("cancel").addEventListener("click", () => running?.abort());
  byId("form").addEventListener("change", () => {
    showSchema();
    const kept = ["task", "detail", "max-tokens", "max-cost"].map((name) => [name, byId(name).value]);
    remember({ ...Object.fromEntries(kept), models: chosen() });
  });
  byId("mark").addEventListener("change", (event) => board?.mark(event.target.checked));
  fill(settings());
  choose(settings().models ?? []);
}

setUpTheme();
setUpImages(() => (byId("form-error").textContent = ""));
setUpModels();
setUpForm();
setUpKeyboard();
setUpKey(connect);
setUpHistory(showAgain);
connect();
setInterval(() => {
  if (!document.hidden && !document.querySelector("dialog[open]")) refreshStatus().catch(() => {});
}, STATUS_EVERY_MS);
