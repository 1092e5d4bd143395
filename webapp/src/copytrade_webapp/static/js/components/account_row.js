// @ts-check
// One follower's row in the main table: made once, then drawn again and again with newer figures.
import { post } from "../api.js";
import { _, format, remedy, sentence } from "../i18n.js";
import { busyWhile, el, icon, setText } from "../lib/dom.js";
import { store } from "../store.js";
import { exchangeName, tone, word } from "../words.js";
import { deleteAccount, openEditAccount } from "./account_dialog.js";
import { say, sayProblem } from "./toasts.js";
import { verifyAccount } from "./verify.js";

const OLD_SEC = 15;

let made = 0;

/** @param {string} base @param {string} quote */
export function makeAccountRow(base, quote) {
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
export function drawAccountRow(row, account, base, quote) {
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
