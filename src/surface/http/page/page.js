// The page: puts a question about images to the models that were chosen, and shows their answers while they come.

import { cancel, mark, showAgain, start } from "./asking.js";
import { connect, setUpConnection } from "./connection.js";
import { byId } from "./elements.js";
import { setUpHistory } from "./history.js";
import { forgetHandles, setUpImages } from "./images.js";
import { setUpKey } from "./key.js";
import { setUpModels } from "./models.js";
import { setUpQuestion } from "./question.js";
import { setUpTheme } from "./settings.js";

/** What browsers that end a composition before they tell of its last key say of that key. */
const COMPOSING = 229;

function setUpKeyboard() {
  document.addEventListener("keydown", (event) => {
    // Keys that choose or dismiss the words of an input method are none of the page's.
    if (event.isComposing || event.keyCode === COMPOSING || document.querySelector("dialog[open]")) return;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      start();
    }
    if (event.key === "Escape" && !isDismissing(event.target)) cancel();
  });
}

/** Whether Escape puts away something that is nearer than the question: the panel, or what a search field holds. */
function isDismissing(target) {
  return document.querySelector(":popover-open") !== null || (target.type === "search" && target.value !== "");
}

function setUpForm() {
  byId("form").addEventListener("submit", (event) => {
    event.preventDefault();
    start();
  });
  byId("cancel").addEventListener("click", cancel);
  byId("mark").addEventListener("change", (event) => mark(event.target.checked));
}

setUpTheme();
setUpImages(() => (byId("form-error").textContent = ""));
setUpQuestion();
setUpModels();
setUpForm();
setUpKeyboard();
setUpKey(() => {
  // What was sent ahead belongs to whoever sent it.
  forgetHandles();
  connect();
});
setUpHistory(showAgain);
setUpConnection();
