// The images of a question: dropped, pasted or picked, shown small, and sent ahead once when they are first asked about.

import { upload } from "./api.js";
import { announce, byId, make, size } from "./elements.js";

const MOST_PICTURES = 20;
const THUMBNAIL = 240;
/** A handle that is about to expire is not used any more. */
const MARGIN_MS = 60_000;

let pictures = [];
let changed = () => {};

/** Sets up every way in; `then` is called whenever the images change. */
export function setUpImages(then) {
  changed = then;
  byId("files").addEventListener("change", (event) => {
    add([...event.target.files]);
    event.target.value = "";
  });
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length === 0) return;
    event.preventDefault();
    add(files, "Pasted image");
  });
  setUpDrop();
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
    event.preventDefault();
    add([...event.dataTransfer.files]);
  });
}

/** Adds files that may be images. What they really are, the server finds out by their bytes. */
async function add(files, name) {
  const isCandidate = (file) => file.type === "" || file.type.startsWith("image/") || file.type === "application/pdf";
  const refused = files.filter((file) => !isCandidate(file));
  const room = MOST_PICTURES - pictures.length;
  const taken = files.filter(isCandidate).slice(0, room);
  const left = files.length - refused.length - taken.length;
  const words = [
    ...refused.map((file) => `${file.name} is neither an image nor a PDF.`),
    ...(left > 0 ? [`${left} more did not fit: ${MOST_PICTURES} images can be asked about at once.`] : []),
  ];
  byId("image-error").textContent = words.join(" ");
  // They are part of the question from now on; how they look comes when it is there.
  const added = taken.map((file) => ({ file, name: name ?? file.name, thumbnail: null }));
  pictures.push(...added);
  if (added.length > 0) announce(`${added.length === 1 ? added[0].name : `${added.length} images`} added.`);
  show();
  for (const picture of added) {
    picture.thumbnail = await thumbnail(picture.file);
    show();
  }
}

export const hasPictures = () => pictures.length > 0;

/** What history keeps of the images. */
export function kept() {
  return pictures.map(({ name, thumbnail: blob }) => ({ name, thumbnail: blob }));
}

/** The handles of all images, sent ahead where they have not been. */
export async function handles(signal) {
  return Promise.all(pictures.map((picture) => handle(picture, signal)));
}

async function handle(picture, signal) {
  if (!picture.handle || picture.expires < Date.now()) {
    try {
      const sent = await upload(picture.file, signal);
      picture.handle = sent.handle;
      picture.expires = Date.now() + sent.expires_in_s * 1000 - MARGIN_MS;
    } catch (failure) {
      if (failure.error && pictures.length > 1) failure.error.message = `${picture.name}: ${failure.error.message}`;
      throw failure;
    }
  }
  return picture.handle;
}

/** Handles that the server may have forgotten, or that were another caller's, are not used again. */
export function forgetHandles() {
  pictures.forEach((picture) => delete picture.handle);
}

function show() {
  byId("pictures").replaceChildren(...pictures.map(tile));
  byId("drop").classList.toggle("filled", pictures.length > 0);
  changed();
}

function tile(picture) {
  const remove = () => {
    pictures = pictures.filter((other) => other !== picture);
    announce(`${picture.name} removed.`);
    show();
    byId("files").focus();
  };
  return make(
    "li",
    { class: "picture" },
    preview(picture),
    make("span", { class: "picture-name" }, picture.name),
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

/** A JPEG of some kilobytes, if the browser can read the image. */
async function thumbnail(file) {
  try {
    const bitmap = await createImageBitmap(file);
    const scale = Math.min(1, THUMBNAIL / Math.max(bitmap.width, bitmap.height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(bitmap.width * scale));
    canvas.height = Math.max(1, Math.round(bitmap.height * scale));
    const context = canvas.getContext("2d");
    context.fillStyle = "#fff";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    bitmap.close();
    return await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.8));
  } catch {
    return null;
  }
}
