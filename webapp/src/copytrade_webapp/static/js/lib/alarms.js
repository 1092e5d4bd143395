// @ts-check

/** @param {any} entry of the feed */
export function isAlarm(entry) {
  return entry.kind === "alarm" || (entry.kind === "halt" && entry.data?.what !== "halt_ended");
}

/**
 * The alarms that nobody has seen. A feed that begins anew has smaller numbers: then nothing of it was seen.
 * @param {any[]} feed newest first @param {number} seen
 */
export function unseen(feed, seen) {
  const newest = feed[0]?.seq ?? 0;
  const last = seen > newest ? 0 : seen;
  return feed.filter((entry) => isAlarm(entry) && entry.seq > last);
}
