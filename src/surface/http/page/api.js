// Calls to the server that this page came from: the key that goes with them, errors in one shape, and streams of events.

const KEY = "visiongate.key";
// The page may stand below a path that a proxy gave it.
const base = new URL("..", import.meta.url);

/** An error as the server tells it: `code`, `message`, and perhaps `advice` and `retry_after_s`. */
export class Failure extends Error {
  constructor(status, error) {
    super(error.message);
    this.status = status;
    this.error = error;
  }
}

const unreachable = () =>
  new Failure(0, { code: "UNREACHABLE", message: "the server cannot be reached", advice: "see whether visiongate serve still runs" });
const unreadable = (status) =>
  new Failure(status, { code: "UNREADABLE", message: `the server answered with status ${status} and nothing that can be read` });

/** The key of this tab, or the one that the user had remembered. */
export function storedKey() {
  return storedIn("sessionStorage") ?? storedIn("localStorage");
}

export function storeKey(key, remember) {
  forgetKey();
  try {
    (remember ? localStorage : sessionStorage).setItem(KEY, key);
  } catch {
    kept = key;
  }
}

export function forgetKey() {
  kept = null;
  try {
    sessionStorage.removeItem(KEY);
    localStorage.removeItem(KEY);
  } catch {
    // Nothing was kept.
  }
}

// A browser may be told to keep nothing; then a key lasts as long as the page.
let kept = null;

function storedIn(name) {
  try {
    return globalThis[name].getItem(KEY);
  } catch {
    return kept;
  }
}

/** Sends a request with the key, and gives the response if it is a good one. */
async function send(path, { key = storedKey(), ...options } = {}) {
  const headers = new Headers(options.headers);
  if (key) headers.set("authorization", `Bearer ${key}`);
  let response;
  try {
    response = await fetch(new URL(path, base), { ...options, headers, credentials: "omit", cache: "no-store" });
  } catch (error) {
    throw error.name === "AbortError" ? error : unreachable();
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

async function refusal(response) {
  const body = await response.json().catch(() => null);
  // Routes that OpenAI's clients call have our error beside theirs.
  const error = body?.visiongate ?? body?.error;
  return error?.code ? new Failure(response.status, error) : unreadable(response.status);
}

async function json(response) {
  return response.json().catch((error) => {
    throw error.name === "AbortError" ? error : unreadable(response.status);
  });
}

export async function get(path, key) {
  return json(await send(path, key === undefined ? {} : { key }));
}

/** Sends an image ahead; gives its handle and for how long it is good. */
export async function upload(file, signal) {
  const headers = { "content-type": "application/octet-stream" };
  return json(await send("v1/images", { method: "POST", body: file, headers, signal }));
}

/** Puts a question, and calls `heard(name, data)` for every event until the stream ends. */
export async function ask(path, question, signal, heard) {
  const headers = { "content-type": "application/json", accept: "text/event-stream" };
  const response = await send(path, { method: "POST", body: JSON.stringify(question), headers, signal });
  const isStream = response.headers.get("content-type")?.startsWith("text/event-stream");
  if (!isStream) return heard("answer", await json(response));
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  const events = new Events(heard);
  try {
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) events.push(piece.value);
  } catch (error) {
    // What was told as an error is one; anything else means that the connection broke.
    throw error instanceof Failure || error.name === "AbortError" ? error : unreachable();
  }
}

/** Cuts what arrives into events. */
export class Events {
  #rest = "";
  #heard;

  constructor(heard) {
    this.#heard = heard;
  }

  push(text) {
    const lines = (this.#rest + text.replaceAll("\r\n", "\n")).split("\n\n");
    this.#rest = lines.pop();
    lines.forEach((event) => this.#event(event));
  }

  #event(text) {
    const fields = text.split("\n").map((line) => /^(event|data): ?(.*)$/.exec(line)).filter(Boolean);
    const name = fields.find(([, field]) => field === "event")?.[2] ?? "message";
    const data = fields.filter(([, field]) => field === "data").map(([, , value]) => value).join("\n");
    if (data) this.#heard(name, JSON.parse(data));
  }
}
