"""A wire-level simulator of Bitget spot: classic (REST v2) and unified (REST v3) accounts, and their private sockets.

It plays the demo environment: private calls need the header ``paptrading: 1`` and a demo key. Orders are
acknowledged at once and filled later; a client id is unique among open orders only, so that sending a filled
order's id again executes again. The modules beside this one: `sim_rest` routes and checks, `sim_socket` pushes,
`sim_rows` how things are written, `sim_limits` what is enforced.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar

from aiohttp import web

from copytrade_core.sim import (
    Change,
    MarketRules,
    SimAccount,
    SimKey,
    SimOrder,
    Simulator,
    UnknownFault,
    Untidiness,
    World,
)
from copytrade_core.sim.ledger import ZERO

from . import sim_rows as rows
from .errors import EXCHANGE
from .sim_codes import Family
from .sim_limits import AddressGuard, Limits
from .sim_rest import REST_FAULTS, Rest
from .sim_socket import PATHS, PUSH_FAULTS, SOCKET_FAULTS, Sockets

ENVIRONMENTS = ("demo", "prod")
STALE_FOR_MS = 1000  # how long after a change a read may still show what was before


@dataclass(slots=True)
class Pair:
    """What the public routes say of the pair, besides the market's own rules."""

    status: str = "online"
    quantity_precision: int = 6
    quote_precision: int = 8
    min_value: Decimal = Decimal(1)  # in quote


