"""All that the simulators of one run share: markets, accounts, faults, delays, chance and time."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from ..clock import NS_PER_MS, Clock
from .faults import FaultBoard, Untidiness
from .ledger import SimAccount, SimKey
from .matching import Market, MarketRules


@dataclass(frozen=True, slots=True)
class RequestSeen:
    """One request as the exchange saw it, whatever became of it."""

    t_ms: int
    exchange: str
    account: str
    name: str  # "POST /api/v3/order", "order.place"
    client_order_id: str = ""
    status: int = 0


@dataclass(slots=True)
class Delay:
    """Artificial latency of every request to one exchange, in ms."""

    request_ms: int = 0
    jitter_ms: int = 0


class World:
    """The shared state. Single-threaded: everything runs in the simulators' one event loop."""

    def __init__(self, *, seed: int = 1, price: Decimal = Decimal("64217.38"), clock: Clock | None = None) -> None:
        self.seed = seed
        self.accounts: dict[str, SimAccount] = {}
        self.markets: dict[str, Market] = {}
        self.other_markets: dict[tuple[str, str], Market] = {}
        self.untidiness: dict[str, Untidiness] = {}
        self.delays: dict[str, Delay] = {}
        self.requests: deque[RequestSeen] = deque(maxlen=100_000)
        self.stopping = asyncio.Event()
        self._clock = clock or Clock()
        self.faults = FaultBoard(self.chance, self._clock.monotonic_ns)
        # Anchored once: a step of the machine's wall clock is no step of the exchanges'.
        self._anchor_ns = self._clock.wall_ms() * NS_PER_MS - self._clock.monotonic_ns()
        self._skew_ms: dict[str, int] = {}
        self._chances: dict[str, random.Random] = {}
        self._keys: dict[tuple[str, str], tuple[SimAccount, SimKey]] = {}
        self._start_price = price
        self._next_uid = 350_000_017

    # -- chance and time ------------------------------------------------------------------------------------------

    def random_for(self, purpose: str) -> random.Random:
        """Return the generator of one purpose: what one account draws does not depend on who else came before."""
        generator = self._chances.get(purpose)
        if generator is None:
            generator = self._chances[purpose] = random.Random(f"{self.seed}/{purpose}")
        return generator

    def chance(self, purpose: str, probability: float) -> bool:
        return probability > 0 and self.random_for(purpose).random() < probability

    def now_ms(self, exchange: str) -> int:
        """Return the exchange's time, skew included, in ms since 1970."""
        return (self._clock.monotonic_ns() + self._anchor_ns) // NS_PER_MS + self._skew_ms.get(exchange, 0)

    def monotonic_ns(self) -> int:
        return self._clock.monotonic_ns()

    def set_skew(self, exchange: str, skew_ms: int) -> None:
        """Put the exchange's clock *skew_ms* ahead of this machine's (negative: behind)."""
        self._skew_ms[exchange] = skew_ms

    async def latency(self, exchange: str, share: float = 1.0) -> None:
        """Wait the artificial latency of one request, or a *share* of it: half on the way in, half on the way out."""
        delay = self.delays[exchange]
        if delay.request_ms or delay.jitter_ms:
            jitter = self.random_for(f"delay/{exchange}").random() * delay.jitter_ms
            await asyncio.sleep((delay.request_ms + jitter) * share / 1000)

    # -- markets and accounts -------------------------------------------------------------------------------------

    def open_market(self, exchange: str, rules: MarketRules) -> Market:
        """Open the pair on an exchange; a dialect calls it once, in its constructor."""
        market = Market(exchange, rules, self._start_price, lambda: self.now_ms(exchange))
        self.markets[exchange] = market
        self.untidiness[exchange] = Untidiness()
        self.delays[exchange] = Delay()
        return market

    def open_other_market(self, exchange: str, rules: MarketRules, price: Decimal) -> Market:
        """Open a further pair on an exchange, in which an account may trade what nobody copies."""
        first_id = 1_000_000_000 * (1 + len(self.other_markets))
        market = Market(
            exchange,
            rules,
            price,
            lambda: self.now_ms(exchange),
            beside=self.markets[exchange],
            first_id=first_id,
        )
        self.other_markets[exchange, rules.symbol] = market
        return market

    def market(self, exchange: str, symbol: str | None = None) -> Market:
        """Return an exchange's market in *symbol*, or in the pair that is copied. :raises ValueError: there is none."""
        main = self.markets[exchange]
        found = main if symbol in (None, main.rules.symbol) else self.other_markets.get((exchange, str(symbol)))
        if found is None:
            raise ValueError(f"{exchange} has no pair {symbol!r}")
        return found

    def open_account(
        self, exchange: str, account_id: str, role: str, balances: dict[str, Decimal] | None = None
    ) -> SimAccount:
        """Open an account with *balances*, or with amounts drawn by the seed, awkward to the last decimal."""
        if account_id in self.accounts:
            raise ValueError(f"there is an account {account_id!r} already")
        market = self.markets[exchange]
        account = SimAccount(id=account_id, exchange=exchange, uid=self._next_uid, role=role)
        self._next_uid += 7919
        if balances is None:
            draw = self.random_for(f"opening/{account_id}")
            # Never a round last digit: an amount that divides well would hide a wrong rounding.
            balances = {
                market.rules.quote: Decimal(draw.randrange(5_000_0000000, 90_000_0000000) * 10 + 7) / 10**8,
                market.rules.base: Decimal(draw.randrange(1000000, 30000000) * 10 + 3) / 10**8,
            }
        account.open_with(balances)
        account.updated_ms = self.now_ms(exchange)
        self.accounts[account_id] = account
        market.accounts.append(account)
        return account

    def add_key(self, account: SimAccount, key: SimKey) -> SimKey:
        account.keys.append(key)
        self._keys[account.exchange, key.api_key] = (account, key)
        return key

    def find_key(self, exchange: str, api_key: str) -> tuple[SimAccount, SimKey] | None:
        return self._keys.get((exchange, api_key))

    def reset(self, exchange: str) -> None:
        """Do what a test network does about monthly: balances and ids start again; keys survive; nobody is told."""
        market = self.markets[exchange]
        for account in market.accounts:
            account.reset()
            account.updated_ms = self.now_ms(exchange)
        market.restart_ids()
        for (owner, _), other in self.other_markets.items():
            if owner == exchange:
                other.restart_ids()
        for amounts in (market.counterparty, market.fees, market.deposited):
            amounts.clear()

    # -- the truth ------------------------------------------------------------------------------------------------

    def saw(self, exchange: str, account: str, name: str, client_order_id: str = "", status: int = 0) -> None:
        self.requests.append(RequestSeen(self.now_ms(exchange), exchange, account, name, client_order_id, status))

    def truth(self) -> dict[str, Any]:
        """Return every account's balances and orders, and where the rest of the money is; exact decimal strings."""
        return {
            "seed": self.seed,
            "accounts": {account.id: account.truth() for account in self.accounts.values()},
            "markets": {
                exchange: {
                    "price": format(market.price, "f"),
                    "now_ms": self.now_ms(exchange),
                    "fees": {asset: format(amount, "f") for asset, amount in market.fees.items()},
                    "counterparty": {asset: format(amount, "f") for asset, amount in market.counterparty.items()},
                    "deposited": {asset: format(amount, "f") for asset, amount in market.deposited.items()},
                }
                for exchange, market in self.markets.items()
            },
        }

    def requests_truth(self) -> list[dict[str, Any]]:
        return [asdict(request) for request in self.requests]
