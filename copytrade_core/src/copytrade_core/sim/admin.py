"""The simulators' admin API under ``/sim``: trade as anyone, move the price, arm faults, read the truth."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from aiohttp import web

from .faults import UnknownFault
from .ledger import LedgerError, SimAccount, SimKey
from .matching import OrderRefused
from .simulator import Simulator
from .world import World

MAX_AMOUNT = Decimal(10) ** 12


class Admin:
    """Handlers of the admin server. Wrong input is answered 400 with one sentence."""

    def __init__(self, world: World, simulators: Mapping[str, Simulator]) -> None:
        self._world = world
        self._simulators = simulators
        self._order_numbers = itertools.count(1)

    def application(self) -> web.Application:
        app = web.Application()
        app.add_routes(
            [
                web.get("/sim/truth", self._answer(self.truth)),
                web.get("/sim/requests", self._answer(self.requests)),
                web.post("/sim/price", self._answer(self.price)),
                web.post("/sim/book", self._answer(self.book)),
                web.get("/sim/faults", self._answer(self.list_faults)),
                web.post("/sim/faults", self._answer(self.arm_fault)),
                web.delete("/sim/faults", self._answer(self.clear_faults)),
                web.post("/sim/delay", self._answer(self.delay)),
                web.post("/sim/deposit", self._answer(self.deposit)),
                web.post("/sim/accounts", self._answer(self.open_account)),
                web.post("/sim/order", self._answer(self.order)),
                web.post("/sim/cancel", self._answer(self.cancel)),
                web.post("/sim/keys", self._answer(self.keys)),
                web.post("/sim/reset", self._answer(self.reset)),
                web.post("/sim/clock", self._answer(self.clock)),
                web.post("/sim/drop", self._answer(self.drop)),
                web.post("/sim/untidiness", self._answer(self.untidiness)),
                web.post("/sim/settings", self._answer(self.settings)),
            ]
        )
        return app

    def _answer(self, handle: Callable[[dict[str, Any]], Any]) -> Callable[[web.Request], Awaitable[web.Response]]:
        @functools.wraps(handle)
        async def handler(request: web.Request) -> web.Response:
            try:
                text = await request.text()
                asked = json.loads(text, parse_float=Decimal) if text else {}
                if not isinstance(asked, dict):
                    raise UnknownFault("the body must be a JSON object")
                asked = {**request.query, **asked}
                return web.json_response(handle(asked), dumps=_dumps)
            except OrderRefused as refused:
                return web.json_response({"error": f"the exchange refuses: {refused.reason}"}, status=400)
            except (UnknownFault, LedgerError, ValueError, TypeError, InvalidOperation) as error:
                answer = {"error": str(error) or "the body is not what this call needs"}
                if isinstance(error, UnknownFault) and request.path == "/sim/faults":
                    answer["faults"] = self._world.faults.names()  # type: ignore[assignment]
                return web.json_response(answer, status=400)

        return handler

    # -- reading --------------------------------------------------------------------------------------------------

    def truth(self, asked: dict[str, Any]) -> Any:
        return self._world.truth()

    def requests(self, asked: dict[str, Any]) -> Any:
        return {"requests": self._world.requests_truth()}

    def list_faults(self, asked: dict[str, Any]) -> Any:
        return {"armed": self._world.faults.armed(), "faults": self._world.faults.names(asked.get("exchange"))}

    # -- the market -----------------------------------------------------------------------------------------------

    def price(self, asked: dict[str, Any]) -> Any:
        _only(asked, "price", "exchange")
        price = _amount(asked, "price")
        if price <= 0:
            raise UnknownFault("price must be above 0")
        for market in self._markets(asked.get("exchange")):
            if price % market.rules.price_tick:
                raise UnknownFault(f"price must be a multiple of {market.rules.price_tick}")
        for market in self._markets(asked.get("exchange")):
            market.move_price(price)
        return {"price": format(price, "f")}

    def book(self, asked: dict[str, Any]) -> Any:
        """Replace the levels: ``{"asks": [["64000.1", "0.5"]], "bids": [...]}``; without them the usual ones return."""
        _only(asked, "exchange", "asks", "bids")
        sides = {
            side: [(_decimal(p), _decimal(q)) for p, q in asked[side]] for side in ("asks", "bids") if side in asked
        }
        for market in self._markets(asked.get("exchange")):
            market.move_price(market.price)
            for side, levels in sides.items():
                if not levels or any(p <= 0 or q <= 0 or q % market.rules.base_step for p, q in levels):
                    raise UnknownFault(
                        f"{side} must be levels of price and quantity on the {market.rules.base_step} grid"
                    )
                setattr(market.book, side, levels)
        return {"ok": True}

    def order(self, asked: dict[str, Any]) -> Any:
        _only(asked, "account", "symbol", "side", "quantity", "quote_quantity", "price", "client_order_id")
        account = self._account(asked)
        side = asked.get("side")
        if side not in ("BUY", "SELL"):
            raise UnknownFault("side must be BUY or SELL")
        quantity, quote, price = (
            _amount(asked, name) if asked.get(name) is not None else None
            for name in ("quantity", "quote_quantity", "price")
        )
        if (quantity is None) == (quote is None) or (price is not None and quantity is None):
            raise UnknownFault("give either quantity or quote_quantity; a limit order needs quantity and price")
        market = self._world.market(account.exchange, asked.get("symbol"))
        if any(amount is not None and amount <= 0 for amount in (quantity, quote, price)):
            raise UnknownFault("amounts must be above 0")
        if quantity is not None and quantity % market.rules.base_step:
            raise UnknownFault(f"quantity must be a multiple of {market.rules.base_step}")
        client_order_id = asked.get("client_order_id") or f"web_{next(self._order_numbers):032d}"
        order = market.place(
            account, side=side, quantity=quantity, quote=quote, price=price, client_order_id=str(client_order_id)
        )
        return order.truth()

    def cancel(self, asked: dict[str, Any]) -> Any:
        _only(asked, "account", "order_id")
        account = self._account(asked)
        order = account.open_orders.get(int(asked.get("order_id", 0)))
        if order is None:
            raise UnknownFault(f"{account.id} has no such open order")
        self._world.market(account.exchange, order.symbol).cancel(account, order)
        return order.truth()

    def deposit(self, asked: dict[str, Any]) -> Any:
        _only(asked, "account", "asset", "amount")
        account, asset, amount = self._account(asked), str(asked.get("asset", "")), _amount(asked, "amount")
        if not asset.isalnum():
            raise UnknownFault("asset must be the name of a coin")
        self._world.markets[account.exchange].deposit(account, asset, amount)
        return {"account": account.id, "asset": asset, "free": format(account.free(asset), "f")}

    # -- accounts -------------------------------------------------------------------------------------------------

    def open_account(self, asked: dict[str, Any]) -> Any:
        """Open an account with a key; or, with ``account``, add another key to one that is there."""
        _only(asked, "exchange", "id", "account", "balances", "key_kind", "options")
        if "account" in asked:
            account = self._account(asked)
            simulator = self._simulators[account.exchange]
        else:
            simulator = self._simulator(asked.get("exchange"))
            balances = asked.get("balances")
            if balances is not None:
                balances = {str(asset): _decimal(amount) for asset, amount in balances.items()}
            opened = self._world.markets[simulator.exchange].accounts
            number = sum(one.role == "follower" for one in opened) + 1
            account_id = str(asked.get("id") or f"{simulator.exchange}-{number}")
            account = simulator.open_account(account_id, "follower", number, balances, **asked.get("options", {}))
        return {"account": account.id, **simulator.add_credentials(account, str(asked.get("key_kind", "")))}

    def keys(self, asked: dict[str, Any]) -> Any:
        """Switch what an account's keys may do (`SimKey.FLAGS`), its fees, and whether it is blocked."""
        _only(asked, "account", "api_key", "blocked", "fees_in_discount_asset", "taker_fee", "maker_fee", *SimKey.FLAGS)
        account = self._account(asked)
        keys = [key for key in account.keys if asked.get("api_key") in (None, key.api_key)]
        if not keys:
            raise UnknownFault(f"{account.id} has no such key")
        for flag in (*SimKey.FLAGS, "blocked", "fees_in_discount_asset"):
            if flag in asked and not isinstance(asked[flag], bool):
                raise UnknownFault(f"{flag} must be true or false")
        for flag in SimKey.FLAGS:
            for key in keys if flag in asked else ():
                setattr(key, flag, asked[flag])
        account.blocked = asked.get("blocked", account.blocked)
        account.fees_in_discount_asset = asked.get("fees_in_discount_asset", account.fees_in_discount_asset)
        account.extra.update({name: _amount(asked, name) for name in ("taker_fee", "maker_fee") if name in asked})
        return {"account": account.id, "keys": len(keys)}

    def reset(self, asked: dict[str, Any]) -> Any:
        _only(asked, "exchange")
        for market in self._markets(asked.get("exchange")):
            self._world.reset(market.exchange)
        return {"ok": True}

    # -- misbehaviour ---------------------------------------------------------------------------------------------

    def arm_fault(self, asked: dict[str, Any]) -> Any:
        _only(asked, "name", "exchange", "account", "count", "probability", "duration_ms", "params")
        name, exchange = str(asked.get("name", "")), asked.get("exchange")
        account = self._account(asked).id if asked.get("account") else None
        if name in self._at_once(exchange):
            return {"disturbed": self._disturb(name, exchange, account, asked.get("params", {}))}
        self._world.faults.arm(
            name,
            exchange=exchange,
            account=account,
            count=asked.get("count", None if "duration_ms" in asked else 1),
            probability=float(asked.get("probability", 1)),
            duration_ms=asked.get("duration_ms"),
            params=asked.get("params"),
        )
        return {"armed": self._world.faults.armed()}

    def clear_faults(self, asked: dict[str, Any]) -> Any:
        _only(asked, "name")
        self._world.faults.clear(asked.get("name"))
        return {"armed": self._world.faults.armed()}

    def drop(self, asked: dict[str, Any]) -> Any:
        """Do something to open sockets: ``how`` is one of the dialect's disturbances, such as abort."""
        _only(asked, "exchange", "account", "how", "params")
        name, exchange = str(asked.get("how", "abort")), asked.get("exchange")
        account = self._account(asked).id if asked.get("account") else None
        known = self._at_once(exchange)
        if name not in known:
            raise UnknownFault(f"how must be one of: {', '.join(sorted(known))}")
        return {"disturbed": self._disturb(name, exchange, account, asked.get("params", {}))}

    def delay(self, asked: dict[str, Any]) -> Any:
        _only(asked, "exchange", "request_ms", "jitter_ms")
        for market in self._markets(asked.get("exchange")):
            delay = self._world.delays[market.exchange]
            delay.request_ms = _whole(asked, "request_ms", delay.request_ms)
            delay.jitter_ms = _whole(asked, "jitter_ms", delay.jitter_ms)
        return {"ok": True}

    def clock(self, asked: dict[str, Any]) -> Any:
        _only(asked, "exchange", "skew_ms")
        for market in self._markets(asked.get("exchange")):
            self._world.set_skew(market.exchange, int(asked.get("skew_ms", 0)))
        return {market.exchange: self._world.now_ms(market.exchange) for market in self._markets(asked.get("exchange"))}

    def untidiness(self, asked: dict[str, Any]) -> Any:
        """Set probabilities and times; ``{"tidy": true}`` first sets every probability to 0."""
        changes = {
            name: float(value) if isinstance(value, Decimal) else value
            for name, value in asked.items()
            if name not in ("exchange", "tidy")
        }
        for market in self._markets(asked.get("exchange")):
            untidiness = self._world.untidiness[market.exchange]
            if asked.get("tidy"):
                untidiness.tidy()
            untidiness.set(changes)
        return {"ok": True}

    def settings(self, asked: dict[str, Any]) -> Any:
        simulator = self._simulator(asked.pop("exchange", None))
        simulator.configure({k: float(v) if isinstance(v, Decimal) else v for k, v in asked.items()})
        return {"ok": True}

    # -- helpers --------------------------------------------------------------------------------------------------

    def _at_once(self, exchange: str | None) -> set[str]:
        return {name for simulator in self._chosen(exchange) for name in simulator.disturbances}

    def _disturb(self, name: str, exchange: str | None, account: str | None, params: Mapping[str, Any]) -> int:
        return sum(
            simulator.disturb(name, account, params)
            for simulator in self._chosen(exchange)
            if name in simulator.disturbances
        )

    def _chosen(self, exchange: str | None) -> list[Simulator]:
        return [self._simulator(exchange)] if exchange else list(self._simulators.values())

    def _simulator(self, exchange: str | None) -> Simulator:
        if exchange is None or exchange not in self._simulators:
            raise UnknownFault(f"exchange must be one of: {', '.join(sorted(self._simulators))}")
        return self._simulators[exchange]

    def _markets(self, exchange: str | None) -> list[Any]:
        return [self._world.markets[simulator.exchange] for simulator in self._chosen(exchange)]

    def _account(self, asked: dict[str, Any]) -> SimAccount:
        account = self._world.accounts.get(str(asked.get("account")))
        if account is None:
            raise UnknownFault(f"account must be one of: {', '.join(self._world.accounts)}")
        return account


def _only(asked: dict[str, Any], *names: str) -> None:
    # A misspelt field must not pass for a wish that was granted.
    unknown = sorted(set(asked) - set(names))
    if unknown:
        raise UnknownFault(f"unknown fields {', '.join(unknown)}; there are: {', '.join(names)}")


def _amount(asked: dict[str, Any], name: str) -> Decimal:
    if name not in asked:
        raise UnknownFault(f"{name} is missing")
    return _decimal(asked[name], name)


def _decimal(value: Any, name: str = "an amount") -> Decimal:
    if isinstance(value, (bool, float)) or not isinstance(value, (str, int, Decimal)):
        raise UnknownFault(f"{name} must be a decimal string or a number")
    amount = Decimal(value)
    if not amount.is_finite() or abs(amount) > MAX_AMOUNT or amount != amount.quantize(Decimal("1e-8")):
        raise UnknownFault(f"{name} must be a number of at most 8 decimals")
    return amount


def _whole(asked: dict[str, Any], name: str, default: int) -> int:
    value = asked.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise UnknownFault(f"{name} must be a whole number of ms")
    return value


def _dumps(value: Any) -> str:
    return json.dumps(value, default=lambda one: format(one, "f") if isinstance(one, Decimal) else str(one))
