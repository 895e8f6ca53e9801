// What hands do that is not a plain click: pasting texts with pictures, typing in other scripts, ticking too much, asking too soon.

import assert from "node:assert/strict";
import { drop, paste, violations } from "./browser.mjs";
import { OPEN, check, choose, column, connected, eventually, log, opened, overflow, png, shot, state } from "./checks.mjs";

const page = await opened();
await connected(page);

await check("of a text with a picture, a field takes the text and the page the picture", async () => {
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"], { origin: new URL(OPEN).origin });
  await page.evaluate(async (base64) => {
    const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    const types = { "text/plain": "What is in it?", "text/html": "<b>What is in it?</b>", "image/png": bytes };
    const blobs = Object.entries(types).map(([type, content]) => [type, new Blob([content], { type })]);
    await navigator.clipboard.write([new ClipboardItem(Object.fromEntries(blobs))]);
  }, png("qr.png").base64);
  await page.focus("#prompt");
  await page.keyboard.press("Control+V");
  await eventually(async () => (await page.inputValue("#prompt")) === "What is in it?", "the text");
  assert.equal(await page.locator(".picture").count(), 0);
  await page.focus("#ask");
  await page.keyboard.press("Control+V");
  await page.locator(".picture-name", { hasText: "Pasted image" }).waitFor();
  assert.equal(await page.inputValue("#prompt"), "What is in it?");
  await page.getByRole("button", { name: "Remove Pasted image" }).click();
});

await check("files that were copied are files, although their names come as text", async () => {
  await paste(page, "#prompt", png("qr.png"), "/home/somebody/qr.png");
  await page.locator(".picture-name", { hasText: "qr.png" }).waitFor();
  await page.getByRole("button", { name: "Remove qr.png" }).click();
});

await check("keys that belong to an input method neither cancel nor ask", async () => {
  await drop(page, [png("receipt.png")]);
  await choose(page, "slow");
  await page.fill("#prompt", "Composed?");
  const press = (settings) => page.locator("#prompt").evaluate((field, settings) => {
    field.dispatchEvent(new KeyboardEvent("keydown", { bubbles: true, cancelable: true, ...settings }));
  }, settings);
  const before = (await log()).asked.length;
  await press({ key: "Enter", ctrlKey: true, isComposing: true });
  await press({ key: "Enter", ctrlKey: true, keyCode: 229 });
  await page.focus("#model-list input");
  assert.equal(await page.locator("#cancel").isVisible(), false);
  assert.equal((await log()).asked.length, before);
  await page.click("#ask");
  await state(column(page, "slow"), "answering");
  await press({ key: "Escape", isComposing: true });
  await press({ key: "Escape", keyCode: 229 });
  assert.equal(await column(page, "slow").locator(".badge").innerText(), "answering");
  await press({ key: "Escape" });
  await state(column(page, "slow"), "cancelled");
});

await check("no more models can be ticked than the server compares", async () => {
  const most = (await (await fetch(`${OPEN}/v1/status`)).json()).compare.max_models;
  const names = ["steady", "other", "slow", "failing", "breaking"];
  assert.equal(most, names.length - 1);
  await choose(page, ...names.slice(0, most));
  const other = page.locator('#model-list input[value="breaking"]');
  assert.ok(await other.isDisabled());
  assert.equal(await page.getAttribute("#model-limit", "role"), "status");
  assert.equal(await page.locator("#model-limit").innerText(), "This server asks at most 4 models at once: untick one to tick another.");
  assert.match(await other.evaluate((box) => document.getElementById(box.getAttribute("aria-describedby")).textContent), /untick one/);
  assert.deepEqual(await violations(page), []);
  await shot(page, "most-models");
  await page.uncheck('#model-list input[value="slow"]');
  assert.equal(await page.locator("#model-limit").innerText(), "");
  assert.ok(await other.isEnabled());
});

await check("more models than can be compared, remembered from before, are not asked", async () => {
  const models = ["steady", "other", "slow", "failing", "breaking"];
  await page.evaluate((models) => localStorage.setItem("visiongate.settings", JSON.stringify({ models })), models);
  await page.reload();
  await connected(page);
  await drop(page, [png("receipt.png")]);
  const before = (await log()).asked.length;
  await page.click("#ask");
  assert.match(await page.locator("#form-error").innerText(), /5 models are chosen, and this server asks at most 4 at once: untick 1/);
  assert.equal(await page.evaluate(() => document.activeElement.name), "model");
  await page.uncheck('#model-list input[value="breaking"]');
  await page.uncheck('#model-list input[value="failing"]');
  assert.equal((await log()).asked.length, before);
});

