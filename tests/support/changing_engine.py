"""An engine for the panel whose accounts and orders a test changes."""

from __future__ import annotations

from decimal import Decimal

from copytrade_core.model import AccountId, Environment, Side
from copytrade_core.views import AccountChanges, FeedEvent, LeaderOrderState, LeaderOrderView, StatusView
from fake_trader import FakeTrader, an_account


def an_order(number, **changes):
    return LeaderOrderView(
        **{
            "id": str(number),
            "t": "2026-11-22T12:00:00.000Z",
            "exchange": "binance",
            "env": Environment.TEST,
            "symbol": "BTC/USDT",
            "order_id": str(5000 + number),
            "client_order_id": "web",
            "side": Side.BUY,
            "order_type": "MARKET",
            "status": "FILLED",
            "filled_base": Decimal("0.1"),
            "filled_quote": Decimal("6400"),
            "state": LeaderOrderState.COPIED,
            "tally": {"FILLED": 2},
            **changes,
        }
    )


class Engine(FakeTrader):
    """An engine whose accounts and orders a test changes; it numbers the changes as the real one does."""

    def __init__(self):
        super().__init__()
        self.number = 1
        self.accounts = {f"account-{number}": an_account(number) for number in range(3)}
        self.changed = dict.fromkeys(self.accounts, 1)
        self.removed = {}
        self.orders = [an_order(1)]
        self.undecided = []
        self.seq = 0
        self.answers = {
            "list_changes": self._changes,
            "status": lambda **_: StatusView(running=True),
            "list_events": lambda **_: list(reversed(self.orders)),
            "get_event": lambda event_id, **_: next(order for order in self.orders if order.id == event_id),
            "list_copies": lambda **_: list(self.undecided),
            "list_feed": lambda **_: [],
        }

    def _changes(self, after=0):
        chosen = [self.accounts[each] for each, number in self.changed.items() if number > after]
        gone = [AccountId(each) for each, number in self.removed.items() if number > after]
        return AccountChanges(number=self.number, accounts=tuple(chosen), removed=tuple(gone))

    def change(self, number, **changes):
        self.number += 1
        self.accounts[f"account-{number}"] = an_account(number, **changes)
        self.changed[f"account-{number}"] = self.number

    def remove(self, number):
        self.number += 1
        del self.accounts[f"account-{number}"], self.changed[f"account-{number}"]
        self.removed[f"account-{number}"] = self.number

    def tell(self, kind, **data):
        self.seq += 1
        event = FeedEvent(seq=self.seq, t="2026-11-22T12:00:00.000Z", kind=kind, text="it happened", data=data)
        for handler in list(self.handlers):
            handler(event)
