// @ts-check
import { _, format, locale, sentence, remedy } from "../i18n.js";
import { post } from "../api.js";
import { busyWhile, byId, el, icon, setText } from "../lib/dom.js";
import { chooseRows } from "../lib/rows.js";
import { store } from "../store.js";
import { exchangeName, tone, word } from "../words.js";
import { deleteAccount, openAddAccount, openEditAccount } from "./account_dialog.js";
import { assets } from "./copying.js";
import { say, sayProblem } from "./toasts.js";
import { verifyAccount } from "./verify.js";
import { VirtualTable } from "./virtual_table.js";

const OLD_SEC = 15;
const SORT_AGAIN_MS = 1000;

let made = 0;
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
    makeRow: () => makeRow(base, quote),
    drawRow: (row, account) => drawRow(row, account, base, quote),
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
  store.when(["accounts", "exchanges", "snapshot"], () => choose(table, false));
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
    chosen.length === total ? format.count(total) : `${format.count(chosen.length)} / ${format.count(total)}`,
  );
  const none = total
    ? _("No follower fits what is searched for.")
    : store.isLoaded
      ? _("No follower yet. Add one, and it copies the leader's orders with its own money.")
      : _("Loading…");
  table.show(chosen, none);
}

/** @param {string} base @param {string} quote */
function makeRow(base, quote) {
  made += 1;
  const id = `follower-${made}`;
  // Named by itself and the account's name beside it, so that drawing a row need not name four buttons anew.
  const action = (
    /** @type {string} */ symbol,
    /** @type {string} */ name,
    /** @type {(button: any) => void} */ act,
    className = "",
  ) => {
    const own = `${id}-${symbol}`;
    const button = el(
      `button.icon-button${className}`,
      { id: own, title: name, "aria-label": name, "aria-labelledby": `${own} ${id}` },
      icon(symbol),
    );
    button.addEventListener("click", () => act(button));
    return button;
  };
  const cell = (/** @type {string} */ className, /** @type {any} */ ...children) =>
    el(`div${className}`, { role: "cell" }, ...children);
  const parts = {
    name: el("div.name.clip", { role: "rowheader", id }),
    exchange: cell(".clip"),
    env: cell(".env"),
    state: el("span.pill"),
    quote: el("span"),
    quoteAge: el("span.age"),
    base: el("span"),
    baseAge: el("span.age"),
    side: el("span.side-word"),
    share: el("span"),
    amount: el("span"),
    outcome: el("span"),
    error: cell(".clip"),
    pause: action("pause", _("Pause"), (button) => busyWhile(button, () => pauseOrResume(row.item))),
    verify: action("shield-check", _("Verify"), (button) => busyWhile(button, () => verifyAccount(row.item))),
  };
  const copy = el(
    "div.two",
    { role: "cell" },
    el("span.clip", {}, parts.side, " ", parts.share),
    el("small", {}, parts.amount, " ", parts.outcome),
  );
  const edit = action("pencil", _("Edit"), () => openEditAccount(row.item));
  const remove = action("trash3", _("Delete"), () => deleteAccount(row.item), ".danger");
  const row = el(
    "div.grid-row",
    { role: "row" },
    parts.name,
    parts.exchange,
    parts.env,
    cell("", parts.state),
    el("div.num", { role: "cell", "data-label": quote }, parts.quote, parts.quoteAge),
    el("div.num", { role: "cell", "data-label": base }, parts.base, parts.baseAge),
    copy,
    parts.error,
    cell(".actions", parts.pause, parts.verify, edit, remove),
  );
  row.parts = parts;
  return row;
}

/** @param {any} row @param {any} account @param {string} base @param {string} quote */
function drawRow(row, account, base, quote) {
  const { parts } = row;
  const age = (/** @type {any} */ element, /** @type {string} */ asset) => {
    const sec = store.ageSec(account, asset);
    setText(element, sec == null ? "" : format.seconds(sec < 1 ? sec : Math.floor(sec)));
    element.classList.toggle("old", sec != null && sec > OLD_SEC && !account.pushed);
  };
  age(parts.quoteAge, quote);
  age(parts.baseAge, base);
  if (row.drawn === account && row.names === store.exchanges) return;
  row.drawn = account;
  row.names = store.exchanges;
  setText(parts.name, account.name);
  setText(parts.exchange, exchangeName(store.exchanges, account.exchange));
  setText(parts.env, word(account.env));
  parts.env.className = `env ${account.env}`;
  setText(parts.state, word(account.state));
  parts.state.className = `pill ${tone(account.state)}`;
  setText(parts.quote, format.money(account[`free${quote}`]));
  setText(parts.base, format.coin(account[`free${base}`]));
  drawCopy(parts, account.last_copy);
  drawError(parts.error, account);
  if (row.paused === account.paused) return;
  row.paused = account.paused;
  const name = account.paused ? _("Resume") : _("Pause");
  parts.pause.title = name;
  parts.pause.setAttribute("aria-label", name);
  parts.pause.firstElementChild.className = `bi bi-${account.paused ? "play" : "pause"}`;
}

/** @param {any} parts @param {any} copy */
function drawCopy(parts, copy) {
  if (!copy) {
    setText(parts.side, "–");
    parts.side.className = "muted";
    for (const part of [parts.share, parts.amount, parts.outcome]) setText(part, "");
    return;
  }
  const share = copy.x_percent ?? store.events.find((event) => event.id === copy.event_id)?.x_percent;
  setText(parts.side, word(copy.side));
  parts.side.className = `side-word ${copy.side === "BUY" ? "rise" : "fall"}`;
  setText(parts.share, share == null ? "" : format.share(share));
  setText(parts.amount, copy.sent == null ? "" : `${format.exact(copy.sent)} ${copy.size_asset}`);
  setText(parts.outcome, copy.state === "FILLED" ? "" : word(copy.state));
  parts.outcome.className = tone(copy.state);
}

/** @param {any} cell @param {any} account */
function drawError(cell, account) {
  const warning = account.warnings?.[0];
  const text =
    account.error_kind || account.error
      ? sentence(account.error_kind, { reason: account.error })
      : warning
        ? sentence(warning.kind, { ...warning, reason: warning.text })
        : "";
  if (cell.dataset.shown === text) return;
  cell.dataset.shown = text;
  const bad = Boolean(account.error_kind || account.error);
  cell.className = `clip ${bad ? "bad" : "warn"}`;
  cell.textContent = text;
  cell.title = [text, bad ? remedy(account.error_kind) : warning ? remedy(warning.kind, warning) : ""]
    .filter(Boolean)
    .join("\n");
}

/** @param {any} account */
async function pauseOrResume(account) {
  const resumes = account.paused;
  try {
    store.putAccount(await post(`/accounts/${account.id}/${resumes ? "resume" : "pause"}`, {}));
    if (resumes)
      say({
        tone: "good",
        title: _("%(name)s follows again", account),
        text: _("Orders placed before now are not copied to it."),
      });
    else say({ tone: "good", title: _("%(name)s is paused", account), text: _("No new order of it leaves.") });
  } catch (error) {
    sayProblem(error, resumes ? _("%(name)s was not resumed", account) : _("%(name)s was not paused", account));
  }
}
