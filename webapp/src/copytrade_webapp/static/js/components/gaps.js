// @ts-check
// When the leader was not heard, and what was found afterwards.
import { _, format, sentence } from "../i18n.js";
import { get } from "../api.js";
import { el, fillWith } from "../lib/dom.js";
import { store } from "../store.js";

export function gaps() {
  const list = el("div.scroll");
  let newest = -1;
  const load = async () => {
    if (!store.engine.connected) {
      newest = -1;
      if (!list.children.length) fillWith(list, el("p.quiet", {}, _("Not known at the moment.")));
      return;
    }
    try {
      const { items } = await get("/gaps");
      fillWith(
        list,
        items.length ? items.map(row) : el("p.quiet", {}, _("The leader has been heard without interruption.")),
      );
    } catch {
      newest = -1;
      fillWith(list, el("p.quiet", {}, _("Not known at the moment.")));
    }
  };
  // Another engine may have others behind the same number.
  store.when(["snapshot"], () => {
    newest = -1;
  });
  store.when(["feed", "snapshot"], () => {
    const last =
      store.feed.find((entry) => entry.kind === "gap" || entry.kind === "leader" || entry.data?.what === "gap_read")
        ?.seq ?? 0;
    if (last === newest) return;
    newest = last;
    load();
  });
  return list;
}

/** @param {any} gap */
function row(gap) {
  const { since, until } = gap;
  const seconds = until ? (Date.parse(until) - Date.parse(since)) / 1000 : null;
  const told = [
    gap.found || gap.outcome !== "LEFT"
      ? _("Orders found afterwards: %(count)s", { count: format.count(gap.found) })
      : "",
    gap.copied ? _("copied: %(count)s", { count: format.count(gap.copied) }) : "",
    gap.missed ? _("too old to be copied: %(count)s", { count: format.count(gap.missed) }) : "",
    Object.keys(gap.unexplained ?? {}).length ? _("a balance remains unexplained") : "",
    gap.outcome === "UNCHECKED" ? _("not provable: no balance from before it") : "",
    gap.outcome === "LEFT" ? _("not read: another leader was set") : "",
  ].filter(Boolean);
  const isBad = gap.missed || ["UNEXPLAINED", "UNCHECKED", "LEFT"].includes(gap.outcome);
  return el(
    "div.gap-row",
    {},
    el("span", { title: format.full(since) }, `${format.moment(since)} – ${until ? format.moment(until) : _("now")}`),
    el("span", {}, format.seconds(seconds)),
    el(
      "span",
      { className: isBad ? "warn" : "muted", title: sentence(gap.reason_kind, { ...gap }) },
      gap.open ? _("still going on") : told.join(_(", ")),
    ),
  );
}
