// @ts-check
import { _ } from "../i18n.js";
import { el, icon } from "../lib/dom.js";

let made = 0;

/**
 * Open a dialog; the browser keeps the focus in it and gives it back afterwards.
 * @param {{title: string, size?: string, body: any, foot?: any, onClose?: () => void}} parts
 * @returns {{element: any, close: () => void, closed: Promise<void>}}
 */
export function openDialog({ title, size = "", body, foot, onClose }) {
  made += 1;
  const id = `dialog-${made}`;
  const close = () => element.close();
  const element = el(
    `dialog.sheet${size ? `.${size}` : ""}`,
    { "aria-labelledby": id },
    el(
      "header.sheet-head",
      {},
      el("h2", { id }, title),
      el("button.icon-button", { title: _("Close"), "aria-label": _("Close"), onclick: close }, icon("x-lg")),
    ),
    body,
    foot?.length ? el("footer.sheet-foot", {}, foot) : null,
  );
  const closed = new Promise((resolve) => {
    element.addEventListener("close", () => {
      element.remove();
      onClose?.();
      resolve(undefined);
    });
  });
  document.body.append(element);
  element.showModal();
  (element.querySelector("[autofocus]") ?? element.querySelector("input:not([type=radio]), select, textarea"))?.focus();
  return { element, close, closed };
}

/**
 * Ask once, naming the effect; without a *button* it only tells.
 * @param {{title: string, text?: any, button: string, tone?: string}} question
 * @returns {Promise<boolean>}
 */
export function askOnce({ title, text, button, tone = "primary" }) {
  return new Promise((resolve) => {
    let agreed = false;
    const agree = () => {
      agreed = true;
      dialog.close();
    };
    const dialog = openDialog({
      title,
      body: el("div.sheet-body", {}, typeof text === "string" ? el("p", {}, text) : text),
      foot: [
        el("button.btn.btn-line", { onclick: () => dialog.close() }, button ? _("Cancel") : _("Close")),
        button ? el(`button.btn.btn-${tone}`, { onclick: agree, autofocus: true }, button) : null,
      ],
      onClose: () => resolve(agreed),
    });
  });
}
