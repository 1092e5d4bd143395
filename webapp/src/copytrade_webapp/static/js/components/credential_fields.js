// @ts-check
// The inputs that an exchange's plug-in asks for; the panel knows none of them by name.
import { _, lang } from "../i18n.js";
import { el, icon } from "../lib/dom.js";

/**
 * @param {any} exchange as GET /exchanges shows it
 * @param {{optional?: boolean, hint?: string}} [wish] *optional*: leave all empty to keep what is stored
 */
export function credentialFields(exchange, { optional = false, hint = "" } = {}) {
  const inputs = new Map(exchange.fields.map((/** @type {any} */ field) => [field.name, input(field, optional, hint)]));
  return {
    elements: [...inputs].map(([name, own]) =>
      wrap(
        exchange.fields.find((/** @type {any} */ each) => each.name === name),
        own,
      ),
    ),
    /** Those that were filled in. @returns {Record<string, string>} */
    values: () =>
      Object.fromEntries([...inputs].map(([name, own]) => [name, own.value.trim()]).filter(([, value]) => value)),
    /** Forget what was typed. */
    clear: () => inputs.forEach((own) => (own.value = "")),
  };
}

/** @param {any} field @param {boolean} optional @param {string} hint */
function input(field, optional, hint) {
  const secret = field.secret ? ".secret" : "";
  const own = el(`${field.multiline ? "textarea" : "input"}.form-control.with-reveal.mono${secret}`, {
    id: `field-${field.name}`,
    name: field.name,
    autocomplete: "off",
    spellcheck: false,
    placeholder: optional ? hint : "",
    required: field.required && !optional,
    autocapitalize: "off",
    "data-1p-ignore": "",
  });
  if (field.multiline) own.rows = 2;
  return own;
}

/** @param {any} field @param {any} own */
function wrap(field, own) {
  const label = lang === "zh" ? field.label_zh || field.label : field.label;
  const show = () => {
    const shown = own.classList.toggle("shown");
    reveal.setAttribute("aria-pressed", String(shown));
    reveal.firstElementChild.className = `bi bi-eye${shown ? "-slash" : ""}`;
  };
  const name = _("Show %(label)s", { label });
  const reveal = el(
    "button.icon-button.reveal",
    { title: name, "aria-label": name, "aria-pressed": "false", onclick: show },
    icon("eye"),
  );
  return labelled(label + (field.required ? "" : _(" (optional)")), own, field.secret ? reveal : null);
}

/**
 * An input with its name above and, when it is wrong, what is wrong with it below.
 * @param {string} label @param {any} own @param {any} [beside] @param {string} [help]
 */
export function labelled(label, own, beside, help) {
  own.setAttribute("aria-describedby", `${own.id}-error`);
  return el(
    "div",
    {},
    el("label.form-label", { for: own.id }, label),
    el("div.field", {}, own, beside ?? null),
    el("div.invalid-feedback", { id: `${own.id}-error`, role: "alert", hidden: true }),
    help ? el("div.form-text", {}, help) : null,
  );
}

/**
 * Show at each field what is wrong with it. @param {any} form @param {{field: string, text: string}[]} errors
 * @returns {string[]} what no field of the form stands for
 */
export function showErrors(form, errors) {
  for (const own of form.querySelectorAll(".is-invalid")) own.classList.remove("is-invalid");
  for (const text of form.querySelectorAll(".invalid-feedback")) text.hidden = true;
  const left = [];
  let first = null;
  for (const { field, text } of errors) {
    const own = form.querySelector(`[name="${CSS.escape(field.split(".").at(-1) ?? "")}"]`);
    const place = own && document.getElementById(`${own.id}-error`);
    if (!own || !place) {
      left.push(text);
      continue;
    }
    own.classList.add("is-invalid");
    own.setAttribute("aria-invalid", "true");
    place.textContent = text;
    place.hidden = false;
    place.classList.add("d-block");
    first ??= own;
  }
  first?.focus();
  return left;
}
