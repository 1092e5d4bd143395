// @ts-check
import { _ } from "../i18n.js";
import { fileAddress } from "../api.js";
import { busyWhile, el } from "../lib/dom.js";
import { openDialog } from "./dialog.js";
import { sayProblem } from "./toasts.js";

const DAY_MS = 86_400_000;
const MONTH_DAYS = 30;
const SAVED_MS = 60_000; // by then the browser has it

export function openExport() {
  const day = (/** @type {number} */ ms) => new Date(ms).toLocaleDateString("en-CA");
  const from = el("input.form-control", {
    type: "date",
    id: "export-from",
    value: day(Date.now() - MONTH_DAYS * DAY_MS),
  });
  const until = el("input.form-control", { type: "date", id: "export-until", value: day(Date.now()) });
  const save = () => busyWhile(button, saveFile);
  const saveFile = async () => {
    const query = new URLSearchParams();
    if (from.value) query.set("from", new Date(`${from.value}T00:00`).toISOString());
    if (until.value) query.set("to", new Date(new Date(`${until.value}T00:00`).getTime() + DAY_MS).toISOString());
    try {
      const href = await fileAddress(`/export.csv?${query}`);
      el("a", { href, download: `copytrade-${from.value}-${until.value}.csv` }).click();
      setTimeout(() => URL.revokeObjectURL(href), SAVED_MS);
      dialog.close();
    } catch (error) {
      sayProblem(error, _("The history could not be exported"));
    }
  };
  const button = el("button.btn.btn-primary", { onclick: save }, _("Save the CSV file"));
  const dialog = openDialog({
    title: _("Export history"),
    body: el(
      "div.sheet-body",
      {},
      el("p.muted", {}, _("All leader orders with their copies, as a CSV file that Excel opens.")),
      el(
        "div.two-columns",
        {},
        el("div", {}, el("label.form-label", { for: "export-from" }, _("From")), from),
        el("div", {}, el("label.form-label", { for: "export-until" }, _("Until")), until),
      ),
    ),
    foot: [el("button.btn.btn-line", { onclick: () => dialog.close() }, _("Cancel")), button],
  });
}
