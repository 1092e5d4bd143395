"""The simulator's REST side: who may call, in which order that is checked, how often, and what is answered."""

from __future__ import annotations

import http.client
import json
import time
from decimal import Decimal
from urllib.parse import urlsplit

import pytest

from bitget_wire import WireClient
from copytrade_bitget.sim import BitgetSimulator
from copytrade_bitget.sim_sign import login_prehash, rest_prehash, sign
from copytrade_core.sim import running_simulators

CLASSIC_READ = "/api/v2/spot/account/assets"
UNIFIED_READ = "/api/v3/account/settings"


@pytest.fixture
def sims():
    with running_simulators(followers={"bitget": 2}, factories={"bitget": BitgetSimulator}) as running:
        running.tidy()
        yield running


@pytest.fixture
def classic(sims):
    return WireClient(sims["bitget"]["rest"], sims["bitget"]["followers"][0])


@pytest.fixture
def unified(sims):
    return WireClient(sims["bitget"]["rest"], sims["bitget"]["followers"][1])


def configure(sims, **changes):
    sims.call(lambda: sims.simulators["bitget"].configure(changes))


def set_key(sims, number, **flags):
    key = sims.world.accounts[f"bitget-{number}"].keys[0]
    sims.call(lambda: [setattr(key, name, value) for name, value in flags.items()])


ORDER = '"symbol":"BTCUSDT","side":"buy","orderType":"market",'


@pytest.mark.parametrize(
    ("prehash", "expected"),
    [
        (
            rest_prehash("1700000000000", "GET", b"/api/v2/spot/account/assets?coin=USDT", b""),
            "5N/beg6s8gYeoNcsQXQ26Mn+L7kCPU/ffgzOc350Vuw=",
        ),
        (
            rest_prehash(
                "1700000000000",
                "POST",
                b"/api/v2/spot/trade/place-order",
                f'{{{ORDER}"force":"gtc","size":"25","clientOid":"ct0001"}}'.encode(),
            ),
            "l+RkMT86VC8qDTFoRyhTfFppTxqOkWlINra8wjMH1sI=",
        ),
        (
            rest_prehash(
                "1700000000000",
                "POST",
                b"/api/v3/trade/place-order",
                f'{{"category":"SPOT",{ORDER}"qty":"25","clientOid":"ct0001"}}'.encode(),
            ),
            "yo/UOLBo9WUri51eMlcFdX6SBAtkTaeze9TinRlVCLY=",
        ),
        (login_prehash("1700000000"), "IXyPTmdHRT/6ztnL43oetPqmHnqSdBHzWOQM5q5Oi7Q="),
    ],
    ids=["query", "classic-body", "unified-body", "socket-login"],
)
def test_signatures_are_those_worked_out_elsewhere(prehash, expected):
    assert sign("bitget-test-secret", prehash).decode() == expected


def test_a_well_signed_call_of_the_right_family_succeeds(classic, unified):
    assert classic.get(CLASSIC_READ, "coin=USDT").code == "00000"
    assert unified.get(UNIFIED_READ).data["accountMode"] in ("unified", "hybrid")


def test_the_raw_query_is_what_must_be_signed(classic):
    raw, encoded = "coin=USDT&note=a:b", "coin=USDT&note=a%3Ab"

    assert classic.get(CLASSIC_READ, raw, sent_query=encoded).code == "00000"
    assert classic.get(CLASSIC_READ, encoded, sent_query=encoded).code == "40009"


def test_a_changed_body_is_noticed(classic):
    stamp = str(int(time.time() * 1000))
    good = json.dumps(classic.ticket("buy", "25"))
    path = "/api/v2/spot/trade/place-order"
    signature = sign(classic.keys["api_secret"], rest_prehash(stamp, "POST", path.encode(), good.encode())).decode()

    assert classic.post(path, good.replace("25", "26"), stamp=stamp, ACCESS_SIGN=signature).code == "40009"


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"ACCESS_KEY": None}, "40001"),
        ({"ACCESS_SIGN": None}, "40003"),
        ({"ACCESS_PASSPHRASE": None}, "40011"),
        ({"ACCESS_TIMESTAMP": None}, "40005"),
        ({"ACCESS_KEY": "bg_nobody"}, "40006"),
        ({"stamp": "soon"}, "40005"),
        ({"stamp": "1700000000000"}, "40008"),
        ({"ACCESS_SIGN": "AAAA"}, "40009"),
        ({"ACCESS_PASSPHRASE": "wrong"}, "40012"),
        ({"paptrading": None}, "40099"),
    ],
)
def test_what_is_wrong_with_the_sign_in_is_said_by_its_code(classic, headers, code):
    reply = classic.get(CLASSIC_READ, **headers)

    assert (reply.status, reply.code, reply.data) == (400, code, None)


