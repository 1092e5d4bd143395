// @ts-check
import { _, remedy, sentence } from "../i18n.js";
import { put } from "../api.js";
import { busyWhile, el } from "../lib/dom.js";
import { Problem } from "../lib/problem.js";
import { store } from "../store.js";
import { openDialog } from "./dialog.js";
import { keyForm } from "./key_form.js";
import { say } from "./toasts.js";

export function openLeaderDialog() {
  const exchanges = store.exchanges.filter((each) => each.can_lead);
  if (!exchanges.length)
    return say({
      tone: "warn",
      title: _("No exchange is installed"),
      text: _("The engine has to run, with at least one exchange's plug-in."),
    });
  const leader = store.status?.leader;
  const submit = () =>
    form.isComplete() &&
    busyWhile(save, async () => {
      const { exchange, env, credentials } = form.values();
      try {
        const answer = await put("/leader", { exchange, env, ...credentials });
        if (!answer.listening)
          return form.showProblem(new Problem(200, { ...answer.error, detail: answer.error?.message }));
        form.clear();
        dialog.close();
        say({ tone: "good", title: _("The leader is being listened to") });
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
        form.showProblem(error);
      }
    });
  const reason = leader && (leader.error_kind || leader.error);
  const form = keyForm({
    exchanges,
    exchange: leader?.exchange,
    env: leader?.env,
    named: false,
    leads: true,
    optional: () => Boolean(leader),
    hint: leader ? _("replaced all together, or leave all empty to keep them") : "",
    note: reason
      ? el(
          "div.note.bad",
          {},
          el("p", {}, sentence(leader.error_kind, { reason: leader.error })),
          el("p.muted", {}, remedy(leader.error_kind)),
        )
      : null,
    onSubmit: submit,
  });
  const save = el("button.btn.btn-primary", { onclick: submit, id: "save-leader" }, _("Listen to this leader"));
  const dialog = openDialog({
    title: leader ? _("Change the leader") : _("Set the leader"),
    size: "wide",
    body: el("div.sheet-body", {}, form.element),
    foot: [el("button.btn.btn-line", { onclick: () => dialog.close() }, _("Cancel")), save],
  });
}
