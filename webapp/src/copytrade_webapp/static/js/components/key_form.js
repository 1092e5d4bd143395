// @ts-check
// The form for an account or the leader: exchange, environment, and the fields which that exchange asks for.
import { _, advise, explain, sentence } from "../i18n.js";
import { el, fillWith } from "../lib/dom.js";
import { exchangeName, word } from "../words.js";
import { credentialFields, labelled, showErrors } from "./credential_fields.js";
import { keyHelp } from "./key_help.js";

/**
 * @param {{
 *   exchanges: any[], exchange?: string, env?: string, name?: string, named: boolean, fixed?: boolean,
 *   leads?: boolean, optional?: (exchange: string, env: string) => boolean, hint?: string, note?: any,
 *   onSubmit: () => void,
 * }} wish
 */
export function keyForm(wish) {
  const { exchanges, fixed = false, leads = false } = wish;
  let exchange = exchanges.find((each) => each.id === wish.exchange) ?? exchanges[0];
  let env = wish.env ?? preferredEnvironment(exchange);
  const name = el("input.form-control", {
    id: "field-name",
    name: "name",
    value: wish.name ?? "",
    maxLength: 64,
    autocomplete: "off",
    required: true,
  });
  const choice = el(
    "select.form-select",
    { id: "field-exchange", name: "exchange", disabled: fixed },
    exchanges.map((each) =>
      el("option", { value: each.id, selected: each.id === exchange.id }, exchangeName(exchanges, each.id)),
    ),
  );
  const environments = el("div.choices", { role: "radiogroup", "aria-label": _("Environment") });
  const room = el("div.fields");
  const help = el("div");
  const alert = el("div.note.bad", { role: "alert", hidden: true });
  let fields = credentialFields(exchange);

  const drawFields = () => {
    const optional = fixed || Boolean(wish.optional?.(exchange.id, env));
    fields = credentialFields(exchange, { optional, hint: wish.hint });
    fillWith(room, fields.elements);
    fillWith(help, keyHelp(exchange, env, leads));
  };
  const drawEnvironments = () => {
    const options = exchange.environments.map((/** @type {string} */ each) => {
      const own = el("input", {
        type: "radio",
        name: "env",
        id: `env-${each}`,
        value: each,
        checked: each === env,
        disabled: fixed,
        onchange: () => ((env = each), drawFields()),
      });
      return el("label", {}, own, el("span", {}, word(each)));
    });
    fillWith(environments, fixed ? el("span.pill", {}, word(env)) : options);
  };
  choice.addEventListener("change", () => {
    exchange = exchanges.find((each) => each.id === choice.value);
    if (!exchange.environments.includes(env)) env = preferredEnvironment(exchange);
    drawEnvironments();
    drawFields();
  });
  drawEnvironments();
  drawFields();

  const form = el(
    "form",
    { noValidate: true, onsubmit: (/** @type {Event} */ event) => (event.preventDefault(), wish.onSubmit()) },
    alert,
    wish.note ?? null,
    wish.named ? labelled(_("Name"), name) : null,
    el(
      "div.two-columns",
      {},
      labelled(_("Exchange"), choice),
      el("div", {}, el("div.form-label", {}, _("Environment")), environments),
    ),
    room,
    // Enter sends the form although its button stands in the dialog's foot.
    el("input", { type: "submit", hidden: true }),
  );
  return {
    element: el("div.with-help", {}, form, help),
    form,
    values: () => ({ name: name.value.trim(), exchange: exchange.id, env, credentials: fields.values() }),
    clear: () => fields.clear(),
    /** Whether all is filled in that has to be; if not, each field says so. */
    isComplete: () => {
      const given = fields.values();
      const kept = (fixed || Boolean(wish.optional?.(exchange.id, env))) && !Object.keys(given).length;
      const missing = exchange.fields
        .filter((/** @type {any} */ field) => field.required && !kept && !given[field.name])
        .map((/** @type {any} */ field) => field.name);
      if (wish.named && !name.value.trim()) missing.unshift("name");
      alert.hidden = true;
      showErrors(
        form,
        missing.map((/** @type {string} */ field) => ({ field, text: _("Fill this in.") })),
      );
      return missing.length === 0;
    },
    /** @param {any} problem */
    showProblem: (problem) => {
      const errors = (problem.errors ?? []).map((/** @type {any} */ each) => ({
        field: each.field,
        text: fieldText(each),
      }));
      const left = showErrors(form, errors);
      const general = errors.length ? left : [explain(problem), advise(problem)].filter(Boolean);
      alert.hidden = general.length === 0;
      fillWith(
        alert,
        general.map((text) => el("p", {}, text)),
      );
    },
  };
}

/** @param {{kind: string, detail: string}} error */
function fieldText({ kind, detail }) {
  if (kind === "missing_field" || /^(missing data|this field is required|shorter than|length must be between 1 )/i.test(detail))
    return _("Fill this in.");
  return sentence(kind === "invalid" ? "" : kind, { reason: detail });
}

/** Play money first: the real environment is a choice that somebody makes. @param {any} exchange */
function preferredEnvironment(exchange) {
  return ["demo", "test"].find((each) => exchange.environments.includes(each)) ?? exchange.environments[0];
}