def test_a_request_may_be_thirty_seconds_old_and_no_older(classic):
    now = int(time.time() * 1000)

    assert classic.get(CLASSIC_READ, stamp=str(now - 29_000)).code == "00000"
    assert classic.get(CLASSIC_READ, stamp=str(now - 30_500)).code == "40008"
    assert classic.get(CLASSIC_READ, stamp=str(now + 30_500)).code == "40008"


def test_the_wrong_family_is_told_before_the_signature_is_looked_at(classic, unified):
    assert classic.get(UNIFIED_READ).code == "40084"
    assert unified.get(CLASSIC_READ).code == "40085"
    assert unified.get(CLASSIC_READ, ACCESS_SIGN="AAAA").code == "40085"


def test_the_environment_is_told_before_the_family(sims, unified):
    account = sims.call(
        lambda: sims.simulators["bitget"].open_account("bitget-prod", "follower", mode="unified", environment="prod")
    )
    keys = sims.call(lambda: sims.simulators["bitget"].add_credentials(account))
    production = WireClient(sims["bitget"]["rest"], keys)

    assert production.get(CLASSIC_READ).code == "40099"
    assert unified.get(CLASSIC_READ, paptrading=None).code == "40099"


@pytest.mark.parametrize(
    ("flags", "read", "trade"),
    [
        ({"revoked": True}, "40006", "40006"),
        ({"ip_listed": False}, "40018", "40018"),
        ({"can_trade": False}, "00000", "40014"),
        ({"can_read": False}, "40014", "00000"),
    ],
)
def test_a_key_may_do_what_it_is_allowed(sims, classic, flags, read, trade):
    set_key(sims, 1, **flags)

    assert classic.get(CLASSIC_READ).code == read
    assert classic.place("buy", "25").code == trade


def test_account_info_speaks_of_the_keys_rights(sims, classic, unified):
    set_key(sims, 1, can_withdraw=True, can_transfer=True)
    set_key(sims, 2, can_trade=False, can_withdraw=True)

    authorities = classic.get("/api/v2/spot/account/info").data["authorities"]
    info = unified.get("/api/v3/account/info").data

    assert {"stow", "wwow", "wtow"} <= set(authorities)
    assert info["permType"] == "read-only" and "withdraw" in info["permissions"]


def test_a_demo_account_may_be_refused_its_info_and_still_trade(sims, classic):
    sims.arm("demo_limit", account="bitget-1")

    assert classic.get("/api/v2/spot/account/info").code == "40081"
    assert classic.place("buy", "25").code == "00000"


def test_public_routes_need_no_key(sims):
    connection = http.client.HTTPConnection(urlsplit(sims["bitget"]["rest"]).netloc, timeout=5)
    connection.request("GET", "/api/v2/public/time")
    reply = json.loads(connection.getresponse().read())
    connection.close()

    assert abs(int(reply["data"]["serverTime"]) - time.time() * 1000) < 2000


def test_both_families_tell_the_same_rules_of_the_pair(classic, unified):
    symbol = classic.get("/api/v2/spot/public/symbols", "symbol=BTCUSDT").data[0]
    instrument = unified.get("/api/v3/market/instruments", "category=SPOT&symbol=BTCUSDT").data[0]

    assert symbol["quantityPrecision"] == instrument["quantityPrecision"] == "6"
    assert symbol["minTradeUSDT"] == instrument["minOrderAmount"] == "1"
    assert symbol["status"] == instrument["status"] == "online"


def test_old_and_unknown_routes_are_refused(classic):
    assert (classic.get("/api/spot/v1/account/assets").status, classic.get("/api/spot/v1/x").code) == (400, "30032")
    assert (classic.get("/api/v2/spot/nowhere").status, classic.get("/api/v2/spot/nowhere").code) == (404, "40404")


