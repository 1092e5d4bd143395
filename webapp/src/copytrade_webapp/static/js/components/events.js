// @ts-check
import { _, format, sentence } from "../i18n.js";
import { el, fillWith, icon, setText } from "../lib/dom.js";
import { store } from "../store.js";
import { outcome, tone, word } from "../words.js";
import { openBook } from "./book.js";
import { assets } from "./copying.js";
import { VirtualTable } from "./virtual_table.js";

export function eventsTable() {
  const { base, quote } = assets();
  const table = new VirtualTable({
    label: _("Leader orders"),
    empty: "",
    columns: [
      { key: "t", title: _("Time") },
      { key: "type", title: _("Side") },
      { key: "share", title: _("Share"), className: "num" },
      { key: "amount", title: _("Leader filled"), className: "num" },
      { key: "fanout", title: _("Copies"), className: "num" },
      { key: "ok", title: _("Done"), className: "num" },
      { key: "fail", title: _("Failed"), className: "num" },
      { key: "pending", title: _("Under way"), className: "num" },
      { key: "state", title: _("State") },
      { key: "", title: "" },
    ],
    makeRow,
    drawRow: (row, event) => drawRow(row, event, base, quote),
    onOpen: (event) => openBook(event.id),
  });
  table.element.classList.add("events");
  store.when(["events", "snapshot", "stream"], () => table.show(store.events, none()));
  return table.element;
}

function none() {
  if (!store.isLoaded) return _("Loading…");
  return store.status
    ? _("No leader order yet. Each market order of the leader appears here, with what became of every copy.")
    : _("Not known at the moment.");
}

function makeRow() {
  const cell = (className = "") => el(`div${className}`, { role: "cell" });
  const parts = {
    time: cell(),
    side: cell(".side-word"),
    share: cell(".num"),
    amount: cell(".num"),
    fanout: cell(".num"),
    ok: cell(".num"),
    fail: cell(".num"),
    pending: cell(".num"),
    state: cell(".clip"),
  };
  for (const [key, name] of [
    ["fanout", _("Copies")],
    ["ok", _("Done")],
    ["fail", _("Failed")],
    ["pending", _("Under way")],
  ]) {
    parts[/** @type {"ok"} */ (key)].setAttribute("data-label", name);
  }
  const row = el(
    "div.grid-row",
    { role: "row", tabIndex: 0 },
    Object.values(parts),
    el("div.muted", { role: "cell" }, icon("chevron-right")),
  );
  row.parts = parts;
  return row;
}

/** @param {any} row @param {any} event @param {string} base @param {string} quote */
function drawRow(row, event, base, quote) {
  if (row.drawn === event) return;
  row.drawn = event;
  const { parts } = row;
  setText(parts.time, format.moment(event.t));
  parts.time.title = format.full(event.t);
  setText(parts.side, word(event.type));
  parts.side.className = `side-word ${event.type === "BUY" ? "rise" : "fall"}`;
  setText(parts.share, format.share(event.x_percent));
  setText(
    parts.amount,
    event.type === "BUY"
      ? `${format.money(event.filled_quote)} ${quote}`
      : `${format.exact(event.filled_base)} ${base}`,
  );
  parts.amount.title = `${format.exact(event.filled_base)} ${base} · ${format.exact(event.filled_quote)} ${quote}`;
  for (const [key, className] of [
    ["fanout", ""],
    ["ok", "good"],
    ["fail", "bad"],
    ["pending", "warn"],
  ]) {
    const own = parts[key];
    setText(own, event.state === "COPIED" || event.fanout ? format.count(event[key]) : "–");
    own.className = `num ${event[key] ? className : "muted"}`;
  }
  drawState(parts.state, event);
}

/** @param {any} cell @param {any} event */
function drawState(cell, event) {
  const reason = event.reason_kind ? sentence(event.reason_kind, { ...event }) : event.reason;
  const came = outcome(event);
  const state = tone(came);
  cell.title = reason ?? "";
  const name = event.state === "COPIED" && event.pending ? _("being copied") : word(came);
  fillWith(
    cell,
    el(`span.pill${state ? `.${state}` : ""}`, {}, name),
    reason ? el("span.muted", {}, ` ${reason}`) : null,
    event.source === "gap" ? el("span.muted", {}, ` ${_("read after an interruption")}`) : null,
  );
}
