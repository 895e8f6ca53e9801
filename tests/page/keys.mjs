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

await check("a key that no header can hold is told as such, with what is wrong in it", async () => {
  const wrong = await opened(KEYS);
  await wrong.locator("#key-dialog[open]").waitFor();
  const before = wrong.requests.length;
  for (const [key, part] of [["vg_schlüssel", "“ü” (U+00FC)"], ["vg_ключ", "“к” (U+043A)"], ["vg_a b", "a space (U+0020)"], ["vg_\u200bab", "not seen (U+200B)"], ["vg_🔑", "(U+1F511)"]]) {
    await wrong.fill("#key", key);
    await wrong.click("#key-use");
    const told = await wrong.locator("#key-error").innerText();
    assert.ok(told.includes(part) && told.includes("copy it again"), told);
    assert.equal(await wrong.getAttribute("#key", "aria-invalid"), "true");
  }
  assert.equal(wrong.requests.length, before, "nothing was sent");
  // One that got into the browser's memory otherwise.
  await wrong.evaluate(() => localStorage.setItem("visiongate.key", "vg_schlüssel"));
  await wrong.reload();
  await wrong.locator("#key-error").getByText("the key has “ü” (U+00FC) in it").waitFor();
});

await check("who leaves while a key is tried does not want it", async () => {
  const leaving = await opened(KEYS);
  await leaving.locator("#key-dialog[open]").waitFor();
  let trial;
  await leaving.route("**/v1/status", (route) => (trial = route));
  await leaving.fill("#key", KEY);
  await leaving.click("#key-use");
  await eventually(() => trial, "the key is tried");
  await leaving.click("#key-later");
  await leaving.unroute("**/v1/status");
  await trial.continue().catch(() => {});
  await new Promise((done) => setTimeout(done, 300));
  assert.equal(await leaving.evaluate(() => sessionStorage.getItem("visiongate.key")), null);
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
  // A key for one tab only is no reason to forget the one of all the others.
  await tab.click("#key-button");
  await tab.fill("#key", KEY);
  assert.equal(await tab.isChecked("#remember"), false);
  await tab.click("#key-use");
  await eventually(async () => (await tab.evaluate(() => sessionStorage.getItem("visiongate.key"))) !== null, "kept by the tab");
  assert.equal(await tab.evaluate(() => localStorage.getItem("visiongate.key")), KEY);
  await tab.close();
  await guarded.reload();
  await connected(guarded);
  const waiting = await guarded.context().newPage();
  await waiting.goto(KEYS);
  await connected(waiting);
  await guarded.click("#key-button");
  await guarded.click("#key-forget");
  await guarded.getByRole("dialog", { name: "This server wants a key" }).waitFor();
  const left = await guarded.evaluate(() => [localStorage.getItem("visiongate.key"), sessionStorage.getItem("visiongate.key")]);
  assert.deepEqual(left, [null, null]);
  // Another tab that used it says so, and takes up the next one that is remembered.
  const asking = waiting.getByRole("dialog", { name: "This server wants a key" });
  await asking.waitFor();
  await guarded.fill("#key", KEY);
  await guarded.check("#remember");
  await guarded.click("#key-use");
  await asking.waitFor({ state: "hidden" });
  await connected(waiting);
  assert.equal(await waiting.locator("#key-button").innerText(), "Key in use");
  await waiting.close();
});
