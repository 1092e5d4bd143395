"""Connectors that each break one promise, under the contract tests; `tests/core/test_contract_bites.py` runs this."""

from __future__ import annotations

import logging
import sys
from contextlib import nullcontext
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
sys.path[:0] = [str(TESTS / "core"), str(TESTS / "plugins" / "acme" / "src")]

import test_contract_acme as sound  # noqa: E402
from copytrade_acme import connector as acme_connector  # noqa: E402
from copytrade_acme.connector import AcmeConnector, AcmeExchange  # noqa: E402
from copytrade_acme.rest import Rest  # noqa: E402

from copytrade_core import (  # noqa: E402
    AccountCheck,
    AuthenticationFailed,
    CopytradeError,
    NotSent,
    OrderRejected,
    OutcomeUnknown,
    RateLimited,
)
from copytrade_core.testing import ConnectorContract, contract, eventually  # noqa: E402

acme = sound.acme

place, find_order, list_orders, verify, prepare, balances = (
    AcmeConnector.place,
    AcmeConnector.find_order,
    AcmeConnector.list_orders,
    AcmeConnector.verify,
    AcmeConnector.prepare_market_order,
    AcmeConnector.balances,
)
report_of, send, rules = acme_connector.report_of, Rest._send, AcmeExchange.rules


class Broken(ConnectorContract):
    target: tuple[object, str]
    member: object

    @pytest.fixture
    def fake_exchange(self, acme, monkeypatch):
        # What never comes true is waited for briefly: here that is the expected end.
        monkeypatch.setattr(contract, "eventually", lambda probe, what: eventually(probe, what, timeout_sec=2))
        monkeypatch.setattr(*self.target, self.__class__.__dict__["member"])
        return sound.FakeAcme(acme)


class TestSendsAgain(Broken):
    target = AcmeConnector, "place"

    def member(self, prepared, gate):
        try:
            return place(self, prepared, gate)
        except OutcomeUnknown as error:
            place(self, prepared, gate)
            raise error


class TestCallsLostNotSent(Broken):
    target = AcmeConnector, "place"

    def member(self, prepared, gate):
        try:
            return place(self, prepared, gate)
        except OutcomeUnknown as error:
            raise NotSent(error.message) from None


class TestCallsGarbageRejected(Broken):
    target = AcmeConnector, "place"

    def member(self, prepared, gate):
        try:
            return place(self, prepared, gate)
        except OutcomeUnknown as error:
            raise OrderRejected(error.message) from None


class TestGuessesThatThereIsNoOrder(Broken):
    target = AcmeConnector, "find_order"

    def member(self, *ids):
        try:
            return find_order(self, *ids)
        except CopytradeError:
            return None


class TestGuessesThatNothingIsListed(Broken):
    target = AcmeConnector, "list_orders"

    def member(self, since_ms):
        try:
            return list_orders(self, since_ms)
        except CopytradeError:
            return []


class TestListsNewestFirst(Broken):
    target = AcmeConnector, "list_orders"

    def member(self, since_ms):
        return list_orders(self, since_ms)[::-1]


class TestListsEverything(Broken):
    target = AcmeConnector, "list_orders"

    def member(self, since_ms):
        return list_orders(self, 0)


class TestPassesNoGate(Broken):
    target = Rest, "_send"

    def member(self, method, path, text, headers, passage):
        return send(self, method, path, text, headers, nullcontext())


class TestPassesTheGateAfterwards(Broken):
    target = Rest, "_send"

    def member(self, method, path, text, headers, passage):
        answer = send(self, method, path, text, headers, nullcontext())
        with passage:
            return answer


def resized(text):
    def member(self, order):
        prepared = prepare(self, order)
        size = "spend" if "spend" in prepared.body else "give"
        return replace(prepared, body={**prepared.body, size: text(order.size)})

    return member


class TestWritesExponents(Broken):
    target = AcmeConnector, "prepare_market_order"
    member = resized(str)


class TestReckonsInFloats(Broken):
    target = AcmeConnector, "prepare_market_order"
    member = resized(lambda size: f"{float(size) * 1.0000001:.8f}")


class TestJournalsSecrets(Broken):
    target = AcmeConnector, "prepare_market_order"

    def member(self, order):
        prepared = prepare(self, order)
        return replace(prepared, body={**prepared.body, "pin": self._credentials["pin"]})


class TestForgetsTheFence(Broken):
    target = AcmeConnector, "prepare_market_order"

    def member(self, order):
        prepared = prepare(self, order)
        return replace(prepared, fence_ms=prepared.timestamp_ms)


class TestTrustsAnyClock(Broken):
    target = AcmeConnector, "prepare_market_order"

    def member(self, order):
        type(self._clock).is_known, kept = True, type(self._clock).is_known
        try:
            return prepare(self, order)
        finally:
            type(self._clock).is_known = kept


class TestForgetsCommissions(Broken):
    target = acme_connector, "report_of"

    @staticmethod
    def member(order):
        report = report_of(order)
        return replace(report, fills=tuple(replace(fill, commission=Decimal(0)) for fill in report.fills))


class TestShowsOneFillOnly(Broken):
    target = acme_connector, "report_of"

    @staticmethod
    def member(order):
        report = report_of(order)
        return replace(report, fills=report.fills[:1])


class TestReadsRoundedBalances(Broken):
    target = AcmeConnector, "balances"

    def member(self):
        snapshot = balances(self)
        rounded = (replace(each, free=each.free.quantize(Decimal("0.0001"))) for each in snapshot.balances)
        return replace(snapshot, balances=tuple(rounded))


class TestNamesAConnectorNotAnAccount(Broken):
    target = AcmeConnector, "verify"

    def member(self, *, needs_trade=True):
        return replace(verify(self, needs_trade=needs_trade), uid=str(id(self)))


class TestAcceptsWithdrawal(Broken):
    target = AcmeConnector, "verify"

    def member(self, *, needs_trade=True):
        try:
            return verify(self, needs_trade=needs_trade)
        except AuthenticationFailed:
            return AccountCheck(uid="anybody", permissions=self.key_permissions(), balances=self.balances())


class TestWaitsAsLongAsItLikes(Broken):
    target = AcmeConnector, "place"

    def member(self, prepared, gate):
        try:
            return place(self, prepared, gate)
        except RateLimited as error:
            error.retry_after_sec = 0
            raise


class TestCallsEveryRefusalTheSame(Broken):
    target = AcmeConnector, "place"

    def member(self, prepared, gate):
        try:
            return place(self, prepared, gate)
        except OutcomeUnknown:
            raise
        except CopytradeError as error:
            raise OrderRejected(error.message) from None


class TestTellsItsHeaders(Broken):
    target = Rest, "_send"

    def member(self, method, path, text, headers, passage):
        try:
            return send(self, method, path, text, headers, passage)
        except OutcomeUnknown as error:
            raise OutcomeUnknown(f"{error}; sent with {headers}") from None


class TestLogsSignatures(Broken):
    target = Rest, "_send"

    def member(self, method, path, text, headers, passage):
        logging.getLogger("acme").debug("%s %s signed %s", method, path, headers.get("Acme-Sign"))
        return send(self, method, path, text, headers, passage)


class TestHasNoGrid(Broken):
    target = AcmeExchange, "rules"

    def member(self):
        return replace(rules(self), min_base=Decimal(5), max_base=Decimal(1))
