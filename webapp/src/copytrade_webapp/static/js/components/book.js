// @ts-check
// One leader order's closed book: every follower with the inputs of its sum, its times, its price and its reason.
import { _, format, ngettext, sentence } from "../i18n.js";
import { get } from "../api.js";
import { isZero } from "../lib/decimal.js";
import { busyWhile, el, fillWith, setText } from "../lib/dom.js";
import { store } from "../store.js";
import { exchangeName, tone, word } from "../words.js";
import { bookHead } from "./book_head.js";
import { copyDetail } from "./copy_detail.js";
import { copyOrderNow } from "./decide.js";
import { openDialog } from "./dialog.js";
import { sayProblem } from "./toasts.js";
import { VirtualTable } from "./virtual_table.js";

const REFRESH_MS = 1000;

/** @param {string} eventId */
export async function openBook(eventId) {
  const summary = () => store.events.find((each) => each.id === eventId);
  let shown = summary(); // the store makes a new one for each change
  /** @type {any} */
  let book;
  try {
    book = await get(`/events/${eventId}`);
  } catch (error) {
    return sayProblem(error, _("The order could not be read"));
  }
  let filter = "";
  let chosen = book.copies[0]?.id ?? "";
  const head = el("dl.book-head");
  const detail = el("div.book-detail", { "aria-live": "polite" });
  const bar = el("div.book-bar");
  const table = new VirtualTable({
    label: _("Copies"),
    empty: _("Nobody was to copy this order."),
    columns: [
      { key: "account", title: _("Account") },
      { key: "state", title: _("State") },
      { key: "sum", title: _("Free × share → order"), className: "num" },
      { key: "filled", title: _("Filled"), className: "num" },
      { key: "price", title: _("Average price"), className: "num" },
      { key: "bp", title: _("Difference"), className: "num" },
      { key: "ms", title: _("Taken"), className: "num" },
    ],
    makeRow,
    drawRow: (row, copy) => drawRow(row, copy, book),
    onOpen: (copy) => {
      chosen = copy.id;
      draw();
    },
  });
  const draw = () => {
    const rows = filter ? book.copies.filter((/** @type {any} */ copy) => group(copy) === filter) : book.copies;
    fillWith(head, bookHead(book));
    drawBar();
    table.select(chosen);
    table.show(rows, filter ? _("None.") : undefined);
    const copy = book.copies.find((/** @type {any} */ each) => each.id === chosen);
    fillWith(detail, copy ? copyDetail(copy, book) : el("p.muted", {}, _("Choose a follower to see its sum.")));
  };
  const drawBar = () => {
    const open = book.copies.filter((/** @type {any} */ copy) => copy.open && copy.state !== "NEEDS_PERSON");
    const all = el(
      "button.btn.btn-primary.btn-small",
      { onclick: () => busyWhile(all, () => copyOrderNow(eventId)) },
      ngettext("Copy %(num)s failed one now…", "Copy all %(num)s failed ones now…", open.length),
    );
    const counts = Object.entries(groups()).map(([key, name]) => {
      const number = book.copies.filter((/** @type {any} */ copy) => group(copy) === key).length;
      return el(
        `button.btn.btn-small.${filter === key ? "btn-primary" : "btn-line"}`,
        {
          "aria-pressed": String(filter === key),
          disabled: !number && filter !== key,
          onclick: () => ((filter = filter === key ? "" : key), draw()),
        },
        `${name} `,
        format.count(number),
      );
    });
    fillWith(bar, counts, el("span.spacer"), open.length ? all : null);
  };
  const dialog = openDialog({
    title: `${word(book.type)} · ${format.full(book.t)}`,
    size: "full",
    body: el("div.book", {}, head, el("div.book-rows", {}, bar, table.element), detail),
    onClose: () => {
      store.removeEventListener("change", follow);
      clearTimeout(timer);
    },
  });
  let asked = -REFRESH_MS;
  let timer = 0; // set until the question is answered, too: one at a time, so that no older answer comes last
  const follow = () => {
    // What changes within a second of the last question is asked for when that second is over.
    if (summary() && summary() !== shown && store.isLive)
      timer ||= setTimeout(look, Math.max(0, asked + REFRESH_MS - performance.now()));
  };
  const look = async () => {
    const wanted = summary();
    asked = performance.now();
    try {
      book = await get(`/events/${eventId}`);
      shown = wanted;
      if (dialog.element.isConnected) draw();
    } catch {
      // What is shown stands; it is asked for again.
    }
    timer = 0;
    if (dialog.element.isConnected) follow();
  };
  store.addEventListener("change", follow);
  draw();
  follow();
}

function groups() {
  return { ok: _("Done"), fail: _("Failed"), pending: _("Under way"), skipped: _("Skipped") };
}

/** @param {any} copy */
function group(copy) {
  if (["FILLED", "PARTLY_FILLED"].includes(copy.state)) return "ok";
  if (["REJECTED", "FAILED", "STALE"].includes(copy.state)) return "fail";
  return copy.state === "SKIPPED" ? "skipped" : "pending";
}

function makeRow() {
  const cell = (className = "") => el(`div${className}`, { role: "cell" });
  const parts = {
    account: cell(".two"),
    state: cell(),
    sum: cell(".two.num"),
    filled: cell(".two.num"),
    price: cell(".num"),
    bp: cell(".num"),
    ms: cell(".num"),
  };
  const row = el("div.grid-row", { role: "row", tabIndex: 0 }, Object.values(parts));
  row.parts = parts;
  return row;
}

/** @param {any} row @param {any} copy @param {any} book */
function drawRow(row, copy, book) {
  if (row.drawn === copy) return;
  row.drawn = copy;
  const { parts } = row;
  const two = (/** @type {any} */ cell, /** @type {string} */ above, /** @type {string} */ below) =>
    fillWith(cell, el("span.clip", {}, above), el("small", {}, below));
  two(parts.account, copy.account, `${exchangeName(store.exchanges, copy.exchange)} · ${word(copy.env)}`);
  fillWith(parts.state, el(`span.pill${tone(copy.state) ? `.${tone(copy.state)}` : ""}`, {}, word(copy.state)));
  const reason = copy.reason_kind || copy.reason ? sentence(copy.reason_kind, { ...copy }) : "";
  if (copy.sent == null) two(parts.sum, "–", reason);
  else
    two(
      parts.sum,
      `${format.exact(copy.sent)} ${copy.size_asset}`,
      reason && tone(copy.state) !== "good"
        ? reason
        : `${format.exact(copy.free_before)} × ${format.share(book.x_percent)}`,
    );
  const [base, quote] = book.symbol.split("/");
  if (!isZero(copy.filled_base))
    two(parts.filled, `${format.exact(copy.filled_base)} ${base}`, `${format.exact(copy.filled_quote)} ${quote}`);
  else two(parts.filled, "–", "");
  setText(parts.price, format.money(copy.average_price));
  setText(parts.bp, copy.slippage_bp == null ? "–" : _("%(points)s bp", { points: format.points(copy.slippage_bp) }));
  const last = Math.max(...Object.values(copy.latency_ms).map(Number));
  setText(parts.ms, Number.isFinite(last) ? format.ms(last) : "–");
}
