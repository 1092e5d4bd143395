// @ts-check
// A leader order whose share could not be established: the figures, and a person's answer.
import { _, explain, format, sentence } from "../i18n.js";
import { get, post } from "../api.js";
import { busyWhile, el, fillWith } from "../lib/dom.js";
import { Problem } from "../lib/problem.js";
import { parseShare } from "../lib/share.js";
import { store } from "../store.js";
import { word } from "../words.js";
import { howWord } from "./book_head.js";
import { labelled, showErrors } from "./credential_fields.js";
import { assets } from "./copying.js";
import { sums } from "./decide.js";
import { openDialog } from "./dialog.js";
import { say } from "./toasts.js";

/** @param {any} event */
export function openShare(event) {
  const { base, quote } = assets();
  const input = el("input.form-control", {
    id: "field-share",
    name: "share",
    inputMode: "decimal",
    autocomplete: "off",
    placeholder: "25 %",
  });
  const preview = el("div.fields", { hidden: true });
  let shown = "";
  const submit = () =>
    busyWhile(save, async () => {
      const share = parseShare(input.value);
      if (!share)
        return void showErrors(form, [
          { field: "share", text: _("Above 0 % and at most 100 %, for example 25 % or 1/4.") },
        ]);
      try {
        // The sums are shown first; the second press sends what was seen.
        if (share !== shown) {
          const { items } = await get(`/events/${event.id}/preview?share=${encodeURIComponent(share)}`);
          fillWith(preview, el("p", {}, _("What each follower would order now:")), sums(items));
          preview.hidden = false;
          shown = share;
          save.textContent = _("Copy at this share now");
          return;
        }
        store.putEvent(await post(`/events/${event.id}/share`, { share }));
        dialog.close();
        say({ tone: "good", title: _("The copies are under way") });
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
        showErrors(form, [{ field: "share", text: explain(error) }]);
      }
    });
  const save = el("button.btn.btn-primary", { onclick: submit }, _("Show the sums"));
  input.addEventListener("input", () => {
    shown = "";
    preview.hidden = true;
    save.textContent = _("Show the sums");
  });
  const form = el(
    "form.fields",
    { noValidate: true, onsubmit: (/** @type {Event} */ event_) => (event_.preventDefault(), submit()) },
    labelled(_("Share of the free balance"), input, null, _("In per cent, or as a fraction: 25 % or 1/4.")),
  );
  const rows = [
    [
      _("Order"),
      `${word(event.type)} ${format.exact(event.filled_base)} ${base}, ${format.exact(event.filled_quote)} ${quote}`,
    ],
    [_("Time"), format.full(event.t)],
    ...Object.entries(event.estimates ?? {}).map(([name, value]) => [
      _("Balance before, by %(name)s", { name: howWord(name) }),
      `${format.exact(value)} ${event.type === "BUY" ? quote : base}`,
    ]),
  ];
  const dialog = openDialog({
    title: _("Which share of its balance did the leader use?"),
    body: el(
      "div.sheet-body",
      {},
      el("p", {}, sentence(event.reason_kind, { ...event })),
      el(
        "dl.facts",
        {},
        rows.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]),
      ),
      form,
      preview,
    ),
    foot: [el("button.btn.btn-line", { onclick: () => dialog.close() }, _("Cancel")), save],
  });
}
