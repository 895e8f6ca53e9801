// Calls to the server that this page came from: the key that goes with them, errors in one shape, and streams of events.

const KEY = "visiongate.key";
/** So long an answer that takes no work is waited for. */
const PATIENCE_MS = 20_000;
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

// ---- the key --------------------------------------------------------------------------------------------------------

// A browser may be told to keep nothing; then a key lasts as long as the page.
let kept = null;

/** The key of this tab, or the one that the user had remembered. */
export function storedKey() {
  return kept ?? storedIn("sessionStorage") ?? storedIn("localStorage");
}

function storedIn(name) {
  try {
    return globalThis[name].getItem(KEY);
  } catch {
    return null;
  }
}

/** Keeps a key: for this tab only, whatever is remembered for others, or for all tabs, and then in place of this one's own. */
export function storeKey(key, remember) {
  kept = null;
  try {
    if (remember) {
      localStorage.setItem(KEY, key);
      sessionStorage.removeItem(KEY);
    } else sessionStorage.setItem(KEY, key);
  } catch {
    kept = key;
  }
}

/** Forgets the key of this tab and the one that was remembered. */
export function forgetKey() {
  kept = null;
  try {
    sessionStorage.removeItem(KEY);
    localStorage.removeItem(KEY);
  } catch {
    // Nothing was kept.
  }
}

/** Calls back when another tab has remembered or forgotten a key, and this one has none of its own. */
export function watchKey(changed) {
  addEventListener("storage", ({ key }) => {
    if ((key === KEY || key === null) && kept === null && storedIn("sessionStorage") === null) changed();
  });
}

/** The first character of a key that no header may hold, in words; nothing where all may be sent. */
export function unsendable(key) {
  const found = [...key].find((character) => !/^[!-~]$/.test(character));
  if (found === undefined) return null;
  const code = `U+${found.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
  if (/\s/.test(found)) return `a space (${code})`;
  return /[\p{L}\p{N}\p{P}\p{S}]/u.test(found) ? `“${found}” (${code})` : `a character that is not seen (${code})`;
}

// ---- requests -------------------------------------------------------------------------------------------------------

/** Sends a request with the key, and gives the response if it is a good one. */
async function send(path, { key = storedKey(), ...options } = {}) {
  const headers = new Headers(options.headers);
  const wrong = key ? unsendable(key) : null;
  if (wrong) throw new Failure(401, { code: "UNAUTHENTICATED", message: `the key has ${wrong} in it, as no key has` });
  if (key) headers.set("authorization", `Bearer ${key}`);
  const response = await fetch(new URL(path, base), { ...options, headers, credentials: "omit", cache: "no-store" }).catch(broken);
  if (!response.ok) throw await refusal(response);
  return response;
}

/** Why nothing more came: the user did not want it, or the connection broke. */
function broken(error) {
  throw error.name === "AbortError" ? error : unreachable();
}

async function refusal(response) {
  const body = await response.json().catch((error) => (error.name === "AbortError" ? broken(error) : null));
  // Routes that OpenAI's clients call have our error beside theirs.
  const error = body?.visiongate ?? body?.error;
  return isError(error) ? new Failure(response.status, error) : unreadable(response.status);
}

const isError = (error) => typeof error?.code === "string" && typeof error.message === "string";

async function json(response) {
  const value = await response.json().catch((error) => (error.name === "AbortError" ? broken(error) : null));
  return readable(value, response.status);
}

/** Answers and events are objects, all of them. */
function readable(value, status) {
  if (value === null || typeof value !== "object") throw unreadable(status);
  return value;
}

export async function get(path, { key, signal } = {}) {
  const patience = AbortSignal.timeout(PATIENCE_MS);
  const options = { signal: signal ? AbortSignal.any([signal, patience]) : patience };
  return json(await send(path, key === undefined ? options : { key, ...options }));
}

/** Sends an image ahead; gives its handle and for how long it is good. */
export async function upload(file, signal) {
  const headers = { "content-type": "application/octet-stream" };
  return json(await send("v1/images", { method: "POST", body: file, headers, signal }));
}

/** Puts a question, and gives the name and the data of every event until the stream ends. Throws what the server says went wrong. */
export async function* ask(path, question, signal) {
  const headers = { "content-type": "application/json", accept: "text/event-stream" };
  const response = await send(path, { method: "POST", body: JSON.stringify(question), headers, signal });
  if (!response.headers.get("content-type")?.startsWith("text/event-stream")) {
    yield ["answer", await json(response)];
    return;
  }
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  const events = new Events();
  try {
    for (;;) {
      const { done, value } = await reader.read().catch(broken);
      if (done) return;
      for (const [name, text] of events.cut(value)) {
        const data = readable(parsed(text), response.status);
        if (name === "error") throw isError(data.error) ? new Failure(response.status, data.error) : unreadable(response.status);
        yield [name, data];
      }
    }
  } finally {
    // Whoever stops listening, for a fault too, leaves, so that the server stops the models.
    reader.cancel().catch(() => {});
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** Cuts what arrives into events. */
class Events {
  #rest = "";

  /** The names and the data of the events that are whole by now. */
  cut(text) {
    const events = (this.#rest + text).replaceAll("\r\n", "\n").split("\n\n");
    this.#rest = events.pop();
    return events.map(fields).filter(([, data]) => data !== "");
  }
}

function fields(event) {
  const found = event.split("\n").map((line) => /^(event|data): ?(.*)$/s.exec(line)).filter(Boolean);
  const name = found.find(([, field]) => field === "event")?.[2] ?? "message";
  return [name, found.filter(([, field]) => field === "data").map(([, , value]) => value).join("\n")];
}
