// @ts-check
// What is down, across the whole width, with since when and what ends it.
import { _, format, ngettext, remedy, sentence } from "../i18n.js";
import { byId, el, fillWith, icon } from "../lib/dom.js";
import { store } from "../store.js";
import { exchangeName } from "../words.js";
import { openRestored } from "./restored.js";

// Every fan-out is unsettled for a moment; only what stays so is worth a strip.
const SETTLES_MS = 6000;

/** @type {any} */
let update = null;
let unsettledSince = 0;

export function mountStrips() {
  store.when(["status", "engine", "stream", "snapshot"], draw);
}

/** A new version of the page is there. @param {() => void} reload */
export function offerUpdate(reload) {
  update = el("button.btn.btn-primary.btn-small", { onclick: reload }, _("Reload"));
  draw();
}

function draw() {
  byId("app").classList.toggle("stale", store.isLoaded && !store.isLive);
  const shown = strips();
  const room = byId("strips");
  const key = JSON.stringify(shown.map(({ tone, title, text, ends }) => [tone, title, text, ends])) + Boolean(update);
  if (room.dataset.shown === key) return;
  room.dataset.shown = key;
  fillWith(
    room,
    update
      ? el(
          "div.strip.info",
          {},
          icon("arrow-clockwise"),
          el("strong", {}, _("A new version is ready.")),
          el("span.spacer"),
          update,
        )
      : null,
    shown.map(({ tone, title, text, ends, button }) =>
      el(
        `div.strip${tone ? `.${tone}` : ""}`,
        {},
        icon("exclamation-triangle-fill"),
        el("strong", {}, title),
        text ? el("span", {}, text) : null,
        ends ? el("span.ends", {}, ends) : null,
        el("span.spacer"),
        button ?? null,
      ),
    ),
  );
}

/** @returns {{tone?: string, title: string, text?: string, ends?: string, button?: any}[]} */
function strips() {
  const { status, engine, stream } = store;
  const since = (/** @type {string} */ time) => (time ? _("since %(time)s", { time: format.moment(time) }) : "");
  if (!stream.open) {
    if (!stream.retrying) return [];
    return [
      {
        title: _("No live figures"),
        text: since(stream.since),
        ends: _("What is shown may be old. Connecting again…"),
      },
    ];
  }
  if (!engine.connected) {
    return [
      {
        title: _("The engine is not running"),
        text: since(engine.since),
        ends: _("Nothing is copied until it is started on the server: copytrade engine"),
      },
    ];
  }
  if (!status) return [];
  const found = status.halts.map((/** @type {any} */ halt) => {
    const where = halt.exchange ? exchangeName(store.exchanges, halt.exchange) : "";
    return {
      title: where ? _("%(name)s: trading is halted", { name: where }) : _("Trading is halted"),
      text: `${sentence(halt.kind, { reason: halt.reason })} ${_("(since %(time)s)", { time: format.moment(halt.since) })}`,
      ends: halt.until
        ? _("Ends at %(time)s", { time: format.moment(halt.until) })
        : remedy(halt.kind, halt) || halt.ends_when,
      button:
        halt.kind === "restored"
          ? el("button.btn.btn-line.btn-small", { onclick: openRestored }, _("Reconcile…"))
          : null,
    };
  });
  const { leader } = status;
  if (leader && !leader.connected) {
    const reason = leader.error_kind || leader.error ? sentence(leader.error_kind, { reason: leader.error }) : "";
    found.push({
      title: _("The leader is not heard"),
      text: [since(leader.gap_since), reason].filter(Boolean).join(_(": ")),
      ends: _("Its orders are read once it is back; those that are too old are shown here to be copied by hand."),
    });
  }
  if (status.starting) {
    found.push({
      tone: "warn",
      title: _("The engine is starting"),
      text: _("%(ready)s of %(accounts)s accounts are ready", {
        ready: format.count(status.starting.ready),
        accounts: format.count(status.starting.accounts),
      }),
    });
  }
  unsettledSince = status.unsettled ? unsettledSince || performance.now() : 0;
  if (unsettledSince && performance.now() - unsettledSince > SETTLES_MS) {
    found.push({
      tone: "warn",
      title: ngettext("%(num)s copy is being settled", "%(num)s copies are being settled", status.unsettled),
      text: _("The exchanges are being asked what became of them."),
    });
  }
  return found;
}
