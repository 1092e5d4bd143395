// @ts-check
import { _, format, sentence } from "../i18n.js";
import { el } from "../lib/dom.js";
import { outcome, tone, word } from "../words.js";

/** The leader's side of a closed book. @param {any} book @returns {any[]} */
export function bookHead(book) {
  const [base, quote] = book.symbol.split("/");
  const figure = (/** @type {string} */ name, /** @type {any} */ value, /** @type {string} */ below = "") =>
    el("div.figure", {}, el("dt", {}, name), el("dd", {}, value, below ? [" ", el("small", {}, below)] : null));
  const reason = book.reason_kind || book.reason ? sentence(book.reason_kind, { ...book }) : "";
  const how = book.balance_how ? _("(from %(how)s)", { how: howWord(book.balance_how) }) : "";
  return [
    figure(
      _("Leader"),
      el(
        `span.${book.type === "BUY" ? "rise" : "fall"}`,
        {},
        `${word(book.type)} ${format.exact(book.filled_base)} ${base}`,
      ),
      `${format.exact(book.filled_quote)} ${quote}`,
    ),
    figure(
      _("Free before the order"),
      book.balance_before == null ? "–" : `${format.exact(book.balance_before)} ${book.balance_asset}`,
      how,
    ),
    figure(_("Share"), format.share(book.x_percent), book.share && book.share.length < 40 ? book.share : ""),
    figure(_("Heard after"), format.ms(book.heard_ms)),
    figure(
      _("Copies"),
      `${format.count(book.ok)} / ${format.count(book.fanout)}`,
      [
        book.fail ? _("%(num)s failed", { num: format.count(book.fail) }) : "",
        book.pending ? _("%(num)s under way", { num: format.count(book.pending) }) : "",
      ]
        .filter(Boolean)
        .join(_(", ")),
    ),
    figure(_("State"), el(`span.${tone(outcome(book)) || "muted"}`, {}, word(outcome(book))), reason),
    figure(_("Order number"), el("span.mono", {}, book.order_id)),
  ];
}

/** By which reckoning the balance before an order was found. @param {string} how */
export function howWord(how) {
  /** @type {Record<string, string>} */
  const words = {
    latest: _("the last known balance"),
    replayed: _("all changes"),
    undone: _("the balance afterwards"),
    undone_again: _("a later balance"),
    by_person: _("a person"),
  };
  return words[how] ?? how;
}
