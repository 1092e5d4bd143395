// @ts-check
import { _ } from "../i18n.js";
import { remove } from "../api.js";
import { el, fillWith, icon } from "../lib/dom.js";
import { leave } from "../live.js";
import { openDevices } from "./devices.js";
import { openExport } from "./export.js";
import { openSettings } from "./settings.js";
import { openTokens } from "./tokens.js";

/** @param {any} menu */
export function buildMenu(menu) {
  const item = (/** @type {string} */ symbol, /** @type {string} */ name, /** @type {() => void} */ open, id = "") =>
    el("button", { id, onclick: () => (menu.hidePopover(), open()) }, icon(symbol), name);
  fillWith(
    menu,
    el("p.who", { id: "who" }),
    item("sliders", _("Settings"), openSettings, "menu-settings"),
    item("pc-display", _("Devices"), openDevices, "menu-devices"),
    item("key", _("Access tokens"), openTokens, "menu-tokens"),
    item("file-earmark-spreadsheet", _("Export history"), openExport, "menu-export"),
    el("hr"),
    el("button", { id: "install", hidden: true }, icon("window-plus"), _("Install as an app")),
    item("box-arrow-right", _("Log out"), logOut, "menu-logout"),
  );
}

async function logOut() {
  leave();
  try {
    await remove("/session");
  } finally {
    location.assign("/login");
  }
}
