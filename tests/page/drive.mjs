// What people do with the page, step by step, and what has to come of it. One line for each check. Called by run.sh.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { browser, close, drop, paste, violations, visit } from "./browser.mjs";

const { OPEN, KEYS, KEY, VENDOR, EXAMPLES, SHOTS } = process.env;
const example = (name) => join(EXAMPLES, name);
const base64 = (name) => readFileSync(example(name)).toString("base64");
const png = (name, as = name) => ({ name: as, type: "image/png", base64: base64(name) });
const log = async () => (await fetch(`${VENDOR}/log`)).json();
const shot = (page, name) => page.screenshot({ path: join(SHOTS, `${name}.png`), fullPage: true });

const pages = [];
async function opened(url = OPEN, settings) {
  const page = await visit(url, settings);
  pages.push([page, url]);
  return page;
}

/** Runs one check, and leaves a picture of the page on which it failed. */
async function check(name, work) {
  try {
    await work();
    console.log(`ok ${name}`);
  } catch (error) {
    console.log(`FAIL ${name}: ${String(error.message).split("\n").slice(0, 12).join(" ").slice(0, 900)}`);
    await pages.at(-1)?.[0].screenshot({ path: join(SHOTS, "failed.png") }).catch(() => {});
  }
}

async function choose(page, ...names) {
  const before = await page.locator("#model-list input:checked").evaluateAll((all) => all.map((box) => box.value));
  for (const name of before) await page.uncheck(`#model-list input[value="${name}"]`);
  for (const name of names) await page.check(`#model-list input[value="${name}"]`);
}

const column = (page, name) => page.getByRole("article", { name, exact: true });
const eventually = async (condition, what) => {
  for (let round = 0; round < 100; round += 1) {
    if (await condition()) return;
    await new Promise((done) => setTimeout(done, 50));
  }
  throw new Error(`never: ${what}`);
};
const state = (article, word) => article.locator(`.badge:text-is("${word}")`).waitFor();

// ---- images ---------------------------------------------------------------------------------------------------------

let page = await opened();

await check("the page lists models with prices, tasks, health and spending", async () => {
  await page.locator('#model-list input[value="steady"]').waitFor();
  const list = await page.locator("#model-list").innerText();
  assert.match(list, /steady\s+\$0\.40 in, \$2\.00 out/);
  assert.match(list, /reader\s*steady\/steady/);
  await page.click("#missing-summary");
  assert.match(await page.locator("#missing").innerText(), /more without a key[\s\S]*anthropic/);
  assert.ok((await page.locator("#task option").allInnerTexts()).includes("Read the text"));
  assert.match(await page.locator("#status-line").innerText(), /ready · \$0 today/);
  await page.click("#status-button");
  assert.match(await page.locator("#status-panel").innerText(), /steady\s+ready/);
  await page.keyboard.press("Escape");
});

await check("a question without an image is not sent", async () => {
  await page.click("#ask");
  assert.match(await page.locator("#form-error").innerText(), /Add an image first/);
  assert.deepEqual((await log()).asked, []);
});

await check("images are dropped, pasted and picked, and removed again", async () => {
  await drop(page, [png("receipt.png")]);
  await page.locator(".picture img").waitFor();
  await paste(page, "#prompt", png("qr.png", "image.png"));
  await page.locator(".picture-name", { hasText: "Pasted image" }).waitFor();
  await page.setInputFiles("#files", example("receipt.png"));
  await eventually(async () => (await page.locator(".picture").count()) === 3, "three images");
  await page.getByRole("button", { name: "Remove Pasted image" }).click();
  await page.getByRole("button", { name: "Remove receipt.png" }).last().click();
  assert.equal(await page.locator(".picture").count(), 1);
});

await check("what is no image is told apart, and a hostile name is only a name", async () => {
  const name = "<img src=x onerror=document.title='harmed'>.png";
  await drop(page, [{ name: "notes.txt", type: "text/plain", base64: "aGk=" }, png("qr.png", name)]);
  await page.locator(".picture-name", { hasText: "onerror" }).waitFor();
  assert.match(await page.locator("#image-error").innerText(), /notes.txt is neither an image nor a PDF/);
  assert.equal(await page.locator(".picture-name").last().innerText(), name);
  await page.locator(".picture button").last().click();
  assert.equal(await page.title(), "visiongate");
});

// ---- asking ---------------------------------------------------------------------------------------------------------

