"""The simulated exchange's REST routes, v2 and v3: who may call, how often, and what is answered.

Order of checks: address limit, headers, key, environment, account family, time, signature, passphrase, address list,
permission, route limit, a classic order's receive window. A wrong secret on a unified key that calls v2 is therefore
still answered 40085.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

from aiohttp import web

from copytrade_core.sim import WIRE_FAULTS, Fault, SimAccount, SimKey
from copytrade_core.sim.wire import misbehave, page

from . import sim_answers as answers
from .sim_codes import WORDS, Family, Refused
from .sim_limits import SlidingWindow
from .sim_orders import ORDER_FAULTS, accept, check_receive_window, checked, place_order
from .sim_sign import rest_prehash, sign
from .sim_strange import STRANGE_KINDS, distort

if TYPE_CHECKING:
    from .sim import BitgetSimulator

Params = Mapping[str, str]
Answer = Callable[["BitgetSimulator", SimAccount, SimKey, Params], Any]
PublicAnswer = Callable[["BitgetSimulator", Params], Any]

# These shape one answer and are taken together, in the order of arming.
ANSWER_FAULTS = {
    "code_executed": "the order is taken in, the answer is an error (params: code = 40010, words, status)",
    "code_not_executed": "an error answer, nothing was done (params: code = 40010, words, status)",
    "executes_late": "an error answer now, the order is taken in later (params: code = 40010, seconds = 9)",
    "rate_limited": "429, not executed (params: retry_after = text of the header, json = true)",
    "forbidden": "403 with a gateway's page, not executed",
    "timestamp_expired": "40008, not executed",
    "mode_switching": "40115: the account is just being upgraded or rolled back; not executed",
}
READ_FAULTS = {
    "order_not_shown": "order-info does not find the order",
    "two_orders_shown": "order-info shows a second order with the same clientOid",
    "client_id_forgotten": "order-info by clientOid finds nothing, by orderId it does",
    "demo_limit": "account/info is not available in demo (params: code = 40081)",
    "strange_answer": "the answer is written strangely (params: on = order, order-info, assets, fills, symbols or any; "
    f"kind = {', '.join(STRANGE_KINDS)}; field)",
}
REST_FAULTS = {**WIRE_FAULTS, **ANSWER_FAULTS, **READ_FAULTS, **ORDER_FAULTS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    per_second: int
    family: Family | None = None  # None: public
    answer: Any = None
    name: str = ""
    needs: str = "read"
    words: str = ""  # the permission's name in Bitget's message


class Caller(NamedTuple):
    account: SimAccount
    key: SimKey


class Rest:
    """All REST routes of the simulated exchange."""

    def __init__(self, sim: BitgetSimulator) -> None:
        self._sim = sim
        self._windows = SlidingWindow(sim.world.monotonic_ns)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer any request; refusals are answers too."""
        sim, world = self._sim, self._sim.world
        target = request.raw_path
        path, _, query = target.partition("?")
        body = await request.read()
        await world.latency(sim.exchange)
        account_id, client_id = "", ""
        headers: dict[str, str] = {}
        wire: Fault | None = None
        response: web.Response | None = None
        try:
            if not sim.guard.admits(request.remote or ""):
                raise Refused("429")
            route = self._route(request.method, path)
            caller = None
            if route.family is None:
                self._limit(route, path, request.remote or "", headers)
                fault = self._fault(WIRE_FAULTS, None, "query")
            else:
                caller = self._admit(request, route, target, body)
                account_id = caller.account.id
                self._limit(route, path, account_id, headers, caller.account)
                kind = "order" if route.name == "place-order" else "query"
                if kind == "order" and route.family == "classic":
                    # Before any fault is taken: "done, then ..." must not cover a refusal.
                    check_receive_window(sim, _json(request, body))
                fault = self._fault((*WIRE_FAULTS, *ANSWER_FAULTS), account_id, kind)
            wire = fault if fault is not None and fault.name in WIRE_FAULTS else None
            ticket = _json(request, body) if request.method == "POST" else {}
            client_id = _shown(ticket.get("clientOid"))
            if fault is not None and wire is None:
                response = await self._answer_fault(fault, route, caller, ticket, headers)
            elif wire is None or wire.executed:
                data = await self._data(route, caller, _params(query), ticket)
                response = self._response(data, route, account_id, headers)
        except Refused as refused:
            response = self._error(refused.code, refused.words, refused.status, headers)
        status = 0 if response is None else response.status
        world.saw(sim.exchange, account_id, f"{request.method} {path}", client_id, status)
        if wire is not None:
            return await misbehave(world, request, wire, response)
        assert response is not None
        return response

    # -- who may call -------------------------------------------------------------------------------------------------

    def _route(self, method: str, path: str) -> Route:
        route = ROUTES.get((method, path))
        if route is None:
            if "/v1/" in path:
                raise Refused("30032")
            raise Refused("40404")
        return route

    def _admit(self, request: web.Request, route: Route, target: str, body: bytes) -> Caller:
        sim = self._sim
        head = request.headers
        for name, code in (("ACCESS-KEY", "40001"), ("ACCESS-SIGN", "40003"), ("ACCESS-PASSPHRASE", "40011")):
            if not head.get(name):
                raise Refused(code)
        stamp = head.get("ACCESS-TIMESTAMP", "")
        if not stamp:
            raise Refused("40005")
        found = sim.world.find_key(sim.exchange, head["ACCESS-KEY"])
        if found is None or found[1].revoked:
            raise Refused("40006")
        account, key = found
        header_environment = "demo" if head.get("paptrading") == "1" else "prod"
        if header_environment != sim.environment_of(account):
            raise Refused("40099")
        if route.family != sim.family(account):
            raise Refused("40084" if route.family == "unified" else "40085")
        if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 16):
            raise Refused("40005")
        if abs(sim.now_ms() - int(stamp)) > sim.settings.signature_window_ms:
            raise Refused("40008")
        prehash = rest_prehash(stamp, request.method, target.encode(), body)
        if not secrets.compare_digest(sign(key.secret, prehash), head["ACCESS-SIGN"].encode()):
            raise Refused("40009")
        if not secrets.compare_digest(key.passphrase.encode(), head["ACCESS-PASSPHRASE"].encode()):
            raise Refused("40012")
        if not key.ip_listed:
            raise Refused("40018")
        if account.blocked:
            raise Refused("25006" if route.family == "unified" else "40026")
        if not (key.can_trade if route.needs == "trade" else key.can_read):
            raise Refused("40014", route.words or f"{route.family} {route.needs}")
        return Caller(account, key)

    def _limit(
        self, route: Route, path: str, who: str, headers: dict[str, str], account: SimAccount | None = None
    ) -> None:
        settings = self._sim.settings
        limit = route.per_second
        if account is not None and route.name == "place-order" and account.extra.get("lead_trader"):
            limit = settings.lead_trader_orders
        left = self._windows.take((path, who), limit, settings.route_window_ms)
        headers["x-mbx-used-remain-limit"] = str(max(left, 0))
        if left < 0 and settings.enforced:
            raise Refused("429")

    # -- answers ------------------------------------------------------------------------------------------------------

    async def _data(self, route: Route, caller: Caller | None, params: Params, ticket: dict[str, Any]) -> Any:
        if caller is None:
            return route.answer(self._sim, params)
        if route.name == "place-order":
            assert route.family is not None
            return await place_order(self._sim, caller.account, route.family, ticket)
        return route.answer(self._sim, caller.account, caller.key, ticket or params)

    async def _answer_fault(
        self, fault: Fault, route: Route, caller: Caller | None, ticket: dict[str, Any], headers: dict[str, str]
    ) -> web.Response:
        assert caller is not None and route.family is not None
        sim, name = self._sim, fault.name
        if name == "rate_limited":
            if "retry_after" in fault.params:
                headers["Retry-After"] = str(fault.params["retry_after"])
            if not fault.params.get("json", True):
                return web.Response(status=429, text="Too Many Requests", headers=headers)
            return self._error("429", WORDS["429"], 429, headers)
        if name == "forbidden":
            return page(403)
        code = {"timestamp_expired": "40008", "mode_switching": "40115"}.get(name, fault.params.get("code", "40010"))
        if name == "code_executed" and route.name == "place-order":
            await place_order(sim, caller.account, route.family, ticket)
        elif name == "executes_late" and route.name == "place-order":
            account, family = caller.account, route.family
            # Checked on arrival, its receive window too: what is late is only what happens behind that.
            order = checked(sim, family, ticket)

            def take_in() -> None:
                sim.sockets.in_background(_quietly(accept(sim, account, family, order)))

            sim.later(1000 * fault.number("seconds", 9), take_in)
        words = str(fault.params.get("words") or WORDS.get(str(code), "Unknown error"))
        return self._error(str(code), words, int(fault.number("status", 400)), headers)

    def _fault(self, names: Any, account_id: str | None, on: str) -> Fault | None:
        return self._sim.world.faults.take(names, self._sim.exchange, account_id, on)

    def _response(self, data: Any, route: Route, account_id: str, headers: dict[str, str]) -> web.Response:
        now_ms = self._sim.now_ms()
        text = _dumps({"code": "00000", "msg": "success", "requestTime": now_ms, "data": data})
        fault = self._fault(("strange_answer",), account_id, "order" if route.name == "place-order" else route.name)
        if fault is not None:
            text = distort(text, str(fault.params.get("kind")), str(fault.params.get("field", "")))
        if route.family == "unified":
            headers |= {"X-BG-REQUEST-ACCEPT-TIME": str(now_ms), "X-BG-RESPONSE-COMPLETE-TIME": str(now_ms)}
        return web.Response(body=text.encode(), content_type="application/json", charset="UTF-8", headers=headers)

    def _error(self, code: str, words: str, status: int, headers: Mapping[str, str]) -> web.Response:
        answer = {"code": code, "msg": words, "requestTime": self._sim.now_ms(), "data": None}
        return web.Response(
            status=status,
            body=_dumps(answer).encode(),
            content_type="application/json",
            charset="UTF-8",
            headers=headers,
        )


