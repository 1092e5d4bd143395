// @ts-check
// When the leader was not heard, and what was found afterwards.
import { _, format, sentence } from "../i18n.js";
import { get } from "../api.js";
import { el, fillWith } from "../lib/dom.js";
import { store } from "../store.js";

export function gaps() {
  const list = el("div.scroll");
  const load = async () => {
    if (!store.engine.connected) return;
    try {
      const { items } = await get("/gaps");
      fillWith(
        list,
        items.length ? items.map(row) : el("p.quiet", {}, _("The leader has been heard without interruption.")),
      );
    } catch {
      fillWith(list, el("p.quiet", {}, _("Not known at the moment.")));
    }
  };
  let newest = -1;
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
    _("Orders found afterwards: %(count)s", { count: format.count(gap.found) }),
    gap.copied ? _("copied: %(count)s", { count: format.count(gap.copied) }) : "",
    gap.missed ? _("too old to be copied: %(count)s", { count: format.count(gap.missed) }) : "",
    Object.keys(gap.unexplained ?? {}).length ? _("a balance remains unexplained") : "",
  ].filter(Boolean);
  return el(
    "div.gap-row",
    {},
    el("span", { title: format.full(since) }, `${format.moment(since)} – ${until ? format.moment(until) : _("now")}`),
    el("span", {}, format.seconds(seconds)),
    el(
      "span",
      { className: told.length > 2 ? "warn" : "muted", title: sentence(gap.reason_kind, { ...gap }) },
      gap.open ? _("still going on") : told.join(_(", ")),
    ),
  );
}
