// A server that wants a key.

import assert from "node:assert/strict";
import { drop, violations } from "./browser.mjs";
import { KEY, KEYS, check, choose, column, connected, eventually, opened, png, shot, state } from "./checks.mjs";

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
  await connected(guarded);
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
  await connected(guarded);
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
  await connected(tab);
  await tab.close();
  await guarded.click("#key-button");
  await guarded.click("#key-forget");
  await guarded.getByRole("dialog", { name: "This server wants a key" }).waitFor();
  const left = await guarded.evaluate(() => [localStorage.getItem("visiongate.key"), sessionStorage.getItem("visiongate.key")]);
  assert.deepEqual(left, [null, null]);
});
