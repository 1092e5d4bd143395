// @ts-check
// Traders' words for what the server names in capitals, in the page's language.
import { _, lang } from "./i18n.js";

/** @type {Record<string, () => string>} */
const WORDS = {
  PLANNED: () => _("planned"),
  SUBMITTING: () => _("being sent"),
  NOT_SENT: () => _("not sent yet"),
  ACKED: () => _("accepted"),
  UNKNOWN: () => _("being checked"),
  FILLED: () => _("done"),
  PARTLY_FILLED: () => _("partly filled"),
  REJECTED: () => _("refused"),
  FAILED: () => _("failed"),
  SKIPPED: () => _("skipped"),
  STALE: () => _("too old"),
  NEEDS_PERSON: () => _("needs a person"),
  COPIED: () => _("copied"),
  PARTLY_COPIED: () => _("partly copied"),
  NOT_COPIED: () => _("none copied"),
  IGNORED: () => _("not copied"),
  UNDECIDED: () => _("undecided"),
  ACTIVE: () => _("enabled"),
  PAUSED: () => _("paused"),
  DISABLED: () => _("disabled"),
  BUY: () => _("Buy"),
  SELL: () => _("Sell"),
  prod: () => _("production"),
  test: () => _("test network"),
  demo: () => _("demo"),
  pushed: () => _("pushed"),
  read: () => _("read"),
  fills: () => _("from fills"),
};

/** @param {string} code */
export function word(code) {
  return WORDS[code]?.() ?? code;
}

/** Words by code, for sentences that carry a state or a side. */
export function allWords() {
  return Object.fromEntries(Object.keys(WORDS).map((code) => [code, word(code)]));
}

/** What became of a leader's order, by its copies where it has some. @param {any} order */
export function outcome({ state, ok, fanout, pending }) {
  if (state !== "COPIED" || pending || ok === fanout) return state;
  return ok ? "PARTLY_COPIED" : "NOT_COPIED";
}

/** How good or bad a state is, as a class. @param {string} state */
export function tone(state) {
  if (["FILLED", "ACTIVE", "COPIED"].includes(state)) return "good";
  if (["REJECTED", "FAILED", "DISABLED", "NEEDS_PERSON"].includes(state)) return "bad";
  if (["PARTLY_FILLED", "PARTLY_COPIED", "NOT_COPIED", "UNKNOWN", "STALE", "UNDECIDED", "PAUSED"].includes(state)) return "warn";
  return "";
}

/** The exchange's name in the page's language. @param {any[]} exchanges @param {string} id */
export function exchangeName(exchanges, id) {
  const found = exchanges.find((each) => each.id === id);
  return found ? (lang === "zh" ? found.name_zh : found.name) : id;
}
