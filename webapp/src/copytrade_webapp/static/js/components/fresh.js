// @ts-check
// Keys, devices and switching copying on want the token shown again when it was shown long ago.
import { _, explain } from "../i18n.js";
import { post, useSession } from "../api.js";
import { busyWhile, el } from "../lib/dom.js";
import { labelled, showErrors } from "./credential_fields.js";
import { openDialog } from "./dialog.js";

/** @returns {Promise<boolean>} whether the token was right */
export function askForToken() {
  return new Promise((resolve) => {
    let good = false;
    const token = el("input.form-control.mono.secret", {
      id: "field-token",
      name: "token",
      autocomplete: "off",
      spellcheck: false,
    });
    const submit = () =>
      busyWhile(save, async () => {
        try {
          useSession((await post("/session/fresh", { token: token.value.trim() })) ?? {});
          good = true;
          dialog.close();
        } catch (error) {
          showErrors(form, [{ field: "token", text: explain(error) }]);
        }
      });
    const save = el("button.btn.btn-primary", { onclick: submit }, _("Go on"));
    const form = el(
      "form.fields",
      { noValidate: true, onsubmit: (/** @type {Event} */ event) => (event.preventDefault(), submit()) },
      el("p", {}, _("This needs your access token once more. It then holds for half an hour.")),
      labelled(_("Access token"), token),
    );
    const dialog = openDialog({
      title: _("Is it still you?"),
      body: el("div.sheet-body", {}, form),
      foot: [el("button.btn.btn-line", { onclick: () => dialog.close() }, _("Cancel")), save],
      onClose: () => resolve(good),
    });
  });
}