await check("settings that are none do not keep the page from working", async () => {
  for (const broken of ["{nonsense", "5", "null", '{"models": 5, "detail": "ultra", "theme": [], "task": {}}']) {
    await page.evaluate((broken) => localStorage.setItem("visiongate.settings", broken), broken);
    await page.reload();
    await connected(page);
    assert.equal(await page.inputValue("#detail"), "auto");
  }
});

await check("asked while images are still being added, the question has all of them", async () => {
  await page.addInitScript(() => {
    const decode = globalThis.createImageBitmap;
    globalThis.createImageBitmap = async (file) => {
      await new Promise((done) => setTimeout(done, 700));
      return decode(file);
    };
  });
  await page.reload();
  await connected(page);
  await choose(page, "steady");
  await page.fill("#prompt", "How many are there?");
  await drop(page, [png("receipt.png"), png("qr.png"), png("qr.png", "again.png")]);
  const asked = page.waitForRequest("**/v1/analyze");
  await page.click("#ask");
  assert.equal((await asked).postDataJSON().more_images.length, 2);
  assert.equal(await page.locator(".picture img").count(), 0, "no picture was there yet");
  await state(column(page, "steady"), "answered");
  // Whoever is at a button meanwhile stays there.
  await page.getByRole("button", { name: "Remove again.png" }).focus();
  await eventually(async () => (await page.locator(".picture img").count()) === 3, "all pictures");
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute("aria-label")), "Remove again.png");
});

await check("numbers that cannot be read are neither no limit nor another number", async () => {
  const before = (await log()).asked.length;
  for (const [field, text, message] of [
    ["#max-cost", "0,50", /Most cost must be an amount in dollars with a point/],
    ["#max-cost", "1e3", /Most cost must be/],
    ["#max-cost", "-1", /Most cost must be/],
    ["#max-tokens", "1e3", /Most tokens must be a whole number/],
    ["#max-tokens", "0", /Most tokens must be/],
  ]) {
    await page.fill(field, text);
    await page.click("#ask");
    assert.match(await page.locator("#form-error").innerText(), message);
    assert.equal(await page.evaluate(() => `#${document.activeElement.id}`), field);
    await page.fill(field, "");
  }
  assert.equal((await log()).asked.length, before);
});

await check("Enter in the filter of models asks nobody", async () => {
  const before = (await log()).asked.length;
  await page.fill("#model-filter", "nobody has this name");
  await page.locator("#model-filter").press("Enter");
  assert.match(await page.locator("#model-none").innerText(), /No name has that/);
  await page.fill("#model-filter", "");
  assert.equal(await page.locator("#cancel").isVisible(), false);
  assert.equal((await log()).asked.length, before);
});

await check("very many dashes are shown, compared and marked while the page stays awake", async () => {
  await choose(page, "dashes", "steady");
  await page.fill("#prompt", "Draw a line.");
  await page.click("#ask");
  await page.locator("#agreement").getByText(/% agreement/).waitFor();
  // A page that thinks about dashes answers nobody.
  assert.equal(await page.evaluate(() => 1 + 1), 2);
  assert.ok((await column(page, "dashes").locator("mark").count()) > 0);
  assert.equal(await overflow(page), 0);
});

await check("names of files hide nothing, turn nothing around, and do not stretch the page", async () => {
  const long = `${"very-long-".repeat(24)}.txt`;
  await drop(page, [{ name: "a\u202egpj.txt", type: "text/plain", base64: "aGk=" }, { name: long, type: "text/plain", base64: "aGk=" }]);
  assert.match(await page.locator("#image-error").innerText(), /a\ufffdgpj\.txt is neither/);
  assert.equal(await page.locator(".side").evaluate((side) => side.scrollWidth - side.clientWidth), 0);
  await drop(page, Array.from({ length: 300 }, (_, index) => ({ name: `${index}.txt`, type: "text/plain", base64: "aGk=" })));
  assert.equal(await page.locator("#image-error").innerText(), "300 files are neither images nor PDFs.");
});
