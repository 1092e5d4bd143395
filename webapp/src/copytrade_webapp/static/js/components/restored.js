// @ts-check
// After a backup was put back: what the exchanges know and the journal does not, and the word that ends the halt.
import { _, explain, format } from "../i18n.js";
import { get, post } from "../api.js";
import { busyWhile, el } from "../lib/dom.js";
import { word } from "../words.js";
import { openDialog } from "./dialog.js";
import { say, sayProblem } from "./toasts.js";

export async function openRestored() {
  let restored;
  try {
    restored = (await get("/restored")) ?? {};
  } catch (error) {
    return sayProblem(error, _("What was restored could not be read"));
  }
  const { orders = [], asking = false, not_asked = {} } = restored.restored ?? restored;
  const [base, quote] = (document.querySelector(".brand .symbol")?.textContent ?? "/").split("/");
  const confirm = el(
    "button.btn.btn-primary",
    { disabled: asking, onclick: () => busyWhile(confirm, submit) },
    _("I have accounted for these orders"),
  );
  const submit = async () => {
    try {
      await post("/reconcile", {});
      dialog.close();
      say({ tone: "good", title: _("Reconciled; copying may be started") });
    } catch (error) {
      say({ tone: "bad", title: _("Not reconciled"), text: explain(error) });
    }
  };
  const dialog = openDialog({
    title: _("Reconcile what was restored"),
    size: "wide",
    body: el(
      "div.sheet-body",
      {},
      el(
        "p",
        {},
        _(
          "Vault or journal come from a backup. These orders were sent after it was made, and the history does not know them.",
        ),
      ),
      asking ? el("p.note.warn", {}, _("The exchanges are still being asked.")) : null,
      Object.entries(not_asked).map(([name, why]) => el("p.note.bad", {}, `${name}${_(": ")}${why}`)),
      el(
        "div.list",
        {},
        orders.length
          ? orders.map((/** @type {any} */ order) =>
              el(
                "div.list-row",
                {},
                el(
                  "div.about",
                  {},
                  el("strong", {}, `${order.account} · ${word(order.side)} ${format.exact(order.filled_base)} ${base}`),
                  el("small", {}, `${format.exact(order.filled_quote)} ${quote} · ${format.full(order.created)}`),
                  el("small.mono", {}, `${order.client_order_id} · ${order.exchange_order_id}`),
                ),
                el("span.pill", {}, order.status),
              ),
            )
          : el("p.quiet", {}, _("No order is missing.")),
      ),
    ),
    foot: [el("button.btn.btn-line", { onclick: () => dialog.close() }, _("Cancel")), confirm],
  });
}
