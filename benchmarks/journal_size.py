"""How large does the journal grow?

    .venv/bin/python benchmarks/journal_size.py --followers 20 --rounds 30

Copies real orders on the simulators, then asks SQLite how many bytes the rows of each table and their indexes take.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sqlite3
import tempfile
from decimal import Decimal
from pathlib import Path

from fanout import wait_for

from copytrade_core import CopyTrader, Settings, Vault
from copytrade_core.cli.demo import add_accounts
from copytrade_core.cli.local import ScriptedLeader, simulators

PER_COPY = ("copies", "attempts", "fills", "evidence", "feed")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--followers", type=int, default=20)
    options.add_argument("--rounds", type=int, default=30)
    chosen = options.parse_args()
    half = chosen.followers // 2
    with tempfile.TemporaryDirectory(prefix="copytrade-bench-") as folder, simulators(half, half, 1) as sims:
        settings = Settings(data_dir=Path(folder), endpoints=json.loads(Path(sims["endpoints_file"]).read_text()))
        key = secrets.token_bytes(32)
        Vault.create(settings.vault_path, key)
        with CopyTrader.open(settings=settings, master_key=key) as trader:
            trader.start()
            add_accounts(trader, sims)
            leader = ScriptedLeader(sims)
            for turn in range(chosen.rounds):
                if turn % 2 == 0:
                    order = leader.buy((leader.free("USDT") / 50).quantize(Decimal("0.01")))
                else:
                    order = leader.sell((leader.free("BTC") / 50).quantize(Decimal("0.00001")))
                wait_for(trader, order)
        show(settings.journal_path)


def show(path: Path) -> None:
    connection = sqlite3.connect(path)
    sizes: dict[str, int] = {}
    # What the rows take, not their half-empty last pages; an index counts to its table.
    statement = """
        SELECT m.tbl_name, sum(d.payload + 12 * d.ncell) FROM dbstat d JOIN sqlite_master m ON m.name = d.name
        GROUP BY m.tbl_name
    """
    for name, size in connection.execute(statement):
        sizes[name] = size
    copies, orders = (
        connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in ("copies", "leader_orders")
    )
    connection.close()
    print(f"{copies} copies of {orders} leader orders, {path.stat().st_size:,} bytes in the file")
    for name, size in sorted(sizes.items()):
        count, what = (copies, "copy") if name in PER_COPY else (orders, "leader order")
        print(f"{name:14} {size:>9,} bytes, {size / count:7.0f} a {what}")
    kept = sum(sizes.get(name, 0) for name in PER_COPY if name != "feed") / copies
    print(f"kept for ever: {kept:.0f} bytes a copy; the feed {sizes['feed'] / copies:.0f} more, for its days")


if __name__ == "__main__":
    main()
