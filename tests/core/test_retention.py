"""What the journal forgets, what it never does, and that nobody waits for it; and its way from version to version."""

from __future__ import annotations

import re
import sqlite3
import threading
from pathlib import Path

import pytest
from sqlalchemy import event, func, insert, select
from sqlalchemy.exc import OperationalError

from copytrade_core.clock import Clock
from copytrade_core.errors import ConfigError, JournalError
from copytrade_core.settings import Settings
from copytrade_core.store import book, schema
from copytrade_core.store.journal import Journal
from copytrade_core.store.retention import BATCH, DAY_SEC, PAUSE_SEC, Retention
from fakes import D

NOW = 1_763_822_160_000
DAY = DAY_SEC * 1000


class At(Clock):
    def __init__(self, wall_ms: int = NOW) -> None:
        self.ms = wall_ms

    def wall_ms(self) -> int:
        return self.ms


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.db"


@pytest.fixture
def journal(path):
    journal = Journal.in_data_dir(path.parent, None, lambda error: None)
    yield journal
    journal.close()


def add_frames(journal, *ages_days, leader="binance/test/1", size=1):
    first = journal.write(lambda c: c.execute(select(func.max(schema.frames.c.id))).scalar()) or 0
    rows = [
        book.frame_row(f"{leader} {first + n}", leader, "leader-a", NOW - int(age * DAY), D(1), "x" * size)
        for n, age in enumerate(ages_days)
    ]
    journal.write(lambda connection: connection.execute(insert(schema.frames), rows))


def add_feed(journal, *ages_days):
    rows = [{"wall_ms": NOW - int(age * DAY), "kind": "copy", "text": "", "data": {}} for age in ages_days]
    journal.write(lambda connection: connection.execute(insert(schema.feed), rows))


def ages(journal, table, column):
    with journal.reading() as connection:
        return [(NOW - ms) / DAY for ms in connection.execute(select(column).order_by(*table.primary_key)).scalars()]


def frame_ages(journal):
    return ages(journal, schema.frames, schema.frames.c.received_wall_ms)


def feed_ages(journal):
    return ages(journal, schema.feed, schema.feed.c.wall_ms)


def prune(journal, clock=None, **settings):
    """Run rounds until there is nothing more to do; return how many there were."""
    retention = Retention(Settings(**settings), clock or At(), journal)
    rounds = 1
    while retention.round() == PAUSE_SEC:
        rounds += 1
    return rounds


def test_frames_and_feed_are_kept_as_long_as_each_is_told_to(journal):
    add_frames(journal, 400, 31, 30.5, 29.5, 0)
    add_feed(journal, 400, 366, 364, 31, 0)

    prune(journal)

    assert frame_ages(journal) == [29.5, 0]
    assert feed_ages(journal) == [364, 31, 0]


def test_other_days_can_be_set_and_nought_keeps_for_ever(journal):
    add_frames(journal, 400, 3, 1.5, 0.5, 0)
    add_feed(journal, 4000, 3, 0)

    prune(journal, journal_frames_days=2, journal_feed_days=0)

    assert frame_ages(journal) == [1.5, 0.5, 0]
    assert feed_ages(journal) == [4000, 3, 0]


def test_the_newest_row_stays_so_that_no_number_is_given_twice(journal):
    add_feed(journal, 900, 800, 700)

    prune(journal)
    add_feed(journal, 0)

    with journal.reading() as connection:
        assert list(connection.execute(select(schema.feed.c.seq)).scalars()) == [3, 4]


def test_many_are_deleted_in_small_transactions_and_an_order_gets_in_between(journal):
    add_frames(journal, *[40] * (3 * BATCH + 10), 0)
    deleted = []
    event.listen(
        journal._engine,
        "after_cursor_execute",
        lambda connection, cursor, statement, *_: (
            deleted.append(cursor.rowcount) if statement.startswith("DELETE") else None
        ),
    )
    retention = Retention(Settings(), At(), journal)

    assert retention.round() == PAUSE_SEC
    journal.write(lambda connection: book.remember(connection, "an order", "x"), timeout_sec=5)
    while retention.round() == PAUSE_SEC:
        pass

    assert deleted == [BATCH, BATCH, BATCH, 10]
    assert frame_ages(journal) == [0]


