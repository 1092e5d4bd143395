// @ts-check
// What a person decides about copies: the sum is shown first, then it is done.
import { _, format, ngettext, sentence } from "../i18n.js";
import { get, post } from "../api.js";
import { el } from "../lib/dom.js";
import { store } from "../store.js";
import { word } from "../words.js";
import { askOnce } from "./dialog.js";
import { say, sayProblem } from "./toasts.js";

const SHOWN = 200;

/** Whether a copy would be sent as its preview says. @param {any} preview */
const leaves = (preview) => preview.sent != null && !preview.reason_kind;
/** Whether only the try can tell: what its order is made from is not read yet. @param {any} preview */
const isOpen = (preview) => preview.reason_kind === "not_known_yet";

/** @param {any} copy */
export async function copyNow(copy) {
  try {
    const preview = await get(`/copies/${copy.id}/preview`);
    const may = leaves(preview) || isOpen(preview);
    const agreed = await askOnce({
      title: may
        ? _("%(side)s on %(account)s now?", { side: word(copy.side), account: copy.account })
        : _("%(account)s cannot be copied now", { account: copy.account }),
      text: el(
        "div.fields",
        {},
        sum(preview, copy),
        may &&
          el("p.muted", {}, _("The same share of what is free there now, at today's price. The order leaves at once.")),
      ),
      button: leaves(preview)
        ? _("%(side)s for %(amount)s now", { side: word(copy.side), amount: amount(preview, copy) })
        : may
          ? _("Copy now")
          : "",
    });
    if (!agreed) return;
    const done = await post(`/copies/${copy.id}/copy-now`, {});
    sayOutcome(done);
  } catch (error) {
    sayProblem(error, _("%(account)s was not copied", { account: copy.account }));
  }
}

/** @param {string} eventId */
export async function copyOrderNow(eventId) {
  try {
    const preview = await get(`/events/${eventId}/preview`);
    const rows = preview.items;
    const count = rows.filter(leaves).length;
    const open = rows.filter(isOpen).length;
    const agreed = await askOnce({
      title: count
        ? ngettext("Copy for %(num)s follower now?", "Copy for %(num)s followers now?", count)
        : open
          ? _("Copy now?")
          : _("No copy can be made now"),
      text: el(
        "div.fields",
        {},
        sums(rows),
        open
          ? el(
              "p.note.warn",
              {},
              ngettext(
                "%(num)s follower whose figures are not known yet is tried as well.",
                "%(num)s followers whose figures are not known yet are tried as well.",
                open,
              ),
            )
          : null,
        count || open
          ? el(
              "p.muted",
              {},
              _("The same share of what is free there now, at today's price. The orders leave at once."),
            )
          : null,
      ),
      button: count
        ? ngettext("Copy for %(num)s follower now", "Copy for %(num)s followers now", count)
        : open
          ? _("Copy now")
          : "",
    });
    if (!agreed) return;
    store.putEvent(await post(`/events/${eventId}/copy-now`, {}));
    say({ tone: "good", title: _("The copies are under way") });
  } catch (error) {
    sayProblem(error, _("The order was not copied"));
  }
}

/** @param {any} copy */
export async function leaveCopy(copy) {
  try {
    await post(`/copies/${copy.id}/leave`, {});
    drop([copy.id]);
  } catch (error) {
    sayProblem(error, _("%(account)s: not noted", { account: copy.account }));
  }
}

/** @param {any[]} copies */
export async function leaveAll(copies) {
  const agreed = await askOnce({
    title: ngettext("Leave %(num)s copy as it is?", "Leave %(num)s copies as they are?", copies.length),
    text: _("They are not made up for, and are no longer shown here. The history keeps them."),
    button: ngettext("Leave %(num)s copy", "Leave %(num)s copies", copies.length),
  });
  if (!agreed) return;
  for (const copy of copies) await leaveCopy(copy);
}

/** @param {string[]} ids decided about: gone before the stream says so */
function drop(ids) {
  store.undecided = store.undecided.filter((each) => !ids.includes(each.id));
  store.touch("undecided");
}

/** @param {any} copy as it is after it was asked for */
function sayOutcome(copy) {
  const bad = ["FAILED", "REJECTED", "SKIPPED", "STALE"].includes(copy.state);
  say({
    tone: bad ? "bad" : "good",
    title: _("%(account)s: %(side)s %(state)s", {
      account: copy.account,
      side: word(copy.side),
      state: word(copy.state),
    }),
    text: bad ? sentence(copy.reason_kind, { ...copy }) : copy.sent == null ? "" : amount(copy, copy),
  });
}

/** @param {any} preview @param {any} copy */
function amount(preview, copy) {
  return `${format.exact(preview.sent)} ${preview.size_asset ?? copy.size_asset}`;
}

/** @param {any} preview @param {any} copy */
export function sum(preview, copy) {
  const asset = preview.size_asset || copy.size_asset || "";
  const row = (/** @type {string} */ name, /** @type {string} */ value, className = "") => [
    el(`dt${className}`, {}, name),
    el(`dd${className}`, {}, value),
  ];
  const reason = preview.reason_kind || preview.reason ? sentence(preview.reason_kind, { ...preview }) : "";
  return el(
    "div.fields",
    {},
    el(
      "dl.sum",
      {},
      row(_("Share"), preview.x_percent != null ? format.share(preview.x_percent) : (preview.share ?? "–")),
      row(_("Free now"), `${format.exact(preview.free_before)} ${asset}`),
      row(_("Share × free"), `${format.exact(preview.computed)} ${asset}`),
      row(
        _("Order, rounded down to %(step)s", { step: format.exact(preview.step) }),
        `${format.exact(preview.sent)} ${asset}`,
        ".total",
      ),
    ),
    reason ? el("p.note.warn", {}, reason) : null,
  );
}

/** @param {any[]} rows */
export function sums(rows) {
  return el(
    "div.list",
    {},
    rows
      .slice(0, SHOWN)
      .map((row) =>
        el(
          "div.list-row",
          {},
          el(
            "div.about",
            {},
            el("strong", {}, row.account),
            el(
              "small",
              {},
              row.computed == null
                ? ""
                : _("%(share)s of %(free)s = %(computed)s", {
                    share: format.share(row.x_percent),
                    free: format.exact(row.free_before),
                    computed: format.exact(row.computed),
                  }),
            ),
          ),
          row.sent == null || row.reason_kind
            ? el("span.warn", {}, sentence(row.reason_kind, { ...row }))
            : el("strong", {}, `${format.exact(row.sent)} ${row.size_asset}`),
        ),
      ),
    rows.length > SHOWN
      ? el("p.muted.more", {}, _("and %(count)s more", { count: format.count(rows.length - SHOWN) }))
      : null,
  );
}
