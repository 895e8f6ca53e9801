// What the checks have in common: the servers, words for what people do, and one line for each check.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { visit } from "./browser.mjs";

export const { OPEN, KEYS, KEY, VENDOR } = process.env;
const { EXAMPLES, SHOTS } = process.env;

export const example = (name) => join(EXAMPLES, name);

/** An example image as a file of a browser, by this name. */
export const png = (name, as = name) => ({ name: as, type: "image/png", base64: readFileSync(example(name)).toString("base64") });

/** Whom the vendor was asked for, and who left before the end. */
export const log = async () => (await fetch(`${VENDOR}/log`)).json();

export const shot = (page, name) => page.screenshot({ path: join(SHOTS, `${name}.png`), fullPage: true });

/** Every page that was opened, with its server. */
export const pages = [];

export async function opened(url = OPEN, settings) {
  const page = await visit(url, settings);
  pages.push([page, url]);
  return page;
}

/** Runs one check, and leaves a picture of the page that was opened last when it fails. */
export async function check(name, work) {
  try {
    await work();
    console.log(`ok ${name}`);
  } catch (error) {
    console.log(`FAIL ${name}: ${String(error.message).split("\n").slice(0, 12).join(" ").slice(0, 900)}`);
    await pages.at(-1)?.[0].screenshot({ path: join(SHOTS, "failed.png") }).catch(() => {});
  }
}

/** Chooses these models and no others. */
export async function choose(page, ...names) {
  const before = await page.locator("#model-list input:checked").evaluateAll((all) => all.map((box) => box.value));
  for (const name of before) await page.uncheck(`#model-list input[value="${name}"]`);
  for (const name of names) await page.check(`#model-list input[value="${name}"]`);
}

/** Waits until the page knows the server's models. */
export const connected = (page) => page.locator('#model-list input[value="steady"]').waitFor();

/** The place of one model's answer. */
export const column = (page, name) => page.getByRole("article", { name, exact: true });

/** Waits until an answer is in this state. */
export const state = (article, word) => article.locator(`.badge:text-is("${word}")`).waitFor();

export async function eventually(condition, what) {
  for (let round = 0; round < 100; round += 1) {
    if (await condition()) return;
    await new Promise((done) => setTimeout(done, 50));
  }
  throw new Error(`never: ${what}`);
}

/** How much wider than the window the page is. */
export const overflow = (page) => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
