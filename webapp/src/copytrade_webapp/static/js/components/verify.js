// @ts-check
import { _, format, remedy, sentence } from "../i18n.js";
import { post } from "../api.js";
import { el } from "../lib/dom.js";
import { assets } from "./copying.js";
import { openEditAccount } from "./account_dialog.js";
import { say, sayProblem } from "./toasts.js";

/** @param {any} account */
export async function verifyAccount(account) {
  const { base, quote } = assets();
  try {
    const answer = await post(`/accounts/${account.id}/verify`, {});
    if (answer.ok) {
      const warnings = (answer.warnings ?? []).map((/** @type {any} */ each) =>
        sentence(each.kind, { ...each, reason: each.text }),
      );
      const advice = (answer.warnings ?? []).map((/** @type {any} */ each) => remedy(each.kind, each)).filter(Boolean);
      say({
        tone: warnings.length ? "warn" : "good",
        tag: `verify-${account.id}`,
        title: _("%(name)s: the key works", account),
        text: [
          _("Free: %(quote_amount)s %(quote)s, %(base_amount)s %(base)s", {
            quote,
            base,
            quote_amount: format.exact(answer[`free${quote}`]),
            base_amount: format.exact(answer[`free${base}`]),
          }),
          ...warnings,
        ].join(_("; ")),
        advice: advice.join(_("; ")),
      });
      return;
    }
    const { kind, message } = answer.error;
    say({
      tone: "bad",
      tag: `verify-${account.id}`,
      title: _("%(name)s: the key does not work", account),
      text: sentence(kind, { reason: message }),
      advice: remedy(kind),
      buttons: [
        el("button.btn.btn-line.btn-small", { onclick: () => openEditAccount(account) }, _("Enter another key")),
      ],
    });
  } catch (error) {
    sayProblem(error, _("%(name)s could not be verified", account));
  }
}
