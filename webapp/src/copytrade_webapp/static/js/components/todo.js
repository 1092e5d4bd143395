// @ts-check
// What waits for a person, and what the person can do about it.
import { _, format, ngettext, sentence } from "../i18n.js";
import { busyWhile, el, fillWith } from "../lib/dom.js";
import { whatNeedsAPerson } from "../lib/undecided.js";
import { store } from "../store.js";
import { exchangeName, tone, word } from "../words.js";
import { openBook } from "./book.js";
import { copyNow, copyOrderNow, leaveAll, leaveCopy } from "./decide.js";
import { openSettle } from "./settle.js";
import { openShare } from "./share.js";

const SHOWN = 20;

export function todo() {
  const list = el("div.todo-list.scroll");
  /** @type {(count: number) => void} */
  let tell = () => {};
  store.when(["undecided", "events", "snapshot", "exchanges"], () => {
    const found = whatNeedsAPerson(store.undecided, store.events);
    tell(found.count);
    draw(list, found);
  });
  return {
    element: list,
    /** @param {(count: number) => void} handler */
    onCount: (handler) => {
      tell = handler;
    },
  };
}

/** @param {any} list @param {ReturnType<typeof whatNeedsAPerson>} found */
function draw(list, { settle, groups, shares, count }) {
  const top = list.scrollTop;
  if (!count) {
    const none = store.status ? _("Nothing waits for you.") : _("Not known at the moment.");
    return fillWith(list, el("p.quiet", {}, none));
  }
  fillWith(
    list,
    shares.map(shareGroup),
    settle.length
      ? el(
          "section.todo-group",
          {},
          el(
            "header",
            {},
            el("h3", {}, _("Was it executed?")),
            el("span.muted", {}, _("The exchange gave no clear answer. Nothing is sent again by itself.")),
          ),
          settle.map(settleRow),
        )
      : null,
    groups.map(orderGroup),
  );
  list.scrollTop = top;
}

/** @param {any} event */
function shareGroup(event) {
  return el(
    "section.todo-group",
    {},
    el(
      "header",
      {},
      el("h3", {}, orderName(event)),
      el("span", {}, sentence(event.reason_kind, { ...event })),
      el("span.spacer"),
      el("button.btn.btn-primary.btn-small", { onclick: () => openShare(event) }, _("Give the share…")),
    ),
  );
}

/** @param {any} copy */
function settleRow(copy) {
  return row(copy, [el("button.btn.btn-primary.btn-small", { onclick: () => openSettle(copy) }, _("Settle…"))]);
}

/** @param {{eventId: string, rows: any[], event: any}} group */
function orderGroup({ eventId, rows, event }) {
  const shown = rows.slice(0, SHOWN);
  const all = (/** @type {any} */ { currentTarget }) => busyWhile(currentTarget, () => copyOrderNow(eventId));
  const many = rows.length > 1;
  return el(
    "section.todo-group",
    {},
    el(
      "header",
      {},
      el("h3", {}, event ? orderName(event) : `${word(rows[0].side)} · ${format.moment(rows[0].updated)}`),
      el("span.muted", {}, ngettext("%(num)s copy did not work", "%(num)s copies did not work", rows.length)),
      el("button.btn.btn-line.btn-small", { onclick: () => openBook(eventId) }, _("Look at the order")),
      el("span.spacer"),
      many
        ? el(
            "button.btn.btn-primary.btn-small",
            { onclick: all },
            _("Copy all %(count)s now…", { count: format.count(rows.length) }),
          )
        : null,
      many
        ? el(
            "button.btn.btn-line.btn-small",
            { onclick: () => leaveAll(rows) },
            _("Leave all %(count)s…", { count: format.count(rows.length) }),
          )
        : null,
    ),
    shown.map(failedRow),
    rows.length > shown.length
      ? el(
          "p.muted.more",
          {},
          _("and %(count)s more: look at the order", { count: format.count(rows.length - shown.length) }),
        )
      : null,
  );
}

/** @param {any} copy */
function failedRow(copy) {
  const now = el(
    "button.btn.btn-line.btn-small",
    { onclick: () => busyWhile(now, () => copyNow(copy)) },
    _("Copy now…"),
  );
  const leave = el(
    "button.btn.btn-line.btn-small",
    { onclick: () => busyWhile(leave, () => leaveCopy(copy)) },
    _("Leave"),
  );
  return row(copy, [now, leave]);
}

/** @param {any} copy @param {any[]} buttons */
function row(copy, buttons) {
  return el(
    "div.todo-row",
    { "data-copy": copy.id },
    el(
      "span.clip",
      {},
      el("strong", {}, copy.account),
      el("span.muted", {}, ` ${exchangeName(store.exchanges, copy.exchange)}`),
    ),
    el("span", {}, el(`span.pill.${tone(copy.state) || "bad"}`, {}, word(copy.state))),
    el("span.reason", {}, sentence(copy.reason_kind, { ...copy })),
    el("span.actions", {}, buttons),
  );
}

/** @param {any} event */
function orderName(event) {
  return [
    el(`span.side-word.${event.type === "BUY" ? "rise" : "fall"}`, {}, word(event.type)),
    " ",
    event.x_percent == null ? null : `${format.share(event.x_percent)} `,
    `${format.exact(event.type === "BUY" ? event.filled_quote : event.filled_base)} ${event.symbol.split("/")[event.type === "BUY" ? 1 : 0]} `,
    el("span.muted", {}, format.moment(event.t)),
  ];
}
