// @ts-check
import { _, advise, explain } from "../i18n.js";
import { byId, el, icon } from "../lib/dom.js";

const SHOWN_MS = 6000;
const BAD_SHOWN_MS = 12_000;
const READING_MS = 2000;
const MOST = 3;
const ICONS = {
  good: "check-circle-fill",
  bad: "exclamation-octagon-fill",
  warn: "exclamation-triangle-fill",
  info: "info-circle-fill",
};

/**
 * Say something for a moment, what is bad for longer; what must not be missed stands under "Needs you" as well.
 * @param {{tone?: "good"|"bad"|"warn"|"info", title: string, text?: string, advice?: string, buttons?: any[], tag?: string}} message
 */
export function say({ tone = "info", title, text = "", advice = "", buttons = [], tag = "" }) {
  const room = byId("toasts");
  if (tag) room.querySelector(`[data-tag="${CSS.escape(tag)}"]`)?.remove();
  const card = el(
    `div.toast-card.${tone}`,
    { role: tone === "bad" ? "alert" : "status", ...(tag ? { "data-tag": tag } : {}) },
    icon(ICONS[tone]),
    el("strong", {}, title),
    el("button.icon-button", { title: _("Close"), "aria-label": _("Close"), onclick: () => drop(card) }, icon("x-lg")),
    text ? el("p", {}, text) : null,
    advice ? el("p.do", {}, advice) : null,
    buttons.length
      ? el(
          "div.buttons",
          {},
          buttons.map((button) => (button.addEventListener("click", () => drop(card)), button)),
        )
      : null,
  );
  room.append(card);
  while (room.children.length > MOST) room.firstElementChild?.remove();
  // A popover that is opened again comes before dialogs, too.
  if (room.matches(":popover-open")) room.hidePopover();
  room.showPopover();
  // Not from under the hand of somebody who reads it or is about to press its button.
  const leave = () => (card.matches(":hover, :focus-within") ? setTimeout(leave, READING_MS) : drop(card));
  setTimeout(leave, tone === "bad" ? BAD_SHOWN_MS : SHOWN_MS);
}

/** @param {any} error @param {string} title what did not work */
export function sayProblem(error, title) {
  if (!error?.kind) console.error(error);
  say({ tone: "bad", title, text: explain(error), advice: advise(error) });
}

/** @param {any} card */
function drop(card) {
  const room = card.parentElement;
  card.remove();
  if (room && !room.children.length && room.matches(":popover-open")) room.hidePopover();
}
