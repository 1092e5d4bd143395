"""What every plug-in promises the engine, as tests.

Subclass `ConnectorContract` as ``Test<Exchange>Contract`` and give it one fixture, ``fake_exchange``. Cases are
skipped by what the plug-in declares it can do, never by which exchange it is.
"""

from __future__ import annotations

import logging
import queue
import re
import threading
import traceback
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from ..clock import Clock, ExchangeClock
from ..connector import (
    CAPABILITIES,
    Connector,
    Exchange,
    ExchangeContext,
    PreparedOrder,
    StreamDown,
    StreamUp,
    UserStream,
)
from ..errors import (
    AuthenticationFailed,
    ClockSkewed,
    CopytradeError,
    ExchangeError,
    InsufficientBalance,
    NotSent,
    OutcomeUnknown,
    RateLimited,
)
from ..model import (
    AccountId,
    BalanceSnapshot,
    BalanceSource,
    BaseQuantity,
    ClientOrderId,
    Credentials,
    ExchangeDescription,
    ExecutionReport,
    MarketOrder,
    OrderAck,
    OrderReport,
    QuoteAmount,
    Side,
    SymbolRules,
)
from ..plugins import Plugins
from .fixtures import WAIT_SEC, FakeExchange, RecordingSink, SwitchGate, eventually, nobody_listens

ACCOUNT = AccountId("contract-account")
BURST = 8
AUTHENTICATION_KINDS = {
    "invalid_key",
    "wrong_secret",
    "wrong_passphrase",
    "wrong_environment",
    "no_trade_permission",
    "no_read_permission",
    "ip_not_allowed",
    "account_blocked",
    "can_withdraw",
    "can_transfer",
    "region",
    "wrong_account_mode",
}
# HMAC-SHA256 in hexadecimal, and anything long in base64, escaped for a URL or not.
SIGNATURE = re.compile(r"\b[0-9a-fA-F]{64}\b|[A-Za-z0-9+/]{40,}(=|%3D)")


