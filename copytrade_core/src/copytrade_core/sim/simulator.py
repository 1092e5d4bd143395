"""The base class of an exchange's simulator: the dialect brings routes and keys, the rest is shared."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import fields
from decimal import Decimal
from typing import Any, ClassVar

from aiohttp import web

from .faults import UnknownFault
from .ledger import SimAccount
from .world import World


class Simulator(ABC):
    """One exchange, spoken on the wire. A dialect opens its market in its constructor::

    class MySimulator(Simulator):
        exchange = "myexchange"
        environment = "demo"
        faults = {**WIRE_FAULTS, "late_fill": "..."}

        def __init__(self, world: World) -> None:
            super().__init__(world)
            self.market = world.open_market(self.exchange, MarketRules())
            self.market.listeners.append(self._push)
    """

    exchange: ClassVar[str]
    environment: ClassVar[str]
    can_lead: ClassVar[bool] = False
    faults: ClassVar[Mapping[str, str]] = {}
    disturbances: ClassVar[Mapping[str, str]] = {}
    """Faults that happen at once, to open connections, by `disturb`; the admin API takes both under one name."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.settings: Any = None  # a dataclass of what `configure` may set
        world.faults.learn(self.exchange, {**self.faults, **self.disturbances})

    @abstractmethod
    def add_routes(self, app: web.Application) -> None:
        """Add the HTTP and WebSocket routes of the exchange."""

    @abstractmethod
    def add_credentials(self, account: SimAccount, kind: str = "") -> dict[str, str]:
        """Make a new key for *account* and return the fields that a client needs to use it.

        :param kind: hmac, ed25519, rsa, or what else the dialect knows; empty: its usual one.
        """

    @abstractmethod
    def endpoints(self, origin: str) -> dict[str, str]:
        """Return the addresses as in ``COPYTRADE_ENDPOINTS``; *origin* is ``http://127.0.0.1:port``."""

    def open_account(
        self, account_id: str, role: str, number: int = 0, balances: dict[str, Decimal] | None = None, **options: Any
    ) -> SimAccount:
        """Open an account without a key. A dialect with kinds of accounts chooses one by *number* or *options*."""
        if options:
            raise UnknownFault(f"{self.exchange} knows no account options {sorted(options)}")
        return self.world.open_account(self.exchange, account_id, role, balances)

    def disturb(self, name: str, account_id: str | None, params: Mapping[str, Any]) -> int:
        """Do one of `disturbances` to the open connections (of one account); return to how many."""
        raise UnknownFault(f"{self.exchange} cannot do {name!r}")

    def configure(self, changes: Mapping[str, Any]) -> None:
        """Change `settings`. :raises UnknownFault: there is no such setting, or it is of another type."""
        known = {one.name for one in fields(self.settings)} if self.settings is not None else set()
        for name, value in changes.items():
            if name not in known:
                raise UnknownFault(f"no setting {name!r} of {self.exchange}; there are: {', '.join(sorted(known))}")
            now = getattr(self.settings, name)
            if isinstance(now, bool) != isinstance(value, bool) or not isinstance(value, (type(now), int, float)):
                raise UnknownFault(f"{name} must be like {now!r}")
        for name, value in changes.items():
            setattr(self.settings, name, type(getattr(self.settings, name))(value))

    async def stop(self) -> None:  # noqa: B027 - a dialect without background tasks has nothing to stop
        """End background tasks and open connections."""
