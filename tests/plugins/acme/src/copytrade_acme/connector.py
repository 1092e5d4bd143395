"""Acme as an `Exchange`, and one account on it as a `Connector`: domain words in, domain types out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

from copytrade_core import (
    AccountCheck,
    AccountId,
    AuthenticationFailed,
    Balance,
    BalanceSnapshot,
    BalanceSource,
    BaseQuantity,
    ClientOrderId,
    ClockSkewed,
    Connector,
    Credentials,
    Exchange,
    ExchangeContext,
    ExchangeOrderId,
    Fill,
    Gate,
    KeyPermissions,
    MarketOrder,
    OrderAck,
    OrderReport,
    OrderStatus,
    OutcomeUnknown,
    PreparedOrder,
    QuoteAmount,
    Side,
    SymbolRules,
)

from .rest import WINDOW_MS, Rest

T = TypeVar("T")

ORIGIN = "https://test.acme.example"
FENCE_AFTER_WINDOW_MS = 2000  # Acme checks the window when it executes; this is for the clocks
PAGE = 100
STATUS = {"open": OrderStatus.NEW, "done": OrderStatus.FILLED, "cut": OrderStatus.EXPIRED}


class AcmeExchange(Exchange):
    """Acme spot: its address, its clock, its rules."""

    description_id = "acme"

    def __init__(self, context: ExchangeContext) -> None:
        super().__init__(context)
        self.rest = Rest(context.endpoints.get("rest", ORIGIN))
        self.pair = f"{context.symbol.base}-{context.symbol.quote}"

    def open_connector(self, account_id: AccountId, credentials: Credentials) -> Connector:
        return AcmeConnector(self, account_id, credentials)

    def server_time_ms(self) -> int:
        return read(self.rest.get("/time"), lambda answer: int(answer["now"]))

    def rules(self) -> SymbolRules:
        return read(
            self.rest.get(f"/pairs/{self.pair}"),
            lambda answer: SymbolRules(
                symbol=self.context.symbol,
                exchange_symbol=answer["pair"],
                base_step=Decimal(answer["lot"]),
                quote_step=Decimal(answer["cent"]),
                min_notional=Decimal(answer["smallest"]),
            ),
        )


class AcmeConnector(Connector):
    """One account on Acme."""

    def __init__(self, exchange: AcmeExchange, account_id: AccountId, credentials: Credentials) -> None:
        self.account_id = account_id
        self._exchange = exchange
        self._rest = exchange.rest
        self._clock = exchange.context.exchange_clock
        self._credentials = credentials

    def verify(self, *, needs_trade: bool = True) -> AccountCheck:
        wallet = self._get("/wallet")
        permissions = read(wallet, permissions_of)
        if permissions.can_withdraw:
            raise AuthenticationFailed("the API key can withdraw: make one that cannot", kind="can_withdraw")
        if needs_trade and not permissions.can_trade:
            raise AuthenticationFailed("the API key may not trade", kind="no_trade_permission")
        return AccountCheck(
            uid=read(wallet, lambda answer: str(answer["owner"])),
            permissions=permissions,
            balances=read(wallet, balances_of),
        )

    def balances(self, *, urgent: bool = False) -> BalanceSnapshot:
        return read(self._get("/wallet"), balances_of)

    def key_permissions(self) -> KeyPermissions:
        return read(self._get("/wallet"), permissions_of)

    def prepare_market_order(self, order: MarketOrder) -> PreparedOrder:
        if not self._clock.is_known:
            raise ClockSkewed("Acme's clock is not known", exchange="acme")
        now_ms = self._clock.now_ms()
        return PreparedOrder(
            account_id=self.account_id,
            order=order,
            body={
                "pair": self._exchange.pair,
                "side": order.side.lower(),
                "spend" if order.side is Side.BUY else "give": format(order.size, "f"),
                "ref": order.client_order_id,
            },
            timestamp_ms=now_ms,
            recv_window_ms=WINDOW_MS,
            fence_ms=now_ms + WINDOW_MS + FENCE_AFTER_WINDOW_MS,
            key_fingerprint=self._credentials.fingerprint,
            connector=self,
        )

    def place(self, prepared: PreparedOrder, gate: Gate) -> OrderAck:
        answer = self._rest.order(prepared.body, self._credentials, prepared.timestamp_ms, gate.passage(prepared))
        report = read(answer, report_of)
        if report.client_order_id != prepared.order.client_order_id:
            raise OutcomeUnknown("Acme's answer is about another order", exchange="acme")
        return OrderAck(
            exchange_order_id=report.exchange_order_id,
            client_order_id=report.client_order_id,
            time_ms=report.created_ms,
            report=report,
        )

    def find_order(
        self, client_order_id: ClientOrderId, exchange_order_id: ExchangeOrderId | None = None
    ) -> OrderReport | None:
        answer = self._get(f"/orders/{client_order_id}")
        # Only these words say that there is none. Everything else is an order, or no evidence.
        if answer.get("error") == "no_such_order":
            return None
        return read(answer, report_of)

    def list_orders(self, since_ms: int) -> Sequence[OrderReport]:
        found: list[OrderReport] = []
        after = "0"
        while True:
            answer = self._get(f"/orders?since={since_ms}&after={after}")
            page = read(answer, lambda answer: [report_of(row) for row in answer["orders"]])
            found += page
            if len(page) < PAGE:
                return found
            after = page[-1].exchange_order_id

    def _get(self, path: str) -> Any:
        return self._rest.signed_get(path, self._credentials, self._clock.now_ms())


def read(answer: Any, parse: Callable[[Any], T]) -> T:
    """Return what *parse* makes of *answer*; an answer of another shape proves nothing."""
    try:
        return parse(answer)
    except (AttributeError, KeyError, TypeError, ValueError, InvalidOperation):
        raise OutcomeUnknown("Acme's answer has another shape", exchange="acme") from None


def balances_of(wallet: Any) -> BalanceSnapshot:
    return BalanceSnapshot(
        balances=tuple(
            Balance(asset=asset, free=Decimal(row["free"]), locked=Decimal(row["held"]))
            for asset, row in wallet["assets"].items()
        ),
        time_ms=int(wallet["changed"]),
        complete=True,
        source=BalanceSource.READ,
    )


def permissions_of(wallet: Any) -> KeyPermissions:
    rights = set(wallet["rights"])
    return KeyPermissions(can_read=True, can_trade="trade" in rights, can_withdraw="withdraw" in rights)


def report_of(order: Any) -> OrderReport:
    fills = tuple(
        Fill(
            trade_id=str(deal["id"]),
            price=Decimal(deal["price"]),
            base_quantity=BaseQuantity(Decimal(deal["base"])),
            quote_amount=QuoteAmount(Decimal(deal["quote"])),
            commission=Decimal(deal["fee"]),
            commission_asset=deal["fee_asset"],
            time_ms=int(deal["time"]),
        )
        for deal in order["deals"]
    )
    filled = BaseQuantity(Decimal(order["base"]))
    return OrderReport(
        exchange_order_id=ExchangeOrderId(str(order["id"])),
        client_order_id=ClientOrderId(order["ref"]),
        side=Side(order["side"].upper()),
        is_market=order["kind"] == "market",
        status=STATUS[order["state"]],
        filled_base=filled,
        filled_quote=QuoteAmount(Decimal(order["quote"])),
        created_ms=int(order["created"]),
        updated_ms=int(order["changed"]),
        fills=fills,
        fills_complete=sum(fill.base_quantity for fill in fills) == filled,
    )
