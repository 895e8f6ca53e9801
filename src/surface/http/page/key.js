// The key: asked for when the server wants one, tried before it is kept, and forgotten when the user says so.

import { Failure, forgetKey, get, storeKey, storedKey, unsendable, watchKey } from "./api.js";
import { announce, byId, sentence } from "./elements.js";
import { told } from "./fault.js";

/** The key that is being tried. */
let trial = null;

/** Sets up the dialog; `opened` is called whenever another key (or none) is in use. */
export function setUpKey(opened) {
  byId("key-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    if (await tried(byId("key").value.trim(), byId("remember").checked)) {
      byId("key-dialog").close();
      opened();
    }
  });
  byId("key-later").addEventListener("click", () => byId("key-dialog").close());
  byId("key-dialog").addEventListener("close", () => {
    // Whoever leaves meanwhile does not want it.
    trial?.abort();
    byId("key").value = "";
    tell("");
    showKey();
  });
  byId("key-button").addEventListener("click", () => askForKey());
  byId("key-forget").addEventListener("click", () => {
    forgetKey();
    byId("key-dialog").close();
    announce("The key is forgotten.");
    opened();
  });
  watchKey(() => {
    if (storedKey()) byId("key-dialog").close();
    showKey();
    opened();
  });
  showKey();
}

/** Opens the dialog, and says why. */
export function askForKey(reason = "") {
  const dialog = byId("key-dialog");
  byId("key-forget").hidden = !storedKey();
  tell(reason);
  if (!dialog.open) dialog.showModal();
  byId("key").focus();
}

/** Asks for a key after the server has refused to answer without one, or with this one. */
export function askAfter(failure) {
  if (!(failure instanceof Failure) || failure.status !== 401) return false;
  askForKey(storedKey() ? sentence(`The server does not take the key that this page has: ${failure.message}`) : "");
  return true;
}

/** Whether the server takes a key; then it is kept. */
async function tried(key, remember) {
  const wrong = key === "" ? "Type or paste a key first." : unfit(key);
  if (wrong) {
    tell(wrong);
    byId("key").focus();
    return false;
  }
  trial = new AbortController();
  byId("key-use").disabled = true;
  try {
    await get("v1/status", { key, signal: trial.signal });
    storeKey(key, remember);
    return true;
  } catch (failure) {
    if (failure.name !== "AbortError") refuse(failure);
    return false;
  } finally {
    byId("key-use").disabled = false;
  }
}

/** Why a key cannot be sent at all. */
function unfit(key) {
  const found = unsendable(key);
  return found && `A key has plain letters, digits and signs only, and this one has ${found} in it: copy it again, as it was made.`;
}

function refuse(failure) {
  const isUnknown = failure instanceof Failure && failure.status === 401;
  tell(isUnknown ? "This key is not known to the server." : sentence(`The key could not be tried: ${told(failure).message}`));
  byId("key").select();
}

function tell(words) {
  byId("key-error").textContent = words;
  byId("key").setAttribute("aria-invalid", words ? "true" : "false");
}

function showKey() {
  byId("key-button").textContent = storedKey() ? "Key in use" : "Key";
}
