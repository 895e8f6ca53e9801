// What became of a question beside the answer: what it took, what was sent for it, or why it failed.

import { count, dollars, duration, isAmount, make, sentence, size } from "./elements.js";

/** What an answer took. */
export function figures(outcome) {
  const { usage } = outcome;
  const details = usage && [
    [usage.image_tokens, "of images"],
    [usage.cached_tokens, "from the vendor's cache"],
    [usage.reasoning_tokens, "of thought"],
    [usage.pages, "pages"],
  ];
  const more = (details ?? []).filter(([number]) => number).map(([number, words]) => `${count(number)} ${words}`).join(", ");
  const tokens = usage && `${count(usage.input_tokens)} in, ${count(usage.output_tokens)} out${more ? ` (${more})` : ""}`;
  const rows = [
    ["Model", `${outcome.provider}/${outcome.model}`],
    ["Latency", duration(outcome.latency_ms)],
    ["Cost", outcome.cached ? "$0, from memory" : dollars(outcome.cost_usd)],
    ["Tokens", tokens ?? "not told"],
  ];
  return make("dl", { class: "figures" }, ...rows.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", { class: "figure" }, value))));
}

/** What became of the images before they were sent, and who was asked. */
export function sent(outcome) {
  const shape = (image) => [image.format.toUpperCase(), image.width && `${image.width} × ${image.height}`, size(image.bytes)].filter(Boolean).join(", ");
  const images = (outcome.images ?? []).map((image) => {
    const came = shape(image) === shape(image.sent) ? "" : ` It came as ${shape(image)}.`;
    const steps = image.steps.length > 0 ? image.steps.join(", ").replaceAll("_", " ") : "passed on as it was";
    return make("li", {}, `${shape(image.sent)}: ${steps}.`, make("span", { class: "about" }, came));
  });
  const attempts = (outcome.route?.attempts ?? []).map((attempt) =>
    make("li", {}, `${attempt.model}: ${attempt.outcome.replaceAll("_", " ")}, ${duration(attempt.latency_ms)}`),
  );
  const rule = outcome.route ? make("p", { class: "about" }, `Chosen by the ${outcome.route.rule === "request" ? "question itself" : `rule ${outcome.route.rule}`}`) : null;
  const parts = [make("h4", {}, images.length === 1 ? "Image" : "Images"), make("ul", {}, ...images), make("h4", {}, "Calls"), make("ul", {}, ...attempts), rule];
  return make("details", { class: "sent" }, make("summary", {}, "What was sent"), ...parts.filter(Boolean));
}

/** An error: what it is called, what went wrong, what to do about it, and what was paid all the same. */
export function complaint(error, cost) {
  const wait = error.retry_after_s ? `Worth another try in ${error.retry_after_s} s.` : error.retryable ? "Worth another try." : null;
  return make(
    "div",
    { class: "complaint" },
    make("p", { class: "code" }, error.code),
    make("p", {}, sentence(error.message)),
    error.advice ? make("p", { class: "advice" }, sentence(error.advice)) : null,
    wait ? make("p", { class: "advice" }, wait) : null,
    isAmount(cost) && cost > 0 ? make("p", { class: "advice figure" }, `It cost ${dollars(cost)} all the same.`) : null,
  );
}
