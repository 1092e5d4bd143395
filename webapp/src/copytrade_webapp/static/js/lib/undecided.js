// @ts-check

/**
 * Sort what waits for a person: copies that need one first, then the others by their leader order, newest first.
 * @param {any[]} copies
 * @param {any[]} events leader orders, for those whose share nobody has given
 */
export function whatNeedsAPerson(copies, events) {
  const settle = copies.filter((copy) => copy.state === "NEEDS_PERSON");
  /** @type {Map<string, any[]>} */
  const byOrder = new Map();
  for (const copy of copies) {
    if (copy.state === "NEEDS_PERSON") continue;
    const group = byOrder.get(copy.event_id) ?? [];
    group.push(copy);
    byOrder.set(copy.event_id, group);
  }
  const groups = [...byOrder].map(([eventId, rows]) => ({
    eventId,
    rows,
    event: events.find((each) => each.id === eventId),
  }));
  groups.sort((a, b) => compareIds(b.eventId, a.eventId));
  const shares = events.filter((event) => event.state === "UNDECIDED");
  return { settle, groups, shares, count: copies.length + shares.length };
}

/** Ids are numbers of any length, as text. @param {string} a @param {string} b */
export function compareIds(a, b) {
  if (/^\d+$/.test(a) && /^\d+$/.test(b)) return a.length - b.length || (a < b ? -1 : a > b ? 1 : 0);
  return a < b ? -1 : a > b ? 1 : 0;
}
