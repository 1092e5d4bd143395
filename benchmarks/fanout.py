"""How long from the leader's final report heard to the followers' acknowledgements?

    .venv/bin/python benchmarks/fanout.py --binance 50 --bitget 50 --delay-ms 50 --rounds 10

The simulators run in a process of their own and answer each request after the delay. Latencies come from the closed
books: the engine's monotonic clock from the final report's arrival to the acknowledgement's.
"""

from __future__ import annotations

import argparse
import json
import secrets
import statistics
import tempfile
import threading
import time
from decimal import Decimal
from pathlib import Path

from copytrade_core import CopyTrader, Settings, Vault
from copytrade_core.cli.demo import add_accounts
from copytrade_core.cli.local import ScriptedLeader, call_json, simulators
from copytrade_core.views import LeaderOrderView


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--binance", type=int, default=50)
    options.add_argument("--bitget", type=int, default=50)
    options.add_argument("--delay-ms", type=int, default=50)
    options.add_argument("--rounds", type=int, default=10)
    options.add_argument("--seed", type=int, default=1)
    chosen = options.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="copytrade-bench-") as folder,
        simulators(chosen.binance, chosen.bitget, chosen.seed) as sims,
    ):
        settings = Settings(data_dir=Path(folder), endpoints=json.loads(Path(sims["endpoints_file"]).read_text()))
        key = secrets.token_bytes(32)
        Vault.create(settings.vault_path, key)
        with CopyTrader.open(settings=settings, master_key=key) as trader:
            trader.start()
            add_accounts(trader, sims)
            for exchange in ("binance", "bitget"):
                call_json(f"{sims['admin']}/sim/delay", {"exchange": exchange, "request_ms": chosen.delay_ms})
            measure(trader, ScriptedLeader(sims), chosen.rounds)


def measure(trader: CopyTrader, leader: ScriptedLeader, rounds: int) -> None:
    last: list[float] = []
    steps: dict[tuple[str, str], list[float]] = {}
    for turn in range(rounds):
        if turn % 2 == 0:
            order = leader.buy((leader.free("USDT") / 50).quantize(Decimal("0.01")))
        else:
            order = leader.sell((leader.free("BTC") / 50).quantize(Decimal("0.00001")))
        book = wait_for(trader, order)
        accepted = [copy.latency_ms["accepted"] for copy in book.copies if "accepted" in copy.latency_ms]
        for copy in book.copies:
            for step, value in copy.latency_ms.items():
                steps.setdefault((copy.exchange, step), []).append(value)
        last.append(max(accepted))
        print(f"{book.side:4} {len(accepted)}/{len(book.copies)} accepted, last after {max(accepted):.0f} ms")
    for (exchange, step), values in sorted(steps.items()):
        cut = statistics.quantiles(values, n=20)[18] if len(values) > 1 else values[0]
        print(f"{exchange:8} {step:9} p50 {statistics.median(values):6.1f}  p95 {cut:6.1f}  max {max(values):6.1f} ms")
    cut = statistics.quantiles(last, n=20)[18] if len(last) > 1 else last[0]
    print(f"last acknowledgement: p50 {statistics.median(last):.0f} ms, p95 {cut:.0f} ms over {rounds} leader orders")


def wait_for(trader: CopyTrader, order: str) -> LeaderOrderView:
    """Wait for the closed book without asking for it all the time: that would be measured, too."""
    done = threading.Event()
    end = trader.subscribe(lambda event: done.set() if event.kind == "copy" else None)
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            while done.wait(0.7):  # as long as copies still change
                done.clear()
            for book in trader.list_events(limit=1):
                if book.order_id == order and all(copy.state.is_final for copy in book.copies):
                    return book
    finally:
        end()
    raise SystemExit("the copies did not end within a minute")


if __name__ == "__main__":
    main()
