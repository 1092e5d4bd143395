// @ts-check

/**
 * Which rows of a long list have to exist: those that are seen, and a few around them.
 * @param {{scrollTop: number, height: number, rowHeight: number, count: number, overscan?: number}} view
 * @returns {{first: number, last: number}} *last* is one past the end
 */
export function visibleRows({ scrollTop, height, rowHeight, count, overscan = 4 }) {
  const first = Math.max(0, Math.floor(scrollTop / rowHeight) - overscan);
  const last = Math.min(count, Math.ceil((scrollTop + height) / rowHeight) + overscan);
  return { first: Math.min(first, Math.max(0, last)), last };
}
