// What people do with the page, step by step, and what has to come of it. One line for each check. Called by run.sh.

import assert from "node:assert/strict";
import { close } from "./browser.mjs";
import { check, pages } from "./checks.mjs";

// In this order: history is what was asked before.
for (const part of ["asking", "history", "hands", "trouble", "keys", "looks"]) await import(`./${part}.mjs`);

await check("no page complained, and none asked another host for anything", async () => {
  for (const [visited, url] of pages) {
    assert.deepEqual(visited.complaints, []);
    const elsewhere = visited.requests.filter((request) => ![url, "blob:", "data:"].some((own) => request.startsWith(own)));
    assert.deepEqual(elsewhere, []);
  }
});

await close();
