"""What the acceptance walk would notice: each wrong book, each signature, each account that trades real money."""

from __future__ import annotations

import base64
from dataclasses import replace
from fractions import Fraction

import pytest
from click.testing import CliRunner
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from copytrade_core.cli import leader_orders
from copytrade_core.cli.acceptance_checks import Point, balance_problems, book_problems, latency_point, report
from copytrade_core.cli.main import main
from copytrade_core.control.server import ControlServer
from copytrade_core.errors import ExchangeError
from copytrade_core.model import Environment, Side
from copytrade_core.views import CopyState, LeaderOrderState, LeaderOrderView, LeaderView, VerifyView
from fake_trader import FakeTrader, a_copy, an_account
from fakes import D


def row(number, **changes):
    return a_copy(
        number,
        **{
            "account_name": f"follower {number}", "free_before": D("1000.07"), "computed": Fraction(D("1000.07")) / 8,
            "step": D("0.01"), "sent": D("125.00"), "filled_base": D("0.002"), "filled_quote": D("124.98"),
            "size_asset": "USDT", "client_order_id": f"ct{number}", "exchange_order_id": f"{number}",
            "latency_ms": {"sent": 4.0, "accepted": 60.0, "final": 80.0}, **changes,
        },
    )  # fmt: skip


def book(*copies, **changes):
    return LeaderOrderView(
        **{
            "id": "1", "t": "2026-11-22T14:35:57.457Z", "exchange": "binance", "env": Environment.TEST,
            "symbol": "BTC/USDT", "order_id": "28", "client_order_id": "x", "side": Side.BUY, "order_type": "MARKET",
            "status": "FILLED", "filled_base": D("0.02"), "filled_quote": D("1250"), "balance_asset": "USDT",
            "balance_before": D("10000"), "share": Fraction(1, 8), "state": LeaderOrderState.COPIED,
            "copies": copies, **changes,
        }
    )  # fmt: skip


BOTH = ("account-1", "account-2")


def test_a_right_book_has_no_problems():
    assert book_problems(book(row(1), row(2)), BOTH) == []


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        pytest.param(book(row(1)), "0 rows for the account account-2", id="a-follower-is-missing"),
        pytest.param(book(row(1), row(2), row(2)), "2 rows for the account account-2", id="a-follower-twice"),
        pytest.param(book(row(1), row(2), share=Fraction(1, 4)), "the share 1/4 is not", id="share"),
        pytest.param(book(row(1), row(2, side=Side.SELL)), "follower 2: it is a SELL", id="side"),
        pytest.param(book(row(1), row(2, sent=D("125.01"))), "125.01 was sent, 125 is right", id="rounded-up"),
        pytest.param(book(row(1), row(2, sent=D("124.99"))), "124.99 was sent, 125 is right", id="a-step-too-little"),
        pytest.param(book(row(1), row(2, computed=Fraction(125))), "share × free is not 125", id="the-sum"),
        pytest.param(book(row(1), row(2, filled_quote=D("125.5"))), "125.5 USDT of 125 were filled", id="too-much"),
        pytest.param(book(row(1), row(2, filled_quote=D(0))), "0 USDT of 125 were filled", id="nothing"),
        pytest.param(book(row(1), row(2, exchange_order_id="")), "number is not on record", id="no-number"),
        pytest.param(book(row(1), row(2, step=None)), "inputs of its sum are not on record", id="no-inputs"),
        pytest.param(
            book(row(1), row(2, state=CopyState.FAILED, reason="too small")), "FAILED too small", id="a-failed-copy"
        ),
        pytest.param(
            book(state=LeaderOrderState.IGNORED, reason="stopped"), "was not copied: IGNORED stopped", id="ignored"
        ),
    ],
)
def test_a_wrong_book_is_noticed(wrong, words):
    assert any(words in problem for problem in book_problems(wrong, BOTH)), book_problems(wrong, BOTH)


