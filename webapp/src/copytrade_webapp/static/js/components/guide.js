// @ts-check
// Leads a person who has an empty panel by the hand: leader, followers, verified, start.
import { _, ngettext } from "../i18n.js";
import { busyWhile, byId, el, fillWith } from "../lib/dom.js";
import { prefer, preference } from "../prefs.js";
import { store } from "../store.js";
import { openAddAccount } from "./account_dialog.js";
import { startCopying } from "./copying.js";
import { openLeaderDialog } from "./leader_dialog.js";

export function mountGuide() {
  store.when(["status", "accounts", "events", "snapshot", "exchanges", "engine"], draw);
}

function draw() {
  const { status, accounts, events, engine } = store;
  const panel = byId("guide");
  const begun = events.length > 0 || status?.running;
  if (begun && !preference("welcomed")) prefer("welcomed", "yes");
  const complete = status?.leader && accounts.size > 0;
  panel.hidden =
    !store.isLoaded || !status || !engine.connected || (complete && (begun || preference("welcomed") === "yes"));
  if (panel.hidden) return;
  const rows = [...accounts.values()];
  const verified = rows.filter((row) => row.state !== "DISABLED" && row.status === "VERIFIED").length;
  const done = [
    Boolean(status.leader),
    rows.length > 0,
    rows.length > 0 && verified === rows.length,
    Boolean(status.running),
  ];
  const key = JSON.stringify([done, rows.length, verified, status.leader?.connected]);
  if (panel.dataset.shown === key) return;
  panel.dataset.shown = key;
  const now = done.indexOf(false);
  const start = el(
    "button.btn.btn-good.btn-small",
    { onclick: () => busyWhile(start, startCopying) },
    _("Start copying"),
  );
  const steps = [
    [
      _("Leader"),
      _("Whose orders are copied. A key that may only read is enough."),
      el("button.btn.btn-primary.btn-small", { onclick: openLeaderDialog }, _("Set the leader")),
    ],
    [
      _("Followers"),
      _("The accounts that copy, on Binance or Bitget, each with its own key."),
      el("button.btn.btn-primary.btn-small", { onclick: openAddAccount }, _("Add a follower")),
    ],
    [
      _("Verify"),
      rows.length
        ? ngettext(
            "The exchange has accepted %(good)s of %(num)s key.",
            "The exchange has accepted %(good)s of %(num)s keys.",
            rows.length,
            { good: verified },
          )
        : _("Each key is tried at the exchange as soon as it is entered."),
      null,
    ],
    [_("Start"), _("Nothing is ordered before you say so."), start],
  ];
  fillWith(
    panel,
    el("header", {}, el("h2", {}, _("Four steps to the first copy"))),
    el(
      "ol",
      {},
      steps.map(([name, text, button], index) =>
        el(
          `li${done[index] ? ".done" : index === now ? ".now" : ""}`,
          index === now ? { "aria-current": "step" } : {},
          el("span.step-name", {}, el("span.mark", {}, done[index] ? "✓" : String(index + 1)), name),
          el("p", {}, text),
          index === now || (index === 1 && done[0]) ? button : null,
        ),
      ),
    ),
  );
}
