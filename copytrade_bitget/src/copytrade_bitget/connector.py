"""Bitget as the engine sees it: one `Exchange` an environment, one `Connector` an account.

Which figures a balance contains. Classic: a row's ``uTime``, read or pushed, is the time of the row's last
change, so a fill at or before it is in. Unified: rows carry no time; the answer's ``requestTime`` and the push's
``ts`` stand for it.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar
from urllib.parse import urlsplit

from copytrade_core.accounts.budget import Budget, Priority
from copytrade_core.connector import (
    Connector,
    Exchange,
    ExchangeContext,
    Gate,
    Gateway,
    PreparedOrder,
    StreamSink,
    ThreadPoolGateway,
    UserStream,
)
from copytrade_core.errors import (
    AuthenticationFailed,
    ClockSkewed,
    ConfigError,
    ExchangeError,
    NotSent,
    OrderRejected,
    OutcomeUnknown,
    UnknownExchange,
)
from copytrade_core.model import (
    AccountCheck,
    AccountId,
    BalanceSnapshot,
    ClientOrderId,
    Credentials,
    Environment,
    ExchangeOrderId,
    KeyPermissions,
    MarketOrder,
    OrderAck,
    OrderReport,
    SymbolRules,
)

from . import parse
from .classic import ClassicAccount
from .errors import (
    CLASSIC_ACCOUNT_CODES,
    DEMO_LIMIT_CODES,
    EXCHANGE,
    MODE_CODES,
    PERMISSION_CODES,
    UNIFIED_ACCOUNT_CODES,
    unreadable,
)
from .family import AccountFamily, KeyFacts
from .keeper import Keeper
from .private_socket import StreamAddress
from .rest import (
    ACCOUNT_SETTINGS,
    ADDRESS_LIMIT,
    MARKET_INSTRUMENTS,
    PUBLIC_TIME,
    SPOT_ACCOUNT_ASSETS,
    SPOT_SYMBOLS,
    AccountApi,
    Api,
)
from .signing import Signer
from .transport import Transport
from .unified import UnifiedAccount
from .user_stream import BitgetUserStream

T = TypeVar("T")

REST_ORIGIN = "https://api.bitget.com"  # production and demo alike: a header tells them apart
WS_ORIGINS = {Environment.PROD: "wss://ws.bitget.com", Environment.DEMO: "wss://wspap.bitget.com"}
ORDER_THREADS = 128
SEARCH_BACK_MS = 7 * 24 * 3600 * 1000
LISTED_MS = 89 * 24 * 3600 * 1000  # Bitget lists 90 days; one is kept for clocks and the day's edge
# After its window a request may still be on its way to the matching engine: 10 s, and 2 s for the clocks.
FENCE_MARGIN_MS = 12_000
_CLIENT_ORDER_ID = re.compile(r"[0-9A-Za-z_-]{1,32}")  # what both families accept, and needs no escaping


class _ReadyThreads(ThreadPoolGateway):
    """The thread pool with its threads started ahead: starting 100 of them costs the first burst some 20 ms."""

    def __init__(self, name: str, threads: int) -> None:
        super().__init__(name, threads)
        # The pool starts a thread for a task only while none is idle: these wait until all are there.
        together = threading.Barrier(threads)
        for _ in range(threads):
            self._pool.submit(together.wait, 5.0)


class BitgetExchange(Exchange):
    """Bitget in one environment: what its accounts share.

    :raises UnknownExchange: the environment is not production or demo.
    :raises ConfigError: an overridden endpoint is not an origin.
    """

    description_id = EXCHANGE

    def __init__(self, context: ExchangeContext) -> None:
        super().__init__(context)
        if context.environment not in WS_ORIGINS:
            raise UnknownExchange(
                f"Bitget has no environment {context.environment.value!r}; its test system is called 'demo'",
                kind="unknown_environment",
                exchange=EXCHANGE,
            )
        rest = _origin(context.endpoints.get("rest", REST_ORIGIN), "rest", ("http", "https"))
        ws = _origin(context.endpoints.get("ws", WS_ORIGINS[context.environment]), "ws", ("ws", "wss"))
        self._transport = Transport(rest, connections=ORDER_THREADS)
        demo = context.environment is Environment.DEMO
        self._api = Api(self._transport, context.clock, context.exchange_clock, context.on_shut_out, demo=demo)
        if context.shut_out_sec:
            self._api.address.block(context.shut_out_sec, banned=True)
        self._keeper = Keeper(self._api, f"bitget-{context.environment.value}", ORDER_THREADS)
        self._stream_address = StreamAddress(ws, context.clock, context.exchange_clock)

    def budgets(self) -> Mapping[str, Budget]:
        return {"requests": self._api.address, "connections": self._stream_address.connects}

    def open_connector(self, account_id: AccountId, credentials: Credentials) -> BitgetConnector:
        return BitgetConnector(self, self._api, account_id, credentials)

    def server_time_ms(self) -> int:
        return parse.millis(parse.mapping(self._api.get(PUBLIC_TIME).data), "serverTime")

    def rules(self) -> SymbolRules:
        """Read the pair's rules: from the classic route, or, should that go, from the unified one."""
        symbol = self.context.symbol
        name = symbol.base + symbol.quote
        try:
            found, minimum = self._api.get(SPOT_SYMBOLS, symbol=name).data, "minTradeUSDT"
        except (OutcomeUnknown, OrderRejected):
            found, minimum = self._api.get(MARKET_INSTRUMENTS, category="SPOT", symbol=name).data, "minOrderAmount"
        for row in parse.rows(found):
            if parse.text(row, "symbol").upper() == name:
                return parse.symbol_rules(row, symbol, minimum=minimum)
        raise unreadable(f"{name} is not among the symbols")

    def open_user_stream(self, sink: StreamSink, name: str) -> UserStream:
        return BitgetUserStream(self._stream_address, sink, name)

    def make_gateway(self) -> Gateway:
        return _ReadyThreads(f"bitget-{self.context.environment.value}", threads=ORDER_THREADS)

    def warm_up(self, connectors: Sequence[Connector]) -> None:
        """Keep a connection warm for each account, and find out each account's family, on the keeper's thread."""
        self._keeper.keep([connector for connector in connectors if isinstance(connector, BitgetConnector)])
        _ = self.gateway  # made, and its threads started, before an order needs it

    def balance_read_cost_sec(self) -> float:
        return 60 / (ADDRESS_LIMIT * Priority.BALANCE.value)  # one of the address's requests

    def close(self) -> None:
        self._keeper.stop()
        super().close()
        self._transport.close()