await check("one model answers while it speaks, with what it took and what was sent", async () => {
  await choose(page, "steady");
  await page.fill("#prompt", "Where is it from?");
  await page.locator("#prompt").press("Control+Enter");
  const article = column(page, "steady");
  await state(article, "answering");
  const early = await article.locator(".text").innerText();
  assert.ok(early.length > 0 && early.length < 100, early);
  await state(article, "answered");
  const told = await article.innerText();
  assert.match(told, /Lantern Lane Grocer\. It lists four items/);
  assert.match(told, /Cost\s+\$0\.000546/);
  assert.match(told, /Tokens\s+1,210 in, 31 out/);
  assert.match(told, /Latency\s+[\d.]+ m?s/);
  await article.getByText("What was sent").click();
  assert.match(await article.locator(".sent").innerText(), /PNG, 620 × 1000[\s\S]*steady\/steady: ok/);
  await eventually(async () => /\$0\.000546 today/.test(await page.locator("#status-line").innerText()), "spending");
});

await check("three models answer side by side; one fails, and differences are marked", async () => {
  await choose(page, "steady", "other", "failing");
  await page.click("#ask");
  await state(column(page, "other"), "answering");
  assert.ok((await column(page, "other").locator(".text").innerText()).length > 0);
  await state(column(page, "failing"), "failed");
  assert.equal(await column(page, "other").getAttribute("aria-busy"), "true");
  await page.locator("#agreement").getByText(/9\d % agreement/).waitFor();
  assert.match(await column(page, "failing").innerText(), /INVALID_INPUT[\s\S]*has a fault <b>of its own<\/b>/);
  assert.deepEqual(await column(page, "other").locator("mark").allInnerTexts(), ["five", "25.47"]);
  assert.deepEqual(await column(page, "steady").locator("mark").allInnerTexts(), ["four", "25.41"]);
  assert.equal(await page.locator("#announcement").innerText(), "2 of 3 models answered, 1 failed.");
  await page.uncheck("#mark");
  assert.equal(await page.locator("mark").count(), 0);
  await page.check("#mark");
});

await check("data is shown member by member, and what is contested is marked", async () => {
  await choose(page, "steady", "other");
  await page.selectOption("#task", "invoice");
  await page.fill("#prompt", "");
  await page.click("#ask");
  await page.locator("#agreement").getByText(/% agreement/).waitFor();
  assert.match(await column(page, "steady").locator(".data").innerText(), /seller\s+Lantern Lane Grocer/);
  assert.deepEqual(await column(page, "other").locator("mark").allInnerTexts(), ["25.47"]);
});

await check("a description and the text in the image stand apart", async () => {
  await choose(page, "steady");
  await page.selectOption("#task", "describe");
  await page.click("#ask");
  await state(column(page, "steady"), "answered");
  assert.match(await column(page, "steady").innerText(), /Description[\s\S]*Text in the image\s+LANTERN LANE GROCER\nTOTAL EUR 25.41/);
});

await check("a schema of one's own is asked for, and one that is none is refused before anything is sent", async () => {
  await page.selectOption("#task", "extract");
  await page.fill("#schema", "{nonsense");
  const before = (await log()).asked.length;
  await page.click("#ask");
  assert.match(await page.locator("#form-error").innerText(), /has to be a JSON Schema/);
  assert.equal((await log()).asked.length, before);
  await page.fill("#schema", JSON.stringify({ type: "object", properties: { total: { type: "number" } }, required: ["total"] }));
  await page.click("#ask");
  await state(column(page, "steady"), "answered");
  assert.match(await column(page, "steady").locator(".data").innerText(), /total\s+25.41/);
  await page.selectOption("#task", "");
});

await check("a model that refuses says so", async () => {
  await choose(page, "refusing");
  await page.fill("#prompt", "Who is it?");
  await page.click("#ask");
  await state(column(page, "refusing"), "failed");
  assert.match(await column(page, "refusing").innerText(), /REFUSED/);
});

await check("what a model says is text, whatever it says", async () => {
  await choose(page, "hostile", "steady");
  await page.fill("#prompt", "Harm me.");
  await page.click("#ask");
  await page.locator("#agreement").getByText(/% agreement/).waitFor();
  assert.match(await column(page, "hostile").innerText(), /<img src=x onerror="document.title='harmed'"><\/script><script>/);
  assert.equal(await page.locator("article img, article a, article script").count(), 0);
  assert.equal(await page.title(), "visiongate");
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.equal(wide, 0);
});

await check("cancelling reaches the vendor, and what was said stays", async () => {
  for (const [how, prompt] of [["Escape", "Slowly?"], ["button", "Slowly again?"]]) {
    await choose(page, "slow");
    await page.fill("#prompt", prompt);
    const before = (await log()).left.length;
    await page.click("#ask");
    await state(column(page, "slow"), "answering");
    if (how === "Escape") await page.keyboard.press("Escape");
    else await page.click("#cancel");
    await state(column(page, "slow"), "cancelled");
    assert.match(await column(page, "slow").innerText(), /One/);
    assert.equal(await page.locator("#cancel").isVisible(), false);
    await eventually(async () => (await log()).left.length > before, "the vendor was left");
  }
});

