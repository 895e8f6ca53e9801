// The way to the server: what it has to offer is asked for until it answers, and from then on how it is.

import { Failure, get } from "./api.js";
import { announce, byId, sentence } from "./elements.js";
import { told } from "./fault.js";
import { askAfter } from "./key.js";
import { showModels } from "./models.js";
import { showTasks } from "./question.js";
import { refreshStatus } from "./status.js";

const LOOK_EVERY_MS = 15_000;
const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 30_000;

let isConnected = false;
/** Whether the server was not there when it was last looked for; it may come back as another one. */
let wasGone = false;
let pause = FIRST_PAUSE_MS;
let timer;
let latest = 0;

/** Connects, and looks again from time to time. */
export function setUpConnection() {
  byId("again").addEventListener("click", connect);
  addEventListener("online", () => isConnected || connect());
  setInterval(() => {
    if (isConnected && !document.hidden && !document.querySelector("dialog[open]")) look();
  }, LOOK_EVERY_MS);
  connect();
}

/** Begins anew: asks for all that the form offers. */
export function connect() {
  pause = FIRST_PAUSE_MS;
  return attempt();
}

/** Looks how the server is. */
export async function look() {
  try {
    await refreshStatus();
    if (wasGone) await connect();
  } catch (failure) {
    wasGone = failure instanceof Failure;
    if (!wasGone) console.error(failure);
  }
}

async function attempt() {
  clearTimeout(timer);
  latest += 1;
  const mine = latest;
  try {
    const status = await refreshStatus();
    const models = await get("v1/models");
    // Somebody has begun anew, perhaps with another key.
    if (mine !== latest) return;
    showTasks(status.tasks);
    showModels(models.data, status);
    arrived();
  } catch (failure) {
    if (mine === latest) missed(failure);
  }
}

function arrived() {
  if (byId("server-error").textContent !== "") announce("Connected.");
  [isConnected, wasGone] = [true, false];
  byId("server-error").textContent = "";
  if (document.activeElement === byId("again")) byId("files").focus();
  byId("again").hidden = true;
}

function missed(failure) {
  isConnected = false;
  const needsKey = failure instanceof Failure && failure.status === 401;
  byId("again").hidden = needsKey;
  if (needsKey) {
    say("This server answers only with a key.");
    askAfter(failure);
    return;
  }
  say(`${sentence(told(failure).message)} The page tries again by itself.`);
  timer = setTimeout(attempt, pause);
  pause = Math.min(2 * pause, LONGEST_PAUSE_MS);
}

/** Says why there is nothing to choose. What is said already is not said to listeners again. */
function say(words) {
  if (byId("server-error").textContent !== words) byId("server-error").textContent = words;
}
