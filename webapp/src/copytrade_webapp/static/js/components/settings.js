// @ts-check
import { _, lang } from "../i18n.js";
import { el } from "../lib/dom.js";
import { askPermission } from "../notify.js";
import { prefer, preference } from "../prefs.js";
import { openDialog } from "./dialog.js";

export function openSettings() {
  openDialog({
    title: _("Settings"),
    body: el(
      "div.sheet-body",
      {},
      setting(
        _("Language"),
        el("div.choices", {}, language("zh", "zh-Hans", "简体中文"), language("en", "en", "English")),
      ),
      setting(
        _("Brightness"),
        choices("theme", [
          ["auto", _("as the system")],
          ["light", _("light")],
          ["dark", _("dark")],
        ]),
      ),
      setting(
        _("Buy and sell"),
        choices("colours", [
          ["green-rises", _("buy green, sell red")],
          ["red-rises", _("buy red, sell green")],
        ]),
      ),
      setting(
        _("Notifications"),
        notifications(),
        _("Shown for failed copies and alarms while this window is open, also in the background."),
      ),
    ),
  });
}

/** @param {string} name @param {any} control @param {string} [help] */
function setting(name, control, help) {
  return el(
    "div.setting",
    {},
    el("div.form-label", {}, name),
    el("div", {}, control, help ? el("div.form-text", {}, help) : null),
  );
}

/** @param {string} code @param {string} html @param {string} name */
function language(code, html, name) {
  return el(
    `a.btn.btn-small.${code === lang ? "btn-primary" : "btn-line"}`,
    { href: `?lang=${code}`, hreflang: html, lang: html, ...(code === lang ? { "aria-current": "true" } : {}) },
    name,
  );
}

/** @param {string} preferenceName @param {string[][]} options */
function choices(preferenceName, options) {
  return el(
    "div.choices",
    { role: "radiogroup" },
    options.map(([value, name]) =>
      el(
        "label",
        {},
        el("input", {
          type: "radio",
          name: preferenceName,
          value,
          checked: preference(preferenceName) === value,
          onchange: () => prefer(preferenceName, value),
        }),
        el("span", {}, name),
      ),
    ),
  );
}

function notifications() {
  const box = el("input.form-check-input", {
    type: "checkbox",
    id: "notifications",
    role: "switch",
    checked: preference("notifications") === "on" && globalThis.Notification?.permission === "granted",
  });
  box.addEventListener("change", async () => {
    const allowed = box.checked && (await askPermission());
    prefer("notifications", allowed ? "on" : "off");
    refused.hidden = !box.checked || allowed;
    box.checked = allowed;
  });
  const refused = el(
    "p.note.warn",
    { hidden: true },
    _("The browser does not allow it. Allow notifications for this page in its address bar."),
  );
  return el(
    "div",
    {},
    el("div.form-check.form-switch", {}, box, el("label.form-check-label", { for: "notifications" }, _("notify me"))),
    refused,
  );
}
