// What this browser remembers of the page: how it looks, and what was chosen last.

import { byId } from "./elements.js";

const SETTINGS = "visiongate.settings";
const THEMES = ["auto", "light", "dark"];

/** All that is remembered. */
export function settings() {
  try {
    const found = JSON.parse(localStorage.getItem(SETTINGS));
    return found !== null && typeof found === "object" ? found : {};
  } catch {
    return {};
  }
}

/** Remembers more, beside what is. */
export function remember(more) {
  try {
    localStorage.setItem(SETTINGS, JSON.stringify({ ...settings(), ...more }));
  } catch {
    // A browser that keeps nothing is told again next time.
  }
}

/** Sets up the choice between light and dark. */
export function setUpTheme() {
  const show = (theme) => {
    document.documentElement.dataset.theme = theme;
    byId("theme").textContent = `Theme: ${theme}`;
  };
  byId("theme").addEventListener("click", () => {
    const theme = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length];
    remember({ theme });
    show(theme);
  });
  show(THEMES.includes(settings().theme) ? settings().theme : "auto");
}