def test_when_nothing_is_old_little_is_read_and_nothing_written(journal):
    add_frames(journal, *[1] * 2000)
    retention = Retention(Settings(), At(), journal)
    fetched = []
    event.listen(journal._readers, "after_cursor_execute", lambda c, cursor, statement, *_: fetched.append(statement))

    assert retention.round() == DAY_SEC

    looked = [statement for statement in fetched if statement.startswith("SELECT")]
    assert len(looked) == 2
    assert all("LIMIT" in statement for statement in looked)


def test_orders_copies_attempts_and_evidence_stay_however_old_they_are(journal):
    order = {
        "exchange": "binance", "env": "test", "leader_uid": "1", "symbol": "BTC/USDT", "order_id": "1",
        "created_ms": 1, "client_order_id": "", "side": "BUY", "order_type": "MARKET", "status": "FILLED",
        "filled_base": D(1), "filled_quote": D(1), "transaction_ms": 1, "heard_wall_ms": 1, "source": "live",
        "state": "COPIED",
    }  # fmt: skip
    copy = {
        "id": "c" * 20, "account_id": "a", "account_name": "Anna", "exchange": "binance", "env": "test", "side": "BUY",
        "state": "PLANNED", "size_asset": "USDT", "updated_wall_ms": 1,
    }  # fmt: skip
    journal.write(lambda connection: book.plan(connection, order, [copy]))
    journal.write(lambda connection: book.note(connection, copy["id"], 1, "unknown", "no answer"))
    add_frames(journal, 400, 0)
    add_feed(journal, 400, 0)

    prune(journal)

    with journal.reading() as connection:
        for table in (schema.leader_orders, schema.copies, schema.evidence):
            assert connection.execute(select(func.count()).select_from(table)).scalar() == 1


def test_the_file_shrinks_when_much_of_it_is_free(journal, path):
    add_frames(journal, *[40] * 2000, 0, size=2000)
    before = pages(journal)

    prune(journal)

    assert pages(journal)[0] < before[0] / 5
    assert pages(journal)[1] * 9 <= pages(journal)[0]


def pages(journal):
    return journal.write(
        lambda connection: [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("page_count", "freelist_count")
        ]
    )


