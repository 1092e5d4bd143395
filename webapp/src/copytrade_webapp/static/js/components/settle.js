// @ts-check
// A copy of which nobody could find out whether it was executed: what is known is laid out, a person says.
import { _, explain, format, sentence } from "../i18n.js";
import { post } from "../api.js";
import { busyWhile, el, fillWith } from "../lib/dom.js";
import { Problem } from "../lib/problem.js";
import { store } from "../store.js";
import { exchangeName, word } from "../words.js";
import { labelled, showErrors } from "./credential_fields.js";
import { openDialog } from "./dialog.js";
import { say } from "./toasts.js";

/** @param {any} copy */
export function openSettle(copy) {
  const number = el("input.form-control.mono", {
    id: "field-exchange_order_id",
    name: "exchange_order_id",
    autocomplete: "off",
    spellcheck: false,
  });
  const alert = el("div.note.bad", { role: "alert", hidden: true });
  const executed = choice(
    "executed",
    _("It was executed"),
    _("The exchange shows an order with our order number. Its fills are read from there."),
  );
  const not = choice(
    "not-executed",
    _("It was not executed"),
    _("The exchange shows no such order, and the balance did not change by it."),
  );
  const numberRoom = el("div", { hidden: true }, labelled(_("The exchange's order number"), number));
  const draw = () => {
    numberRoom.hidden = !executed.input.checked;
    save.disabled = !executed.input.checked && !not.input.checked;
    fillWith(
      save,
      executed.input.checked ? _("Settle as executed") : not.input.checked ? _("Settle as not executed") : _("Settle"),
    );
  };
  const submit = () =>
    busyWhile(save, async () => {
      const body = executed.input.checked
        ? { executed: true, exchange_order_id: number.value.trim() }
        : { executed: false };
      try {
        await post(`/copies/${copy.id}/settle`, body);
        store.undecided = store.undecided.filter((each) => each.id !== copy.id);
        store.touch("undecided");
        dialog.close();
        say({ tone: "good", title: _("%(account)s is settled", copy) });
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
        const left = showErrors(
          form,
          error.errors.map((each) => ({ field: each.field, text: each.detail })),
        );
        alert.hidden = error.errors.length > 0 && !left.length;
        alert.textContent = explain(error);
      }
    });
  const save = el("button.btn.btn-primary", { onclick: submit, disabled: true }, _("Settle"));
  const form = el(
    "form.fields",
    { noValidate: true, onsubmit: (/** @type {Event} */ event) => (event.preventDefault(), submit()), onchange: draw },
    alert,
    executed.element,
    numberRoom,
    not.element,
  );
  const dialog = openDialog({
    title: _("Was this order executed?"),
    body: el(
      "div.sheet-body",
      {},
      el(
        "p",
        {},
        _(
          "Nobody could find out what became of it. Look at the order history of this account at the exchange, for an order with our order number.",
        ),
      ),
      known(copy),
      form,
    ),
    foot: [el("button.btn.btn-line", { onclick: () => dialog.close() }, _("Cancel")), save],
  });
}

/** @param {any} copy */
function known(copy) {
  const rows = [
    [_("Account"), `${copy.account} · ${exchangeName(store.exchanges, copy.exchange)} ${word(copy.env)}`],
    [_("Order"), `${word(copy.side)} ${format.exact(copy.sent)} ${copy.size_asset}`],
    [_("Our order number"), copy.client_order_id],
    copy.exchange_order_id ? [_("The exchange's order number"), copy.exchange_order_id] : null,
    [_("Free before"), `${format.exact(copy.free_before)} ${copy.size_asset}`],
    [_("Attempts"), format.count(copy.attempts)],
    [_("Last news"), format.full(copy.updated)],
    [_("What is known"), sentence(copy.reason_kind, { ...copy })],
  ];
  return el(
    "dl.facts",
    {},
    rows.flatMap((row) => (row ? [el("dt", {}, row[0]), el("dd", {}, row[1])] : [])),
  );
}

/** @param {string} value @param {string} name @param {string} help */
function choice(value, name, help) {
  const input = el("input.form-check-input", { type: "radio", name: "outcome", id: `outcome-${value}`, value });
  const element = el(
    "div.form-check",
    {},
    input,
    el("label.form-check-label", { for: input.id }, el("strong", {}, name), el("div.form-text", {}, help)),
  );
  return { input, element };
}