async def _quietly(placing: Any) -> None:
    with contextlib.suppress(Refused):  # nobody waits for the answer any more
        await placing


def _json(request: web.Request, body: bytes) -> dict[str, Any]:
    if request.content_type != "application/json":
        raise Refused("40007")
    try:
        ticket = json.loads(body)
    except ValueError:
        ticket = None
    if not isinstance(ticket, dict):
        raise Refused("40017", "body")
    return ticket


def _params(query: str) -> dict[str, str]:
    params: dict[str, str] = {}
    for part in query.split("&") if query else ():
        name, _, value = part.partition("=")
        params[unquote(name)] = unquote(value)
    return params


def _shown(value: Any) -> str:
    return str(value)[:64] if value is not None else ""


def _dumps(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _classic(per_second: int, answer: Answer | None, name: str = "", needs: str = "read", words: str = "") -> Route:
    words = words or f"spot {needs}"
    return Route(per_second=per_second, family="classic", answer=answer, name=name, needs=needs, words=words)


def _unified(per_second: int, answer: Answer | None, name: str = "", needs: str = "read", words: str = "") -> Route:
    words = words or ("uta trade read and write" if needs == "trade" else "uta mgt. read")
    return Route(per_second=per_second, family="unified", answer=answer, name=name, needs=needs, words=words)


def _public(answer: PublicAnswer, name: str = "") -> Route:
    return Route(per_second=20, answer=answer, name=name)


ROUTES: dict[tuple[str, str], Route] = {
    ("GET", "/api/v2/public/time"): _public(answers.server_time),
    ("GET", "/api/v2/spot/public/symbols"): _public(answers.symbols, "symbols"),
    ("GET", "/api/v2/spot/public/coins"): _public(answers.coins),
    ("GET", "/api/v2/spot/market/tickers"): _public(answers.tickers),
    ("GET", "/api/v2/spot/market/orderbook"): _public(answers.order_book),
    ("GET", "/api/v2/spot/market/vip-fee-rate"): _public(answers.nothing),
    # No margin and no futures are traded here; clients that load all markets ask for them anyway.
    ("GET", "/api/v2/margin/currencies"): _public(answers.nothing),
    ("GET", "/api/v2/mix/market/contracts"): _public(answers.nothing),
    ("GET", "/api/v3/market/instruments"): _public(answers.instruments, "symbols"),
    ("GET", "/api/v3/market/tickers"): _public(answers.unified_tickers),
    ("GET", "/api/v3/market/orderbook"): _public(answers.unified_order_book),
    ("GET", "/api/v2/spot/account/info"): _classic(1, answers.account_info),
    ("GET", "/api/v2/spot/account/assets"): _classic(10, answers.assets, "assets"),
    ("GET", "/api/v2/spot/account/deduct-info"): _classic(5, answers.deduct_info),
    ("GET", "/api/v2/common/trade-rate"): _classic(10, answers.fee_rate),
    ("POST", "/api/v2/spot/trade/place-order"): _classic(10, None, "place-order", "trade", "spot trade read and write"),
    ("POST", "/api/v2/spot/trade/cancel-order"): _classic(10, answers.cancel_order, "cancel", "trade"),
    ("GET", "/api/v2/spot/trade/orderInfo"): _classic(20, answers.order_info, "order-info"),
    ("GET", "/api/v2/spot/trade/unfilled-orders"): _classic(20, answers.unfilled_orders, "unfilled"),
    ("GET", "/api/v2/spot/trade/history-orders"): _classic(20, answers.history_orders, "history"),
    ("GET", "/api/v2/spot/trade/fills"): _classic(10, answers.fills, "fills"),
    ("GET", "/api/v3/account/settings"): _unified(20, answers.account_settings),
    ("GET", "/api/v3/account/info"): _unified(1, answers.unified_account_info),
    ("GET", "/api/v3/account/assets"): _unified(20, answers.unified_assets, "assets"),
    ("GET", "/api/v3/account/funding-assets"): _unified(20, answers.funding_assets),
    ("GET", "/api/v3/account/fee-rate"): _unified(3, answers.fee_rate),
    ("GET", "/api/v3/account/deduct-info"): _unified(5, answers.deduct_info),
    ("POST", "/api/v3/trade/place-order"): _unified(10, None, "place-order", "trade"),
    ("POST", "/api/v3/trade/cancel-order"): _unified(10, answers.unified_cancel_order, "cancel", "trade"),
    ("GET", "/api/v3/trade/order-info"): _unified(20, answers.unified_order_info, "order-info"),
    ("GET", "/api/v3/trade/unfilled-orders"): _unified(20, answers.unified_unfilled_orders, "unfilled"),
    ("GET", "/api/v3/trade/history-orders"): _unified(20, answers.unified_history_orders, "history"),
    ("GET", "/api/v3/trade/fills"): _unified(20, answers.unified_fills, "fills"),
}
