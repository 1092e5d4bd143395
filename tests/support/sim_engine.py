"""An engine on the simulators: real sockets, real signatures, and exchanges that are as untidy as the real ones."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from copytrade_core import CopyTrader, Settings, Vault, book_json
from copytrade_core.cli.audit import audit
from copytrade_core.sim import RunningSimulators, running_simulators
from copytrade_core.views import AccountState, LeaderOrderView
from memory_exchange import until

MASTER_KEY = hashlib.sha256(b"a key for tests on simulators").digest()


@dataclass
class Setup:
    """Simulators and the engine that copies between them."""

    sims: RunningSimulators
    trader: CopyTrader
    data_dir: Path

    def leader_buys(self, quote: str) -> str:
        return self.sims.place("leader", side="BUY", quote=Decimal(quote))["order_id"]

    def leader_sells(self, base: str) -> str:
        return self.sims.place("leader", side="SELL", quantity=Decimal(base))["order_id"]

    def leader_free(self, asset: str) -> Decimal:
        return Decimal(self.sims.truth("leader")["balances"][asset]["free"])

    def book(self, order_id: str, timeout_sec: float = 30) -> LeaderOrderView:
        """Return the newest closed book of a leader order, once every row is final."""

        def look() -> LeaderOrderView | None:
            for book in self.trader.list_events():
                if book.order_id == order_id:
                    return book if all(copy.state.is_final for copy in book.copies) else None
            return None

        return until(look, timeout_sec)

    def problems(self) -> list[str]:
        """Hold every book against the simulators' truth; return what is wrong."""
        shapes = [book_json(book) for book in self.trader.list_events(limit=1000)]
        truth = self.sims.call(self.sims.world.truth)
        return audit(shapes, truth)


def settings_for(sims: RunningSimulators, data_dir: Path, **changes: Any) -> Settings:
    endpoints = json.loads(Path(sims["endpoints_file"]).read_text())
    return Settings(data_dir=data_dir, endpoints=endpoints, **changes)


@contextmanager
def engine_on(sims: RunningSimulators, data_dir: Path, **changes: Any) -> Iterator[CopyTrader]:
    """Run an engine on *data_dir* against running simulators; a vault is made there on first use."""
    data_dir.mkdir(exist_ok=True)
    settings = settings_for(sims, data_dir, **changes)
    if not settings.vault_path.exists():
        Vault.create(settings.vault_path, MASTER_KEY)
    with CopyTrader.open(settings=settings, master_key=MASTER_KEY) as trader:
        trader.start()
        yield trader


def add_everybody(trader: CopyTrader, sims: RunningSimulators) -> None:
    """Add all simulated followers and the leader, and start copying."""
    for exchange in ("binance", "bitget"):
        for number, keys in enumerate(sims.info.get(exchange, {}).get("followers", ()), 1):
            fields = {name: value for name, value in keys.items() if name != "mode"}
            view = trader.add_account(f"{exchange} {number}", exchange, sims[exchange]["env"], fields)
            assert view.state is AccountState.ACTIVE, view.error
    view = trader.set_leader("binance", sims["binance"]["env"], dict(sims["binance"]["leader"]))
    assert view.connected, view.error
    assert trader.start_copying()


@contextmanager
def copying(
    data_dir: Path, *, binance: int = 1, bitget: int = 1, seed: int = 1, tidy: bool = False, **changes: Any
) -> Iterator[Setup]:
    """Run simulators and an engine that copies between them."""
    with running_simulators(binance_followers=binance, bitget_followers=bitget, seed=seed) as sims:
        if tidy:
            sims.tidy()
        with engine_on(sims, data_dir, **changes) as trader:
            add_everybody(trader, sims)
            yield Setup(sims, trader, data_dir)
