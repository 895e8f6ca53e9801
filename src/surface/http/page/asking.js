// Asking: what the form holds is put to the server, and what comes of it is shown while it comes, and kept.

import { Failure, ask } from "./api.js";
import { Board } from "./answers.js";
import { look } from "./connection.js";
import { announce, byId, make } from "./elements.js";
import { told } from "./fault.js";
import { keep } from "./history.js";
import { current, forgetHandles, handles, isForgotten, preview, small } from "./images.js";
import { askAfter } from "./key.js";
import { choose, chosen, excess } from "./models.js";
import { Mistake, fill, mostCost, question, taskName } from "./question.js";

let running = null;
let board = null;

/** Marks where answers differ, or shows them plain. */
export const mark = (isWanted) => board?.mark(isWanted);

export const cancel = () => running?.abort();

/** Asks what the form holds. */
export async function start() {
  if (running) return;
  byId("form-error").textContent = "";
  const asking = read();
  if (asking === null) return;
  running = new AbortController();
  try {
    begin(asking);
    const outcome = await answered(asking, running.signal);
    const { wanted, names, pictures } = asking;
    // Whatever becomes of the history, the answer is there.
    keep({ at: Date.now(), question: { ...wanted, models: names }, pictures: small(pictures), ...outcome }).catch(() => {});
  } catch (failure) {
    fail(failure);
  } finally {
    running = null;
    showRunning();
    look();
  }
}

/** What is asked of whom about which images; nothing where the user has to put something right, which is said. */
function read() {
  try {
    const pictures = current();
    if (pictures.length === 0) throw new Mistake(byId("files"), "Add an image first: drop it, paste it or choose a file.");
    const tooMany = excess();
    if (tooMany) throw new Mistake(tooMany.field, tooMany.message);
    return { pictures, wanted: question(), limit: mostCost(), names: chosen() };
  } catch (mistake) {
    byId("form-error").textContent = mistake instanceof Mistake ? mistake.message : told(mistake).message;
    mistake.field?.focus();
    return null;
  }
}

function begin({ names, wanted, pictures }) {
  showRunning();
  board = new Board(names.length > 0 ? names : ["The server's choice"]);
  showAsked(wanted, pictures);
  showAnswers();
  announce(names.length > 1 ? `${names.length} models are asked.` : "The question is sent.");
}

/** Puts the question, once more where the server has forgotten the images: then nobody was asked, and nothing was paid. */
async function answered(asking, signal) {
  try {
    return await put(asking, signal);
  } catch (failure) {
    if (!isForgotten(failure, asking.pictures)) throw failure;
    forgetHandles(asking.pictures);
    return put(asking, signal);
  }
}

/** Puts the question, and gives what became of each model. */
async function put({ names, limit, wanted, pictures }, signal) {
  const [image, ...more] = await handles(pictures, signal);
  const images = more.length > 0 ? { image, more_images: more } : { image };
  const several = names.length > 1;
  const end = await heard(several ? "v1/compare" : "v1/analyze", { ...images, ...whom(names, limit), ...wanted, stream: true }, names, signal);
  const outcome = several
    ? { outcomes: end.answers, agreement: end.agreement, cost: end.cost_usd, warnings: end.warnings }
    : { outcomes: [end], agreement: null };
  board.finish(outcome.outcomes, outcome);
  if (several) announceEnd(outcome.outcomes);
  return outcome;
}

function whom(names, limit) {
  if (names.length > 1) return { models: names, ...(limit === null ? {} : { max_cost_usd: limit }) };
  return names.length === 1 ? { model: names[0] } : {};
}

/** Shows what is said while it is said, and gives the whole answer. */
async function heard(path, body, names, signal) {
  for await (const [name, data] of ask(path, body, signal)) {
    if (name === "delta") board.hear(names.length > 1 ? names.indexOf(data.model) : 0, data.text);
    if (name === "result") board.end(data.index, data);
    if (name === "answer") return data;
  }
  throw new Failure(200, { code: "CUT", message: "the connection ended before the answer did", retryable: true });
}

function announceEnd(outcomes) {
  const failed = outcomes.filter((outcome) => outcome.error).length;
  announce(`${outcomes.length - failed} of ${outcomes.length} models answered${failed > 0 ? `, ${failed} failed` : ""}.`);
}

function fail(failure) {
  if (failure?.name === "AbortError") return board?.cancel();
  board?.fail(told(failure));
  askAfter(failure);
}

// ---- what is shown --------------------------------------------------------------------------------------------------

/** Brings the answers into view where they are out of it, as on a phone. */
function showAnswers() {
  const { top } = byId("answers").getBoundingClientRect();
  if (top < 0 || top > innerHeight * 0.75) byId("answers").scrollIntoView({ block: "start" });
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
  const few = pictures.slice(0, 4).map((picture) => make("span", { class: "small", title: picture.name }, preview(picture)));
  const words = wanted.prompt ?? taskName(wanted.task ?? "describe");
  byId("asked").replaceChildren(...few, make("span", { class: "asked-words", dir: "auto" }, words));
}

/** Shows a run of the history again, and fills in its question. */
export function showAgain(run) {
  if (running) return;
  const { prompt = "", task = "", detail = "auto", max_output_tokens: most = "", schema, models = [] } = run.question;
  fill({ prompt, task, detail, "max-tokens": String(most), schema: schema ? JSON.stringify(schema, null, 2) : "" });
  choose(models);
  board = new Board(run.outcomes.map((outcome, index) => models[index] ?? outcome.model_requested));
  showAsked(run.question, run.pictures);
  board.finish(run.outcomes, run);
  byId("answers-heading").focus();
  showAnswers();
}
