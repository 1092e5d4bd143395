"""A plug-in that does not come with the engine is installed, seen and traded on; broken ones hurt nobody."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import textwrap
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from acme_plugin import install_acme
from copytrade_core import CopyTrader, Settings, Vault
from copytrade_core.plugins import Plugins
from copytrade_core.sim import running_simulators
from copytrade_core.views import AccountState, CopyState
from memory_exchange import MASTER_KEY, closed_book

BROKEN = {
    "absent": ("import a_module_that_nobody_has", "a_module_that_nobody_has"),
    "garbled": ("def copytrade_(:", "SyntaxError"),
    "quits": ("import sys; sys.exit('this plug-in quits')", "this plug-in quits"),
    "misspelt": (
        """
        from copytrade_core import hookimpl

        @hookimpl
        def copytrade_opne_exchange(exchange, context):
            return None
        """,
        "copytrade_opne_exchange",
    ),
    "misnamed": (
        """
        from copytrade_core import hookimpl

        @hookimpl
        def copytrade_open_exchange(exchange, kontext):
            return None
        """,
        "kontext",
    ),
    "speechless": (
        """
        from copytrade_core import hookimpl

        @hookimpl
        def copytrade_describe_exchanges():
            raise RuntimeError("cannot describe myself")
        """,
        "cannot describe myself",
    ),
    # Behind "binance" in the alphabet, in which plug-ins are loaded.
    "claimant": (
        """
        from copytrade_core import Environment, ExchangeDescription, hookimpl

        @hookimpl
        def copytrade_describe_exchanges():
            return [
                ExchangeDescription(
                    id="binance", name="Mine", name_zh="", environments=(Environment.TEST,), credential_fields=()
                )
            ]
        """,
        "binance",
    ),
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The folder into which pip installed the package `copytrade-acme`, as its author would publish it."""
    return install_acme(tmp_path_factory.mktemp("acme"))


def install_broken(site: Path, name: str, source: str) -> None:
    """Put a package with one module and one entry point into *site*, as an installer would."""
    (site / f"copytrade_{name}.py").write_text(textwrap.dedent(source))
    metadata = site / f"copytrade_{name}-0.1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: copytrade-{name}\nVersion: 0.1.0\n")
    (metadata / "entry_points.txt").write_text(f"[copytrade]\n{name} = copytrade_{name}\n")


def listed(*sites: Path) -> dict[str, dict]:
    """Return what ``copytrade plugins`` shows in a new process, by entry point."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, sites))}
    command = [sys.executable, "-c", "from copytrade_core.cli.main import main; main()", "plugins", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return {row["name"]: row for row in json.loads(done.stdout)}


def test_the_command_line_shows_an_installed_plug_in(installed):
    assert listed(installed)["acme"] == {
        "name": "acme",
        "distribution": "copytrade-acme",
        "version": "0.1.0",
        "exchanges": ["acme"],
        "error": "",
    }


def test_broken_plug_ins_are_shown_with_their_error_and_the_others_run(installed, tmp_path):
    for name, (source, _) in BROKEN.items():
        install_broken(tmp_path, name, source)

    rows = listed(installed, tmp_path)

    for name, (_, words) in BROKEN.items():
        assert words in rows[name]["error"], name
        assert rows[name]["distribution"] == f"copytrade-{name}"
        assert rows[name]["exchanges"] == []
    assert {name: rows[name]["error"] for name in ("acme", "binance", "bitget")} == dict.fromkeys(
        ("acme", "binance", "bitget"), ""
    )


def test_no_hook_of_a_plug_in_that_failed_is_called(installed, tmp_path, monkeypatch):
    source, words = BROKEN["misnamed"]
    good_hook = """
        @hookimpl
        def copytrade_master_key(data_dir):
            raise AssertionError("a hook of a plug-in that failed was called")
        """
    install_broken(tmp_path, "misnamed", source + good_hook)
    for site in (installed, tmp_path):
        monkeypatch.syspath_prepend(str(site))

    plugins = Plugins.discover()

    assert [report.name for report in plugins.reports if words in report.error] == ["misnamed"]
    assert plugins.hook.copytrade_master_key(data_dir="nowhere") is None


@pytest.fixture
def acme(installed, monkeypatch):
    monkeypatch.syspath_prepend(str(installed))
    server = importlib.import_module("copytrade_acme.simulator").AcmeServer().start()
    yield server
    server.stop()


def test_it_is_traded_on_like_the_exchanges_that_came_with_the_engine(acme, tmp_path):
    credentials = acme.open_account("carl", Decimal("0.87654321"), Decimal("4321.98765432"))
    (account,) = acme.accounts.values()
    free = dict(account.free)
    with running_simulators(binance_followers=1, seed=3) as sims:
        endpoints = json.loads(Path(sims["endpoints_file"]).read_text())
        settings = Settings(data_dir=tmp_path, endpoints={**endpoints, "acme": {"test": {"rest": acme.origin}}})
        Vault.create(settings.vault_path, MASTER_KEY)
        with CopyTrader.open(settings=settings, master_key=MASTER_KEY) as trader:
            trader.start()
            wrong = trader.add_account("carl, mistyped", "acme", "test", {**credentials, "pin": "000000"})
            assert (wrong.state, wrong.error_kind) == (AccountState.DISABLED, "wrong_passphrase")
            trader.remove_account(wrong.id)
            assert trader.add_account("carl", "acme", "test", credentials).state is AccountState.ACTIVE
            assert trader.set_leader("binance", "test", sims["binance"]["leader"]).connected
            trader.start_copying()

            bought = sims.place("leader", side="BUY", quote=Decimal(2500))
            book = closed_book(trader, bought["order_id"], timeout_sec=30)

            (copy,) = book.copies
            assert copy.state is CopyState.FILLED
            assert book.share == Fraction(bought["executed_quote"]) / Fraction(bought["free_quote_before"])
            assert copy.sent == floored(book.share, free["USDT"], "0.01")
            assert copy.filled_base == Decimal(account.orders[0]["base"])

            free = dict(account.free)
            sold = sims.place("leader", side="SELL", quantity=Decimal("0.01"))
            book = closed_book(trader, sold["order_id"], timeout_sec=30)

            (copy,) = book.copies
            assert copy.state is CopyState.FILLED
            assert copy.sent == floored(book.share, free["BTC"], "0.00001")
            assert [order["ref"] for order in account.orders] == [
                copy.client_order_id for copy in reversed(trader.list_copies())
            ]


def floored(share: Fraction, free: Decimal, step: str) -> Decimal:
    """Return *share* of *free*, rounded down to *step*, in exact arithmetic."""
    return int(share * Fraction(free) / Fraction(step)) * Decimal(step)
