// Looks at the report as people will: light, dark, on a phone and without scripts; by eye (screenshots), with axe, and with
// every filter and a sorting tried. Prints a line for each check.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const { MODULES, PLAYWRIGHT_VERSION, AXE_VERSION, CHROMIUM, REPORTS } = process.env;
const require = createRequire(import.meta.url);
const { chromium } = require(`${MODULES}/playwright-${PLAYWRIGHT_VERSION}/node_modules/playwright-core`);
const axe = readFileSync(`${MODULES}/axe-${AXE_VERSION}/node_modules/axe-core/axe.min.js`, "utf8");

const profile = mkdtempSync(join(tmpdir(), "visiongate-report-"));
const args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const browser = await chromium.launch({ executablePath: CHROMIUM, args, env: { ...process.env, HOME: profile } });

async function check(what, looking) {
  try {
    await looking();
    console.log(`ok ${what}`);
  } catch (error) {
    console.log(`FAIL ${what}: ${error.message.replaceAll("\n", " ")}`);
  }
}

/** A report in a browser, with what it complains about and what it loads. */
async function opened(name, settings = {}) {
  const context = await browser.newContext({ viewport: { width: 1360, height: 900 }, ...settings });
  const page = await context.newPage();
  page.complaints = [];
  page.on("console", (message) => page.complaints.push(message.text()));
  page.on("pageerror", (error) => page.complaints.push(String(error)));
  page.on("dialog", (dialog) => page.complaints.push(dialog.message()));
  page.on("request", (request) => {
    if (!/^(file|data):/.test(request.url())) page.complaints.push(`loads ${request.url()}`);
  });
  await page.goto(pathToFileURL(join(REPORTS, `${name}.html`)).href);
  return page;
}

async function violations(page) {
  await page.evaluate(axe);
  const found = await page.evaluate(() => globalThis.axe.run({ resultTypes: ["violations"] }));
  return found.violations.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map((node) => `${node.target} ${node.failureSummary}`).join(" | ")}`);
}

const overflow = (page) => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
const phone = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true };

for (const [name, settings] of [
  ["light", { colorScheme: "light" }],
  ["dark", { colorScheme: "dark" }],
  ["phone", { colorScheme: "light", ...phone }],
  ["phone-dark", { colorScheme: "dark", ...phone }],
]) {
  await check(`${name}: axe finds nothing, nothing is wider than the window, nothing is loaded`, async () => {
    const page = await opened("demo", settings);
    for (const item of await page.locator("#items > details").all().then((all) => [...all.slice(0, 2), all.at(-1)])) {
      await item.locator("summary").click();
    }
    for (const section of ["leaderboard", "cost", "latency", "earlier", "tags", "failures", "agreement", "run"]) {
      await page.locator(`#${section}`).screenshot({ path: join(REPORTS, `${name}-${section}.png`) });
    }
    await page.evaluate(() => document.getElementById("questions").scrollIntoView());
    await page.screenshot({ path: join(REPORTS, `${name}-questions.png`) });
    await page.evaluate(() => scrollTo(0, 0));
    await page.screenshot({ path: join(REPORTS, `${name}-top.png`) });
    assert.deepEqual(await violations(page), []);
    assert.equal(await overflow(page), 0);
    assert.deepEqual(page.complaints, []);
  });
}

await check("filters show what they say", async () => {
  const page = await opened("demo");
  const shown = () => page.locator("#items > details:not([hidden])");
  const count = async () => Number((await page.locator("#found").textContent()).split(" ")[0]);
  const marks = () => shown().evaluateAll((items) => items.map((item) => item.dataset.marks));
  const choose = async (id, label) => {
    await page.selectOption(id, label);
    await page.waitForTimeout(300);
    assert.equal(await count(), await shown().count());
  };
  const all = await count();
  assert.equal(all, await page.locator("#items > details").count());
  await choose("#by-outcome", "failed");
  assert.ok((await marks()).every((marks) => /^[we]+$/.test(marks)), "all failed");
  await choose("#by-outcome", "disagree");
  assert.ok((await count()) > 0 && (await count()) < all);
  await choose("#by-outcome", "3");
  assert.ok((await count()) > 0);
  assert.ok((await marks()).every((marks) => [...marks].every((mark, at) => /[we]/.test(mark) === (at === 3))), "only one failed");
  await choose("#by-outcome", "");
  const tags = await page.locator("#by-tag option").allTextContents();
  await choose("#by-tag", String(tags.indexOf("sign") - 1));
  assert.equal(await count(), 12);
  await page.fill("#by-text", "harbour sign-11");
  await page.waitForTimeout(300);
  assert.equal(await count(), 1);
  await page.click("#unfold");
  assert.equal(await page.locator("#items > details[open]").count(), 1);
  await page.click("#fold");
  assert.equal(await page.locator("#items > details[open]").count(), 0);
});

await check("every question has its picture", async () => {
  const page = await opened("demo");
  await page.click("#unfold");
  const item = page.locator("#items > details").nth(40);
  await item.scrollIntoViewIfNeeded();
  await page.waitForFunction(() => [...document.querySelectorAll("#items > details")][40].querySelector("img").naturalWidth > 100);
  assert.equal(await page.locator("#items > details:not(:has(img))").count(), 0);
});

await check("tables are sorted by a column, by keyboard too", async () => {
  const page = await opened("demo");
  const prices = () => page.locator("table.board tbody tr td:last-child").evaluateAll((cells) => cells.map((cell) => Number(cell.dataset.key)));
  const button = page.locator("table.board th button").last();
  await button.focus();
  await page.keyboard.press("Enter");
  assert.deepEqual(await prices(), (await prices()).toSorted((a, b) => a - b));
  await page.keyboard.press("Enter");
  assert.deepEqual(await prices(), (await prices()).toSorted((a, b) => b - a));
});

await check("everything is there without scripts", async () => {
  const page = await opened("demo", { javaScriptEnabled: false });
  assert.equal(await page.locator("table.board tbody tr").count(), 7);
  assert.equal(await page.locator("svg.plot").count(), 2);
  assert.equal(await page.locator("#filters").isVisible(), false);
  await page.locator("#items summary").first().click();
  assert.ok(await page.locator("#items article").first().isVisible());
});

await check("a report about next to nothing holds together", async () => {
  const page = await opened("bare", phone);
  assert.deepEqual(await violations(page), []);
  assert.equal(await overflow(page), 0);
  await page.screenshot({ path: join(REPORTS, "bare.png"), fullPage: true });
  assert.deepEqual(page.complaints, []);
});

await check("on paper", async () => {
  const page = await opened("demo");
  await page.pdf({ path: join(REPORTS, "demo.pdf"), format: "A4" });
  await page.emulateMedia({ media: "print" });
  assert.equal(await page.locator("nav").isVisible(), false);
});

await browser.close();
rmSync(profile, { recursive: true, force: true });
