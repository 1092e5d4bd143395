// @ts-check

const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
const LONGEST_SAFE = 15;

/**
 * Parse JSON whose numbers are amounts: what a binary float may not hold exactly comes as text.
 * @param {string} text
 * @returns {any}
 */
export function parseExact(text) {
  return JSON.parse(text.replace(TOKEN, (token) => (needsText(token) ? `"${token}"` : token)));
}

/** @param {string} token */
function needsText(token) {
  if (token.startsWith('"')) return false;
  return /[.eE]/.test(token) || token.replace("-", "").length > LONGEST_SAFE;
}