class ConnectorContract:
    """What every connector promises. Subclass as ``Test<Exchange>Contract``, give it a ``fake_exchange``."""

    # --- fixtures ---------------------------------------------------------------------------------------------

    @pytest.fixture
    def fake_exchange(self) -> FakeExchange:
        raise NotImplementedError("a contract test class needs a fixture `fake_exchange`")

    @pytest.fixture
    def plugins(self, fake_exchange: FakeExchange) -> Plugins:
        plugins = Plugins()
        plugins.register(fake_exchange.plugin, fake_exchange.exchange)
        return plugins

    @pytest.fixture
    def description(self, plugins: Plugins, fake_exchange: FakeExchange) -> ExchangeDescription:
        return plugins.describe(fake_exchange.exchange, fake_exchange.environment)

    @pytest.fixture
    def exchange(self, plugins: Plugins, fake_exchange: FakeExchange) -> Iterator[Exchange]:
        """The exchange, opened, its clock measured. Afterwards it must have left no thread behind."""
        before = set(threading.enumerate())
        clock = Clock()
        context = ExchangeContext(
            environment=fake_exchange.environment,
            symbol=fake_exchange.symbol,
            clock=clock,
            exchange_clock=ExchangeClock(clock),
            endpoints=fake_exchange.endpoints,
        )
        exchange = plugins.open_exchange(fake_exchange.exchange, context)
        measure(exchange)
        yield exchange
        exchange.close()
        eventually(
            lambda: not [thread for thread in set(threading.enumerate()) - before if thread.is_alive()],
            f"after `close` these threads have ended: {set(threading.enumerate()) - before}",
        )

    @pytest.fixture
    def credentials(self, fake_exchange: FakeExchange) -> Credentials:
        return Credentials(fake_exchange.credentials)

    @pytest.fixture
    def connector(self, exchange: Exchange, credentials: Credentials) -> Iterator[Connector]:
        """A connector as the engine uses it: it was verified before anything is prepared."""
        connector = exchange.open_connector(ACCOUNT, credentials)
        connector.verify()
        yield connector
        connector.close()

    @pytest.fixture
    def rules(self, exchange: Exchange) -> SymbolRules:
        return exchange.rules()

    @pytest.fixture
    def gate(self) -> SwitchGate:
        return SwitchGate()

    @pytest.fixture(params=[Side.BUY, Side.SELL], ids=["buy", "sell"])
    def order(self, request: pytest.FixtureRequest, fake_exchange: FakeExchange, rules: SymbolRules) -> MarketOrder:
        """A market order over a small part of what the account holds; once a buy, once a sell."""
        return small_order(fake_exchange, rules, request.param)

    # --- the exchange -----------------------------------------------------------------------------------------

    def test_it_declares_only_capabilities_that_exist(self, description: ExchangeDescription) -> None:
        assert description.capabilities <= CAPABILITIES.keys()
        assert description.environments
        assert "api_key" in {field.name for field in description.credential_fields}
        assert description.can_lead <= ("leads" in description.capabilities)

    def test_the_rules_can_be_sized_by(self, rules: SymbolRules, fake_exchange: FakeExchange) -> None:
        amounts = (rules.base_step, rules.quote_step, rules.min_base, rules.max_base, rules.min_notional)

        assert rules.symbol == fake_exchange.symbol
        assert rules.exchange_symbol
        assert rules.is_trading
        assert all(type(amount) is Decimal and amount.is_finite() and amount >= 0 for amount in amounts)
        assert not rules.max_base or rules.min_base <= rules.max_base

    def test_its_time_is_milliseconds(self, exchange: Exchange) -> None:
        server_ms = exchange.server_time_ms()

        assert type(server_ms) is int
        assert abs(server_ms - exchange.context.exchange_clock.now_ms()) < 2000

    def test_a_foreign_id_is_left_to_its_own_plug_in(self, plugins: Plugins, exchange: Exchange) -> None:
        assert plugins.hook.copytrade_open_exchange(exchange="another", context=exchange.context) is None

    # --- reading ----------------------------------------------------------------------------------------------

    def test_verify_tells_whose_key_it_is(
        self, exchange: Exchange, credentials: Credentials, fake_exchange: FakeExchange
    ) -> None:
        # Two connectors of one account at once, as when its key is replaced.
        first, second = (exchange.open_connector(ACCOUNT, credentials) for _ in range(2))

        check = first.verify()

        assert check.uid
        assert check.uid == second.verify(needs_trade=False).uid, "one account, one uid"
        assert_exact(check.balances, fake_exchange)
        assert not fake_exchange.executed_orders(), "verifying must not trade"
        first.close()
        second.close()

    def test_balances_are_exact(self, connector: Connector, exchange: Exchange, fake_exchange: FakeExchange) -> None:
        snapshot = connector.balances()

        assert_exact(snapshot, fake_exchange)
        assert snapshot.free("NOSUCHASSET") == 0
        assert snapshot.source is BalanceSource.READ
        assert 0 <= snapshot.time_ms <= exchange.context.exchange_clock.now_ms() + 2000

    def test_balances_follow_a_trade(
        self, connector: Connector, fake_exchange: FakeExchange, gate: SwitchGate, order: MarketOrder
    ) -> None:
        connector.place(connector.prepare_market_order(order), gate)
        final(connector, order)

        assert_exact(connector.balances(), fake_exchange)

    def test_a_key_that_can_withdraw_is_refused(
        self, description: ExchangeDescription, connector: Connector, fake_exchange: FakeExchange
    ) -> None:
        need(description, "key_permissions")
        fake_exchange.lets_the_key_withdraw()

        assert connector.key_permissions().can_withdraw
        with pytest.raises(AuthenticationFailed) as refusal:
            connector.verify()
        assert refusal.value.kind == "can_withdraw"

    def test_a_read_without_an_answer_is_no_answer(
        self, connector: Connector, fake_exchange: FakeExchange, gate: SwitchGate, order: MarketOrder
    ) -> None:
        connector.place(connector.prepare_market_order(order), gate)
        final(connector, order)

        for trouble in (fake_exchange.loses_reads, fake_exchange.garbles_reads):
            trouble()
            for read in (
                connector.balances,
                connector.verify,
                lambda: connector.find_order(order.client_order_id),
                lambda: connector.list_orders(0),
            ):
                with pytest.raises(OutcomeUnknown):
                    read()
            fake_exchange.heals()

        assert connector.find_order(order.client_order_id) is not None

    # --- an order that goes well ------------------------------------------------------------------------------

    def test_a_market_order_moves_exactly_what_its_fills_say(
        self, connector: Connector, fake_exchange: FakeExchange, gate: SwitchGate, order: MarketOrder
    ) -> None:
        symbol = fake_exchange.symbol
        before = {asset: fake_exchange.free(asset) for asset in (symbol.base, symbol.quote)}

        connector.place(connector.prepare_market_order(order), gate)
        report = final(connector, order)

        sign = 1 if order.side is Side.BUY else -1
        moves = {symbol.base: sign * report.filled_base, symbol.quote: -sign * report.filled_quote}
        for fill in report.fills:
            assert fill.commission >= 0
            if fill.commission_asset in moves:
                moves[fill.commission_asset] -= fill.commission
        for asset, move in moves.items():
            assert fake_exchange.free(asset) - before[asset] == move
        if order.side is Side.BUY:
            assert 0 < report.filled_quote <= order.size
        else:
            assert report.filled_base == order.size

    def test_it_is_executed_once_and_acknowledged_with_our_id(
        self, connector: Connector, fake_exchange: FakeExchange, gate: SwitchGate, order: MarketOrder
    ) -> None:
        ack = connector.place(connector.prepare_market_order(order), gate)
        report = final(connector, order)

        assert ack.client_order_id == order.client_order_id
        assert ack.exchange_order_id == report.exchange_order_id
        assert ack.report is None or ack.report.client_order_id == order.client_order_id
        assert_executed(fake_exchange, [order])
        assert gate.entered == [order.client_order_id]

    def test_a_final_order_is_found_with_all_its_fills(
        self,
        connector: Connector,
        exchange: Exchange,
        fake_exchange: FakeExchange,
        gate: SwitchGate,
        order: MarketOrder,
    ) -> None:
        ack = connector.place(connector.prepare_market_order(order), gate)
        report = final(connector, order)

        (truth,) = fake_exchange.executed_orders()
        assert (report.filled_base, report.filled_quote) == (truth.base, truth.quote)
        assert sum(fill.base_quantity for fill in report.fills) == report.filled_base
        assert sum(fill.quote_amount for fill in report.fills) == report.filled_quote
        assert len({fill.trade_id for fill in report.fills}) == len(report.fills)
        assert all(fill.commission_asset for fill in report.fills)
        assert report.side is order.side
        assert report.is_market
        assert report.client_order_id == order.client_order_id
        now_ms = exchange.context.exchange_clock.now_ms()
        assert now_ms - 60_000 < report.created_ms <= report.updated_ms < now_ms + 2000
        by_both_ids = connector.find_order(order.client_order_id, ack.exchange_order_id)
        assert by_both_ids is not None
        assert by_both_ids.filled_base == report.filled_base

    def test_an_order_that_nobody_sent_is_not_found(self, connector: Connector) -> None:
        assert connector.find_order(new_client_order_id()) is None

    def test_orders_are_listed_oldest_first_from_a_moment_on(
        self,
        connector: Connector,
        exchange: Exchange,
        fake_exchange: FakeExchange,
        gate: SwitchGate,
        rules: SymbolRules,
    ) -> None:
        orders = [small_order(fake_exchange, rules, side) for side in (Side.BUY, Side.SELL, Side.BUY)]
        reports: list[OrderReport] = []
        for order in orders:
            connector.place(connector.prepare_market_order(order), gate)
            reports.append(final(connector, order))
            # The next one is of a later millisecond, or there would be nothing to list them by.
            eventually(lambda: exchange.server_time_ms() > reports[-1].created_ms, "time goes on")

        def ids_since(since_ms: int) -> list[str]:
            return [report.client_order_id for report in connector.list_orders(since_ms)]

        expected = [order.client_order_id for order in orders]
        eventually(lambda: ids_since(reports[0].created_ms) == expected, "all three orders are listed, oldest first")
        assert ids_since(reports[1].created_ms) == expected[1:]
        assert ids_since(reports[2].created_ms + 1) == []

    def test_two_ids_are_two_orders(
        self, connector: Connector, fake_exchange: FakeExchange, gate: SwitchGate, order: MarketOrder
    ) -> None:
        other = replace(order, client_order_id=new_client_order_id())

        for each in (order, other):
            connector.place(connector.prepare_market_order(each), gate)
            final(connector, each)

        assert_executed(fake_exchange, [order, other])

    # --- an order before it leaves ----------------------------------------------------------------------------

    def test_a_prepared_order_is_what_will_be_sent_but_for_the_signature(
        self, connector: Connector, exchange: Exchange, credentials: Credentials, order: MarketOrder
    ) -> None:
        prepared = connector.prepare_market_order(order)

        values = list(prepared.body.values())
        assert all(isinstance(value, str) for value in values)
        assert format(order.size, "f") in values, "the size leaves as plain decimal text"
        assert order.client_order_id in values
        assert not [name for name in prepared.body if "sign" in name.lower()]
        assert not set(values) & set(credentials.fields.values())
        assert prepared.order == order
        assert prepared.account_id == ACCOUNT
        assert prepared.connector is connector
        assert prepared.key_fingerprint == credentials.fingerprint
        assert abs(prepared.timestamp_ms - exchange.context.exchange_clock.now_ms()) < 2000
        assert prepared.fence_ms >= prepared.timestamp_ms + prepared.recv_window_ms

    def test_the_smallest_amount_has_no_exponent(self, connector: Connector, fake_exchange: FakeExchange) -> None:
        order = market_order(fake_exchange, Side.SELL, Decimal("0.00000001"))

        assert "0.00000001" in connector.prepare_market_order(order).body.values()

    def test_nothing_is_prepared_by_an_unknown_clock(
        self, connector: Connector, exchange: Exchange, order: MarketOrder
    ) -> None:
        clock = exchange.context.exchange_clock
        clock.measure(lambda: exchange.server_time_ms() + 60_000, probes=1)
        assert not clock.is_known

        with pytest.raises(ClockSkewed):
            connector.prepare_market_order(order)

    def test_a_shut_gate_lets_nothing_out(
        self, connector: Connector, fake_exchange: FakeExchange, gate: SwitchGate, order: MarketOrder
    ) -> None:
        prepared = connector.prepare_market_order(order)
        gate.is_shut = True

        with pytest.raises(NotSent) as refusal:
            connector.place(prepared, gate)

        assert not refusal.value.retry, "the gate's own error comes through: a person shut it"
        assert connector.find_order(order.client_order_id) is None
        assert_executed(fake_exchange, [])

    def test_an_order_that_never_left_is_not_sent(
        self,
        plugins: Plugins,
        connector: Connector,
        exchange: Exchange,
        credentials: Credentials,
        fake_exchange: FakeExchange,
        gate: SwitchGate,
        order: MarketOrder,
    ) -> None:
        assert fake_exchange.endpoints, "a plug-in takes its addresses from the context"
        with nobody_listens(fake_exchange.endpoints) as endpoints:
            context = replace(exchange.context, endpoints=endpoints)
            cut_off = plugins.open_exchange(fake_exchange.exchange, context)
            unreachable = cut_off.open_connector(ACCOUNT, credentials)

            with pytest.raises(NotSent) as refusal:
                unreachable.place(connector.prepare_market_order(order), gate)

            assert refusal.value.retry
            assert_executed(fake_exchange, [])
            unreachable.close()
            cut_off.close()

    # --- an order that goes wrong -----------------------------------------------------------------------------

    def test_a_lost_answer_is_unknown_and_the_order_is_found(
        self, connector: Connector, fake_exchange: FakeExchange, gate: SwitchGate, order: MarketOrder
    ) -> None:
        fake_exchange.accepts_then_drops_the_answer()

        with pytest.raises(OutcomeUnknown):
            connector.place(connector.prepare_market_order(order), gate)

        assert final(connector, order).filled_base > 0
        assert_executed(fake_exchange, [order])
        assert gate.entered == [order.client_order_id], "an order is written once, whatever happens"

    def test_a_connection_lost_before_execution_is_unknown_too(
        self, connector: Connector, fake_exchange: FakeExchange, gate: SwitchGate, order: MarketOrder
    ) -> None:
        fake_exchange.drops_before_execution()

        with pytest.raises(OutcomeUnknown):
            connector.place(connector.prepare_market_order(order), gate)

        assert connector.find_order(order.client_order_id) is None
        assert_executed(fake_exchange, [])
        assert gate.entered == [order.client_order_id], "an order is written once, whatever happens"

    def test_an_answer_that_nobody_can_read_is_unknown(
        self, connector: Connector, fake_exchange: FakeExchange, gate: SwitchGate, order: MarketOrder
    ) -> None:
        fake_exchange.answers_garbage()

        with pytest.raises(OutcomeUnknown):
            connector.place(connector.prepare_market_order(order), gate)

        assert len(fake_exchange.executed_orders()) <= 1
        assert gate.entered == [order.client_order_id], "an order is written once, whatever happens"

    def test_more_than_the_account_has_is_refused(
        self,
        connector: Connector,
        fake_exchange: FakeExchange,
        gate: SwitchGate,
        rules: SymbolRules,
        order: MarketOrder,
    ) -> None:
        too_much = small_order(fake_exchange, rules, order.side, part=Decimal(2))

        with pytest.raises(InsufficientBalance):
            connector.place(connector.prepare_market_order(too_much), gate)

        assert_executed(fake_exchange, [])

    def test_a_refused_key_is_said_to_be_refused(
        self, connector: Connector, fake_exchange: FakeExchange, gate: SwitchGate, order: MarketOrder
    ) -> None:
        prepared = connector.prepare_market_order(order)
        fake_exchange.refuses_the_key()

        for act in (connector.verify, connector.balances, lambda: connector.place(prepared, gate)):
            with pytest.raises(AuthenticationFailed) as refusal:
                act()
            assert refusal.value.kind in AUTHENTICATION_KINDS

        assert_executed(fake_exchange, [])

    def test_a_rate_limit_says_how_long_to_wait(
        self, connector: Connector, fake_exchange: FakeExchange, gate: SwitchGate, order: MarketOrder
    ) -> None:
        fake_exchange.limits_the_rate(retry_after_sec=7)

        with pytest.raises(RateLimited) as refusal:
            connector.place(connector.prepare_market_order(order), gate)

        assert 6 <= refusal.value.retry_after_sec <= 8
        assert_executed(fake_exchange, [])

    @pytest.mark.parametrize("skew_ms", [60_000, -60_000], ids=["ahead", "behind"])
    def test_a_skewed_clock_is_said_to_be_skewed_and_can_be_measured_again(
        self,
        connector: Connector,
        exchange: Exchange,
        fake_exchange: FakeExchange,
        gate: SwitchGate,
        rules: SymbolRules,
        skew_ms: int,
    ) -> None:
        order = small_order(fake_exchange, rules, Side.BUY)
        prepared = connector.prepare_market_order(order)
        fake_exchange.skews_the_clock(skew_ms)

        with pytest.raises(ClockSkewed):
            connector.place(prepared, gate)
        assert_executed(fake_exchange, [])

        measure(exchange)
        connector.place(connector.prepare_market_order(order), gate)
        final(connector, order)
        assert_executed(fake_exchange, [order])

    def test_no_error_and_no_log_line_gives_a_secret_away(
        self,
        connector: Connector,
        exchange: Exchange,
        description: ExchangeDescription,
        fake_exchange: FakeExchange,
        gate: SwitchGate,
        rules: SymbolRules,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.DEBUG)
        texts: list[str] = []

        def attempt(act: Any, *arguments: Any) -> None:
            try:
                texts.append(repr(act(*arguments)))
            except ExchangeError as error:
                texts.extend((str(error), repr(error), repr(vars(error)), *traceback.format_exception(error)))

        for trouble in (
            fake_exchange.accepts_then_drops_the_answer,
            fake_exchange.drops_before_execution,
            fake_exchange.answers_garbage,
            fake_exchange.loses_reads,
            fake_exchange.garbles_reads,
            lambda: fake_exchange.skews_the_clock(60_000),
            fake_exchange.refuses_the_key,
            lambda: fake_exchange.limits_the_rate(1),
        ):
            prepared = connector.prepare_market_order(small_order(fake_exchange, rules, Side.BUY))
            trouble()
            attempt(connector.place, prepared, gate)
            attempt(connector.balances)
            attempt(connector.find_order, prepared.order.client_order_id)
            texts.append(repr(prepared))
            fake_exchange.heals()
        texts += [repr(connector), repr(exchange)]
        own = fake_exchange.own_loggers
        texts += [
            f"{record.getMessage()} {record.exc_text or ''}"
            for record in caplog.records
            if record.name.split(".")[0] not in own
        ]

        secrets = [
            line
            for field in description.credential_fields
            if field.secret
            for line in fake_exchange.credentials[field.name].splitlines()
            if line and not line.startswith("-----")  # of a PEM key every line is secret but the first and the last
        ]
        for text in texts:
            assert not [secret for secret in secrets if secret in text], text
            assert not SIGNATURE.search(text), text

    # --- bursts -----------------------------------------------------------------------------------------------

    def test_a_burst_ends_in_one_outcome_for_each_order(
        self,
        connector: Connector,
        exchange: Exchange,
        fake_exchange: FakeExchange,
        gate: SwitchGate,
        rules: SymbolRules,
    ) -> None:
        exchange.warm_up([connector])
        orders = [small_order(fake_exchange, rules, side) for side in (Side.BUY, Side.SELL) * (BURST // 2)]

        outcomes = self._submit(exchange, connector, orders, gate)

        for order in orders:
            outcome = outcomes[order.client_order_id]
            assert isinstance(outcome, OrderAck), outcome
            assert outcome.client_order_id == order.client_order_id
        eventually(lambda: len(fake_exchange.executed_orders()) == BURST, "all orders are executed")
        assert_executed(fake_exchange, orders)
        assert sorted(gate.entered) == sorted(outcomes)

    def test_a_burst_at_a_shut_gate_stays_inside(
        self,
        connector: Connector,
        exchange: Exchange,
        fake_exchange: FakeExchange,
        gate: SwitchGate,
        rules: SymbolRules,
    ) -> None:
        exchange.warm_up([connector])
        orders = [small_order(fake_exchange, rules, Side.BUY) for _ in range(BURST)]
        gate.is_shut = True

        outcomes = self._submit(exchange, connector, orders, gate)

        assert all(isinstance(outcome, NotSent) and not outcome.retry for outcome in outcomes.values()), outcomes
        assert_executed(fake_exchange, [])

    def test_a_lost_answer_in_a_burst_is_unknown_and_nothing_is_sent_twice(
        self,
        connector: Connector,
        exchange: Exchange,
        fake_exchange: FakeExchange,
        gate: SwitchGate,
        rules: SymbolRules,
    ) -> None:
        exchange.warm_up([connector])
        orders = [small_order(fake_exchange, rules, Side.BUY) for _ in range(BURST)]
        fake_exchange.accepts_then_drops_the_answer()

        outcomes = self._submit(exchange, connector, orders, gate)

        # Orders that shared a connection with the lost answer share its fate.
        assert any(isinstance(outcome, OutcomeUnknown) for outcome in outcomes.values()), outcomes
        assert all(isinstance(outcome, (OrderAck, OutcomeUnknown, NotSent)) for outcome in outcomes.values()), outcomes
        accepted = {order_id for order_id, outcome in outcomes.items() if isinstance(outcome, OrderAck)}
        unsent = {order_id for order_id, outcome in outcomes.items() if isinstance(outcome, NotSent)}
        eventually(lambda: accepted <= executed_ids(fake_exchange), "what was acknowledged is executed")
        assert not unsent & executed_ids(fake_exchange)
        assert len(executed_ids(fake_exchange)) == len(fake_exchange.executed_orders()), "an order was executed twice"

    @staticmethod
    def _submit(
        exchange: Exchange, connector: Connector, orders: Sequence[MarketOrder], gate: SwitchGate
    ) -> dict[str, OrderAck | CopytradeError]:
        """Send *orders* in one burst and return the one outcome of each by client id."""
        told: queue.Queue[tuple[PreparedOrder, OrderAck | CopytradeError]] = queue.Queue()
        prepared = [connector.prepare_market_order(order) for order in orders]
        exchange.gateway.submit(prepared, gate, lambda each, outcome: told.put((each, outcome)))
        outcomes: dict[str, OrderAck | CopytradeError] = {}
        for _ in orders:
            each, outcome = told.get(timeout=WAIT_SEC)
            assert each.order.client_order_id not in outcomes, "an outcome was told twice"
            outcomes[each.order.client_order_id] = outcome
        assert told.empty()
        return outcomes

    # --- streams ----------------------------------------------------------------------------------------------

    @pytest.fixture
    def sink(self) -> RecordingSink:
        return RecordingSink()

    @pytest.fixture
    def stream(self, description: ExchangeDescription, exchange: Exchange, sink: RecordingSink) -> Iterator[UserStream]:
        need(description, "push_balances")
        stream = exchange.open_user_stream(sink, "contract")
        assert stream is not None, "who declares push_balances opens a user stream"
        yield stream
        stream.stop()

    def test_who_does_not_push_opens_no_stream(
        self, description: ExchangeDescription, exchange: Exchange, sink: RecordingSink
    ) -> None:
        if "push_balances" in description.capabilities:
            pytest.skip("it pushes balances")
        assert exchange.open_user_stream(sink, "contract") is None

    def test_an_account_is_up_when_adding_it_returns(
        self, stream: UserStream, sink: RecordingSink, connector: Connector
    ) -> None:
        assert stream.last_proof_ns(ACCOUNT) is None

        stream.add(connector)

        assert [frame.account_id for frame in sink.frames if isinstance(frame.event, StreamUp)] == [ACCOUNT]
        assert stream.last_proof_ns(ACCOUNT) is not None

    def test_a_fill_is_pushed_as_the_balance_it_leaves(
        self,
        stream: UserStream,
        sink: RecordingSink,
        connector: Connector,
        fake_exchange: FakeExchange,
        gate: SwitchGate,
        order: MarketOrder,
    ) -> None:
        stream.add(connector)
        asset = fake_exchange.symbol.quote

        connector.place(connector.prepare_market_order(order), gate)
        final(connector, order)

        left = fake_exchange.free(asset)
        frame = sink.wait_for(
            lambda frame: isinstance(frame.event, BalanceSnapshot) and frame.event.free(asset) == left,
            "the balance after the fill",
        )
        assert isinstance(frame.event, BalanceSnapshot)
        assert frame.event.source is BalanceSource.PUSHED
        assert frame.account_id == ACCOUNT
        assert frame.connection
        assert frame.received_ns > 0

    def test_the_reports_of_one_order_add_up_and_end_final(
        self,
        description: ExchangeDescription,
        stream: UserStream,
        sink: RecordingSink,
        connector: Connector,
        gate: SwitchGate,
        order: MarketOrder,
    ) -> None:
        need(description, "leads")
        stream.add(connector)

        connector.place(connector.prepare_market_order(order), gate)
        truth = final(connector, order)

        def reports() -> list[ExecutionReport]:
            return [
                frame.event
                for frame in sink.frames
                if isinstance(frame.event, ExecutionReport) and frame.event.client_order_id == order.client_order_id
            ]

        def fills() -> dict[str, Any]:
            return {report.fill.trade_id: report.fill for report in reports() if report.fill is not None}

        eventually(lambda: len(fills()) == len(truth.fills), "every fill is reported")
        last = next(report for report in reports() if report.status.is_final)
        assert last.order_type == "MARKET"
        assert last.side is order.side
        assert last.exchange_order_id == truth.exchange_order_id
        assert (last.filled_base, last.filled_quote) == (truth.filled_base, truth.filled_quote)
        assert sum(fill.base_quantity for fill in fills().values()) == truth.filled_base
        assert {fill.trade_id for fill in truth.fills} == set(fills())

    def test_nothing_of_a_removed_account_is_delivered(
        self,
        stream: UserStream,
        sink: RecordingSink,
        exchange: Exchange,
        connector: Connector,
        fake_exchange: FakeExchange,
        gate: SwitchGate,
        order: MarketOrder,
    ) -> None:
        control_sink = RecordingSink()
        control = exchange.open_user_stream(control_sink, "control")
        assert control is not None
        control.add(connector)
        stream.add(connector)

        stream.remove(ACCOUNT)
        stream.remove(AccountId("never-added"))
        position = len(sink.frames)
        connector.place(connector.prepare_market_order(order), gate)
        final(connector, order)
        left = fake_exchange.free(fake_exchange.symbol.quote)
        control_sink.wait_for(
            lambda frame: (
                isinstance(frame.event, BalanceSnapshot) and frame.event.free(fake_exchange.symbol.quote) == left
            ),
            "the balance, on the other stream",
        )

        assert not [frame for frame in sink.frames[position:] if not isinstance(frame.event, StreamDown)]
        assert stream.last_proof_ns(ACCOUNT) is None
        control.stop()

    def test_a_stream_that_was_cut_says_so_and_comes_back(
        self, stream: UserStream, sink: RecordingSink, connector: Connector, fake_exchange: FakeExchange
    ) -> None:
        stream.add(connector)
        position = len(sink.frames)

        fake_exchange.cuts_the_streams()

        def is_of(kind: type) -> Any:
            return lambda frame: isinstance(frame.event, kind) and frame.account_id == ACCOUNT

        down = sink.wait_for(is_of(StreamDown), "StreamDown", position)
        sink.wait_for(is_of(StreamUp), "StreamUp", sink.frames.index(down))
        assert stream.last_proof_ns(ACCOUNT) is not None

    def test_a_stream_gives_up_on_a_refused_key(
        self, stream: UserStream, sink: RecordingSink, connector: Connector, fake_exchange: FakeExchange
    ) -> None:
        fake_exchange.refuses_the_key()

        with pytest.raises(AuthenticationFailed):
            stream.add(connector)

        assert not [frame for frame in sink.frames if isinstance(frame.event, StreamUp)]
        assert stream.last_proof_ns(ACCOUNT) is None

    def test_a_stopped_stream_delivers_nothing_more(
        self,
        stream: UserStream,
        sink: RecordingSink,
        connector: Connector,
        gate: SwitchGate,
        order: MarketOrder,
    ) -> None:
        stream.add(connector)

        stream.stop()
        position = len(sink.frames)
        connector.place(connector.prepare_market_order(order), gate)
        final(connector, order)

        assert not [frame for frame in sink.frames[position:] if not isinstance(frame.event, StreamDown)]


# --- helpers --------------------------------------------------------------------------------------------------


def need(description: ExchangeDescription, capability: str) -> None:
    """Skip the test for a plug-in that does not declare *capability*."""
    if capability not in description.capabilities:
        pytest.skip(f"{description.id} does not declare {capability}")


def measure(exchange: Exchange) -> None:
    """Measure the exchange's clock until it is known: after a jump two measurements have to agree."""
    for _ in range(2):
        exchange.context.exchange_clock.measure(exchange.server_time_ms, probes=2)
    assert exchange.context.exchange_clock.is_known


def new_client_order_id() -> ClientOrderId:
    """Return an id of the engine's shape: at most 32 of letters, digits and hyphen."""
    return ClientOrderId(f"ct{uuid.uuid4().hex[:24]}-1")


def market_order(fake_exchange: FakeExchange, side: Side, size: Decimal) -> MarketOrder:
    return MarketOrder(
        symbol=fake_exchange.symbol,
        side=side,
        client_order_id=new_client_order_id(),
        quote_amount=QuoteAmount(size) if side is Side.BUY else None,
        base_quantity=BaseQuantity(size) if side is Side.SELL else None,
    )


def small_order(
    fake_exchange: FakeExchange, rules: SymbolRules, side: Side, part: Decimal = Decimal("0.02")
) -> MarketOrder:
    """Return an order over *part* of the account's free balance, on the grid of the rules."""
    asset, step = (
        (fake_exchange.symbol.quote, rules.quote_step)
        if side is Side.BUY
        else (fake_exchange.symbol.base, rules.base_step)
    )
    return market_order(fake_exchange, side, fake_exchange.free(asset) * part // step * step)


def final(connector: Connector, order: MarketOrder) -> OrderReport:
    """Look *order* up until it is final and all its fills are there: exchanges fill, and show fills, late."""

    def look() -> OrderReport | None:
        report = connector.find_order(order.client_order_id)
        return report if report is not None and report.status.is_final and report.fills_complete else None

    report = eventually(look, "the order is found, final, with all its fills")
    assert report is not None
    return report


def executed_ids(fake_exchange: FakeExchange) -> set[str]:
    return {executed.client_order_id for executed in fake_exchange.executed_orders()}


def assert_executed(fake_exchange: FakeExchange, orders: Sequence[MarketOrder]) -> None:
    """Check that exactly *orders* were executed, each once."""
    executed = sorted(order.client_order_id for order in fake_exchange.executed_orders())
    assert executed == sorted(order.client_order_id for order in orders)


def assert_exact(snapshot: BalanceSnapshot, fake_exchange: FakeExchange) -> None:
    """Check that *snapshot* is complete and agrees with the truth to the last digit."""
    assert snapshot.complete
    for asset in (fake_exchange.symbol.base, fake_exchange.symbol.quote):
        free = snapshot.free(asset)
        assert type(free) is Decimal
        assert free == fake_exchange.free(asset)
