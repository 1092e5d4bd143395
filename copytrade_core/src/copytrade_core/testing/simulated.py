"""A `FakeExchange` over a simulator that is built from `copytrade_core.sim`. Needs the extra ``sim``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from ..model import Environment, Side
from ..sim import RunningSimulators, SimAccount
from .fixtures import ExecutedOrder, FakeExchange


class SimulatedExchange(FakeExchange):
    """One account of a simulator that runs in this process, with trouble from the toolkit's faults.

    A dialect adds `limits_the_rate` and, where it pushes, names the disturbance that cuts its streams. The usual
    untidiness is off: the contract is about what is promised on a good day and on one particular bad one.
    """

    cut: str = "abort"

    def __init__(
        self, sims: RunningSimulators, plugin: object, exchange: str, account_id: str, credentials: Mapping[str, str]
    ) -> None:
        """*credentials* are those of *account_id*, as the simulator gave them; what is no input is left out."""
        self.sims = sims
        self.plugin = plugin
        self.exchange = exchange
        self.account_id = account_id
        simulator = sims.simulators[exchange]
        self.environment = Environment(simulator.environment)
        self.endpoints = {name: url for name, url in sims[exchange].items() if isinstance(url, str) and "://" in url}
        self.credentials = credentials
        self._faults: set[str] = set()
        sims.tidy()

    @property
    def account(self) -> SimAccount:
        """The account's truth; touch it only inside ``sims.call``."""
        return self.sims.world.accounts[self.account_id]

    def free(self, asset: str) -> Decimal:
        return self.sims.call(lambda: self.account.free(asset))

    def executed_orders(self) -> Sequence[ExecutedOrder]:
        return self.sims.call(
            lambda: [
                ExecutedOrder(
                    client_order_id=order.client_order_id,
                    side=Side(order.side),
                    base=order.executed_base,
                    quote=order.executed_quote,
                )
                for order in self.account.orders
                if order.executed_base
            ]
        )

    def arm(self, name: str, **options: Any) -> None:
        """Arm a fault for this account; `heals` clears it."""
        self._faults.add(name)
        self.sims.arm(name, exchange=self.exchange, account=self.account_id, **options)

    def accepts_then_drops_the_answer(self) -> None:
        self.arm("reply_lost_after_execution")

    def drops_before_execution(self) -> None:
        self.arm("reply_lost_before_execution")

    def answers_garbage(self) -> None:
        self.arm("html_200")

    def refuses_the_key(self) -> None:
        self._set_keys(revoked=True)

    def lets_the_key_withdraw(self) -> None:
        self._set_keys(can_withdraw=True)

    def skews_the_clock(self, ms: int) -> None:
        self.sims.call(lambda: self.sims.world.set_skew(self.exchange, ms))

    def loses_reads(self) -> None:
        self.arm("reply_lost_after_execution", count=None, params={"on": "query"})

    def garbles_reads(self) -> None:
        self.arm("html_200", count=None, params={"on": "query"})

    def cuts_the_streams(self) -> None:
        self.sims.arm(self.cut, exchange=self.exchange, account=self.account_id)

    def heals(self) -> None:
        for name in self._faults:
            self.sims.call(lambda name=name: self.sims.world.faults.clear(name))  # type: ignore[misc]
        self._faults.clear()
        self._set_keys(revoked=False, can_withdraw=False)
        self.skews_the_clock(0)

    def _set_keys(self, **flags: bool) -> None:
        def act() -> None:
            for key in self.account.keys:
                for name, value in flags.items():
                    setattr(key, name, value)

        self.sims.call(act)
