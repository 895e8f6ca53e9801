// The images of a question: dropped, pasted or picked, shown small, and sent ahead once when they are first asked about.

import { Failure, upload } from "./api.js";
import { announce, byId, make, plainly, size } from "./elements.js";
import { thumbnail } from "./thumbnail.js";

const MOST_PICTURES = 20;
/** Files that are named in a complaint; of more, only the number is told. */
const MOST_NAMED = 3;
/** A handle that is about to expire is not used any more. */
const MARGIN_MS = 60_000;
/** What browsers call an image that was copied as such. */
const COPIED = "image.png";

let pictures = [];
let changed = () => {};

/** Sets up every way in; `then` is called whenever the images change. */
export function setUpImages(then) {
  changed = then;
  byId("files").addEventListener("change", (event) => {
    add([...event.target.files]);
    event.target.value = "";
  });
  document.addEventListener("paste", paste);
  setUpDrop();
}

/** Whether something else than the question is before the user. */
const isElsewhere = () => document.querySelector("dialog[open]") !== null;

function paste(event) {
  const files = [...(event.clipboardData?.files ?? [])];
  if (files.length === 0 || isElsewhere() || isText(event, files)) return;
  event.preventDefault();
  add(files);
}

/** Whether text is pasted where text is typed: programs that copy text add a picture of it. Of files, the text is their names. */
function isText({ target, clipboardData }, files) {
  if (!target.closest?.("textarea, input:not([type='checkbox'], [type='file'])")) return false;
  const lines = clipboardData.getData("text/plain").split("\n").map((line) => line.trim()).filter(Boolean);
  return lines.some((line) => !files.some(({ name }) => line.endsWith(name) || line.endsWith(encodeURIComponent(name))));
}

function setUpDrop() {
  const brings = (event) => event.dataTransfer?.types.includes("Files");
  let depth = 0;
  const show = () => document.body.classList.toggle("dropping", depth > 0);
  document.addEventListener("dragenter", (event) => {
    if (brings(event)) depth += 1;
    show();
  });
  document.addEventListener("dragleave", (event) => {
    if (brings(event)) depth = Math.max(0, depth - 1);
    show();
  });
  document.addEventListener("dragover", (event) => {
    if (brings(event)) event.preventDefault();
  });
  document.addEventListener("drop", (event) => {
    depth = 0;
    show();
    if (!brings(event)) return;
    // A browser would leave the page to show the file.
    event.preventDefault();
    if (!isElsewhere()) add([...event.dataTransfer.files]);
  });
}

// ---- what there is --------------------------------------------------------------------------------------------------

/** Adds files that may be images. What they really are, the server finds out by their bytes. */
async function add(files) {
  const isCandidate = (file) => file.type === "" || file.type.startsWith("image/") || file.type === "application/pdf";
  const refused = files.filter((file) => !isCandidate(file));
  const taken = files.filter(isCandidate).slice(0, MOST_PICTURES - pictures.length);
  const left = files.length - refused.length - taken.length;
  complain([...noImages(refused), ...(left > 0 ? [`${left} more did not fit: ${MOST_PICTURES} images can be asked about at once.`] : [])]);
  // They are part of the question from now on; how they look comes when it is there.
  const added = taken.map((file) => ({ file, name: file.name === COPIED ? "Pasted image" : plainly(file.name), thumbnail: null }));
  for (const picture of added) picture.tile = tile(picture);
  pictures.push(...added);
  if (added.length > 0) announce(`${added.length === 1 ? added[0].name : `${added.length} images`} added.`);
  show();
  for (const picture of added) await look(picture);
}

function noImages(files) {
  if (files.length > MOST_NAMED) return [`${files.length} files are neither images nor PDFs.`];
  return files.map((file) => `${plainly(file.name)} is neither an image nor a PDF.`);
}

function complain(sentences) {
  byId("image-error").textContent = sentences.join(" ");
}

