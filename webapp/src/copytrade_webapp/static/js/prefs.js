// @ts-check
// What this browser's person likes to see; nothing of it leaves the browser.

/** @type {Record<string, string>} */
const DEFAULTS = { theme: "auto", colours: "green-rises", notifications: "off", seen: "0", welcomed: "" };

/** @param {string} name */
export function preference(name) {
  try {
    return localStorage.getItem(`copytrade.${name}`) ?? DEFAULTS[name];
  } catch {
    return DEFAULTS[name];
  }
}

/** @param {string} name @param {string} value */
export function prefer(name, value) {
  try {
    localStorage.setItem(`copytrade.${name}`, value);
  } catch {
    // Without storage the choice holds until the page is closed.
  }
  show();
}

/** Put theme and colours on the page. */
export function show() {
  const theme = preference("theme");
  const dark = theme === "dark" || (theme === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.bsTheme = dark ? "dark" : "light";
  document.documentElement.dataset.colours = preference("colours");
  for (const meta of document.querySelectorAll('meta[name="theme-color"]')) {
    meta.setAttribute("content", dark ? "#12161d" : "#ffffff");
  }
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