await check("errors of the whole question are told with their advice", async () => {
  await choose(page, "steady", "reader");
  await page.click("#ask");
  const error = page.locator("#answers-error");
  await error.getByText("INVALID_INPUT").waitFor();
  assert.match(await error.innerText(), /named twice[\s\S]*Name models that differ/);
  await drop(page, [{ name: "broken.png", type: "image/png", base64: "iVBORw0KGgpub3RoaW5n" }]);
  await page.locator(".picture-name", { hasText: "broken.png" }).waitFor();
  await choose(page, "steady");
  await page.click("#ask");
  await state(column(page, "steady"), "failed");
  assert.match(await column(page, "steady").innerText(), /IMAGE_CORRUPT[\s\S]*broken\.png/);
  await page.getByRole("button", { name: "Remove broken.png" }).click();
});

await check("a server that is gone is told as such", async () => {
  await page.route("**/v1/analyze", (route) => route.abort("connectionrefused"));
  await page.fill("#prompt", "Anybody?");
  await page.click("#ask");
  await column(page, "steady").getByText("The server cannot be reached.").waitFor();
  await page.unroute("**/v1/analyze");
  page.complaints = page.complaints.filter((text) => !text.includes("ERR_CONNECTION_REFUSED"));
});

// ---- history --------------------------------------------------------------------------------------------------------

await check("history is there after a reload, with pictures, and shows a run again", async () => {
  const shown = await page.locator(".run").count();
  assert.ok(shown >= 5, `${shown} runs`);
  await page.reload();
  await eventually(async () => (await page.locator(".run").count()) === shown, "the same runs");
  const run = page.locator(".run", { hasText: "failing, other, steady" });
  await eventually(async () => run.locator("img").evaluate((image) => image.naturalWidth > 0), "a thumbnail");
  await page.locator('#model-list input[value="steady"]').waitFor();
  await run.locator(".run-open").click();
  assert.deepEqual(await column(page, "other").locator("mark").allInnerTexts(), ["five", "25.47"]);
  assert.match(await column(page, "failing").innerText(), /INVALID_INPUT/);
  assert.equal(await page.inputValue("#prompt"), "Where is it from?");
  assert.deepEqual(await page.locator("#model-list input:checked").evaluateAll((all) => all.map((box) => box.value).sort()), ["failing", "other", "steady"]);
});

await check("one run is deleted, then all of them", async () => {
  const shown = await page.locator(".run").count();
  await page.locator(".run").first().getByRole("button", { name: /^Delete/ }).click();
  await eventually(async () => (await page.locator(".run").count()) === shown - 1, "one less");
  await page.click("#history-clear");
  await page.click("#clear-no");
  assert.equal(await page.locator(".run").count(), shown - 1);
  await page.click("#history-clear");
  await page.click("#clear-yes");
  await eventually(async () => (await page.locator(".run").count()) === 0, "none");
  await page.reload();
  await page.getByText("Questions and answers are kept here").waitFor();
});

await check("history holds fifty runs and no more", async () => {
  await page.evaluate(async () => {
    const { keep } = await import("/page/history.js");
    const outcome = { model_requested: "m", provider: "p", model: "m", text: "x", latency_ms: 1, warnings: [] };
    for (let index = 0; index < 54; index += 1) {
      await keep({ at: index, question: { prompt: `Run ${index}`, models: ["m"] }, pictures: [], outcomes: [outcome], agreement: null });
    }
  });
  assert.equal(await page.locator(".run").count(), 50);
  assert.match(await page.locator(".run").first().innerText(), /Run 53/);
});

// ---- keys -----------------------------------------------------------------------------------------------------------

const guarded = await opened(KEYS);

await check("a key is asked for, a wrong one is told as such, the right one opens", async () => {
  const dialog = guarded.getByRole("dialog", { name: "This server wants a key" });
  await dialog.waitFor();
  assert.equal(await guarded.getAttribute("#key", "type"), "password");
  assert.deepEqual(await violations(guarded), []);
  await shot(guarded, "key");
  await guarded.fill("#key", "vg_wrong");
  await guarded.click("#key-use");
  await dialog.getByText("This key is not known to the server.").waitFor();
  await guarded.fill("#key", KEY);
  await guarded.keyboard.press("Enter");
  await guarded.locator('#model-list input[value="steady"]').waitFor();
  assert.equal(await dialog.isVisible(), false);
  assert.equal(await guarded.evaluate(() => localStorage.getItem("visiongate.key")), null);
});