class BitgetSimulator(Simulator):
    """Bitget's demo environment on one port."""

    exchange = EXCHANGE
    environment = "demo"
    faults: ClassVar[Mapping[str, str]] = {**REST_FAULTS, **PUSH_FAULTS, **SOCKET_FAULTS}
    disturbances: ClassVar[Mapping[str, str]] = {
        "abort": "open sockets are reset, without a close frame",
        "close": "open sockets are closed properly",
        "half_open": "open sockets stay, nothing comes any more, no pongs either",
        "half_a_frame": "half a frame comes, then nothing",
        "silent": "open sockets stay and answer pings, but push nothing any more",
        "account_switched": "the account changes its family (params: to = classic or unified)",
        "lead_trader": "the account becomes one of Bitget's lead traders: one order a second",
        "in_debt": "a unified account owes a coin (params: coin = USDT, amount = 1)",
        "pair_status": "the pair's status changes (params: status = halt; online ends it)",
        "pair_rules": "the pair's rules change (params: quantity_precision, quote_precision, min_value)",
        "address_blocked": "every address is shut out with 429 (params: seconds = 300; 0 ends it)",
    }

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.settings = Limits()
        self.pair = Pair()
        self.market = world.open_market(
            EXCHANGE,
            MarketRules(
                base_step=Decimal("0.000001"),
                fee_step=Decimal("0.0000000001"),
                discount_asset="BGB",
                discount_price=Decimal("4.6173"),
                discount=Decimal("0.8"),
            ),
        )
        self.guard = AddressGuard(self.settings, world.monotonic_ns)
        self.sockets = Sockets(self)
        self.rest = Rest(self)
        self.market.listeners.append(self._changed)
        self._coin_ms: dict[tuple[str, str], int] = {}
        self._now: dict[str, rows.Coins] = {}
        self._before: dict[str, tuple[int, rows.Coins]] = {}
        self._timers: set[asyncio.TimerHandle] = set()

    # -- what the toolkit asks for ----------------------------------------------------------------------------------

    def add_routes(self, app: web.Application) -> None:
        for path in PATHS:
            app.router.add_get(path, self.sockets.serve)
        app.router.add_route("*", "/{path:.*}", self.rest.handle)

    def endpoints(self, origin: str) -> dict[str, str]:
        return {"rest": origin, "ws": origin.replace("http://", "ws://", 1)}

    def open_account(
        self, account_id: str, role: str, number: int = 0, balances: dict[str, Decimal] | None = None, **options: Any
    ) -> SimAccount:
        """Open an account; every second one is unified.

        :param options: ``mode`` (classic or unified) and ``environment`` (demo or prod, whose keys are refused here).
        """
        mode = options.pop("mode", "unified" if number and number % 2 == 0 else "classic")
        environment = options.pop("environment", self.environment)
        if options or mode not in ("classic", "unified") or environment not in ENVIRONMENTS:
            raise UnknownFault("options are mode (classic or unified) and environment (demo or prod)")
        account = self.world.open_account(EXCHANGE, account_id, role, balances)
        account.extra.update(mode=mode, environment=environment)
        self._coin_ms.update({(account.id, coin): account.updated_ms for coin in account.holdings})
        return account

    def add_credentials(self, account: SimAccount, kind: str = "") -> dict[str, str]:
        if kind not in ("", "hmac"):
            raise UnknownFault(f"key kind must be hmac, not {kind!r}")
        draw = self.world.random_for(f"keys/{account.id}")
        key = SimKey(
            api_key=f"bg_{draw.getrandbits(128):032x}",
            secret=f"{draw.getrandbits(256):064x}",
            passphrase=f"pass{draw.getrandbits(64):016x}",
        )
        self.world.add_key(account, key)
        return {
            "api_key": key.api_key,
            "api_secret": key.secret,
            "passphrase": key.passphrase,
            "mode": self.family(account),
        }

    def disturb(self, name: str, account_id: str | None, params: Mapping[str, Any]) -> int:
        clients = self.sockets.of(account_id)
        if name in ("abort", "close", "half_open", "half_a_frame", "silent"):
            for client in clients:
                if name == "abort":
                    client.connection.abort()
                elif name == "close":
                    client.hang_up()
                elif name == "half_open":
                    client.connection.freeze()
                elif name == "half_a_frame":
                    client.connection.send_half_a_frame('{"action":"snapshot","arg":{"instType":"SPOT"}}' * 4)
                else:
                    client.silent = True
            return len(clients)
        if name == "address_blocked":
            self.guard.block_all(1000 * float(params.get("seconds", 300)))
            return 1
        if name == "pair_status":
            self.pair.status = str(params.get("status", "halt"))
            return 1
        if name == "pair_rules":
            self._change_pair(params)
            return 1
        accounts = [account for account in self.market.accounts if account_id in (None, account.id)]
        for account in accounts:
            self._change_account(name, account, params)
        return len(accounts)

    def _change_pair(self, params: Mapping[str, Any]) -> None:
        for name, value in params.items():
            if name not in ("quantity_precision", "quote_precision", "min_value"):
                raise UnknownFault("params are quantity_precision, quote_precision and min_value")
            setattr(self.pair, name, Decimal(value) if name == "min_value" else int(value))

    def _change_account(self, name: str, account: SimAccount, params: Mapping[str, Any]) -> None:
        if name == "account_switched":
            other = "classic" if self.family(account) == "unified" else "unified"
            mode = params.get("to", other)
            if mode not in ("classic", "unified"):
                raise UnknownFault("to must be classic or unified")
            account.extra["mode"] = mode
        elif name == "lead_trader":
            account.extra["lead_trader"] = True
        elif name == "in_debt":
            account.extra["debt"] = {str(params.get("coin", "USDT")): Decimal(params.get("amount", 1))}
        else:
            raise UnknownFault(f"{EXCHANGE} cannot do {name!r}")

    async def stop(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        await self.sockets.stop()

    # -- accounts ---------------------------------------------------------------------------------------------------

    def now_ms(self) -> int:
        return self.world.now_ms(EXCHANGE)

    @property
    def untidiness(self) -> Untidiness:
        return self.world.untidiness[EXCHANGE]

    def family(self, account: SimAccount) -> Family:
        return account.extra["mode"]  # type: ignore[no-any-return]

    def environment_of(self, account: SimAccount) -> str:
        return str(account.extra["environment"])

    def debt(self, account: SimAccount, coin: str) -> Decimal:
        return account.extra.get("debt", {}).get(coin, ZERO)  # type: ignore[no-any-return]

    def coins(self, account: SimAccount) -> dict[str, rows.CoinState]:
        """Return what the account holds now, each coin with the time of its last change."""
        return {
            coin: rows.CoinState(
                holding.free, holding.locked, self._coin_ms.get((account.id, coin), account.updated_ms)
            )
            for coin, holding in account.holdings.items()
        }

    def coins_read(self, account: SimAccount) -> rows.Coins:
        """Return what a classic read shows: now and then what was just before, with the time of that."""
        changed_ms, before = self._before.get(account.id, (0, {}))
        fresh = self.now_ms() - changed_ms >= STALE_FOR_MS
        if fresh or not self.world.chance(f"bitget/stale/{account.id}", self.untidiness.snapshot_stale):
            return self.coins(account)
        return before

    def touched(self, change: Change) -> dict[str, rows.CoinState]:
        """Return the coins that a change touched, as they were just after it."""
        return {
            coin: rows.CoinState(free, locked, change.time_ms)
            for coin, (free, locked) in change.balances.items()
            if coin in self._changed_coins(change)
        }

    def _changed_coins(self, change: Change) -> set[str]:
        if change.order is None:
            return {change.asset}
        rules = self.market.rules
        fees = {step.fill.fee_asset for step in change.steps if step.fill is not None}
        return {rules.base, rules.quote, *fees} & set(change.account.holdings)

    def _changed(self, change: Change) -> None:
        self._note(change.account, self._changed_coins(change), change.time_ms)
        self.sockets.changed(change)

    def _note(self, account: SimAccount, coins: set[str], time_ms: int) -> None:
        now = self._now.get(account.id)
        if now is not None:
            self._before[account.id] = (time_ms, now)
        for coin in coins:
            self._coin_ms[account.id, coin] = time_ms
        self._now[account.id] = self.coins(account)

    def unified_account_push(self, account: SimAccount, coins: rows.Coins) -> rows.Row:
        data = [
            rows.unified_push_coin(coin, state, self.debt(account, coin), self.usd_price(coin))
            for coin, state in coins.items()
        ]
        worth = format(self.worth(account, coins), "f")
        return {"totalEquity": worth, "effEquity": worth, "mmr": "0", "imr": "0", "mgnRatio": "0", "coin": data}

    def usd_price(self, coin: str) -> Decimal:
        rules = self.market.rules
        prices = {rules.quote: Decimal(1), rules.base: self.market.price, rules.discount_asset: rules.discount_price}
        return prices.get(coin, ZERO)

    def worth(self, account: SimAccount, coins: rows.Coins) -> Decimal:
        """Return the equity in USDT, to 8 decimals."""
        total = sum(
            ((s.free + s.locked - self.debt(account, coin)) * self.usd_price(coin) for coin, s in coins.items()), ZERO
        )
        return total.quantize(Decimal("0.00000001"))

    # -- orders -----------------------------------------------------------------------------------------------------

    def took_in(self, account: SimAccount, order: SimOrder, *, fill_in_ms: float) -> None:
        """Note an accepted order, and let it trade after *fill_in_ms*."""
        rules = self.market.rules
        self._note(account, {rules.quote if order.side == "BUY" else rules.base}, order.created_ms)
        self.later(fill_in_ms, lambda: self.fill(account, order))

    def announce(self, account: SimAccount, order: SimOrder) -> None:
        """Push that the order was taken in; the fill's pushes then leave that out."""
        if not order.extra.get("announced") and not order.fills:
            order.extra["announced"] = True
            self.sockets.announce(account, order)

    def fill(self, account: SimAccount, order: SimOrder) -> None:
        """Let an accepted order trade, once, unless it is gone: cancelled, or forgotten by a reset."""
        if account.orders_by_id.get(order.order_id) is order and order.is_open and not order.extra.get("matched"):
            order.extra["matched"] = True
            self.market.execute(account, order, stop_after=order.extra.get("stop_after"), expiry_reason="normal_cancel")

    def later(self, delay_ms: float, action: Callable[[], None]) -> None:
        """Run *action* after *delay_ms*, unless the simulators stop before."""

        def run() -> None:
            self._timers.discard(handle)
            action()

        handle = asyncio.get_running_loop().call_later(delay_ms / 1000, run)
        self._timers.add(handle)
