"""A trader that answers what a test tells it to, for the local socket and the command line, and its views."""

from __future__ import annotations

import queue
from decimal import Decimal
from fractions import Fraction
from typing import Any

from copytrade_core.api import TraderApi
from copytrade_core.control.protocol import METHODS
from copytrade_core.model import AccountId, Environment, Side
from copytrade_core.views import AccountState, AccountView, BalanceView, CopyState, CopyView


def a_copy(number: int = 0, **changes: Any) -> CopyView:
    return CopyView(
        **{
            "id": f"copy-{number}",
            "event_id": "event",
            "account_id": AccountId(f"account-{number}"),
            "account_name": "小王",
            "exchange": "binance",
            "env": Environment.TEST,
            "side": Side.BUY,
            "state": CopyState.FILLED,
            "free_before": Decimal("1234.56789012"),
            "computed": Fraction(1, 3),
            "commissions": {"BTC": Decimal("0.00000001")},
            "latency_ms": {"sent": 1.5},
            **changes,
        }
    )


def an_account(number: int = 0, **changes: Any) -> AccountView:
    return AccountView(
        **{
            "id": AccountId(f"account-{number}"),
            "name": "小王",
            "exchange": "binance",
            "env": Environment.TEST,
            "state": AccountState.ACTIVE,
            "status": "VERIFIED",
            "version": 1,
            "paused": False,
            "balances": (
                BalanceView(asset="USDT", free=Decimal("0.00000001"), locked=Decimal(0), age_sec=0.1, source="pushed"),
            ),
            "last_copy": a_copy(number),
            **changes,
        }
    )


class FakeTrader(TraderApi):
    """Answers with what a test put in; a method that a test did not set up is an AttributeError in its face."""

    def __init__(self) -> None:
        self.handlers: list[Any] = []
        self.calls: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue()
        self.answers: dict[str, Any] = {}

    def subscribe(self, handler: Any) -> Any:
        self.handlers.append(handler)
        return lambda: self.handlers.remove(handler)

    def close(self) -> None: ...


def _fake(name: str) -> Any:
    def method(self: FakeTrader, *args: Any, **kwargs: Any) -> Any:
        self.calls.put((name, kwargs))
        answer = self.answers[name]
        if isinstance(answer, Exception):
            raise answer
        return answer(**kwargs) if callable(answer) else answer

    return method


for _name in METHODS:
    setattr(FakeTrader, _name, _fake(_name))
FakeTrader.__abstractmethods__ = frozenset()
