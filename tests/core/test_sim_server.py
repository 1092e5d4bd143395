"""The simulators' servers and their admin API, over real loopback sockets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests
from aiohttp import web

from copytrade_core.sim import (
    WIRE_FAULTS,
    MarketRules,
    RunningSimulators,
    SimAccount,
    SimKey,
    Simulator,
    World,
    running_simulators,
    wire,
)


class AcmeSimulator(Simulator):
    """The smallest dialect: one route that answers, or misbehaves as asked."""

    exchange = "acme"
    environment = "demo"
    can_lead = True
    faults = WIRE_FAULTS

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.market = world.open_market(self.exchange, MarketRules())
        self.carried_out = 0

    def add_routes(self, app: web.Application) -> None:
        app.router.add_post("/order", self.order)

    async def order(self, request: web.Request) -> web.StreamResponse:
        fault = self.world.faults.take(WIRE_FAULTS, self.exchange, None, "order")
        reply = None
        if fault is None or fault.executed:
            self.carried_out += 1
            reply = web.json_response({"order": self.carried_out})
        if fault is not None:
            return await wire.misbehave(self.world, request, fault, reply)
        assert reply is not None
        return reply

    def add_credentials(self, account: SimAccount, kind: str = "") -> dict[str, str]:
        key = self.world.add_key(account, SimKey(api_key=f"key-of-{account.id}-{len(account.keys)}", secret="toy"))
        return {"api_key": key.api_key, "api_secret": key.secret}

    def endpoints(self, origin: str) -> dict[str, str]:
        return {"rest": origin}


@pytest.fixture(scope="module")
def sims() -> Iterator[RunningSimulators]:
    with running_simulators(factories={"acme": AcmeSimulator}, followers={"acme": 2, "missing": 1}) as running:
        yield running


def admin(sims: RunningSimulators, path: str, body: Any = None, method: str = "POST") -> tuple[int, Any]:
    answer = requests.request(method, f"{sims['admin']}/sim/{path}", json=body, timeout=5)
    return answer.status_code, json.loads(answer.text)


def test_an_exchange_whose_plugin_is_missing_is_left_out(sims: RunningSimulators) -> None:
    assert set(sims.info) == {"acme", "admin", "endpoints_file"}
    assert [one["api_key"] for one in sims["acme"]["followers"]] == ["key-of-acme-1-0", "key-of-acme-2-0"]
    overrides = json.loads(Path(sims["endpoints_file"]).read_text())
    assert overrides == {"acme": {"demo": {"rest": sims["acme"]["rest"]}}}


def test_stopping_joins_the_thread_and_removes_the_endpoints_file() -> None:
    with running_simulators(factories={"acme": AcmeSimulator}, followers={"acme": 0}) as running:
        file = Path(running["endpoints_file"])
        assert file.exists()
    assert not file.exists()


def test_trading_through_the_admin_api_shows_in_the_truth(sims: RunningSimulators) -> None:
    status, order = admin(sims, "order", {"account": "leader", "side": "BUY", "quote_quantity": "100.25"})
    assert (status, order["status"], order["sent_quote"]) == (200, "FILLED", "100.25")
    truth = admin(sims, "truth", method="GET")[1]["accounts"]["leader"]
    assert truth["orders"][-1] == order
    left = Decimal(order["free_quote_before"]) - Decimal(order["executed_quote"])
    assert Decimal(truth["balances"]["USDT"]["free"]) == left


def test_deposit_may_be_negative_and_is_exact(sims: RunningSimulators) -> None:
    before = Decimal(sims.truth("acme-1")["balances"]["USDT"]["free"])
    status, answer = admin(sims, "deposit", {"account": "acme-1", "asset": "USDT", "amount": "-0.00000001"})
    assert (status, Decimal(answer["free"])) == (200, before - Decimal("0.00000001"))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("price", {"price": "-1"}),
        ("price", {"price": "64000.001"}),
        ("price", {"prize": "64000"}),
        ("price", []),
        ("deposit", {"account": "nobody", "asset": "USDT", "amount": "1"}),
        ("deposit", {"account": "acme-1", "asset": "USDT", "amount": "NaN"}),
        ("deposit", {"account": "acme-1", "asset": "USDT", "amount": "-99999999"}),
        ("order", {"account": "acme-1", "side": "HOLD", "quantity": "1"}),
        ("order", {"account": "acme-1", "side": "BUY", "quantity": "99999"}),
        ("order", {"account": "acme-1", "side": "SELL", "quantity": "0.000001"}),
        ("delay", {"request_ms": -1}),
        ("untidiness", {"position_lost": 2}),
        ("untidiness", {"no_such": 0.1}),
        ("keys", {"account": "acme-1", "revoked": "yes"}),
        ("faults", {"name": "drip", "probability": 0}),
        ("faults", {"name": "drip", "account": "nobody"}),
    ],
)
def test_wrong_input_is_answered_400_with_a_sentence(sims: RunningSimulators, path: str, body: Any) -> None:
    status, answer = admin(sims, path, body)
    assert (status, bool(answer["error"])) == (400, True)


def test_unknown_fault_lists_the_names_that_there_are(sims: RunningSimulators) -> None:
    status, answer = admin(sims, "faults", {"name": "no_such_fault"})
    assert status == 400
    assert set(answer["faults"]) == set(WIRE_FAULTS)


@pytest.mark.parametrize("name", sorted(WIRE_FAULTS))
def test_wire_fault_happens_once_and_is_honest_about_execution(sims: RunningSimulators, name: str) -> None:
    simulator = sims.simulators["acme"]
    assert isinstance(simulator, AcmeSimulator)
    before = simulator.carried_out
    params = {"seconds": 0.1, "seconds_per_byte": 0.001}
    assert admin(sims, "faults", {"name": name, "params": params})[0] == 200
    url = f"{sims['acme']['rest']}/order"
    try:
        answer = requests.post(url, timeout=5, allow_redirects=False)
        spoiled = answer.text != f'{{"order": {before + 1}}}'
    except requests.RequestException:
        spoiled = True
    harmless = name in ("late_answer", "drip", "sliced", "closed_after_reply")
    assert spoiled != harmless
    not_done = name in ("reply_lost_before_execution", "no_answer_not_executed", "http_5xx_not_executed", "redirect")
    assert simulator.carried_out == before + (0 if not_done else 1)
    assert requests.post(url, timeout=5).json() == {"order": simulator.carried_out}


def test_fault_is_taken_by_count_and_account_and_cleared(sims: RunningSimulators) -> None:
    def taken(account: str) -> bool:
        return sims.call(lambda: sims.world.faults.take(("drip",), "acme", account)) is not None

    admin(sims, "faults", {"name": "drip", "account": "acme-1", "count": 2})
    assert [taken("acme-2"), taken("acme-1"), taken("acme-1"), taken("acme-1")] == [False, True, True, False]
    admin(sims, "faults", {"name": "drip", "count": None})
    assert [taken("acme-2") for _ in range(5)] == [True] * 5
    assert admin(sims, "faults", method="DELETE")[1] == {"armed": []}
    assert not taken("acme-2")


def test_reset_restores_opening_balances_and_restarts_ids(sims: RunningSimulators) -> None:
    first = admin(sims, "order", {"account": "acme-2", "side": "BUY", "quote_quantity": "50"})[1]
    admin(sims, "reset", {"exchange": "acme"})
    truth = sims.truth("acme-2")
    assert not truth["orders"]
    assert {asset: one["free"] for asset, one in truth["balances"].items()} == truth["opening"]
    again = admin(sims, "order", {"account": "acme-2", "side": "BUY", "quote_quantity": "50"})[1]
    assert int(again["order_id"]) <= int(first["order_id"])


def test_clock_skew_moves_the_exchange_and_not_the_machine(sims: RunningSimulators) -> None:
    before = sims.call(lambda: sims.world.now_ms("acme"))
    after = admin(sims, "clock", {"exchange": "acme", "skew_ms": 3_600_000})[1]["acme"]
    assert 3_600_000 <= after - before < 3_610_000
    admin(sims, "clock", {"exchange": "acme", "skew_ms": 0})


def test_keys_can_be_added_and_switched(sims: RunningSimulators) -> None:
    status, opened = admin(sims, "accounts", {"exchange": "acme", "balances": {"USDT": "77.7"}})
    assert (status, opened["account"]) == (200, "acme-3")
    assert admin(sims, "accounts", {"account": "acme-3"})[1]["api_key"] == "key-of-acme-3-1"
    admin(sims, "keys", {"account": "acme-3", "api_key": "key-of-acme-3-1", "revoked": True})
    keys = sims.call(lambda: [key.revoked for key in sims.world.accounts["acme-3"].keys])
    assert keys == [False, True]
