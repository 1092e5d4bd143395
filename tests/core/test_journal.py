"""The journal: what it said is written is on disk, alone it is owned, and broken it stays broken."""

from __future__ import annotations

import sqlite3
import stat
import threading
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, select
from sqlalchemy.exc import IntegrityError, OperationalError

from copytrade_core.errors import Conflict, JournalError
from copytrade_core.store import book, schema
from copytrade_core.store.journal import Journal
from fakes import D


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.db"


@pytest.fixture
def opened():
    """Open journals that are closed at the end; ``opened.broken`` collects what they said of themselves."""

    class Opened(list):
        broken: list[JournalError] = []  # noqa: RUF012 - one test, one list

        def __call__(self, path):
            journal = Journal.in_data_dir(path.parent, None, self.broken.append)
            self.append(journal)
            return journal

    journals = Opened()
    journals.broken = []
    yield journals
    for journal in journals:
        journal.close()


@pytest.fixture
def journal(opened, path):
    return opened(path)


def remember(key: str, value: str = "x"):
    return lambda connection: book.remember(connection, key, value)


def stored(path) -> dict[str, str]:
    """Read the file with nothing of ours."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        found = dict(connection.execute("SELECT key, value FROM meta"))
    connection.close()
    return {key: value for key, value in found.items() if key not in ("schema_version", "owner_epoch")}


def held_up(journal: Journal) -> threading.Event:
    """Keep the writer busy until the returned event is set, so that what is submitted meanwhile is one group."""
    started, go = threading.Event(), threading.Event()

    def wait(connection):
        started.set()
        assert go.wait(10)

    journal.submit(wait)
    assert started.wait(5)
    return go


def test_what_was_written_is_in_the_file_before_the_answer(journal, path):
    assert journal.write(lambda connection: (remember("a")(connection), "done")[1]) == "done"

    assert stored(path) == {"a": "x"}


def test_the_file_is_private_and_synced_and_checked(journal, path):
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = journal.write(
        lambda connection: [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    )
    assert found == ["wal", 2, 1]  # 2 is FULL


def test_work_is_done_in_the_order_it_was_handed_in(journal):
    go = held_up(journal)
    done = []
    futures = [journal.submit(lambda connection, n=n: done.append(n)) for n in range(100)]
    go.set()
    for future in futures:
        future.result(5)

    assert done == list(range(100))


def test_a_journal_that_cannot_keep_up_is_broken_so_that_nothing_is_left_out_in_silence(opened, path, monkeypatch):
    monkeypatch.setattr("copytrade_core.store.journal.QUEUE_LIMIT", 3)
    journal = opened(path)
    go = held_up(journal)
    kept = [journal.submit(remember(str(n))) for n in range(3)]

    refused = journal.submit(remember("one too many"))

    with pytest.raises(JournalError, match="keep up"):
        refused.result(1)
    assert [error.message for error in opened.broken] == [journal.broken.message]
    go.set()
    for future in kept:
        with pytest.raises(JournalError):
            future.result(5)


@pytest.mark.parametrize("how", ["replaced", "moved away"])
def test_a_file_that_is_taken_away_under_the_engine_breaks_the_journal(journal, opened, path, how):
    journal.write(remember("a"))
    other = path.with_name("other.db")
    other.write_bytes(path.read_bytes())
    if how == "replaced":
        other.replace(path)
    else:
        path.rename(path.with_name("elsewhere.db"))

    with pytest.raises(JournalError, match="moved or another put in its place"):
        journal.write(remember("b"))

    assert len(opened.broken) == 1


def test_all_that_waits_is_committed_together(journal):
    commits = []
    event.listen(journal._engine, "commit", lambda connection: commits.append(1))
    go = held_up(journal)
    futures = [journal.submit(remember(str(n))) for n in range(300)]
    go.set()
    for future in futures:
        future.result(5)

    assert len(commits) == 2  # what held it up, and the burst


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(IntegrityError, id="a-key-that-exists"),
        pytest.param(Conflict, id="a-refusal-of-ours"),
        pytest.param(KeyError, id="a-bug"),
    ],
)
def test_a_piece_of_work_that_fails_is_undone_alone(journal, path, opened, failure):
    def fails(connection):
        remember("half")(connection)
        if failure is IntegrityError:
            for _ in range(2):
                connection.execute(schema.meta.insert().values(key="twice", value=""))
        raise failure("this one only")

    go = held_up(journal)
    before, failed, after = journal.submit(remember("before")), journal.submit(fails), journal.submit(remember("after"))
    go.set()

    with pytest.raises(failure):
        failed.result(5)
    before.result(5)
    after.result(5)
    assert stored(path) == {"before": "x", "after": "x"}
    assert journal.broken is None
    assert opened.broken == []


def test_a_commit_that_fails_breaks_the_journal_for_good(journal, path, opened):
    disk = {"is_full": True}

    def fail(connection):
        if disk["is_full"]:
            raise OperationalError("COMMIT", {}, Exception("database or disk is full"))

    event.listen(journal._engine, "commit", fail)
    go = held_up(journal)
    futures = [journal.submit(remember(str(n))) for n in range(3)]
    go.set()

    for future in futures:
        with pytest.raises(JournalError):
            future.result(5)
    disk["is_full"] = False  # space again; but what the file holds is not known any more
    with pytest.raises(JournalError):
        journal.write(remember("later"))
    assert stored(path) == {}
    assert journal.broken is not None
    assert len(opened.broken) == 1


def test_a_full_disk_is_noticed_while_writing_too(journal, path, opened):
    def fills_the_disk(connection):
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
        remember("large", "x" * 10_000_000)(connection)

    with pytest.raises(JournalError, match="cannot be written"):
        journal.write(fills_the_disk)

    assert journal.broken is not None
    assert len(opened.broken) == 1
    assert stored(path) == {}


def test_a_journal_that_does_not_answer_is_broken_although_it_may_write_later(journal, opened):
    go = held_up(journal)

    with pytest.raises(JournalError, match="did not answer"):
        journal.write(remember("slow"), timeout_sec=0.05)

    assert len(opened.broken) == 1
    go.set()
    with pytest.raises(JournalError):
        journal.write(remember("later"))
    assert len(opened.broken) == 1


def test_a_second_owner_makes_the_first_ones_writes_fail(opened, path):
    first = opened(path)
    first.write(remember("first"))
    second = opened(path)

    with pytest.raises(JournalError, match="another engine"):
        first.write(remember("late"))
    second.write(remember("second"))

    assert stored(path) == {"first": "x", "second": "x"}
    assert first.broken is not None
    assert second.broken is None
    assert len(opened.broken) == 1


def test_what_waits_when_it_is_closed_is_still_written(opened, path):
    journal = opened(path)
    go = held_up(journal)
    futures = [journal.submit(remember(str(n))) for n in range(10)]
    closer = threading.Thread(target=journal.close, name="closer")
    closer.start()
    go.set()
    closer.join(5)

    assert [future.result(0) for future in futures] == [None] * 10
    assert len(stored(path)) == 10
    with pytest.raises(JournalError, match="closed"):
        journal.write(remember("late"))
    journal.close()  # a second time is no error


def test_its_thread_ends_with_it(path, opened):
    before = set(threading.enumerate())
    journal = opened(path)
    assert {thread.name for thread in set(threading.enumerate()) - before} == {"journal-writer"}

    journal.close()

    assert set(threading.enumerate()) == before


def test_a_broken_journal_can_be_closed(journal):
    event.listen(journal._engine, "commit", lambda connection: 1 / 0)
    with pytest.raises(JournalError):
        journal.write(remember("a"))

    journal.close()


def test_readers_see_what_is_committed_and_cannot_write(journal):
    journal.write(remember("a"))

    with journal.reading() as connection:
        assert book.recall(connection, "a") == "x"
        assert book.recall(connection, "b") is None
    with pytest.raises(JournalError, match="cannot be read"), journal.reading() as connection:
        remember("b")(connection)
    assert journal.broken is None


def test_a_reader_is_not_held_up_by_the_writer(journal):
    journal.write(remember("a", "old"))
    written, go = threading.Event(), threading.Event()

    def slowly(connection):
        remember("a", "new")(connection)
        written.set()
        assert go.wait(10)

    future = journal.submit(slowly)
    assert written.wait(5)
    with journal.reading() as connection:
        assert book.recall(connection, "a") == "old"
    go.set()
    future.result(5)
    with journal.reading() as connection:
        assert book.recall(connection, "a") == "new"


def test_facts_outlive_the_engine(opened, path):
    opened(path).write(remember("a"))
    opened[0].close()

    with opened(path).reading() as connection:
        assert book.recall(connection, "a") == "x"


# --- files that are not to be trusted ---------------------------------------------------------------------


def rewrite(path, statement: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(statement)
    connection.close()


def test_a_newer_schema_is_refused_and_left_alone(opened, path):
    opened(path).close()
    rewrite(path, "UPDATE meta SET value = '999' WHERE key = 'schema_version'")

    with pytest.raises(JournalError, match="newer copytrade"):
        opened(path)

    connection = sqlite3.connect(path)
    assert connection.execute("SELECT value FROM meta WHERE key = 'owner_epoch'").fetchone() == ("1",)
    connection.close()


@pytest.mark.parametrize("version", ["", "-1", "0", "one"])
def test_a_schema_without_a_proper_version_is_refused(opened, path, version):
    opened(path).close()
    rewrite(path, f"UPDATE meta SET value = '{version}' WHERE key = 'schema_version'")

    with pytest.raises(JournalError, match="does not say its version"):
        opened(path)


def test_an_older_schema_is_brought_up_to_date_in_one_transaction(opened, path, monkeypatch):
    opened(path).close()
    now = schema.VERSION
    monkeypatch.setattr(schema, "VERSION", now + 2)

    def first(connection):
        connection.exec_driver_sql("CREATE TABLE added (x)")

    def fails(connection):
        raise OperationalError("CREATE", {}, Exception("no space"))

    monkeypatch.setattr(schema, "MIGRATIONS", (*[None] * (now - 1), first, fails))
    with pytest.raises(JournalError):
        opened(path)
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone() == (str(now),)
    assert connection.execute("SELECT name FROM sqlite_master WHERE name = 'added'").fetchall() == []
    connection.close()

    monkeypatch.setattr(schema, "MIGRATIONS", (*[None] * (now - 1), first, lambda connection: None))
    opened(path).close()
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone() == (str(now + 2),)
    connection.close()


def test_somebody_elses_database_is_refused_and_left_alone(opened, path):
    rewrite(path, "CREATE TABLE recipes (name TEXT)")

    with pytest.raises(JournalError, match="no journal of copytrade"):
        opened(path)

    connection = sqlite3.connect(path)
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("recipes",)]
    connection.close()


def test_a_file_that_is_no_database_is_refused(opened, path):
    path.write_bytes(b"this is a letter to a friend, and no database at all. " * 100)

    with pytest.raises(JournalError, match="cannot be opened"):
        opened(path)


def filled(opened, path) -> bytes:
    journal = opened(path)
    journal.write(lambda connection: [remember(f"key {n}", "v" * 200)(connection) for n in range(300)])
    journal.close()
    return path.read_bytes()


def test_a_truncated_file_is_refused(opened, path):
    whole = filled(opened, path)
    path.write_bytes(whole[: len(whole) // 2 // 4096 * 4096])

    with pytest.raises(JournalError):
        opened(path)


@pytest.mark.parametrize("offset", [0, 16, 100, 4096, 8192 + 3])
def test_a_flipped_bit_in_the_structure_is_refused(opened, path, offset):
    """Of the file's header, its catalogue, and the trees' pages; which page is a tree's depends on nothing random."""
    whole = bytearray(filled(opened, path))
    whole[offset] ^= 0x10 if offset != 16 else 0xFF
    path.write_bytes(whole)

    with pytest.raises(JournalError):
        opened(path)