def test_a_reset_network_starts_again_with_the_same_keys(sims, classic):
    classic.place("buy", "100", "before")
    sims.call(lambda: sims.world.reset("bitget"))

    assert classic.found("clientOid=before") is None
    assert Decimal(classic.free("USDT")) == Decimal(sims.truth("bitget-1")["opening"]["USDT"])


# -- limits ------------------------------------------------------------------------------------------------------------


def test_each_route_has_its_own_bucket_for_each_account(sims, classic, unified):
    assert classic.get("/api/v2/spot/account/info").code == "00000"

    refused = classic.get("/api/v2/spot/account/info")

    assert (refused.status, refused.code, refused.data) == (429, "429", None)
    assert classic.get(CLASSIC_READ).headers["x-mbx-used-remain-limit"] == "9"
    assert unified.get("/api/v3/account/info").code == "00000"


def test_the_eleventh_order_of_a_second_is_refused_and_not_executed(sims, classic):
    codes = [classic.place("buy", "25", f"burst{number}").code for number in range(11)]

    assert codes == ["00000"] * 10 + ["429"]
    assert len(sims.world.accounts["bitget-1"].orders) == 10


def test_a_lead_trader_may_place_one_order_a_second(sims, classic):
    sims.arm("lead_trader", account="bitget-1")

    assert classic.get("/api/v2/spot/account/info").data["traderType"] == "trader"
    assert [classic.place("buy", "25").code for _ in range(2)] == ["00000", "429"]


def test_an_address_over_its_limit_is_shut_out_for_all_accounts(sims, classic, unified):
    configure(sims, address_requests=5, address_block_ms=400)
    codes = [classic.get(CLASSIC_READ).code for _ in range(6)]

    assert codes == ["00000"] * 5 + ["429"]
    assert unified.get(UNIFIED_READ).code == "429"
    configure(sims, address_requests=6000)
    assert unified.get(UNIFIED_READ).code == "429", "the block outlasts what caused it"


def test_limits_can_be_switched_off(sims, classic):
    configure(sims, enforced=False)

    assert [classic.get("/api/v2/spot/account/info").code for _ in range(3)] == ["00000"] * 3


# -- the admin API -----------------------------------------------------------------------------------------------------


def admin(sims, path, **asked):
    connection = http.client.HTTPConnection(urlsplit(sims["admin"]).netloc, timeout=5)
    connection.request("POST", path, json.dumps(asked))
    answer = connection.getresponse()
    found = json.loads(answer.read())
    connection.close()
    return answer.status, found


def test_accounts_of_either_family_can_be_opened_while_it_runs(sims):
    for mode in ("classic", "unified"):
        status, keys = admin(
            sims, "/sim/accounts", exchange="bitget", id=mode, options={"mode": mode}, balances={"USDT": "12.34"}
        )
        assert (status, keys["mode"]) == (200, mode)
        assert Decimal(WireClient(sims["bitget"]["rest"], keys).free("USDT")) == Decimal("12.34")

    assert admin(sims, "/sim/accounts", exchange="bitget", options={"mode": "both"})[0] == 400


def test_settings_and_faults_are_set_by_name(sims, classic):
    assert admin(sims, "/sim/settings", exchange="bitget", address_requests=1)[0] == 200
    assert [classic.get(CLASSIC_READ).code for _ in range(2)] == ["00000", "429"]
    assert admin(sims, "/sim/drop", exchange="bitget", how="address_blocked", params={"seconds": 0})[0] == 200
    assert admin(sims, "/sim/settings", exchange="bitget", address_requests=1000)[0] == 200
    assert admin(sims, "/sim/faults", exchange="bitget", name="code_not_executed", account="bitget-1")[0] == 200
    assert classic.place("buy", "25").code == "40010"

    status, answer = admin(sims, "/sim/faults", exchange="bitget", name="no_such")
    assert status == 400 and {"code_executed", "lookup_late", "abort"} <= set(answer["faults"])


@pytest.mark.parametrize("name", ["late_answer", "drip", "sliced", "closed_after_reply"])
def test_a_slow_wire_delivers_refusals_too(sims, classic, name):
    sims.arm(name, params={"seconds": 0.05, "seconds_per_byte": 0.0005})

    assert classic.place("buy", "0.5").code == "45110"
