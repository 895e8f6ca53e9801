// How the server and its providers are, and what today has cost: a line in the header, and a table behind it.

import { Failure, get } from "./api.js";
import { byId, dollars, isAmount, make } from "./elements.js";

const WORDS = {
  __proto__: null,
  ready: "ready",
  no_key: "no key",
  failing: "failing",
  throttled: "at its limit",
  out_of_credit: "out of credit",
  unauthorized: "key refused",
};

/** Asks the server how it is, and shows it. */
export async function refreshStatus() {
  const status = await get("v1/status").catch(showAbsence);
  showStatus(status);
  return status;
}

function showAbsence(failure) {
  const needsKey = failure instanceof Failure && failure.status === 401;
  byId("status-line").textContent = needsKey ? "A key is needed" : "Not connected";
  byId("status-button").dataset.state = "down";
  throw failure;
}

function showStatus(status) {
  const providers = Object.entries(status.providers);
  const usable = providers.filter(([, state]) => state.state !== "no_key");
  const ready = usable.filter(([, state]) => state.state === "ready");
  const spent = isAmount(status.spend_today_usd) ? ` · ${dollars(status.spend_today_usd)} today` : "";
  const all = ready.length === usable.length;
  byId("status-line").textContent = `${all ? ready.length : `${ready.length} of ${usable.length}`} ready${spent}`;
  byId("status-button").dataset.state = all && ready.length > 0 ? "well" : "limping";
  byId("status-rows").replaceChildren(...providers.sort(byState).map(row));
  const since = status.since ? ` Spending since ${new Date(status.since).toLocaleString()}.` : "";
  byId("status-note").textContent = `visiongate ${status.version}.${since}`;
}

function byState([, one], [, other]) {
  return Number(one.state === "no_key") - Number(other.state === "no_key");
}

function row([name, state]) {
  const again = state.asked_again_in_s ? `, asked again in ${state.asked_again_in_s} s` : "";
  const last = state.last_error ? `${state.last_error.kind.replaceAll("_", " ")}, ${ago(state.last_error.seconds_ago)}` : "";
  const spent = isAmount(state.spend_today_usd) ? dollars(state.spend_today_usd) : "";
  const word = make("span", { class: `state ${state.state}` }, `${WORDS[state.state] ?? state.state}${again}`);
  return make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, word), make("td", {}, last), make("td", { class: "figure" }, spent));
}

function ago(seconds) {
  if (seconds < 90) return `${seconds} s ago`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min ago` : `${Math.round(seconds / 3600)} h ago`;
}
