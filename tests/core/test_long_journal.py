"""Looks into a long journal cost what they show, not what there is: counted in the database's own steps."""

from __future__ import annotations

import pytest

from copytrade_core.store import book as rows
from copytrade_core.store import schema
from copytrade_core.store.journal import Journal
from copytrade_core.views import CopyState

ORDERS, FOLLOWERS = 300, 100
ROWS = ORDERS * FOLLOWERS
PAGE = 50
STEPS = 100  # of the database's machine between two counts


@pytest.fixture(scope="module")
def journal(tmp_path_factory):
    journal = Journal.in_data_dir(tmp_path_factory.mktemp("long"), None, lambda error: None)
    journal.write(_fill)
    yield journal
    journal.close()


def _fill(connection):
    for number in range(1, ORDERS + 1):
        connection.execute(
            schema.leader_orders.insert(),
            {
                "id": number, "exchange": "binance", "env": "test", "leader_uid": "1", "symbol": "BTC/USDT",
                "order_id": str(number), "created_ms": number, "client_order_id": "", "side": "BUY",
                "order_type": "MARKET", "status": "FILLED", "filled_base": 1, "filled_quote": 1,
                "transaction_ms": number, "heard_wall_ms": number, "source": "live", "state": "COPIED",
            },
        )  # fmt: skip
        connection.execute(
            schema.copies.insert(), [_copy(number, follower) for follower in range(FOLLOWERS)]
        )  # fmt: skip


def _copy(number, follower):
    # Nearly all went well; of each hundred one was refused, one failed and was left, and at the end some are open.
    state = {0: CopyState.REJECTED, 1: CopyState.FAILED}.get(follower, CopyState.FILLED)
    if number == ORDERS and 2 <= follower < 5:
        state = CopyState.NEEDS_PERSON
    return {
        "id": f"{number:05}-{follower:03}", "leader_order_id": number, "account_id": f"account-{follower}",
        "account_name": "anna", "exchange": "binance", "env": "test", "side": "BUY", "state": state.value,
        "size_asset": "USDT", "decided_by": "olga" if state is CopyState.FAILED else "", "updated_wall_ms": 1,
    }  # fmt: skip


def copies(account=None, state=None, before=None, event_id=None, undecided=False):
    return lambda connection: rows.copy_views(connection, account, state, PAGE, before, event_id, undecided=undecided)


LOOKS = {
    "newest": (copies(), 10),
    "a page further down": (copies(before=f"{ORDERS // 2:05}-050"), 20),
    "of an account": (copies("account-7"), 10),
    "of an order": (copies(event_id="150"), 20),
    "of a frequent state": (copies(state="FILLED"), 20),
    "of a rare state": (copies(state="REJECTED"), 20),
    "of an account in a state": (copies("account-7", "FILLED"), 20),
    "of an account in a state it never has": (copies("account-7", "REJECTED"), 20),
    "that need a person": (copies(state="NEEDS_PERSON"), 5),
    "open ones": (rows.open_copies, 5),
    "open ones counted": (rows.count_states, 1),
    "summaries of orders": (lambda connection: rows.order_summaries(connection, rows.latest_orders(PAGE)), 100),
    "last copies of some": (lambda connection: rows.last_copies_of(connection, ["account-1", "account-2"]), 5),
}


@pytest.mark.parametrize(("look", "most"), LOOKS.values(), ids=LOOKS)
def test_a_look_costs_what_it_shows(journal, look, most):
    """*most* is in thousands of steps; passing over every copy once would be some hundreds of them."""
    with journal.reading() as connection:
        look(connection)  # what is done once, is
        steps = _steps(connection, look)
    assert steps <= most * 1000


def test_passing_over_every_copy_would_be_noticed(journal):
    with journal.reading() as connection:
        steps = _steps(connection, lambda connection: connection.exec_driver_sql("SELECT max(sent) FROM copies").all())
    assert steps > ROWS * 3


def _steps(connection, look):
    counted = [0]

    def count():
        counted[0] += STEPS
        return 0

    raw = connection.connection.driver_connection
    raw.set_progress_handler(count, STEPS)
    try:
        assert look(connection) is not None
    finally:
        raw.set_progress_handler(None, 0)
    return counted[0]
