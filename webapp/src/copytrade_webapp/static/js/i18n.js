// @ts-check
// The words of the page's language, from the same catalogue as the server's.
import { formats } from "./lib/format.js";
import { sentences } from "./lib/sentences.js";

export const lang = document.documentElement.lang === "en" ? "en" : "zh";
export const locale = document.documentElement.lang;
export const format = formats(locale);

/** @type {Record<string, string | string[]>} */
let words = {};
let kinds = sentences({}, {}, lang === "en");

/** @param {{words: Record<string, string | string[]>}} catalogue */
export function useCatalogue(catalogue) {
  words = catalogue.words;
}

/** @param {Record<string, any>} table @param {Record<string, string>} stateWords */
export function useKinds(table, stateWords) {
  kinds = sentences(table, stateWords, lang === "en");
}

/** Return *text* in the page's language, with its figures. @param {string} text @param {Record<string, any>} [figures] */
export function _(text, figures) {
  const found = words[text];
  return put(typeof found === "string" && found ? found : text, figures);
}

/** @param {string} one @param {string} many @param {number} count @param {Record<string, any>} [figures] */
export function ngettext(one, many, count, figures) {
  const found = words[one];
  const forms = Array.isArray(found) && found.length ? found : [one, many];
  const form = forms.length === 1 || count === 1 ? forms[0] : forms[1];
  return put(form, { num: format.count(count), ...figures });
}

/** @param {string} text @param {Record<string, any>} [figures] */
function put(text, figures = {}) {
  return text.replace(/%\((\w+)\)s/g, (_all, name) => String(figures[name] ?? ""));
}

/** @param {string} kind @param {Record<string, any>} [data] */
export const sentence = (kind, data) => kinds.sentence(kind, data);
/** @param {string} kind @param {Record<string, any>} [data] */
export const remedy = (kind, data) => kinds.remedy(kind, data);

/** What went wrong, as a trader reads it. @param {any} problem */
export function explain(problem) {
  if (problem?.kind === "unreachable") return _("The panel cannot be reached.");
  if (problem?.kind) return sentence(problem.kind, { ...problem.document, reason: problem.message });
  return _("Something unexpected went wrong in this page. Load it again.");
}

/** What a person can do about it; empty where nothing. @param {any} problem */
export function advise(problem) {
  return problem?.kind ? remedy(problem.kind, problem.document) : "";
}