/** Shows how a picture looks. One that cannot be read, such as a folder, is taken back. */
async function look(picture) {
  if (!(await isReadable(picture.file))) {
    pictures = pictures.filter((other) => other !== picture);
    complain([byId("image-error").textContent, `${picture.name} cannot be read: it is empty, a folder, or gone.`].filter(Boolean));
    return show();
  }
  picture.thumbnail = await thumbnail(picture.file);
  picture.tile.firstChild.replaceWith(preview(picture));
}

/** Whether a file has bytes, and the browser may have them. */
async function isReadable(file) {
  const first = await file.slice(0, 1).arrayBuffer().catch(() => null);
  return first !== null && first.byteLength > 0;
}

/** The images that are asked about now. */
export const current = () => [...pictures];

/** What history keeps of images, with as much as is known by now of how they look. */
export const small = (asked) => asked.map(({ name, thumbnail: blob }) => ({ name, thumbnail: blob }));

/** Shows what has come and takes away what has gone. The others stay, and with them the focus of whoever is on one. */
function show() {
  const tiles = pictures.map((picture) => picture.tile);
  for (const shown of [...byId("pictures").children]) if (!tiles.includes(shown)) shown.remove();
  byId("pictures").append(...tiles.filter((tile) => !tile.isConnected));
  changed();
}

function tile(picture) {
  const remove = () => {
    pictures = pictures.filter((other) => other !== picture);
    announce(`${picture.name} removed.`);
    complain([]);
    show();
    byId("files").focus();
  };
  return make(
    "li",
    { class: "picture" },
    preview(picture),
    make("span", { class: "picture-name", dir: "auto", title: picture.name }, picture.name),
    make("span", { class: "about" }, size(picture.file.size)),
    make("button", { type: "button", class: "quiet", "aria-label": `Remove ${picture.name}`, onclick: remove }, "Remove"),
  );
}

/** A small picture, or the kind of file where the browser cannot show it. */
export function preview({ name, thumbnail: blob }) {
  if (!blob) return make("span", { class: "no-preview", "aria-hidden": "true" }, kind(name));
  const image = make("img", { alt: "", src: URL.createObjectURL(blob) });
  image.addEventListener("load", () => URL.revokeObjectURL(image.src), { once: true });
  return image;
}

function kind(name) {
  const ending = /\.([a-z0-9]{1,5})$/i.exec(name)?.[1];
  return ending ? ending.toUpperCase() : "FILE";
}

// ---- sending ahead --------------------------------------------------------------------------------------------------

/** The handles of these images, sent ahead where they have not been. When one fails, no more is sent of the others. */
export async function handles(asked, signal) {
  const together = new AbortController();
  const either = AbortSignal.any([signal, together.signal]);
  try {
    return await Promise.all(asked.map((picture) => handle(picture, asked.length > 1, either)));
  } catch (failure) {
    together.abort();
    throw failure;
  }
}

async function handle(picture, isOneOfSeveral, signal) {
  if (picture.handle && Date.now() < picture.expires) return picture.handle;
  try {
    const sent = await upload(picture.file, signal);
    picture.handle = sent.handle;
    picture.expires = Date.now() + sent.expires_in_s * 1000 - MARGIN_MS;
    return sent.handle;
  } catch (failure) {
    if (!(failure instanceof Failure)) throw failure;
    if (failure.status === 0 && !(await isReadable(picture.file))) throw unreadable(picture);
    if (isOneOfSeveral) failure.error.message = `${picture.name}: ${failure.error.message}`;
    throw failure;
  }
}

/** A file that changed since it was added cannot be sent; a browser tells that as if the network had failed. */
function unreadable({ name }) {
  const message = `${name} cannot be read any more: it was changed, moved or deleted since it was added`;
  return new Failure(0, { code: "FILE_CHANGED", message, advice: "remove it, and add it again" });
}

/** Whether a question failed because the server has forgotten an image that was sent ahead: nobody was asked then. */
export function isForgotten(failure, asked) {
  if (!(failure instanceof Failure) || failure.error.code !== "INVALID_INPUT") return false;
  return asked.some(({ handle }) => handle && failure.error.message.includes(handle));
}

/** Handles that the server has forgotten, or that were another caller's, are not used again. */
export function forgetHandles(asked = pictures) {
  asked.forEach((picture) => delete picture.handle);
}
