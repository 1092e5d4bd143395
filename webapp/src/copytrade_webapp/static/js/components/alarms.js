// @ts-check
// What the engine has raised an alarm about, until a person has seen it.
import { _, format, remedy, sentence } from "../i18n.js";
import { el, fillWith, icon } from "../lib/dom.js";
import { isAlarm, unseen } from "../lib/alarms.js";
import { prefer, preference } from "../prefs.js";
import { store } from "../store.js";

export function alarms() {
  const list = el("div.scroll");
  const all = el(
    "button.btn.btn-line.btn-small",
    { onclick: () => see(Math.max(0, ...store.feed.map((entry) => entry.seq))) },
    icon("check2-all"),
    _("Mark all as seen"),
  );
  /** @type {(count: number) => void} */
  let tell = () => {};
  const draw = () => {
    const raised = store.feed.filter(isAlarm);
    const seen = Number(preference("seen"));
    tell(unseen(store.feed, seen).length);
    all.disabled = unseen(store.feed, seen).length === 0;
    const none = store.status ? _("No alarm.") : _("Not known at the moment.");
    fillWith(
      list,
      raised.length ? raised.map((entry) => alarm(entry, entry.seq <= seen)) : el("p.quiet", {}, none),
    );
  };
  /** @param {number} seq */
  const see = (seq) => {
    prefer("seen", String(Math.max(seq, Number(preference("seen")))));
    draw();
  };
  store.when(["feed", "snapshot"], draw);
  return {
    element: list,
    tools: all,
    /** @param {(count: number) => void} handler */
    onCount: (handler) => {
      tell = handler;
    },
  };
}

/** @param {any} entry */
export function tells(entry) {
  return (
    sentence(entry.data?.what ?? "", { ...entry.data, reason: entry.data?.what ? entry.data.reason : entry.text }) ||
    entry.text
  );
}

/** @param {any} entry @param {boolean} seen */
function alarm(entry, seen) {
  const advice = remedy(entry.data?.what ?? "", entry.data ?? {});
  return el(
    `div.alarm${seen ? ".seen" : ""}`,
    {},
    el("span.muted", { title: format.full(entry.t) }, format.moment(entry.t)),
    el(`i.bi.bi-${seen ? "bell" : "bell-fill"}${seen ? "" : ".warn"}`, { "aria-hidden": "true" }),
    el("div", {}, el("p", {}, tells(entry)), advice ? el("p.do", {}, advice) : null),
    seen ? el("span.muted", {}, _("seen")) : el("span.pill.warn", {}, _("new")),
  );
}
