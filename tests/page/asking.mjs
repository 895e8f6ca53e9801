// Images in, answers out: every way in, one model and several, errors, and what a hostile model says.

import assert from "node:assert/strict";
import { drop, paste } from "./browser.mjs";
import { check, choose, column, connected, eventually, example, log, opened, overflow, png, state } from "./checks.mjs";

export const page = await opened();

await check("the page lists models with prices, tasks, health and spending", async () => {
  await connected(page);
  const list = await page.locator("#model-list").innerText();
  assert.match(list, /steady\s+\$0\.40 \/ \$2\.00/);
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
  assert.match(await article.locator(".sent").innerText(), /PNG, 620 × 1000, 78 KiB: passed on as it was\.[\s\S]*steady\/steady: ok/);
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
  assert.match(await page.locator("#agreement").innerText(), /\$0\.00109 together/);
  await page.uncheck("#mark");
  assert.equal(await page.locator("mark").count(), 0);
  await page.check("#mark");
});

await check("nobody is asked when all together may cost more than was said", async () => {
  const before = (await log()).asked.length;
  await page.fill("#max-cost", "0.000001");
  await page.click("#ask");
  await page.locator("#answers-error").getByText("BUDGET_EXCEEDED").waitFor();
  assert.equal((await log()).asked.length, before);
  await page.fill("#max-cost", "");
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

await check("an answer that breaks off is told as such, and what was said is kept apart", async () => {
  await choose(page, "breaking");
  await page.click("#ask");
  await state(column(page, "breaking"), "answering");
  await state(column(page, "breaking"), "failed");
  assert.match(await column(page, "breaking").locator(".complaint").innerText(), /BAD_UPSTREAM_RESPONSE|UPSTREAM_ERROR/);
  assert.match(await column(page, "breaking").locator(".partial").innerText(), /^The receipt comes/);
});

await check("what a model says is text, whatever it says", async () => {
  await choose(page, "hostile", "steady");
  await page.fill("#prompt", "Harm me.");
  await page.click("#ask");
  await page.locator("#agreement").getByText(/% agreement/).waitFor();
  assert.match(await column(page, "hostile").innerText(), /<img src=x onerror="document.title='harmed'"><\/script><script>/);
  assert.equal(await page.locator("article img, article a, article script").count(), 0);
  assert.equal(await page.title(), "visiongate");
  assert.equal(await overflow(page), 0);
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
