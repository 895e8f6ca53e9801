// The key: asked for when the server wants one, tried before it is kept, and forgotten when the user says so.

import { Failure, forgetKey, get, storeKey, storedKey } from "./api.js";
import { announce, byId } from "./elements.js";

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
  askForKey(storedKey() ? `The server does not take the key that this page has: ${failure.message}.` : "");
  return true;
}

/** Whether the server takes a key; then it is kept. */
async function tried(key, remember) {
  const button = byId("key-use");
  if (!key) {
    tell("Type or paste a key first.");
    return false;
  }
  button.disabled = true;
  try {
    await get("v1/status", key);
    storeKey(key, remember);
    return true;
  } catch (failure) {
    tell(failure.status === 401 ? "This key is not known to the server." : `The key could not be tried: ${failure.message}.`);
    byId("key").select();
    return false;
  } finally {
    button.disabled = false;
  }
}

function tell(words) {
  byId("key-error").textContent = words;
  byId("key").setAttribute("aria-invalid", words ? "true" : "false");
}

function showKey() {
  byId("key-button").textContent = storedKey() ? "Key in use" : "Key";
}
