// @ts-check

/**
 * What figures and times look like in one language. Amounts go in as text and are never a float.
 * @param {string} locale
 * @param {string} [timeZone] only tests name one; otherwise the computer's
 */
export function formats(locale, timeZone) {
  const number = (/** @type {any} */ options) => new Intl.NumberFormat(locale, options);
  const exact = number({ maximumFractionDigits: 20 });
  const money = number({ minimumFractionDigits: 2, maximumFractionDigits: 2, roundingMode: "trunc" });
  const coin = number({ minimumFractionDigits: 6, maximumFractionDigits: 8, roundingMode: "trunc" });
  const share = number({ style: "percent", minimumFractionDigits: 2, maximumFractionDigits: 4, roundingMode: "trunc" });
  const points = number({ signDisplay: "exceptZero", maximumFractionDigits: 2 });
  const whole = number({ maximumFractionDigits: 0 });
  const clock = new Intl.DateTimeFormat(locale, {
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    hourCycle: "h23",
    timeZone,
  });
  const date = new Intl.DateTimeFormat(locale, { month: "2-digit", day: "2-digit", timeZone });
  const full = new Intl.DateTimeFormat(locale, {
    dateStyle: "medium",
    timeStyle: "medium",
    hourCycle: "h23",
    timeZone,
  });
  const day = new Intl.DateTimeFormat("en-CA", { timeZone, year: "numeric", month: "2-digit", day: "2-digit" });
  const or = (/** @type {any} */ value, /** @type {(v: any) => string} */ show) =>
    value == null || value === "" ? "–" : show(value);
  return {
    exact: (/** @type {any} */ value) => or(value, (v) => exact.format(v)),
    money: (/** @type {any} */ value) => or(value, (v) => money.format(v)),
    coin: (/** @type {any} */ value) => or(value, (v) => coin.format(v)),
    share: (/** @type {any} */ value) => or(value, (v) => share.format(v)),
    points: (/** @type {any} */ value) => or(value, (v) => points.format(v)),
    count: (/** @type {any} */ value) => or(value, (v) => whole.format(v)),
    clock: (/** @type {any} */ value) => or(value, (v) => clock.format(new Date(v))),
    /** The time, with the date where it is another day. @param {any} value @param {Date} [now] */
    moment: (value, now = new Date()) =>
      or(value, (v) => {
        const then = new Date(v);
        const same = day.format(then) === day.format(now);
        return same ? clock.format(then) : `${date.format(then)} ${clock.format(then)}`;
      }),
    full: (/** @type {any} */ value) => or(value, (v) => full.format(new Date(v))),
    ms: (/** @type {any} */ value) => or(value, (v) => `${whole.format(Math.round(Number(v)))} ms`),
    seconds: (/** @type {any} */ value) => or(value, (v) => spell(locale, Number(v))),
  };
}

/** How long, in the largest unit that says something. @param {string} locale @param {number} sec */
function spell(locale, sec) {
  const [amount, unit] =
    sec < 60
      ? [sec, "second"]
      : sec < 3600
        ? [sec / 60, "minute"]
        : sec < 172800
          ? [sec / 3600, "hour"]
          : [sec / 86400, "day"];
  const digits = unit === "second" && amount < 10 ? 1 : 0;
  const options = /** @type {any} */ ({ style: "unit", unit, unitDisplay: "narrow", maximumFractionDigits: digits });
  return new Intl.NumberFormat(locale, options).format(Math.max(0, amount));
}
