// What went wrong, in the one shape that errors have: as the server told it, or a fault of the page.

import { Failure } from "./api.js";

/** The error to show for whatever was thrown. Only what the network or the server did is said of them. */
export function told(thrown) {
  if (thrown instanceof Failure) return thrown.error;
  console.error(thrown);
  return {
    code: "PAGE_FAULT",
    message: `the page met a fault of its own: ${thrown?.message ?? thrown}`,
    advice: "reload the page; if it happens again, report it with what the browser's console says",
  };
}
