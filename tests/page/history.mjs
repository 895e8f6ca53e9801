// What the browser keeps of what was asked.

import assert from "node:assert/strict";
import { check, column, connected, eventually } from "./checks.mjs";
import { page } from "./asking.mjs";

await check("history is there after a reload, with pictures, and shows a run again", async () => {
  const shown = await page.locator(".run").count();
  assert.ok(shown >= 5, `${shown} runs`);
  await page.reload();
  await eventually(async () => (await page.locator(".run").count()) === shown, "the same runs");
  const run = page.locator(".run", { hasText: "failing, other, steady" });
  await eventually(async () => run.locator("img").evaluate((image) => image.naturalWidth > 0), "a thumbnail");
  await connected(page);
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
