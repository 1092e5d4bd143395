"""How long the journal remembers what nobody will ask for again.

The leader's raw frames (to replay the last minutes after a restart, and to look into what was heard) and the feed grow
without end; both are pruned by age. Leader orders, copies, attempts, fills and evidence are never touched: they say
what was done with whose money, and keep an order from being copied twice.
"""

from __future__ import annotations

from sqlalchemy import Column, Connection, Table, func, select

from ..clock import Clock
from ..errors import JournalError
from ..settings import Settings
from .journal import Journal
from .schema import feed, frames

DAY_SEC = 86_400
BATCH = 100  # rows in one transaction: an order that comes meanwhile waits for one of these at most
PAUSE_SEC = 0.25
FREE_PART = 10  # pages are given back to the disk while more than one in ten is free; below, new rows take them
FREE_PAGES = 25  # in one transaction


class Retention:
    """Prunes in rounds, each one small transaction of the journal's writer."""

    def __init__(self, settings: Settings, clock: Clock, journal: Journal) -> None:
        self._clock = clock
        self._journal = journal
        self._kept = (
            (frames, frames.c.id, frames.c.received_wall_ms, settings.journal_frames_days),
            (feed, feed.c.seq, feed.c.wall_ms, settings.journal_feed_days),
        )

    def round(self) -> float:
        """Delete one batch of each table; return the seconds until there may be something to do again."""
        try:
            pruned = [self._prune(*kept) for kept in self._kept]
            is_full = max(pruned) == BATCH or self._journal.submit(_give_back).result()
        except JournalError:
            return DAY_SEC  # the engine is halted for it, and says so
        return PAUSE_SEC if is_full else DAY_SEC

    def _prune(self, table: Table, key: Column[int], wall_ms: Column[int], days: int) -> int:
        if days == 0:
            return 0
        oldest = self._clock.wall_ms() - days * DAY_SEC * 1000
        # The first rows by number, whatever their age: rows are numbered as they come, so the old ones stand
        # first, and a look for old ones alone would read the whole table when there are none. The last row stays:
        # SQLite would give its number to the next one.
        first = select(key, wall_ms).where(key < select(func.max(key)).scalar_subquery()).order_by(key).limit(BATCH)
        with self._journal.reading() as connection:
            old = [row[0] for row in connection.execute(first) if row[1] < oldest]
        if old:
            self._journal.submit(lambda connection: connection.execute(table.delete().where(key.in_(old)))).result()
        return len(old)


def _give_back(connection: Connection) -> bool:
    """Return free pages at the file's end to the disk, a few; whether there are more. Nothing but SQLite needs it."""
    if connection.dialect.name != "sqlite":
        return False

    def pragma(name: str) -> int:
        return int(connection.exec_driver_sql(f"PRAGMA {name}").scalar() or 0)

    if pragma("auto_vacuum") != 2:  # a file that was made otherwise; ADR 8 says how to change it
        return False
    spare = pragma("freelist_count") - pragma("page_count") // FREE_PART
    for _ in range(min(spare, FREE_PAGES)):
        # One page a statement: Python's driver takes one step of it, whatever number it is given.
        connection.exec_driver_sql("PRAGMA incremental_vacuum(1)")
    return spare > FREE_PAGES