await check("with the key, questions are answered; a reload keeps it, and a new tab does not", async () => {
  await drop(guarded, [png("receipt.png")]);
  await guarded.locator(".picture").waitFor();
  await choose(guarded, "steady");
  await guarded.click("#ask");
  await state(column(guarded, "steady"), "answered");
  await guarded.reload();
  await guarded.locator('#model-list input[value="steady"]').waitFor();
  const tab = await guarded.context().newPage();
  await tab.goto(KEYS);
  await tab.getByRole("dialog", { name: "This server wants a key" }).waitFor();
  await tab.close();
});

await check("a remembered key outlives the tab, and a forgotten one is gone", async () => {
  await guarded.click("#key-button");
  await guarded.fill("#key", KEY);
  await guarded.check("#remember");
  await guarded.click("#key-use");
  await eventually(async () => (await guarded.evaluate(() => localStorage.getItem("visiongate.key"))) !== null, "kept");
  const tab = await guarded.context().newPage();
  await tab.goto(KEYS);
  await tab.locator('#model-list input[value="steady"]').waitFor();
  await tab.close();
  await guarded.click("#key-button");
  await guarded.click("#key-forget");
  await guarded.getByRole("dialog", { name: "This server wants a key" }).waitFor();
  const left = await guarded.evaluate(() => [localStorage.getItem("visiongate.key"), sessionStorage.getItem("visiongate.key")]);
  assert.deepEqual(left, [null, null]);
});

// ---- looks ----------------------------------------------------------------------------------------------------------

for (const [name, settings] of [
  ["light", { colorScheme: "light" }],
  ["dark", { colorScheme: "dark" }],
  ["phone", { colorScheme: "light", viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true }],
  ["phone-dark", { colorScheme: "dark", viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, reducedMotion: "reduce" }],
]) {
  await check(`${name}: axe finds nothing, nothing is wider than the window`, async () => {
    const look = await opened(OPEN, settings);
    await look.locator('#model-list input[value="steady"]').waitFor();
    assert.deepEqual(await violations(look), [], "empty");
    await shot(look, `${name}-empty`);
    await drop(look, [png("receipt.png"), png("qr.png")]);
    await eventually(async () => (await look.locator(".picture").count()) === 2, "two images");
    await choose(look, "steady", "other", "failing");
    await look.fill("#prompt", "Which shop is this receipt from, and what is the total?");
    await look.click("#ask");
    await look.locator("#agreement").getByText(/% agreement/).waitFor();
    await look.locator(".run").first().waitFor();
    await column(look, "steady").getByText("What was sent").click();
    assert.deepEqual(await violations(look), [], "answers");
    const wide = await look.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.equal(wide, 0);
    await shot(look, name);
    await look.click("#status-button");
    assert.deepEqual(await violations(look), [], "status");
    await look.screenshot({ path: join(SHOTS, `${name}-status.png`) });
  });
}

await check("the theme can be chosen, and stays", async () => {
  const look = await opened(OPEN, { colorScheme: "light" });
  const paper = () => look.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await paper();
  await look.click("#theme");
  assert.equal(await paper(), light);
  await look.click("#theme");
  assert.equal(await look.locator("#theme").innerText(), "Theme: dark");
  const dark = await paper();
  assert.notEqual(dark, light);
  await look.reload();
  assert.equal(await paper(), dark);
});

await check("everything is reached by keyboard, the answers first", async () => {
  const look = await opened();
  await look.locator('#model-list input[value="steady"]').waitFor();
  await look.keyboard.press("Tab");
  assert.equal(await look.evaluate(() => document.activeElement.textContent), "Skip to the answers");
  await look.keyboard.press("Enter");
  assert.equal(await look.evaluate(() => document.activeElement.id), "answers-heading");
  const reached = new Set();
  await look.locator("#status-button").focus();
  for (let step = 0; step < 40; step += 1) {
    reached.add(await look.evaluate(() => document.activeElement.id || document.activeElement.value));
    await look.keyboard.press("Tab");
  }
  for (const id of ["theme", "key-button", "files", "prompt", "steady", "task", "detail", "max-tokens", "ask"]) assert.ok(reached.has(id), id);
});

// ---- all pages ------------------------------------------------------------------------------------------------------

await check("no page complained, and none asked another host for anything", async () => {
  for (const [visited, url] of pages) {
    assert.deepEqual(visited.complaints, []);
    const elsewhere = visited.requests.filter((request) => ![url, "blob:", "data:"].some((own) => request.startsWith(own)));
    assert.deepEqual(elsewhere, []);
  }
});

await close();
assert.equal(browser.isConnected(), false);
