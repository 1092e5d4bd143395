"""What the environment may say, and what is refused, each by one sentence that names variable and value."""

import json
from pathlib import Path

import pytest

from copytrade_core.errors import ConfigError
from copytrade_core.model import Environment, Symbol
from copytrade_core.settings import Settings


def test_nothing_set_gives_the_documented_defaults():
    settings = Settings.from_environment({})

    assert settings == Settings()
    assert settings.data_dir == Path.cwd() / "data"
    assert settings.symbol == Symbol("BTC", "USDT")
    assert (settings.balance_poll_sec, settings.ws_heartbeat_sec) == (2, 30)
    assert (settings.max_copy_age_sec, settings.max_copy_age_sell_sec, settings.max_copy_age_backfill_sec) == (
        10,
        10,
        60,
    )
    assert (settings.max_balance_age_sec, settings.unknown_deadline_sec) == (60, 120)
    assert (settings.check_minimums, settings.log_level, settings.database_url) == (False, "INFO", None)


def test_every_variable_is_read(tmp_path):
    settings = Settings.from_environment(
        {
            "DATA_DIR": str(tmp_path),
            "SYMBOL": "ETH/USDC",
            "BALANCE_POLL_SEC": "0.5",
            "MAX_COPY_AGE_SEC": "3",
            "MAX_COPY_AGE_BACKFILL_SEC": "30",
            "MAX_COPY_AGE_SELL_SEC": "600",
            "MAX_BALANCE_AGE_SEC": "7",
            "UNKNOWN_DEADLINE_SEC": "8",
            "WS_HEARTBEAT_SEC": "9",
            "CHECK_MINIMUMS": "On",
            "LOG_LEVEL": "debug",
            "DATABASE_URL": "postgresql+psycopg://me:hidden-word@db/copytrade",
        }
    )

    assert settings == Settings(
        data_dir=tmp_path,
        symbol=Symbol("ETH", "USDC"),
        balance_poll_sec=0.5,
        max_copy_age_sec=3,
        max_copy_age_backfill_sec=30,
        max_copy_age_sell_sec=600,
        max_balance_age_sec=7,
        unknown_deadline_sec=8,
        ws_heartbeat_sec=9,
        check_minimums=True,
        log_level="DEBUG",
        database_url="postgresql+psycopg://me:hidden-word@db/copytrade",
    )
    assert (settings.vault_path, settings.journal_path) == (tmp_path / "vault.json", tmp_path / "journal.db")
    assert "hidden-word" not in repr(settings)


def test_sells_are_as_old_as_buys_unless_said_otherwise():
    assert Settings.from_environment({"MAX_COPY_AGE_SEC": "4"}).max_copy_age_sell_sec == 4


def test_an_empty_variable_counts_as_unset():
    assert Settings.from_environment({"SYMBOL": "", "MAX_COPY_AGE_SEC": "", "COPYTRADE_ENDPOINTS": ""}) == Settings()


WRONG_NUMBERS = ["0", "0.0", "-1", "+1", "nan", "inf", "1e3", "1_0", "٣", "２", "0x10", ".5", "2.", "two", "86401"]


@pytest.mark.parametrize("text", [*WRONG_NUMBERS, " 2", "2 ", "2\n", "9" * 400])
@pytest.mark.parametrize("variable", ["MAX_COPY_AGE_SEC", "MAX_COPY_AGE_SELL_SEC", "BALANCE_POLL_SEC"])
def test_a_number_is_plain_digits_and_positive(variable, text):
    with pytest.raises(ConfigError) as caught:
        Settings.from_environment({variable: text})

    assert variable in caught.value.message
    assert repr(text) in caught.value.message


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SYMBOL", "BTCUSDT"),
        ("SYMBOL", "btc/usdt"),
        ("SYMBOL", "BTC/USDT/X"),
        ("SYMBOL", "ＢＴＣ/USDT"),
        ("CHECK_MINIMUMS", "maybe"),
        ("LOG_LEVEL", "LOUD"),
    ],
)
def test_a_wrong_value_is_named_with_its_variable(variable, value):
    with pytest.raises(ConfigError) as caught:
        Settings.from_environment({variable: value})

    assert variable in caught.value.message
    assert value in caught.value.message


def test_a_database_url_is_refused_without_being_shown():
    with pytest.raises(ConfigError) as caught:
        Settings.from_environment({"DATABASE_URL": "me:hidden-word@db"})

    assert "DATABASE_URL" in caught.value.message
    assert "hidden-word" not in caught.value.message


def test_a_value_that_exists_is_valid_however_it_was_made():
    with pytest.raises(ConfigError, match="BALANCE_POLL_SEC"):
        Settings(balance_poll_sec=float("nan"))


def endpoints_file(tmp_path, content):
    path = tmp_path / "endpoints.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return {"COPYTRADE_ENDPOINTS": str(path)}


def test_endpoints_are_given_by_exchange_and_environment(tmp_path):
    environ = endpoints_file(
        tmp_path,
        {
            "binance": {"test": {"rest": "http://127.0.0.1:9101", "ws_api": "ws://localhost:9101/ws-api/v3"}},
            "bitget": {"demo": {"rest": "http://[::1]:9102"}},
        },
    )

    settings = Settings.from_environment(environ)

    assert settings.endpoints_for("binance", Environment.TEST) == {
        "rest": "http://127.0.0.1:9101",
        "ws_api": "ws://localhost:9101/ws-api/v3",
    }
    assert settings.endpoints_for("bitget", Environment.DEMO) == {"rest": "http://[::1]:9102"}
    assert settings.endpoints_for("binance", Environment.PROD) == {}
    assert settings.endpoints_for("kraken", Environment.PROD) == {}


@pytest.mark.parametrize(
    "url",
    [
        "http://api.binance.com",
        "https://127.0.0.1:9101",
        "wss://127.0.0.1",
        "http://127.0.0.1:9101@evil.example",
        "http://evil.example\\@127.0.0.1",
        "http://127.0.0.1\\.evil.example",
        "http://127.0.0.1.evil.example",
        "http://localhost.evil.example",
        "http://user:word@127.0.0.1",
        "http://127.1",
        "http://127.0.0.256",
        "http://127.0.0.01",
        "http://2130706433",
        "http://0.0.0.0:1",
        "http://[::ffff:127.0.0.1]:1",
        "http://10.0.0.1",
        "http://127.0.0.1:0",
        "http://127.0.0.1:65536",
        "http://127.0.0.1:9101/a?b",
        "http://127.0.0.1:9101#x",
        "http://127.0.0.1\n",
        "//127.0.0.1",
        "127.0.0.1",
        "",
        7,
        None,
    ],
)
def test_keys_can_be_sent_to_this_machine_only(tmp_path, url):
    with pytest.raises(ConfigError) as caught:
        Settings.from_environment(endpoints_file(tmp_path, {"binance": {"test": {"rest": url}}}))

    assert "COPYTRADE_ENDPOINTS" in caught.value.message
    assert repr(url) in caught.value.message


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"binance": []}', '{"binance": {"test": "http://127.0.0.1"}}', '{"binance": {"live": {}}}'],
)
def test_a_malformed_endpoints_file_is_refused(tmp_path, content):
    with pytest.raises(ConfigError, match="COPYTRADE_ENDPOINTS"):
        Settings.from_environment(endpoints_file(tmp_path, content))


def test_a_missing_endpoints_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"COPYTRADE_ENDPOINTS .*none\.json"):
        Settings.from_environment({"COPYTRADE_ENDPOINTS": str(tmp_path / "none.json")})
