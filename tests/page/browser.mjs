// A browser for the checks: one Chromium, pages that note every complaint and every request, and words for what is done often.

import { createRequire } from "node:module";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const { MODULES, PLAYWRIGHT_VERSION, AXE_VERSION, CHROMIUM } = process.env;
const require = createRequire(import.meta.url);
const { chromium } = require(`${MODULES}/playwright-${PLAYWRIGHT_VERSION}/node_modules/playwright-core`);
const axe = readFileSync(`${MODULES}/axe-${AXE_VERSION}/node_modules/axe-core/axe.min.js`, "utf8");

const profile = mkdtempSync(join(tmpdir(), "visiongate-page-"));
const QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

const browser = await chromium.launch({ executablePath: CHROMIUM, args: QUIET, env: { ...process.env, HOME: profile } });

export async function close() {
  await browser.close();
  rmSync(profile, { recursive: true, force: true });
}

/** A page of a server in a browser that has never been there, with what it complains about and what it asks for. */
export async function visit(url, settings = {}) {
  const context = await browser.newContext({ viewport: { width: 1360, height: 900 }, ...settings });
  const page = await context.newPage();
  page.setDefaultTimeout(10_000);
  page.complaints = [];
  page.requests = [];
  page.on("console", (message) => {
    // A refusal that the page deals with is no error of the page, but Chromium notes each.
    const isRefusal = message.text().startsWith("Failed to load resource: the server responded with a status of");
    if (["error", "warning"].includes(message.type()) && !isRefusal) page.complaints.push(message.text());
  });
  page.on("pageerror", (error) => page.complaints.push(String(error)));
  page.on("request", (request) => page.requests.push(request.url()));
  await page.goto(url);
  return page;
}

/** What axe finds wrong with a page as it stands. */
export async function violations(page) {
  await page.evaluate(axe);
  const found = await page.evaluate(() => globalThis.axe.run({ resultTypes: ["violations"] }));
  return found.violations.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map((node) => `${node.target} ${node.failureSummary.split("\n")[1] ?? ""}`).join(" | ")}`);
}

/** Drops files on the page as a hand would: all events, with data of its own making. */
export async function drop(page, files) {
  const data = await page.evaluateHandle((files) => {
    const data = new DataTransfer();
    for (const { name, type, base64 } of files) {
      data.items.add(new File([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], name, { type }));
    }
    return data;
  }, files);
  for (const event of ["dragenter", "dragover", "drop"]) await page.dispatchEvent("body", event, { dataTransfer: data });
}

/** Pastes a file while this element has the focus, and perhaps a text that came with it. */
export async function paste(page, selector, { name, type, base64 }, text = "") {
  await page.locator(selector).evaluate((element, { name, type, base64, text }) => {
    const data = new DataTransfer();
    data.items.add(new File([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], name, { type }));
    if (text) data.setData("text/plain", text);
    element.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
  }, { name, type, base64, text });
}
