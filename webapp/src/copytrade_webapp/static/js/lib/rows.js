// @ts-check
import { compareDecimals } from "./decimal.js";

/** @typedef {{key: string, descending: boolean}} Sorting */

/**
 * Return the accounts that a person asked for, in the order asked for.
 * @param {Iterable<any>} rows
 * @param {{search: string, state: string, sorting: Sorting}} wish
 * @param {{base: string, quote: string, locale: string}} about
 */
export function chooseRows(rows, { search, state, sorting }, { base, quote, locale }) {
  const wanted = search.trim().toLowerCase();
  const chosen = [];
  for (const row of rows) {
    if (state === "error" ? !row.error_kind : state && row.state !== state) continue;
    if (wanted && !`${row.name}\n${row.exchange}\n${row.env}\n${row.error}`.toLowerCase().includes(wanted)) continue;
    chosen.push(row);
  }
  const collator = new Intl.Collator(locale, { numeric: true });
  const text = (/** @type {string} */ key) => (/** @type {any} */ a, /** @type {any} */ b) =>
    collator.compare(a[key] ?? "", b[key] ?? "");
  /** @type {Record<string, (a: any, b: any) => number>} */
  const orders = {
    [`free${quote}`]: (a, b) => compareDecimals(a[`free${quote}`], b[`free${quote}`]),
    [`free${base}`]: (a, b) => compareDecimals(a[`free${base}`], b[`free${base}`]),
    last_copy: (a, b) => (a.last_copy?.updated ?? "").localeCompare(b.last_copy?.updated ?? ""),
  };
  const byName = text("name");
  const compare = orders[sorting.key] ?? text(sorting.key);
  const direction = sorting.descending ? -1 : 1;
  return chosen.sort((a, b) => direction * compare(a, b) || byName(a, b));
}
