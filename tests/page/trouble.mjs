// What goes wrong on the way: a server that forgets, is not there or answers oddly, files that go away, and faults of the page.

import assert from "node:assert/strict";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { drop, violations, visit } from "./browser.mjs";
import { OPEN, check, choose, column, connected, eventually, example, log, opened, png, shot, state } from "./checks.mjs";

/** A page with one image, ready to ask these models. */
async function ready(...models) {
  const page = await opened();
  await connected(page);
  await drop(page, [png("receipt.png")]);
  await page.locator(".picture img").waitFor();
  await choose(page, ...models);
  return page;
}

/** How often a page has asked for this path. */
const times = (page, path) => page.requests.filter((request) => request.endsWith(path)).length;

/** Takes all of the room that the server has for uploads, so that whatever was sent ahead is forgotten. */
async function pushOut() {
  const body = readFileSync(example("receipt.png"));
  for (let round = 0; round < 40; round += 1) {
    const answer = await fetch(`${OPEN}/v1/images`, { method: "POST", body, headers: { "content-type": "image/png" } });
    assert.equal(answer.status, 201);
  }
}

/** Notes in a page what Chromium complains about and these checks mean to happen. */
function expected(page, part) {
  page.complaints = page.complaints.filter((text) => !text.includes(part));
}

await check("an image that the server has forgotten is sent again by itself, and nobody is asked twice", async () => {
  for (const models of [["steady"], ["steady", "other"]]) {
    const page = await ready(...models);
    await page.fill("#prompt", `Remember? (${models})`);
    await page.click("#ask");
    for (const model of models) await state(column(page, model), "answered");
    await pushOut();
    const before = (await log()).asked.length;
    await page.fill("#prompt", `And now? (${models})`);
    await page.click("#ask");
    await eventually(async () => times(page, "/v1/images") === 2, "sent again");
    for (const model of models) await state(column(page, model), "answered");
    assert.equal((await log()).asked.length, before + models.length);
  }
});

await check("an image that the server always forgets is sent twice and no more", async () => {
  const page = await ready("steady");
  await page.route("**/v1/analyze", (route) => {
    const error = { code: "INVALID_INPUT", message: `there is no upload ${route.request().postDataJSON().image}`, retryable: false };
    return route.fulfill({ status: 400, json: { error } });
  });
  await page.click("#ask");
  await column(page, "steady").getByText("INVALID_INPUT").waitFor();
  assert.deepEqual([times(page, "/v1/images"), times(page, "/v1/analyze")], [2, 2]);
});

await check("when one image is refused, the others are not sent to their end", async () => {
  const page = await opened();
  await connected(page);
  await drop(page, ["one", "two", "three"].map((name) => png("qr.png", `${name}.png`)));
  await eventually(async () => (await page.locator(".picture img").count()) === 3, "three images");
  const [held, gone] = [[], []];
  page.on("requestfailed", (request) => gone.push(request.url()));
  await page.route("**/v1/images", async (route) => {
    held.push(route);
    if (held.length < 3) return;
    const error = { code: "UNSUPPORTED_FORMAT", message: "this is no image", retryable: false };
    await route.fulfill({ status: 415, json: { error } });
  });
  await choose(page, "steady");
  await page.click("#ask");
  await state(column(page, "steady"), "failed");
  await eventually(() => gone.filter((url) => url.endsWith("/v1/images")).length === 2, "the others were left");
});

await check("a file that changed since it was added is told as such, and a folder is not taken", async () => {
  const page = await opened();
  await connected(page);
  const folder = mkdtempSync(join(tmpdir(), "visiongate-page-"));
  const file = join(folder, "receipt.png");
  copyFileSync(example("receipt.png"), file);
  await page.setInputFiles("#files", file);
  await page.locator(".picture img").waitFor();
  writeFileSync(file, "something else");
  await choose(page, "steady");
  await page.click("#ask");
  await column(page, "steady").getByText("receipt.png cannot be read any more").waitFor();
  rmSync(folder, { recursive: true });
  expected(page, "ERR_UPLOAD_FILE_CHANGED");
  await page.getByRole("button", { name: "Remove receipt.png" }).click();
  // What a folder is to a page: a file without a type that has no bytes to give.
  await drop(page, [{ name: "Holidays", type: "", base64: "" }]);
  await page.locator("#image-error").getByText("Holidays cannot be read").waitFor();
  assert.equal(await page.locator(".picture").count(), 0);
});

await check("a server that is not there at first is asked again, by itself and by hand", async () => {
  const page = await visit("about:blank");
  let refusing = true;
  await page.route("**/v1/status", (route) => (refusing ? route.abort("connectionrefused") : route.fallback()));
  await page.goto(OPEN);
  await page.locator("#server-error").getByText("The server cannot be reached. The page tries again by itself.").waitFor();
  assert.equal(await page.locator("#status-line").innerText(), "Not connected");
  assert.match(await page.locator("#model-summary").innerText(), /has not said yet/);
  assert.deepEqual(await violations(page), []);
  await shot(page, "unreachable");
  await eventually(() => times(page, "/v1/status") >= 2, "asked again");
  refusing = false;
  await page.locator("#again").focus();
  await page.keyboard.press("Enter");
  await connected(page);
  assert.equal(await page.locator("#again").isVisible(), false);
  assert.equal(await page.locator("#server-error").innerText(), "");
  assert.equal(await page.evaluate(() => document.activeElement.id), "files");
  await page.context().close();
});