def test_a_file_of_before_that_cannot_shrink_is_pruned_all_the_same(path):
    with sqlite3.connect(path) as old:  # made without auto_vacuum
        old.execute("PRAGMA journal_mode=WAL")
        old.execute("CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
        old.execute("INSERT INTO meta VALUES ('schema_version', ?)", (str(schema.VERSION),))
    old.close()
    journal = Journal.in_data_dir(path.parent, None, lambda error: None)
    try:
        journal.write(lambda connection: schema.metadata.create_all(connection))
        add_frames(journal, *[40] * 1200, 0)

        prune(journal)

        assert frame_ages(journal) == [0]
        assert pages(journal)[1] > 0  # free, for new rows
    finally:
        journal.close()


def test_what_the_decision_record_says_makes_such_a_file_shrink(path):
    record = (Path(__file__).parents[2] / "docs/adr/0008-how-long-the-journal-remembers.md").read_text("utf-8")
    (statements,) = re.findall(r"sqlite3 journal\.db '([^']+)'", record)
    with sqlite3.connect(path) as old:  # made without auto_vacuum
        old.execute("CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
        old.execute("INSERT INTO meta VALUES ('schema_version', ?)", (str(schema.VERSION),))
    old.close()
    journal = Journal.in_data_dir(path.parent, None, lambda error: None)
    journal.write(lambda connection: schema.metadata.create_all(connection))
    add_frames(journal, *[40] * 1200, 0)
    journal.close()

    by_hand = sqlite3.connect(path, isolation_level=None)
    by_hand.executescript(statements)
    by_hand.close()

    journal = Journal.in_data_dir(path.parent, None, lambda error: None)
    try:
        full = pages(journal)[0]
        prune(journal)
        assert frame_ages(journal) == [0]
        assert pages(journal)[0] < full / 2
    finally:
        journal.close()


def test_a_journal_that_is_closed_or_broken_ends_the_round_quietly(path):
    journal = Journal.in_data_dir(path.parent, None, lambda error: None)
    add_frames(journal, 400, 0)
    retention = Retention(Settings(), At(), journal)
    journal.close()

    assert retention.round() == DAY_SEC


@pytest.mark.parametrize("text", ["-1", "1.5", "36501", "999999", "ten", "１"])
def test_days_are_whole_numbers(text):
    with pytest.raises(ConfigError, match="JOURNAL_FRAMES_DAYS must be a whole number of days"):
        Settings.from_environment({"JOURNAL_FRAMES_DAYS": text})


def test_days_are_read_from_the_environment():
    settings = Settings.from_environment({"JOURNAL_FRAMES_DAYS": "0", "JOURNAL_FEED_DAYS": "36500"})

    assert (settings.journal_frames_days, settings.journal_feed_days) == (0, 36500)


# --- from version to version ------------------------------------------------------------------------------


def dump(path) -> list[str]:
    """Everything that a file holds, as statements; without the epoch, which counts its openings."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return [line for line in connection.iterdump() if "owner_epoch" not in line]
    finally:
        connection.close()


@pytest.fixture
def present(path):
    """A journal as this program's present version leaves it, with history in it."""
    journal = Journal.in_data_dir(path.parent, None, lambda error: None)
    add_frames(journal, 2, 1, 0)
    add_feed(journal, 2, 1, 0)
    journal.close()
    return path


def add_column(connection):
    connection.exec_driver_sql("ALTER TABLE feed ADD COLUMN importance TEXT NOT NULL DEFAULT ''")
    connection.exec_driver_sql("UPDATE feed SET importance = 'low'")


def test_a_journal_is_upgraded_in_one_transaction(present, monkeypatch):
    seen_by_others = []

    def migrate(connection):
        add_column(connection)
        reader = threading.Thread(target=lambda: seen_by_others.append(dump(present)), name="reader")
        reader.start()
        reader.join()

    before = dump(present)
    now = schema.VERSION
    monkeypatch.setattr(schema, "VERSION", now + 1)
    monkeypatch.setattr(schema, "MIGRATIONS", (*[None] * (now - 1), migrate))

    journal = Journal.in_data_dir(present.parent, None, lambda error: None)
    journal.close()

    assert seen_by_others == [before]  # half of an upgrade is never in the file
    connection = sqlite3.connect(present)
    assert connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchall() == [(str(now + 1),)]
    assert connection.execute("SELECT importance FROM feed").fetchall() == [("low",)] * 3
    assert connection.execute("SELECT count(*) FROM frames").fetchall() == [(3,)]
    connection.close()


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(OperationalError("UPDATE", {}, Exception("database or disk is full")), id="disk"),
        pytest.param(KeyError("a bug"), id="a-bug"),
    ],
)
def test_a_migration_that_fails_leaves_the_file_as_it_was_and_the_old_program_goes_on(present, monkeypatch, failure):
    def fails(connection):
        add_column(connection)
        raise failure

    before = dump(present)
    with monkeypatch.context() as newer:
        newer.setattr(schema, "VERSION", schema.VERSION + 1)
        newer.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, fails))
        with pytest.raises((JournalError, KeyError)):
            Journal.in_data_dir(present.parent, None, lambda error: None)

    assert dump(present) == before
    journal = Journal.in_data_dir(present.parent, None, lambda error: None)
    assert feed_ages(journal) == [2, 1, 0]
    journal.close()
