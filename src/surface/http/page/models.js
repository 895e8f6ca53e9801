// The choice of models: every name that the server lists, by provider, with what it costs; and providers that lack a key.

import { byId, make, price } from "./elements.js";
import { remember, settings } from "./settings.js";

/** Names from which a list is worth filtering. */
const MANY = 12;
const NAMED = "Names of this server";

/** What the user wants, whether it is listed by now or not. */
let wanted = new Set();
/** Models that the server asks the same at once. */
let most = Infinity;

const boxes = () => [...byId("model-list").querySelectorAll("input")];

/** Sets up the list and its filter, with what was chosen last time. */
export function setUpModels() {
  byId("model-list").addEventListener("change", (event) => {
    const { value, checked } = event.target;
    if (checked) wanted.add(value);
    else wanted.delete(value);
    remember({ models: [...wanted] });
    summarize();
  });
  byId("model-filter").addEventListener("input", filter);
  byId("model-filter").addEventListener("keydown", (event) => {
    // Whoever looks for a name is not done yet: nobody is asked and paid for that.
    if (event.key === "Enter" && !event.ctrlKey && !event.metaKey) event.preventDefault();
  });
  const { models } = settings();
  choose(Array.isArray(models) ? models : []);
}

/** The names that are chosen, in the order of the list. */
export const chosen = () => boxes().filter((box) => box.checked).map((box) => box.value);

/** What is wrong with the choice, and where it is put right; nothing if all of them can be asked. */
export function excess() {
  const names = chosen();
  if (names.length <= most) return null;
  const message = `${names.length} models are chosen, and this server asks at most ${most} at once: untick ${names.length - most}.`;
  return { message, field: boxes().find((box) => box.checked) };
}

/** Chooses these names, as far as there are any such. */
export function choose(names) {
  wanted = new Set(names);
  for (const box of boxes()) box.checked = wanted.has(box.value);
  summarize();
}

/** Lists what there is; what was chosen stays chosen. */
export function showModels(models, status) {
  const providers = new Map(Object.entries(status.providers));
  most = status.compare?.max_models ?? Infinity;
  byId("model-list").replaceChildren(...[...grouped(models)].map(([name, all]) => group(name, all, providers.get(name))));
  const isWorthFiltering = models.length >= MANY;
  byId("model-filter").parentElement.hidden = !isWorthFiltering;
  if (!isWorthFiltering) byId("model-filter").value = "";
  showMissing([...providers].filter(([, state]) => state.state === "no_key").map(([name]) => name));
  choose(wanted);
  filter();
}

/** Names by provider, the server's own first. What a provider's own name leads to is not listed again. */
function grouped(models) {
  const groups = new Map([[NAMED, []]]);
  const defaults = new Set(models.filter((model) => model.id === model.owned_by).map((model) => model.visiongate?.model));
  for (const model of models) {
    if (model.visiongate?.retired || defaults.has(model.id)) continue;
    const isOwn = model.id === model.owned_by || model.id.startsWith(`${model.owned_by}/`);
    const name = isOwn ? model.owned_by : NAMED;
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(model);
  }
  // Models of a provider come before names that only choose among them.
  const named = groups.get(NAMED);
  groups.delete(NAMED);
  return named.length > 0 ? groups.set(NAMED, named) : groups;
}

function group(name, models, state) {
  const rests = state && state.state !== "ready" ? make("span", { class: "state failing" }, state.state.replaceAll("_", " ")) : null;
  const alone = models.length === 1 && name !== NAMED;
  const heading = alone && !rests ? null : make("p", { class: "group-name" }, name, rests);
  return make("div", { class: "group", role: "group", "aria-label": name }, heading, ...models.map((model) => row(model, alone)));
}

/** One name, what it leads to, and what that costs. A provider's only model goes by the provider's name. */
function row(model, alone) {
  const own = model.visiongate;
  const isDefault = own && model.id === model.owned_by;
  const short = (id = "") => (id.startsWith(`${model.owned_by}/`) ? id.slice(model.owned_by.length + 1) : id);
  const name = isDefault && !alone ? short(own.model) : short(model.id);
  const leadsTo = alone ? short(own?.model) : own && !isDefault && own.model !== model.id ? own.model : "";
  const about = [leadsTo !== name && leadsTo, own?.retires && `retires ${own.retires}`].filter(Boolean).join(" · ");
  const tag = isDefault && !alone ? make("span", { class: "tag" }, "default") : null;
  return make(
    "label",
    { class: "model" },
    make("input", { type: "checkbox", name: "model", value: model.id, "aria-describedby": "model-limit" }),
    make("span", {}, name, tag, about ? make("span", { class: "about" }, about) : null),
    make("span", { class: "price" }, own ? price(own) : "by a rule"),
  );
}

function showMissing(names) {
  byId("missing").hidden = names.length === 0;
  byId("missing-summary").textContent = `${names.length} more without a key`;
  byId("missing-names").textContent = names.join(", ");
}

function filter() {
  const sought = byId("model-filter").value.trim().toLowerCase();
  for (const group of byId("model-list").children) {
    for (const label of group.querySelectorAll("label")) {
      const box = label.querySelector("input");
      label.hidden = !box.checked && !`${box.value} ${label.textContent}`.toLowerCase().includes(sought);
    }
    group.hidden = !group.querySelector("label:not([hidden])");
  }
  byId("model-none").hidden = sought === "" || byId("model-list").querySelector(".group:not([hidden])") !== null;
}

/** Says who answers, and lets nobody tick more than can be asked. */
function summarize() {
  const names = chosen();
  const isKnown = boxes().length > 0;
  const none = isKnown ? "None chosen: the server decides who answers." : "The server has not said yet which there are.";
  const words = [none, `${names[0]} answers.`, `${names.join(", ")} answer side by side.`];
  byId("model-summary").textContent = words[Math.min(names.length, 2)];
  byId("model-prices").hidden = !isKnown;
  const isFull = names.length >= most;
  for (const box of boxes()) box.disabled = isFull && !box.checked;
  const full = isFull ? `This server asks at most ${most} models at once: untick one to tick another.` : "";
  byId("model-limit").textContent = excess()?.message ?? full;
}
