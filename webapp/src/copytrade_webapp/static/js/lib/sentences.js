// @ts-check
// What a kind says, from the server's table: a figure is %(name)s, a part in [brackets] goes where one is missing.

const PART = /\[([^[\]]*)\]/g;
const NAME = /%\((\w+)\)s/g;

/**
 * @typedef {{sentence: string, remedy: string}} Kind
 * @param {Record<string, Kind>} table kind -> sentence and remedy in one language
 * @param {Record<string, string>} words states, sides and the like in that language
 * @param {boolean} own whether the server's own English sentence serves the reader best
 */
export function sentences(table, words, own) {
  const find = (/** @type {string} */ kind) => table[kind] ?? table[`${kind.split(":")[0]}:`];

  /** @param {"sentence"|"remedy"} which @param {string} kind @param {Record<string, any>} data @returns {string} */
  function say(which, kind, data) {
    const found = kind ? find(kind) : undefined;
    if (!found) return which === "sentence" ? String(data.reason || kind.replaceAll("_", " ")) : "";
    if (which === "sentence" && own && data.reason && !data.reason_kind) return String(data.reason);
    return fill(found[which], values(kind, data));
  }

  /** @param {string} kind @param {Record<string, any>} data */
  function values(kind, data) {
    /** @type {Record<string, string>} */
    const shown = {};
    for (const [name, value] of Object.entries(data)) {
      if (value == null || value === "") continue;
      shown[name] = Array.isArray(value) ? value.join(", ") : String(value);
    }
    if (kind.includes(":")) shown.label = kind.slice(kind.indexOf(":") + 1);
    for (const name of ["side", "state"]) if (name in shown) shown[name] = words[shown[name]] ?? shown[name];
    for (const [name, of] of [
      ["reason", "reason_kind"],
      ["halt", "halt_kind"],
    ]) {
      const inner = String(data[of] ?? "");
      if (!inner || inner === kind) continue;
      const rest = { ...data, [of]: "" };
      if (!own || !(name in shown)) shown[name] = say("sentence", inner, rest);
      shown[`${name}_remedy`] = say("remedy", inner, rest);
    }
    return shown;
  }

  return {
    /** What a trader reads of a kind. @param {string} kind @param {Record<string, any>} [data] */
    sentence: (kind, data = {}) => say("sentence", kind, data),
    /** What can be done about it; empty where nothing. @param {string} kind @param {Record<string, any>} [data] */
    remedy: (kind, data = {}) => say("remedy", kind, data),
    isKnown: (/** @type {string} */ kind) => Boolean(kind && find(kind)),
  };
}

/** @param {string} text @param {Record<string, string>} values */
export function fill(text, values) {
  const has = (/** @type {string} */ part) => [...part.matchAll(NAME)].every(([, name]) => values[name]);
  const kept = text.replace(PART, (_, inside) => (has(inside) ? inside : ""));
  return kept.replace(NAME, (_, name) => values[name] ?? "?").replaceAll("%%", "%");
}