def test_a_name_that_is_no_text_any_more_is_refused_in_words(opened, path):
    whole = bytearray(filled(opened, path))
    whole[whole.index(b"copies_by_state")] ^= 0x80
    path.write_bytes(whole)

    with pytest.raises(JournalError, match="damaged"):
        opened(path)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_whatever_bit_is_flipped_nothing_but_a_plain_refusal_comes_out(opened, path, position, bit):
    whole = bytearray(filled(opened, path)) if not path.exists() or not hasattr(opened, "whole") else opened.whole
    opened.whole = whole
    damaged = bytearray(whole)
    damaged[int(position * len(damaged))] ^= 1 << bit
    for leftover in path.parent.glob("journal.db-*"):
        leftover.unlink()
    path.write_bytes(damaged)

    try:
        opened(path).close()
    except JournalError as error:
        assert str(error)


@pytest.mark.slow
def test_a_file_that_another_program_holds_is_waited_for_and_then_refused(opened, path):
    opened(path).close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(JournalError, match="no other program holds it"):
        opened(path)

    other.close()


def test_amounts_and_shares_come_back_exactly(journal):
    order = {
        "exchange": "binance", "env": "test", "leader_uid": "1", "symbol": "BTC/USDT", "order_id": "1",
        "created_ms": 1, "client_order_id": "", "side": "BUY", "order_type": "MARKET", "status": "FILLED",
        "filled_base": D("0.00000001"), "filled_quote": D("12345678901234567890.12345678"), "transaction_ms": 1,
        "heard_wall_ms": 1, "source": "live", "state": "COPIED", "share": Fraction(10**30 + 1, 3 * 10**31),
    }  # fmt: skip
    journal.write(lambda connection: book.plan(connection, order, []))

    with journal.reading() as connection:
        (row,) = connection.execute(select(schema.leader_orders))
    assert format(row.filled_base, "f") == "0.00000001"
    assert row.filled_quote == D("12345678901234567890.12345678")
    assert row.share == Fraction(10**30 + 1, 3 * 10**31)
