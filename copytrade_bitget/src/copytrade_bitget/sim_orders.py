"""How the simulated exchange takes orders in: what it checks in which order, and the fill that comes later.

Sources: https://www.bitget.com/api-doc/spot/trade/Place-Order, https://www.bitget.com/api-doc/uta/trade/Place-Order.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from copytrade_core.sim import Fault, OrderRefused, SimAccount, SimOrder

from .sim_codes import Family, Refused

if TYPE_CHECKING:
    from .sim import BitgetSimulator

# Taken together when an order is taken in; they shape its life, not the answer.
ORDER_FAULTS = {
    "partial_then_cancelled": "some of the order is filled, then it is cancelled (params: fills = 1; 0: nothing)",
    "slow_fill": "the order is filled late (params: seconds = 5)",
    "push_before_reply": "the order is filled and pushed before it is acknowledged (params: seconds = 0.2)",
    "lookup_late": "order-info finds the order only later (params: seconds = 15, lists = false: whether lists do too)",
}

_CLIENT_ID = {
    "classic": re.compile(r"[0-9A-Za-z_:#\-+\s]{1,32}"),
    "unified": re.compile(r"[.A-Z:/a-z0-9_-]{1,32}"),
}
_AMOUNT = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?")
_WHOLE = re.compile(r"[0-9]{1,16}")
MAX_RECEIVE_WINDOW_MS = 60_000
TIMES_IN_FORCE = ("gtc", "post_only", "fok", "ioc")  # of limit orders only gtc is simulated


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """An order as the client sent it, checked."""

    side: str
    client_id: str
    quantity: Decimal | None
    quote: Decimal | None
    price: Decimal | None


async def place_order(sim: BitgetSimulator, account: SimAccount, family: Family, asked: dict[str, Any]) -> Any:
    """Take an order in and return the acknowledgement: ids and nothing else. :raises Refused: nothing was done."""
    return await accept(sim, account, family, checked(sim, family, asked))


def checked(sim: BitgetSimulator, family: Family, asked: dict[str, Any]) -> Ticket:
    """Check all of an order that does not depend on the account. :raises Refused: something is wrong with it."""
    return (_classic_ticket if family == "classic" else _unified_ticket)(sim, asked)


async def accept(sim: BitgetSimulator, account: SimAccount, family: Family, ticket: Ticket) -> Any:
    """Take a checked order in and return the acknowledgement. :raises Refused: nothing was done."""
    order = _take_in(sim, account, family, ticket)
    fault = sim.world.faults.take(tuple(ORDER_FAULTS), sim.exchange, account.id, "order")
    _schedule(sim, account, order, fault)
    if fault is not None and fault.name == "push_before_reply":
        sim.announce(account, order)
        sim.fill(account, order)
        await asyncio.sleep(fault.number("seconds", 0.2))
    elif sim.world.chance(f"bitget/early/{account.id}", sim.untidiness.event_before_reply):
        sim.announce(account, order)
        await asyncio.sleep(0.003)
    else:
        sim.later(3, lambda: sim.announce(account, order))
    return {"orderId": str(order.order_id), "clientOid": order.client_order_id}


def _schedule(sim: BitgetSimulator, account: SimAccount, order: SimOrder, fault: Fault | None) -> None:
    untidy = sim.untidiness
    draw = sim.world.random_for(f"bitget/fill/{account.id}")
    fill_in_ms = untidy.fill_min_ms + draw.random() * max(untidy.fill_max_ms - untidy.fill_min_ms, 0)
    hidden_ms = 0.0
    if sim.world.chance(f"bitget/lookup/{account.id}", untidy.lookup_late):
        hidden_ms = untidy.lookup_late_ms
    if fault is not None and fault.name == "slow_fill":
        fill_in_ms = 1000 * fault.number("seconds", 5)
    elif fault is not None and fault.name == "partial_then_cancelled":
        order.extra["stop_after"] = int(fault.number("fills", 1))
    elif fault is not None and fault.name == "lookup_late":
        hidden_ms = 1000 * fault.number("seconds", 15)
        if fault.params.get("lists"):
            order.extra["listed_ms"] = order.created_ms + hidden_ms
    order.extra["shown_ms"] = order.created_ms + hidden_ms
    sim.took_in(account, order, fill_in_ms=fill_in_ms)


def _take_in(sim: BitgetSimulator, account: SimAccount, family: Family, ticket: Ticket) -> SimOrder:
    """Check value, balance and duplicates, in this order, and lock what the order needs."""
    rules, unified = sim.market.rules, family == "unified"
    if sim.pair.status != "online":
        raise Refused("25102" if unified else "41114")
    price = ticket.price if ticket.price is not None else sim.market.price
    value = ticket.quote if ticket.quote is not None else (ticket.quantity or Decimal(0)) * price
    if value < sim.pair.min_value:
        raise Refused("45110", format(sim.pair.min_value, "f"))
    needed = value if ticket.side == "BUY" else ticket.quantity or Decimal(0)
    if account.free(rules.quote if ticket.side == "BUY" else rules.base) < needed:
        raise Refused("25202" if unified else "43012")
    if len(account.open_orders) >= sim.settings.open_orders:
        raise Refused("25211" if unified else "43005", sim.settings.open_orders)
    try:
        return sim.market.accept(
            account,
            side=ticket.side,
            client_order_id=ticket.client_id,
            quantity=ticket.quantity,
            quote=ticket.quote,
            price=ticket.price,
            via=f"rest {family}",
        )
    except OrderRefused as refused:
        codes = {
            OrderRefused.DUPLICATE: ("43118", "25212"),
            OrderRefused.INSUFFICIENT_BALANCE: ("43012", "25202"),
            OrderRefused.NO_LIQUIDITY: ("43009", "25209"),
        }.get(refused.reason, ("45110", "45110"))
        raise Refused(codes[unified], format(sim.pair.min_value, "f")) from None


def _classic_ticket(sim: BitgetSimulator, asked: dict[str, Any]) -> Ticket:
    symbol = _text(asked, "symbol")
    if symbol != sim.market.rules.symbol:
        raise Refused("40034", symbol)
    side = _choice(asked, "side", ("buy", "sell"))
    order_type = _choice(asked, "orderType", ("limit", "market"))
    if order_type == "limit" or asked.get("force"):
        # Required by the documentation; for market orders it is ignored and goes without in practice.
        force = _choice(asked, "force", TIMES_IN_FORCE)
        if order_type == "limit" and force != "gtc":
            raise Refused("40805")
    if asked.get("tpslType", "normal") != "normal":
        raise Refused("40805")
    check_receive_window(sim, asked)
    client_id = _client_id(sim, asked, "classic")
    return _sized(sim, asked, "size", side, order_type, client_id, "classic")


def _unified_ticket(sim: BitgetSimulator, asked: dict[str, Any]) -> Ticket:
    category = _text(asked, "category")
    if category.upper() != "SPOT":
        raise Refused("25200", "category")  # margin would borrow by itself; futures are another market
    symbol = _text(asked, "symbol")
    if symbol != sim.market.rules.symbol:
        raise Refused("25100", symbol)
    _text(asked, "qty")
    side = _choice(asked, "side", ("buy", "sell"), "25200")
    order_type = _choice(asked, "orderType", ("limit", "market"), "25200")
    if asked.get("timeInForce"):
        force = _choice(asked, "timeInForce", TIMES_IN_FORCE, "25200")
        if order_type == "limit" and force != "gtc":
            raise Refused("25240", sim.market.rules.symbol)
    client_id = _client_id(sim, asked, "unified")
    return _sized(sim, asked, "qty", side, order_type, client_id, "unified")


def _sized(
    sim: BitgetSimulator, asked: dict[str, Any], field: str, side: str, order_type: str, client_id: str, family: Family
) -> Ticket:
    price = None
    if order_type == "limit":
        price = _amount(asked, "price", family)
        if price % sim.market.rules.price_tick:
            raise Refused("41103")
    size = _amount(asked, field, family)
    in_quote = side == "buy" and order_type == "market"
    scale = sim.pair.quote_precision if in_quote else sim.pair.quantity_precision
    # Decimals as written count: a trailing zero is one.
    if -int(size.as_tuple().exponent) > scale:
        raise Refused("40808", field, asked[field], scale)
    return Ticket(
        side=side.upper(),
        client_id=client_id,
        quantity=None if in_quote else size,
        quote=size if in_quote else None,
        price=price,
    )


def check_receive_window(sim: BitgetSimulator, asked: dict[str, Any]) -> None:
    sent, window = asked.get("requestTime"), asked.get("receiveWindow")
    if sent is None or window is None:
        return
    if not (_WHOLE.fullmatch(str(sent)) and _WHOLE.fullmatch(str(window))):
        raise Refused("40020", "receiveWindow")
    if int(window) >= MAX_RECEIVE_WINDOW_MS:
        raise Refused("40079")
    if abs(sim.now_ms() - int(sent)) > int(window):
        raise Refused("40078")


def _client_id(sim: BitgetSimulator, asked: dict[str, Any], family: Family) -> str:
    given = asked.get("clientOid")
    if given is None or given == "":
        return f"{sim.world.random_for('bitget/client-ids').getrandbits(62):019d}"
    if not isinstance(given, str) or not _CLIENT_ID[family].fullmatch(given):
        raise Refused("40305") if family == "classic" else Refused("25200", "clientOid")
    return given


def _text(asked: dict[str, Any], name: str) -> str:
    value = asked.get(name)
    if value is None or value == "":
        raise Refused("40019", name)
    if not isinstance(value, str):
        raise Refused("40020", name)
    return value


def _choice(asked: dict[str, Any], name: str, choices: tuple[str, ...], code: str = "40020") -> str:
    value = _text(asked, name).lower()
    if value not in choices:
        raise Refused(code, name)
    return value


def _amount(asked: dict[str, Any], name: str, family: Family) -> Decimal:
    text = _text(asked, name)
    if not _AMOUNT.fullmatch(text):
        raise Refused("40020", name) if family == "classic" else Refused("25200", name)
    amount = Decimal(text)
    if not amount:
        raise Refused("43011", name) if family == "classic" else Refused("25200", name)
    return amount
