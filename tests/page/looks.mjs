// How the page looks, to eyes, to a keyboard and to axe; and what its policy forbids.

import assert from "node:assert/strict";
import { drop, violations, visit } from "./browser.mjs";
import { OPEN, VENDOR, check, choose, column, connected, eventually, opened, overflow, png, shot, state } from "./checks.mjs";

for (const [name, settings] of [
  ["light", { colorScheme: "light" }],
  ["dark", { colorScheme: "dark" }],
  ["phone", { colorScheme: "light", viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true }],
  ["phone-dark", { colorScheme: "dark", viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, reducedMotion: "reduce" }],
]) {
  await check(`${name}: axe finds nothing, nothing is wider than the window`, async () => {
    const look = await opened(OPEN, settings);
    await connected(look);
    assert.deepEqual(await violations(look), [], "empty");
    await shot(look, `${name}-empty`);
    await drop(look, [png("receipt.png"), png("qr.png")]);
    await eventually(async () => (await look.locator(".picture").count()) === 2, "two images");
    await choose(look, "steady", "other", "failing");
    // Another question in every look: what was asked before is answered from memory at once.
    await look.fill("#prompt", `Which shop is this receipt from, and what is the total? (${name})`);
    await look.click("#ask");
    await state(column(look, "steady"), "answering");
    await shot(look, `${name}-answering`);
    await look.locator("#agreement").getByText(/% agreement/).waitFor();
    await look.locator(".run").first().waitFor();
    await column(look, "steady").getByText("What was sent").click();
    assert.deepEqual(await violations(look), [], "answers");
    assert.equal(await overflow(look), 0);
    await shot(look, name);
    await look.click("#status-button");
    assert.deepEqual(await violations(look), [], "status");
    await shot(look, `${name}-status`);
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
  await connected(look);
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

await check("the policy keeps text from becoming markup, and the page from asking elsewhere", async () => {
  const strict = await visit(OPEN);
  const outcome = await strict.evaluate(async (elsewhere) => {
    const attempt = async (work) => Promise.resolve().then(work).then(() => "done", (error) => error.name);
    return [
      await attempt(() => (document.createElement("p").innerHTML = "<b>x</b>")),
      await attempt(() => fetch(elsewhere)),
      await attempt(() => new Promise((done, failed) => {
        const script = document.createElement("script");
        script.textContent = "document.title = 'harmed'";
        document.body.append(script);
        document.title === "harmed" ? done() : failed(new TypeError("did not run"));
      })),
    ];
  }, `${VENDOR}/log`);
  assert.deepEqual(outcome, ["TypeError", "TypeError", "TypeError"]);
  assert.equal(await strict.title(), "visiongate");
});