class BitgetConnector(Connector):
    """One Bitget account of either family. Thread-safe."""

    def __init__(self, exchange: BitgetExchange, api: Api, account_id: AccountId, credentials: Credentials) -> None:
        self.account_id = account_id
        self.signer = Signer(credentials)
        self._fingerprint = credentials.fingerprint
        self._clock = exchange.context.exchange_clock
        self._demo = api.demo
        self._api = AccountApi(api, account_id, self.signer)
        symbol = exchange.context.symbol
        self._classic = ClassicAccount(self._api, symbol)
        self._unified = UnifiedAccount(self._api, symbol)
        self._family: AccountFamily | None = None

    @property
    def family(self) -> AccountFamily | None:
        """Return the account's family as far as it is known; its owner can change it at any time."""
        return self._family

    def detect_family(self) -> AccountFamily:
        """Ask the exchange which family the account is of, and remember it.

        :raises OutcomeUnknown: it is changing just now, or the answers do not tell.
        :raises ExchangeError: the question was refused, which does not depend on the family.
        """
        self._family = None
        self._family = found = self._ask_family()
        return found

    def _ask_family(self) -> AccountFamily:
        try:
            settings = parse.mapping(self._api.get(ACCOUNT_SETTINGS).data)
        except ExchangeError as error:
            if error.code in CLASSIC_ACCOUNT_CODES:
                return self._classic
            # The family is checked before permissions, so this is a unified account all the same.
            if error.code in PERMISSION_CODES:
                raise AuthenticationFailed(
                    "the API key lacks the permission 'unified account - management' (read)",
                    kind="no_read_permission",
                    exchange=EXCHANGE,
                    code=error.code,
                ) from None
            if error.code in DEMO_LIMIT_CODES:
                return self._ask_family_of_classic()
            raise
        mode = str(settings.get("accountMode") or "").lower()
        if mode in ("upgrading", "switching"):
            raise OutcomeUnknown(
                "Bitget is changing the account between classic and unified", kind="account_mode", exchange=EXCHANGE
            )
        return self._unified

    def _ask_family_of_classic(self) -> AccountFamily:
        try:
            self._api.get(SPOT_ACCOUNT_ASSETS, assetType="hold_only")
        except ExchangeError as error:
            if error.code in UNIFIED_ACCOUNT_CODES:
                return self._unified
            raise
        return self._classic

    def _ask(self, question: Callable[[AccountFamily], T]) -> T:
        """Return what *question* finds; asked once more if the account turns out to be of the other family."""
        family = self._family or self.detect_family()
        try:
            return question(family)
        except NotSent as error:
            if error.code not in MODE_CODES:
                raise
        return question(self.detect_family())

    def verify(self, *, needs_trade: bool = True) -> AccountCheck:
        self.detect_family()
        facts = self._ask(self._key_facts)
        may = facts.permissions
        if may.can_withdraw:
            raise _refused("can_withdraw", "the API key may withdraw; make one that may only read and trade spot")
        if may.can_transfer:
            raise _refused("can_transfer", "the API key may transfer; make one that may only read and trade spot")
        if needs_trade and may.can_trade is False:
            raise _refused("no_trade_permission", "the API key may not trade spot")
        if may.can_read is False:
            raise _refused("no_read_permission", "the API key may not read the account")
        # A key's own mark stands in where Bitget does not name the account.
        uid = facts.uid or f"key-{self._fingerprint}"
        return AccountCheck(uid=uid, permissions=may, balances=self.balances(), warnings=facts.warnings)

    def key_permissions(self) -> KeyPermissions:
        return self._ask(self._key_facts).permissions

    def _key_facts(self, family: AccountFamily) -> KeyFacts:
        try:
            return family.key_facts()
        except ExchangeError as error:
            # Demo accounts may be kept from this route while their orders work: no fault of the key's.
            if self._demo and error.code in DEMO_LIMIT_CODES:
                return KeyFacts(uid="", permissions=KeyPermissions())
            raise

    def balances(self, *, urgent: bool = False) -> BalanceSnapshot:
        return self._ask(lambda family: family.balances(urgent=urgent))

    def prepare_market_order(self, order: MarketOrder) -> PreparedOrder:
        family = self._family
        if family is None:
            raise NotSent(
                "it is not known yet whether the account is classic or unified", kind="account_mode", exchange=EXCHANGE
            )
        if order.symbol != family.symbol or not _CLIENT_ORDER_ID.fullmatch(order.client_order_id):
            raise NotSent("the order is not one for this account", retry=False, kind="bad_order", exchange=EXCHANGE)
        if not self._clock.is_known:
            raise ClockSkewed("Bitget's clock is not known", exchange=EXCHANGE)
        now_ms = self._clock.now_ms()
        return PreparedOrder(
            account_id=self.account_id,
            order=order,
            body=family.order_body(order, format(order.size, "f"), now_ms),
            timestamp_ms=now_ms,
            recv_window_ms=family.recv_window_ms,
            fence_ms=now_ms + family.recv_window_ms + FENCE_MARGIN_MS,
            key_fingerprint=self._fingerprint,
            connector=self,
        )

    def place(self, prepared: PreparedOrder, gate: Gate) -> OrderAck:
        if prepared.account_id != self.account_id or prepared.key_fingerprint != self._fingerprint:
            raise NotSent("the order was made for another key", retry=False, kind="wrong_account", exchange=EXCHANGE)
        # The body says which family it was made for; should the account have changed since, Bitget refuses it.
        family = self._unified if "category" in prepared.body else self._classic
        try:
            answer = self._api.post_order(
                family.place_route, prepared.body, prepared.timestamp_ms, gate.passage(prepared)
            )
        except NotSent as error:
            if error.code in MODE_CODES:
                self._detect_again()
            raise
        exchange_order_id, client_order_id = parse.placed(answer.data)
        if client_order_id != prepared.order.client_order_id:
            raise unreadable("it names another order")
        return OrderAck(
            exchange_order_id=ExchangeOrderId(exchange_order_id),
            client_order_id=prepared.order.client_order_id,
            time_ms=answer.request_ms,
        )

    def _detect_again(self) -> None:
        try:
            self.detect_family()
        except ExchangeError:
            return  # unknown is safe: nothing can be prepared until somebody has asked successfully

    def find_order(
        self, client_order_id: ClientOrderId, exchange_order_id: ExchangeOrderId | None = None
    ) -> OrderReport | None:
        """Look one order up; where Bitget's own look-up does not find it, search the lists of the last 7 days.

        The look-up by client id may miss final orders (its documentation has said "the last 2 hours").

        :raises OutcomeUnknown: no evidence; kind ``two_orders``: two orders carry this id.
        """
        return self._ask(lambda family: self._find(family, client_order_id, exchange_order_id))

    def _find(
        self, family: AccountFamily, client_order_id: ClientOrderId, exchange_order_id: ExchangeOrderId | None
    ) -> OrderReport | None:
        found: dict[str, OrderReport] = {}
        if exchange_order_id:
            by_id = family.look_up(orderId=exchange_order_id)
            found = {
                report.exchange_order_id: report for report in by_id if report.exchange_order_id == exchange_order_id
            }
        if not found:
            found = _with_id(client_order_id, family.look_up(clientOid=client_order_id))
        if not found:
            found = _with_id(client_order_id, self._listed(family, self._clock.now_ms() - SEARCH_BACK_MS))
        if len(found) > 1:
            raise OutcomeUnknown("two orders carry the same id", kind="two_orders", exchange=EXCHANGE)
        for report in found.values():
            return self._with_fills(family, report)
        return None

    def list_orders(self, since_ms: int) -> Sequence[OrderReport]:
        """Return the pair's orders since *since_ms*, at most 90 days back: older ones Bitget does not list."""
        return self._ask(lambda family: self._listed(family, since_ms))

    def _listed(self, family: AccountFamily, since_ms: int) -> list[OrderReport]:
        # Open ones first: an order that ends between the two questions is then in both lists, never in none.
        found = {report.exchange_order_id: report for report in family.open_orders()}
        # Bitget may be ahead of our clock; an order of this moment must not fall out of the span.
        until_ms = self._clock.now_ms() + 60_000
        for report in family.past_orders(max(since_ms, until_ms - LISTED_MS), until_ms):
            found[report.exchange_order_id] = report
        return sorted(
            (report for report in found.values() if report.created_ms >= since_ms),
            key=lambda report: (report.created_ms, report.exchange_order_id),
        )

    def _with_fills(self, family: AccountFamily, report: OrderReport) -> OrderReport:
        if not report.status.is_final or not report.filled_base:
            return report
        fills = {fill.trade_id: fill for fill in family.fills(report.exchange_order_id)}
        in_order = tuple(sorted(fills.values(), key=lambda fill: (fill.time_ms, fill.trade_id)))
        total = sum(fill.base_quantity for fill in in_order)
        return replace(report, fills=in_order, fills_complete=total == report.filled_base)


def _with_id(client_order_id: ClientOrderId, reports: Sequence[OrderReport]) -> dict[str, OrderReport]:
    return {report.exchange_order_id: report for report in reports if report.client_order_id == client_order_id}


def _refused(kind: str, sentence: str) -> AuthenticationFailed:
    return AuthenticationFailed(sentence, kind=kind, exchange=EXCHANGE)


def _origin(url: str, name: str, schemes: tuple[str, ...]) -> str:
    parts = urlsplit(url)
    if parts.scheme not in schemes or not parts.hostname or parts.path not in ("", "/") or parts.query:
        raise ConfigError(f"Bitget's endpoint {name!r} must be an origin like {schemes[0]}://127.0.0.1:9102")
    return f"{parts.scheme}://{parts.netloc}"
