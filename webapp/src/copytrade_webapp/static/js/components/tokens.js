// @ts-check
import { _, explain, format } from "../i18n.js";
import { get, post, remove } from "../api.js";
import { busyWhile, el, fillWith, icon } from "../lib/dom.js";
import { labelled } from "./credential_fields.js";
import { askOnce, openDialog } from "./dialog.js";
import { sayProblem } from "./toasts.js";

export async function openTokens() {
  const list = el("div.list");
  const made = el("div.fields", { hidden: true, role: "status" });
  const load = async () => {
    try {
      const { items } = await get("/tokens");
      fillWith(
        list,
        items.map((/** @type {any} */ token) => row(token, load)),
      );
    } catch (error) {
      fillWith(list, el("p.quiet", {}, explain(error)));
    }
  };
  const name = el("input.form-control", { id: "field-name", name: "name", maxLength: 64, autocomplete: "off" });
  const add = el("button.btn.btn-line", { onclick: () => busyWhile(add, submit) }, icon("plus-lg"), _("Make a token"));
  const submit = async () => {
    try {
      const token = await post("/tokens", { name: name.value.trim() });
      name.value = "";
      fillWith(
        made,
        el("p", {}, _("The new token, shown only now. Keep it in a safe place:")),
        el("p.once", {}, token.token),
      );
      made.hidden = false;
      await load();
    } catch (error) {
      sayProblem(error, _("The token was not made"));
    }
  };
  openDialog({
    title: _("Access tokens"),
    size: "wide",
    body: el(
      "div.sheet-body",
      {},
      el(
        "p.muted",
        {},
        _("Who has a token may do here what you may do. Give each person and each program one of its own."),
      ),
      list,
      el(
        "form",
        { onsubmit: (/** @type {Event} */ event) => (event.preventDefault(), busyWhile(add, submit)) },
        el(
          "div.two-columns",
          {},
          labelled(_("Name of the new token"), name),
          el("div", {}, el("div.form-label", {}, "\u00a0"), add),
        ),
      ),
      made,
    ),
  });
  await load();
}

/** @param {any} token @param {() => Promise<void>} reload */
function row(token, reload) {
  const revoke = el(
    "button.btn.btn-line.btn-small",
    {
      onclick: () =>
        busyWhile(revoke, async () => {
          const agreed = await askOnce({
            title: _("Revoke %(name)s?", token),
            text: _("Whoever uses it is logged out at once."),
            button: _("Revoke %(name)s", token),
            tone: "bad",
          });
          if (!agreed) return;
          try {
            await remove(`/tokens/${token.id}`);
            await reload();
          } catch (error) {
            sayProblem(error, _("The token was not revoked"));
          }
        }),
    },
    _("Revoke…"),
  );
  const used = token.last_used ? _("last used %(time)s", { time: format.full(token.last_used) }) : _("never used");
  return el(
    "div.list-row",
    {},
    icon("key"),
    el(
      "div.about",
      {},
      el("strong", {}, token.name),
      el("small", {}, `${_("made %(time)s", { time: format.full(token.created) })} · ${used}`),
    ),
    token.revoked ? el("span.pill", {}, _("revoked")) : revoke,
  );
}
