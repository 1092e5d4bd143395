"""Data that earlier versions left behind: it opens, keeps its history to the last digit, and goes on being traded with.

`tests/data/upgrades` holds, for every shape that the journal has had, what an engine of that time left of the same
small history: one purchase copied to two followers, one sale copied to one of them and refused to the other.
"""

from __future__ import annotations

import shutil
import sqlite3
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from copytrade_core import Side
from copytrade_core.errors import JournalError
from copytrade_core.store import schema
from copytrade_core.store.archive import back_up, restore
from copytrade_core.store.journal import Journal
from copytrade_core.store.vault import Vault
from copytrade_core.views import AccountState, CopyState, LeaderOrderState
from memory_exchange import MASTER_KEY, MemoryExchange, closed_book, engine, until

DATA = Path(__file__).resolve().parents[1] / "data" / "upgrades"
# In the order in which they came; each entry says which version its journals bear.
EARLIER = {"first": "1", "decisions": "1", "gapless": "2", "slow_lists": "3"}


@pytest.fixture(params=EARLIER)
def data_dir(request, tmp_path) -> Path:
    """An earlier version's data directory."""
    data_dir = tmp_path / "data"
    data_dir.mkdir(mode=0o700)
    shutil.copy(DATA / request.param / "vault.json", data_dir / "vault.json")
    connection = sqlite3.connect(data_dir / "journal.db")
    connection.executescript((DATA / request.param / "journal.sql").read_text("utf-8"))
    assert connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone() == (
        EARLIER[request.param],
    )
    connection.close()
    for path in data_dir.iterdir():
        path.chmod(0o600)
    return data_dir


@pytest.fixture
def world() -> MemoryExchange:
    world = MemoryExchange()
    for name in ("leader", "anna", "bela"):
        world.open(name, "1000", "1")
    return world


def shape(path: Path) -> dict[str, object]:
    """Everything that makes up the tables: columns, keys, uniqueness, references."""
    connection = sqlite3.connect(path)
    tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
    found: dict[str, object] = {}
    for table in tables:
        indexes = sorted(
            (name, unique, origin, tuple(row[2] for row in connection.execute(f"PRAGMA index_info({name})")))
            for _, name, unique, origin, _ in connection.execute(f"PRAGMA index_list({table})")
        )
        found[table] = (
            [row[1:] for row in connection.execute(f"PRAGMA table_info({table})")],
            indexes,
            sorted(connection.execute(f"PRAGMA foreign_key_list({table})")),
        )
    connection.close()
    return found


def test_a_journal_of_every_earlier_shape_becomes_what_a_new_one_is(data_dir, tmp_path):
    (tmp_path / "new").mkdir()
    Journal.in_data_dir(tmp_path / "new", None, lambda error: None).close()

    Journal.in_data_dir(data_dir, None, lambda error: None).close()

    assert shape(data_dir / "journal.db") == shape(tmp_path / "new" / "journal.db")
    connection = sqlite3.connect(data_dir / "journal.db")
    assert connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone() == (
        str(schema.VERSION),
    )
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()


def test_an_engine_of_today_shows_the_old_history_and_copies_on(data_dir, world):
    with engine(world, data_dir) as trader:
        sale, purchase = trader.list_events()
        assert (purchase.side, purchase.share, purchase.balance_before) == (Side.BUY, Fraction(1, 100), Decimal(10000))
        assert [copy.state for copy in purchase.copies] == [CopyState.FILLED] * 2
        assert {copy.filled_base for copy in purchase.copies} == {Decimal("0.0002")}
        assert {copy.account_name: (copy.state, copy.sent) for copy in sale.copies} == {
            "anna": (CopyState.FILLED, Decimal("0.49910")),
            "bela": (CopyState.REJECTED, Decimal("0.49910")),
        }
        assert sale.state is LeaderOrderState.COPIED
        assert all(account.state is AccountState.ACTIVE for account in trader.list_accounts())
        # The first journals do not say which vault they belong to: nothing is traded before the exchanges were asked.
        until(lambda: not trader.status().halts)
        halted = [event.text for event in trader.list_feed() if event.data.get("what") == "halt_began"]
        assert all("the journal is of an early version" in text for text in halted)
        trader.start_copying()

        order = world.leader_trades("leader", Side.BUY, quote="10")

        assert [copy.state for copy in closed_book(trader, order.exchange_order_id).copies] == [CopyState.FILLED] * 2


