// @ts-check

const FIRST_MS = 500;
const LONGEST_MS = 15_000;

/**
 * How long to wait before the next attempt: twice as long each time, and never all browsers at once.
 * @param {number} attempt 0 for the first
 * @param {() => number} [random]
 */
export function delayMs(attempt, random = Math.random) {
  const most = Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(attempt, 10));
  return Math.round(most / 2 + (most / 2) * random());
}
