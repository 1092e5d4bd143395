// @ts-check
// One row of a closed book, in full.
import { _, format, remedy, sentence } from "../i18n.js";
import { isZero } from "../lib/decimal.js";
import { busyWhile, el } from "../lib/dom.js";
import { exchangeName, tone, word } from "../words.js";
import { store } from "../store.js";
import { copyNow, leaveCopy } from "./decide.js";
import { openSettle } from "./settle.js";

const STEPS = ["planned", "claimed", "sent", "accepted", "filled", "final"];

/** @param {any} copy @param {any} book @returns {any[]} */
export function copyDetail(copy, book) {
  const [base, quote] = book.symbol.split("/");
  const asset = copy.size_asset;
  const reason = copy.reason_kind || copy.reason ? sentence(copy.reason_kind, { ...copy }) : "";
  const fees = Object.entries(copy.commissions)
    .map(([name, value]) => `${format.exact(value)} ${name}`)
    .join(_(", "));
  return [
    el(
      "header",
      {},
      el("h3", {}, copy.account),
      el("p.muted", {}, `${exchangeName(store.exchanges, copy.exchange)} · ${word(copy.env)}`),
      el(`span.pill${tone(copy.state) ? `.${tone(copy.state)}` : ""}`, {}, word(copy.state)),
    ),
    reason
      ? el(
          `div.note.${tone(copy.state) || ""}`.replace(/\.$/, ""),
          {},
          el("p", {}, reason),
          el("p.muted", {}, remedy(copy.reason_kind, copy)),
        )
      : null,
    buttons(copy),
    facts(_("The sum"), [
      [_("Free before"), copy.free_before == null ? null : `${format.exact(copy.free_before)} ${asset}`],
      [
        _("Known since"),
        copy.balance_age_ms == null ? null : `${format.ms(copy.balance_age_ms)} (${word(copy.balance_source)})`,
      ],
      [
        _("Share"),
        book.share
          ? book.share.length < 30
            ? `${book.share} = ${format.share(book.x_percent)}`
            : format.share(book.x_percent)
          : null,
      ],
      [_("Share × free"), copy.computed == null ? null : `${format.exact(copy.computed)} ${asset}`],
      [_("Step"), copy.step == null ? null : `${format.exact(copy.step)} ${asset}`],
      [_("Order, rounded down"), copy.sent == null ? null : el("strong", {}, `${format.exact(copy.sent)} ${asset}`)],
    ]),
    facts(_("What came of it"), [
      [_("Filled"), !isZero(copy.filled_base) ? `${format.exact(copy.filled_base)} ${base}` : null],
      [_("For"), !isZero(copy.filled_quote) ? `${format.exact(copy.filled_quote)} ${quote}` : null],
      [_("Average price"), copy.average_price == null ? null : `${format.exact(copy.average_price)} ${quote}`],
      [
        _("Against the leader's price"),
        copy.slippage_bp == null
          ? null
          : _("%(points)s bp", { points: format.points(copy.slippage_bp) }) +
            (Number(copy.slippage_bp) > 0
              ? ` (${_("worse")})`
              : Number(copy.slippage_bp) < 0
                ? ` (${_("better")})`
                : ""),
      ],
      [_("Fees"), fees || null],
      [_("Attempts"), copy.attempts ? format.count(copy.attempts) : null],
      [_("Our order number"), copy.client_order_id ? el("span.mono", {}, copy.client_order_id) : null],
      [_("The exchange's order number"), copy.exchange_order_id ? el("span.mono", {}, copy.exchange_order_id) : null],
      [_("Asked for by"), who(copy.asked_by, copy.asked_at)],
      [_("Decided by"), who(copy.decided_by, copy.decided_at)],
    ]),
    times(copy, book),
  ];
}

/** @param {string} name @param {string} time */
function who(name, time) {
  return name ? [name, time ? format.moment(time) : ""].filter(Boolean).join(_(", ")) : null;
}

/** @param {any} copy */
function buttons(copy) {
  if (!copy.open) return null;
  if (copy.state === "NEEDS_PERSON")
    return el("div", {}, el("button.btn.btn-primary.btn-small", { onclick: () => openSettle(copy) }, _("Settle…")));
  const now = el(
    "button.btn.btn-primary.btn-small",
    { onclick: () => busyWhile(now, () => copyNow(copy)) },
    _("Copy now…"),
  );
  const leave = el(
    "button.btn.btn-line.btn-small",
    { onclick: () => busyWhile(leave, () => leaveCopy(copy)) },
    _("Leave"),
  );
  return el("div.choices", {}, now, leave);
}

/** @param {string} title @param {any[][]} rows */
function facts(title, rows) {
  const known = rows.filter(([, value]) => value != null);
  if (!known.length) return null;
  return el(
    "section",
    {},
    el("h3", {}, title),
    el(
      "dl.facts",
      {},
      known.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]),
    ),
  );
}

/** @param {any} copy @param {any} book */
function times(copy, book) {
  const names = {
    planned: _("planned"),
    claimed: _("written down"),
    sent: _("sent"),
    accepted: _("accepted"),
    filled: _("filled"),
    final: _("final"),
  };
  const known = STEPS.filter((step) => copy.latency_ms[step] != null);
  if (!known.length) return null;
  const most = Math.max(...known.map((step) => Number(copy.latency_ms[step])), 1);
  return el(
    "section.steps",
    {},
    el("h3", {}, _("Times after the leader's order was heard")),
    known.map((step) => {
      const ms = Number(copy.latency_ms[step]);
      return el(
        "div.step",
        {},
        el("span.muted", {}, names[/** @type {"sent"} */ (step)]),
        el("meter", { min: 0, max: most, value: ms, "aria-hidden": "true" }),
        el("span.num", {}, format.ms(ms)),
      );
    }),
    book.heard_ms == null
      ? null
      : el("p.muted", {}, _("It was heard %(ms)s after the exchange had filled it.", { ms: format.ms(book.heard_ms) })),
  );
}
