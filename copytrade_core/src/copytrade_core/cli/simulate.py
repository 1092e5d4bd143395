"""``copytrade simulate``: exchanges to play with, on this machine."""

from __future__ import annotations

import secrets
from typing import Any

import click

from ..errors import ConfigError
from .output import print_json, print_table, say
from .session import Command, as_json


@click.command(cls=Command)
@click.option("--binance-followers", type=click.IntRange(0, 2000), default=2, show_default=True)
@click.option("--bitget-followers", type=click.IntRange(0, 2000), default=2, show_default=True)
@click.option("--port", type=click.IntRange(0, 65533), default=0, help="First of three ports; 0 takes free ones.")
@click.option("--seed", type=int, help="Makes chance repeatable; drawn and shown where not given.")
@as_json
def simulate(binance_followers: int, bitget_followers: int, port: int, seed: int | None, as_json: bool) -> None:
    """Run simulated exchanges until Ctrl-C.

    With a leader, followers, and their keys: toys, so they are shown."""
    try:
        from ..sim.server import simulate_forever
    except ModuleNotFoundError as error:
        if error.name != "aiohttp":
            raise
        raise ConfigError('the simulators need aiohttp: pip install "copytrade-core[sim]"') from None
    seed = secrets.randbelow(10**6) if seed is None else seed
    simulate_forever(
        binance_followers=binance_followers,
        bitget_followers=bitget_followers,
        port=port,
        seed=seed,
        on_ready=lambda world: print_json(world, indent=None) if as_json else _print_world(world, seed),
    )


def _print_world(world: dict[str, Any], seed: int) -> None:
    for name in ("binance", "bitget"):
        if name not in world:
            continue
        exchange = world[name]
        addresses = ", ".join(exchange[key] for key in ("rest", "ws_api", "ws") if key in exchange)
        say(f"{name} {exchange['env']}: {addresses}")
        say()
        accounts = [("leader", exchange["leader"])] if "leader" in exchange else []
        accounts += [(f"follower {number}", keys) for number, keys in enumerate(exchange["followers"], 1)]
        fields = list(dict.fromkeys(field for _, keys in accounts for field in keys))
        print_table(("Account", *fields), [(who, *(keys.get(field, "") for field in fields)) for who, keys in accounts])
        say()
    say(f"Admin: {world['admin']} (its /sim/truth shows every balance and order)")
    say(f"For the engine: export COPYTRADE_ENDPOINTS={world['endpoints_file']}")
    say(f"Seed {seed}. Ctrl-C stops the simulators.")