await check("a server that comes back is found without a hand, with what was chosen before", async () => {
  const page = await opened();
  await connected(page);
  await choose(page, "other");
  let refused = 0;
  await page.route("**/v1/models", (route) => ((refused += 1) <= 2 ? route.abort("connectionrefused") : route.fallback()));
  await page.reload();
  await page.locator("#server-error").getByText("cannot be reached").waitFor();
  await page.selectOption("#detail", "high");
  await connected(page);
  assert.ok(await page.isChecked('#model-list input[value="other"]'));
  assert.equal(await page.inputValue("#detail"), "high");
  expected(page, "ERR_CONNECTION_REFUSED");
});

await check("a fault of the page is not told as one of the network, and the models are left", async () => {
  const page = await ready("slow");
  await page.evaluate(() => {
    HTMLParagraphElement.prototype.append = function (...children) {
      if (this.classList.contains("text")) throw new Error("broken on purpose");
      Element.prototype.append.apply(this, children);
    };
  });
  const before = (await log()).left.length;
  await page.fill("#prompt", "Is it the page?");
  await page.click("#ask");
  await column(page, "slow").getByText("The page met a fault of its own: broken on purpose.").waitFor();
  assert.doesNotMatch(await column(page, "slow").innerText(), /cannot be reached/);
  await eventually(async () => (await log()).left.length > before, "the vendor was left");
  expected(page, "broken on purpose");
});

await check("answers whose figures are absent or odd are shown all the same", async () => {
  const page = await ready("steady");
  const odd = [{}, { cost_usd: null }, { cost_usd: "0.1" }, { cost_usd: -1 }, { usage: {} }, { latency_ms: "soon" }, { warnings: 5 }, { images: [{}] }];
  let more;
  await page.route("**/v1/analyze", (route) => {
    const answer = { text: `Read it ${JSON.stringify(more)}.`, provider: "steady", model: "steady", model_requested: "steady", latency_ms: 5, finish_reason: "stop" };
    return route.fulfill({ json: { ...answer, ...more } });
  });
  for (more of odd) {
    await page.click("#ask");
    await column(page, "steady").getByText(`Read it ${JSON.stringify(more)}.`).waitFor();
    const told = await column(page, "steady").innerText();
    // What is beside all reason is a fault of its own, beside the answer.
    assert.equal(/PAGE_FAULT/.test(told), "images" in more, told);
    if (!/PAGE_FAULT/.test(told)) assert.match(told, /Cost\s+not known/);
    if (!/PAGE_FAULT/.test(told)) assert.doesNotMatch(told, /NaN|undefined/);
  }
  await page.locator("#answers-error").waitFor({ state: "hidden" });
  await eventually(async () => (await page.locator(".run").count()) === odd.length, "all are in the history");
  page.complaints = page.complaints.filter((text) => !text.startsWith("TypeError"));
});

await check("errors that are none, and streams of nonsense, are told as unreadable", async () => {
  const page = await ready("steady");
  const events = (body) => ({ contentType: "text/event-stream", body });
  for (const reply of [
    { status: 502, body: "<html>a proxy's own page</html>" },
    { status: 502, json: { error: { code: 502 } } },
    { status: 500, json: null },
    { json: null },
    events("event: answer\ndata: {nonsense\n\n"),
    events("event: delta\ndata: null\n\n"),
    events("event: error\ndata: {\"error\": 5}\n\n"),
  ]) {
    await page.route("**/v1/analyze", (route) => route.fulfill(reply));
    await page.click("#ask");
    await column(page, "steady").getByText("UNREADABLE").waitFor();
    await page.unroute("**/v1/analyze");
  }
});

await check("of very much data the beginning is shown, and what a failure cost is said", async () => {
  const page = await ready("steady", "other");
  const data = Object.fromEntries(Array.from({ length: 20_000 }, (_, index) => [`member ${index}`, index]));
  const answer = { data, provider: "steady", model: "steady", model_requested: "steady", latency_ms: 5, finish_reason: "stop" };
  const failed = { error: { code: "UPSTREAM_TIMEOUT", message: "nobody answered", retryable: true }, cost_usd: 0.25, model_requested: "other" };
  const warnings = ["a part of the cost is an estimate"];
  await page.route("**/v1/compare", (route) => {
    const [steady, other] = route.request().postDataJSON().models[0] === "steady" ? [answer, failed] : [failed, answer];
    return route.fulfill({ json: { answers: [steady, other], agreement: { pairs: [] }, cost_usd: 0.25, warnings } });
  });
  await page.click("#ask");
  const shown = page.locator("article", { hasText: "19,500 more are not shown" });
  await shown.waitFor();
  assert.equal(await shown.locator("tr").count(), 500);
  await page.locator("article", { hasText: "It cost $0.250 all the same." }).waitFor();
  assert.match(await page.locator("#agreement").innerText(), /\$0\.250 together\s+A part of the cost is an estimate\./);
});
