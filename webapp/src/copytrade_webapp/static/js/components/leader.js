// @ts-check
import { _, format, remedy, sentence } from "../i18n.js";
import { byId, el, fillWith, icon } from "../lib/dom.js";
import { store } from "../store.js";
import { exchangeName, word } from "../words.js";
import { assets } from "./copying.js";
import { openLeaderDialog } from "./leader_dialog.js";

export function mountLeader() {
  store.when(["status", "snapshot", "exchanges", "engine", "stream"], draw);
}

function draw() {
  const leader = store.status?.leader;
  const head = el(
    "div.panel-head",
    {},
    el("h2", {}, _("Leader")),
    el("span.spacer"),
    leader
      ? el(
          "button.icon-button",
          {
            id: "edit-leader",
            title: _("Change the leader"),
            "aria-label": _("Change the leader"),
            onclick: openLeaderDialog,
          },
          icon("pencil"),
        )
      : null,
  );
  const panel = byId("leader");
  const hadFocus = panel.contains(document.activeElement);
  fillWith(panel, head, leader ? filled(leader) : store.status ? empty() : notKnown());
  if (hadFocus) panel.querySelector("button")?.focus();
}

function notKnown() {
  return el("p.quiet", {}, _("Not known at the moment."));
}

function empty() {
  return el(
    "div.empty",
    {},
    el("p", {}, _("The leader is the account whose market orders are copied. None is set.")),
    el("button.btn.btn-primary", { id: "set-leader", onclick: openLeaderDialog }, _("Set the leader")),
  );
}

/** @param {any} leader */
function listens(leader) {
  if (!store.isLive) return el("span.pill", {}, el("span.dot"), _("unknown"));
  return leader.connected
    ? el("span.pill.good", {}, el("span.dot"), _("listening"))
    : el("span.pill.bad", {}, el("span.dot"), _("not heard"));
}

/** @param {any} leader */
function filled(leader) {
  const { base, quote } = assets();
  const reason = leader.error_kind || leader.error;
  const rows = [
    [_("Environment"), el(`span.env.${leader.env}`, {}, word(leader.env))],
    leader.uid ? [_("Account number"), el("span.mono", {}, leader.uid)] : null,
    leader.key_fingerprint ? [_("Key fingerprint"), el("span.mono", {}, leader.key_fingerprint)] : null,
    [_("Free %(asset)s", { asset: quote }), format.exact(leader[`free${quote}`])],
    [_("Free %(asset)s", { asset: base }), format.exact(leader[`free${base}`])],
    [
      _("Last event"),
      leader.last_event
        ? el("span", { title: format.full(leader.last_event) }, format.moment(leader.last_event))
        : _("none yet"),
    ],
    [
      _("Sign of life"),
      leader.proof_age_sec == null || !store.isLive ? "–" : _("%(age)s ago", { age: format.seconds(leader.proof_age_sec) }),
    ],
    [_("Connections"), format.count(leader.connections)],
    leader.gap_since ? [_("Not heard since"), el("span.bad", {}, format.moment(leader.gap_since))] : null,
  ];
  return [
    el("div.who", {}, exchangeName(store.exchanges, leader.exchange)),
    el("div.listens", {}, listens(leader)),
    reason
      ? el(
          "div.note.bad",
          {},
          el("p", {}, sentence(leader.error_kind, { reason: leader.error })),
          el("p.muted", {}, remedy(leader.error_kind)),
        )
      : null,
    (leader.warnings ?? []).map((/** @type {any} */ each) =>
      el(
        "div.note.warn",
        {},
        el("p", {}, sentence(each.kind, { ...each, reason: each.text })),
        el("p.muted", {}, remedy(each.kind, each)),
      ),
    ),
    el(
      "dl.facts",
      {},
      rows.flatMap((row) => (row ? [el("dt", {}, row[0]), el("dd", {}, row[1])] : [])),
    ),
  ];
}
