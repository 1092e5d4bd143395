// @ts-check
// Amounts are text from end to end: a binary float would change their last digits.

/**
 * Compare two plain decimals; what is missing comes last.
 * @param {string|number|null|undefined} left
 * @param {string|number|null|undefined} right
 * @returns {number} below, at or above zero
 */
export function compareDecimals(left, right) {
  if (left == null || right == null) return left == null ? (right == null ? 0 : 1) : -1;
  const a = parts(left);
  const b = parts(right);
  if (a.sign !== b.sign) return a.sign - b.sign;
  return a.sign * compareMagnitudes(a, b);
}

/** @param {string|number|null|undefined} value */
export function isZero(value) {
  return value == null || parts(value).sign === 0;
}

/** @param {{whole: string, rest: string}} a @param {{whole: string, rest: string}} b */
function compareMagnitudes(a, b) {
  if (a.whole.length !== b.whole.length) return a.whole.length - b.whole.length;
  const left = a.whole + a.rest;
  const right = b.whole + b.rest;
  return left < right ? -1 : left > right ? 1 : 0;
}

/** @param {string|number} value */
function parts(value) {
  const text = plain(String(value));
  const negative = text.startsWith("-");
  const [whole, rest = ""] = text.replace("-", "").split(".");
  const stripped = { whole: whole.replace(/^0+/, ""), rest: rest.replace(/0+$/, "") };
  const sign = stripped.whole || stripped.rest ? (negative ? -1 : 1) : 0;
  return { ...stripped, sign };
}

/** Write out an exponent: 1E-8 is 0.00000001. @param {string} text */
function plain(text) {
  const match = /^(-?)(\d+)(?:\.(\d+))?[eE]([+-]?\d+)$/.exec(text);
  if (!match) return text;
  const [, sign, whole, rest = "", power] = match;
  const digits = whole + rest;
  const point = whole.length + Number(power);
  if (point <= 0) return `${sign}0.${"0".repeat(-point)}${digits}`;
  return `${sign}${digits.padEnd(point, "0").slice(0, point)}.${digits.slice(point) || "0"}`;
}