def test_a_copy_that_failed_back_then_can_be_made_up_for_today(data_dir):
    connection = sqlite3.connect(data_dir / "journal.db")
    connection.execute("UPDATE copies SET state = 'FAILED' WHERE state = 'REJECTED'")
    connection.commit()
    connection.close()
    Journal.in_data_dir(data_dir, None, lambda error: None).close()

    connection = sqlite3.connect(data_dir / "journal.db")
    (row,) = connection.execute("SELECT * FROM copies WHERE state = 'FAILED'").fetchall()
    names = [column[1] for column in connection.execute("PRAGMA table_info(copies)")]
    again = dict(zip(names, row, strict=True)) | {"id": "another", "ordinal": 2, "state": "PLANNED"}
    connection.execute(
        f"INSERT INTO copies ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})", list(again.values())
    )
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        connection.execute(
            f"INSERT INTO copies ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})",
            list((again | {"id": "a third"}).values()),
        )
    connection.close()


def test_orders_of_back_then_belong_to_no_gap_and_new_ones_can(data_dir):
    Journal.in_data_dir(data_dir, None, lambda error: None).close()

    connection = sqlite3.connect(data_dir / "journal.db")
    connection.execute("PRAGMA foreign_keys = on")
    assert connection.execute("SELECT gap_id FROM leader_orders").fetchall() == [(None,), (None,)]
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        connection.execute("UPDATE leader_orders SET gap_id = 1 WHERE id = 2")
    connection.execute(
        "INSERT INTO gaps (exchange, env, leader_uid, from_ms, reason_kind, reason, outcome, unexplained)"
        " VALUES ('memory', 'test', 'uid-leader', 1, 'no_connection', 'none', '', '{}')"
    )
    assert connection.execute("UPDATE leader_orders SET gap_id = 1 WHERE id = 2").rowcount == 1
    connection.close()


def test_rows_that_would_lose_their_owner_stop_the_upgrade_and_nothing_is_changed(data_dir):
    connection = sqlite3.connect(data_dir / "journal.db")
    connection.execute("DELETE FROM copies WHERE state = 'REJECTED'")
    connection.commit()
    before = list(connection.iterdump())
    connection.close()

    with pytest.raises(JournalError, match="have lost their owner"):
        Journal.in_data_dir(data_dir, None, lambda error: None)

    connection = sqlite3.connect(data_dir / "journal.db")
    assert list(connection.iterdump()) == before
    connection.close()


def test_an_old_backup_is_brought_up_to_date_when_it_is_put_back(data_dir, tmp_path, world):
    back_up(data_dir, tmp_path / "backup", world.now_ms())
    restore(tmp_path / "restored", tmp_path / "backup", world.now_ms(), MASTER_KEY)

    with engine(world, tmp_path / "restored") as trader:
        assert len(trader.list_copies()) == 4
        # The halt ends by itself as soon as the exchanges have shown that nothing is missing.
        assert until(lambda: [e for e in trader.list_feed() if e.data.get("halt_kind") == "restored"])


def test_an_early_vault_opens_with_its_accounts(data_dir):
    vault = Vault.open(data_dir / "vault.json", MASTER_KEY)

    assert sorted(account.name for account in vault.accounts()) == ["anna", "bela"]
    assert all(account.status == "VERIFIED" for account in vault.accounts())
    assert all(vault.credentials(account.id)["api_secret"].startswith("secret of") for account in vault.accounts())
    assert vault.copying
