// @ts-check
// The main table: all followers, searched, filtered and sorted.
import { _, format, locale } from "../i18n.js";
import { byId, el, setText } from "../lib/dom.js";
import { chooseRows } from "../lib/rows.js";
import { store } from "../store.js";
import { word } from "../words.js";
import { openAddAccount } from "./account_dialog.js";
import { drawAccountRow, makeAccountRow } from "./account_row.js";
import { assets } from "./copying.js";
import { VirtualTable } from "./virtual_table.js";

const SORT_AGAIN_MS = 1000;

const wish = { search: "", state: "", sorting: { key: "name", descending: false } };
/** @type {any[]} */
let chosen = [];
let chosenAt = 0;
let membership = "";
let sortingAgain = 0;

export function mountAccounts() {
  const { base, quote } = assets();
  const table = new VirtualTable({
    label: _("Followers"),
    empty: "",
    columns: [
      { key: "name", title: _("Account"), sortable: true },
      { key: "exchange", title: _("Exchange"), sortable: true },
      { key: "env", title: _("Environment"), sortable: true },
      { key: "state", title: _("State"), sortable: true },
      { key: `free${quote}`, title: _("Free %(asset)s", { asset: quote }), sortable: true, className: "num" },
      { key: `free${base}`, title: _("Free %(asset)s", { asset: base }), sortable: true, className: "num" },
      { key: "last_copy", title: _("Last copy"), sortable: true },
      { key: "error_kind", title: _("Error"), sortable: true },
      { key: "", title: "" },
    ],
    makeRow: () => makeAccountRow(base, quote),
    drawRow: (row, account) => drawAccountRow(row, account, base, quote),
    onSort: (key) => {
      wish.sorting = { key, descending: wish.sorting.key === key && !wish.sorting.descending };
      table.markSorted(key, wish.sorting.descending);
      choose(table, true);
    },
  });
  table.markSorted("name", false);
  byId("accounts").append(table.element);
  byId("add-account").addEventListener("click", openAddAccount);
  byId("search").addEventListener("input", () => ((wish.search = byId("search").value), choose(table, true)));
  const filter = byId("state-filter");
  for (const [value, name] of [
    ["", _("All states")],
    ["ACTIVE", word("ACTIVE")],
    ["PAUSED", word("PAUSED")],
    ["DISABLED", word("DISABLED")],
    ["error", _("with an error")],
  ]) {
    filter.append(el("option", { value }, name));
  }
  filter.addEventListener("change", () => ((wish.state = filter.value), choose(table, true)));
  store.when(["accounts", "exchanges", "snapshot", "stream"], () => choose(table, false));
  // Ages go on while nothing arrives.
  setInterval(() => document.hidden || table.schedule(), 1000);
}

/** @param {VirtualTable} table @param {boolean} now */
function choose(table, now) {
  const due = performance.now() - chosenAt > SORT_AGAIN_MS;
  const members = `${store.accounts.size}`;
  if (now || due || members !== membership) {
    clearTimeout(sortingAgain);
    sortingAgain = 0;
    const { base, quote } = assets();
    chosen = chooseRows(store.accounts.values(), wish, { base, quote, locale });
    chosenAt = performance.now();
    membership = members;
  } else {
    // Between two sortings rows keep their places and show their newest figures.
    chosen = chosen.map((row) => store.accounts.get(row.id) ?? row);
    sortingAgain ||= setTimeout(() => choose(table, true), SORT_AGAIN_MS);
  }
  const total = store.accounts.size;
  setText(
    byId("accounts-count"),
    chosen.length < total
      ? `${format.count(chosen.length)} / ${format.count(total)}`
      : total || store.status
        ? format.count(total)
        : "–",
  );
  const none = total
    ? _("No follower fits what is searched for.")
    : store.status
      ? _("No follower yet. Add one, and it copies the leader's orders with its own money.")
      : store.isLoaded
        ? _("Not known at the moment.")
        : _("Loading…");
  table.show(chosen, none);
}