@pytest.mark.parametrize(
    ("copies", "is_right"),
    [((row(2, state=CopyState.SKIPPED),), True), ((row(2),), False), ((), False)],
    ids=["skipped", "copied-all-the-same", "no-row"],
)
def test_a_paused_account_must_have_a_row_that_says_skipped(copies, is_right):
    assert (book_problems(book(row(1), *copies), ["account-1"], ["account-2"]) == []) is is_right


@pytest.mark.parametrize(("after", "is_right"), [("875.09", True), ("875.07", False), (None, False)])
def test_the_exchange_must_have_taken_exactly_what_the_fills_say(after, is_right):
    was = VerifyView(ok=True, free_quote=D("1000.07"), free_base=D(1))
    now = replace(was, free_quote=None if after is None else D(after), free_base=D(2))

    assert (balance_problems(book(row(1)), was, now, "account-1") == []) is is_right


def test_latency_counts_until_an_order_has_left():
    assert latency_point([book(row(1))], 1000).passed
    assert not latency_point([book(row(1), row(2, latency_ms={"sent": 1200.0}))], 1000).passed
    assert not latency_point([book(row(1, latency_ms={}))], 1000).passed
    assert not latency_point([], 1000).passed


def test_a_report_says_what_failed_and_a_name_breaks_no_table():
    points = [Point(name="a", passed=True, detail="x"), Point(name="b", passed=False, detail="one | two\nthree")]

    text = report("now", "BTC/USDT", [an_account(1, name="a|b")], points, [book(row(1))])

    assert "**NOT PASSED · 未通过**: 1 of 2 points." in text
    assert "| ✗ | b | one \\| two three |" in text
    assert "| a\\|b | binance test |" in text
    assert "**NOT PASSED" in report("now", "BTC/USDT", [], [], [])


# --- the leader's orders ----------------------------------------------------------------------------------


def pem(key):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def test_binances_documented_example_of_a_signature_comes_out():
    """https://developers.binance.com/docs/binance-spot-api-docs/rest-api/request-security"""
    secret = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
    payload = (
        "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559"
    )

    assert leader_orders._signature(secret, payload.encode()) == (
        "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"
    )


def test_private_keys_sign_as_binance_asks():
    key, large = ed25519.Ed25519PrivateKey.generate(), rsa.generate_private_key(65537, 2048)

    key.public_key().verify(base64.b64decode(leader_orders._signature(pem(key), b"a=1")), b"a=1")
    signed = base64.b64decode(leader_orders._signature(f"\n{pem(large)}", b"a=1"))
    large.public_key().verify(signed, b"a=1", padding.PKCS1v15(), SHA256())
    with pytest.raises(InvalidSignature):
        large.public_key().verify(signed, b"a=2", padding.PKCS1v15(), SHA256())


def test_a_private_key_that_cannot_be_read_is_not_quoted():
    with pytest.raises(ExchangeError, match="cannot be read") as caught:
        leader_orders._signature("-----BEGIN PRIVATE KEY-----\nQUJD\n-----END PRIVATE KEY-----", b"")

    assert "QUJD" not in str(caught.value)


def test_there_is_no_address_of_production():
    assert set(leader_orders.ORIGINS) == {Environment.TEST, Environment.DEMO}


@pytest.mark.parametrize("who", ["leader", "follower"])
def test_production_accounts_are_refused_before_a_key_is_asked_for(tmp_path, who):
    env = {name: Environment.PROD if name == who else Environment.TEST for name in ("leader", "follower")}
    trader = FakeTrader()
    trader.answers = {
        "get_leader": LeaderView(exchange="binance", env=env["leader"], connected=True),
        "list_accounts": [an_account(1, env=env["follower"])],
    }
    server = ControlServer(trader, tmp_path)
    server.start()
    try:
        done = CliRunner().invoke(main, ["--data-dir", str(tmp_path), "acceptance"], input="y\ny\n")
    finally:
        server.stop()
        server.join()

    assert done.exit_code == 1
    assert "for test systems only; on production: " in done.output
    assert trader.calls.qsize() == 2
