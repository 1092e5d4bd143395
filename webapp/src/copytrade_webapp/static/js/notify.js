// @ts-check
// Tells of failed copies and alarms: a message in the page, a notification and a number on the app's icon outside.
import { _, sentence } from "./i18n.js";
import { el } from "./lib/dom.js";
import { isAlarm } from "./lib/alarms.js";
import { whatNeedsAPerson } from "./lib/undecided.js";
import { preference } from "./prefs.js";
import { store } from "./store.js";
import { tells } from "./components/alarms.js";
import { openBook } from "./components/book.js";
import { copyNow, leaveCopy } from "./components/decide.js";
import { say } from "./components/toasts.js";
import { word } from "./words.js";

const MOST_TOASTS = 3;

/** @param {() => void} openTodo */
export function mountNotifications(openTodo) {
  /** @type {Set<string> | null} null until the first picture: what failed before is no news */
  let known = null;
  let heard = -1;
  store.addEventListener("change", (event) => {
    const changed = /** @type {CustomEvent} */ (event).detail;
    if (changed.has("undecided")) known = tellOfCopies(known, openTodo);
    if (changed.has("feed")) heard = tellOfNews(heard, openTodo);
    if (changed.has("undecided") || changed.has("events")) showBadge();
  });
}

/** @returns {Promise<boolean>} */
export async function askPermission() {
  return Boolean(globalThis.Notification) && (await Notification.requestPermission()) === "granted";
}

/** @param {Set<string> | null} known @param {() => void} openTodo */
function tellOfCopies(known, openTodo) {
  if (known === null) return new Set(store.undecided.map((copy) => copy.id));
  const fresh = store.undecided.filter((copy) => !known.has(copy.id));
  if (fresh.length > MOST_TOASTS) {
    const title = _("%(count)s copies need you", { count: fresh.length });
    say({
      tone: "bad",
      tag: "copies",
      title,
      buttons: [el("button.btn.btn-primary.btn-small", { onclick: openTodo }, _("Look at them"))],
    });
    notify("copies", title, "");
  } else fresh.forEach(tellOfCopy);
  return new Set(store.undecided.map((copy) => copy.id));
}

/** @param {any} copy */
function tellOfCopy(copy) {
  const title = _("%(account)s: %(side)s %(state)s", {
    account: copy.account,
    side: word(copy.side),
    state: word(copy.state),
  });
  const text = sentence(copy.reason_kind, { ...copy });
  const decidable = copy.state !== "NEEDS_PERSON";
  const now = el("button.btn.btn-primary.btn-small", { onclick: () => copyNow(copy) }, _("Copy now…"));
  const leave = el("button.btn.btn-line.btn-small", { onclick: () => leaveCopy(copy) }, _("Leave"));
  say({ tone: "bad", tag: `copy-${copy.id}`, title, text, buttons: decidable ? [now, leave] : [] });
  notify(`account-${copy.account_id}`, title, text);
}

/** @param {number} heard @param {() => void} openTodo @returns {number} up to where the feed was heard */
function tellOfNews(heard, openTodo) {
  const newest = store.feed[0]?.seq ?? 0;
  if (heard < 0 || newest < heard) return newest;
  const fresh = store.feed.filter((each) => each.seq > heard);
  tellOfRefusals(fresh.filter((each) => each.kind === "copy" && each.data?.state === "REJECTED"));
  tellOfAlarms(
    fresh.filter((each) => isAlarm(each) && each.data?.what !== "copy_undecided"),
    openTodo,
  );
  return newest;
}

/** Refused by the exchange: nothing to make up for, but a person wants to know why. @param {any[]} entries */
function tellOfRefusals(entries) {
  const look = (/** @type {any} */ entry) =>
    el("button.btn.btn-line.btn-small", { onclick: () => openBook(entry.data.event_id) }, _("Look at the order"));
  if (entries.length > MOST_TOASTS) {
    const title = _("%(count)s copies were refused", { count: entries.length });
    say({ tone: "bad", tag: "refused", title, buttons: [look(entries[0])] });
    return notify("refused", title, "");
  }
  for (const entry of entries) {
    const { account, side, state, reason_kind, account_id } = entry.data;
    const title = _("%(account)s: %(side)s %(state)s", { account, side: word(side), state: word(state) });
    const text = sentence(reason_kind, entry.data);
    say({ tone: "bad", tag: `refused-${entry.seq}`, title, text, buttons: [look(entry)] });
    notify(`account-${account_id}`, title, text);
  }
}

/** @param {any[]} entries @param {() => void} openTodo */
function tellOfAlarms(entries, openTodo) {
  for (const entry of entries.slice(0, MOST_TOASTS)) {
    const title = tells(entry);
    const id = entry.data?.event_id;
    // A share is given where all waits that needs a person; the rest is in the order's book.
    const look = () => (entry.data.state === "UNDECIDED" ? openTodo() : openBook(id));
    say({
      tone: "warn",
      tag: `alarm-${entry.seq}`,
      title,
      buttons: id ? [el("button.btn.btn-line.btn-small", { onclick: look }, _("Look at it"))] : [],
    });
    notify(`alarm-${entry.kind}`, title, "");
  }
}

/** @param {string} tag @param {string} title @param {string} body */
async function notify(tag, title, body) {
  if (preference("notifications") !== "on" || globalThis.Notification?.permission !== "granted" || !document.hidden)
    return;
  const registration = await navigator.serviceWorker?.getRegistration();
  registration?.showNotification(title, {
    tag,
    body,
    icon: document.querySelector(".brand img")?.getAttribute("src") ?? "",
  });
}

function showBadge() {
  const { count } = whatNeedsAPerson(store.undecided, store.events);
  const shown = count ? navigator.setAppBadge?.(count) : navigator.clearAppBadge?.();
  shown?.catch(() => {});
  document.title = `${count ? `(${count}) ` : ""}${_("copytrade")}`;
}
