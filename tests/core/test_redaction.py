"""No secret leaves through a log, however it came in; and a log line is one line."""

import base64
import io
import json
import logging
import re
import sys
import threading
import warnings
from urllib.parse import quote

import pytest

from copytrade_core.redaction import REDACTED, Redactor, install_logging

API_KEY = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
HEX_SECRET = "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9"
PASSPHRASE = 'correct/horse "battery" 7&'
PEM = (
    "-----BEGIN PRIVATE KEY-----\n"
    "MC4CAQAwBQYDK2VwBCIEIPlantedPlantedPlantedPlantedPlanted0123abc\nc2hvcnRlbmQ9PQ==\n"
    "-----END PRIVATE KEY-----\n"
)
PLANTED = (API_KEY, HEX_SECRET, PASSPHRASE)


@pytest.fixture
def logged(monkeypatch):
    """Logging as the programs install it, into a text buffer; everything global is put back."""
    root = logging.getLogger()
    kept = root.handlers[:], root.level, sys.excepthook, threading.excepthook
    stream = io.StringIO()
    install_logging("DEBUG", stream).register(*PLANTED)
    yield stream
    for handler in root.handlers[:]:
        handler.removeFilter(install_logging.__globals__["redactor"])
    root.handlers[:], root.level, sys.excepthook, threading.excepthook = kept
    root.setLevel(kept[1])
    logging.captureWarnings(False)


@pytest.fixture
def redactor():
    redactor = Redactor()
    redactor.register(*PLANTED)
    return redactor


@pytest.mark.parametrize("secret", PLANTED)
@pytest.mark.parametrize(
    "form",
    [
        pytest.param(lambda secret: secret, id="plain"),
        pytest.param(lambda secret: f"x{secret}y", id="inside a word"),
        pytest.param(lambda secret: quote(secret, safe=""), id="url"),
        pytest.param(lambda secret: json.dumps({"a": secret}), id="json"),
        pytest.param(lambda secret: repr([secret]), id="repr"),
        pytest.param(lambda secret: str({b"k": secret.encode()}), id="bytes"),
    ],
)
def test_a_registered_secret_is_removed_in_every_spelling(redactor, secret, form):
    cleaned = redactor.clean(f"before {form(secret)} after")

    assert secret not in cleaned
    assert quote(secret, safe="") not in cleaned
    assert "horse" not in cleaned
    assert cleaned.startswith("before ")
    assert cleaned.endswith(" after")


def test_of_two_secrets_the_longer_goes_first():
    redactor = Redactor()
    redactor.register("passage")
    redactor.register("passage-to-india")

    assert redactor.clean("passage-to-india, passage") == f"{REDACTED}, {REDACTED}"


def test_a_pasted_key_is_removed_line_by_line():
    redactor = Redactor()
    redactor.register(PEM)

    cleaned = redactor.clean(f"{PEM!r} and c2hvcnRlbmQ9PQ==")

    assert "Planted" not in cleaned
    assert "c2hvcnRlbmQ9PQ" not in cleaned


def test_a_very_short_secret_does_not_blot_out_ordinary_words():
    redactor = Redactor()
    redactor.register("or")

    assert redactor.clean("an order") == "an order"
    assert redactor.clean("passphrase=or") == f"passphrase={REDACTED}"


@pytest.mark.parametrize(
    "text",
    [
        "GET /api/v3/account?timestamp=1&signature=SECRETVALUE&recvWindow=5000",
        "{'X-MBX-APIKEY': 'SECRETVALUE', 'Accept': '*/*'}",
        "{b'X-MBX-APIKEY': b'SECRETVALUE'}",
        "X-MBX-APIKEY: SECRETVALUE",
        "[('ACCESS-KEY', 'SECRETVALUE'), ('Host', 'x')]",
        "ACCESS-SIGN: SECRETVALUE",
        "access-passphrase=SECRETVALUE",
        '{"op": "login", "args": [{"apiKey": "SECRETVALUE", "passphrase": "SECRETVALUE", "sign": "SECRETVALUE"}]}',
        '"{\\"apiKey\\":\\"SECRETVALUE\\",\\"x\\":1}"',
        "api_secret = SECRETVALUE",
        "apiSecret: 'SECRETVALUE'",
        "Authorization: Bearer SECRETVALUE",
        "password='SECRETVALUE with SECRETVALUE blanks'",
        "listenKey=SECRETVALUE",
        "token=SECRETVALUE",
    ],
)
def test_what_is_named_like_a_secret_is_removed_without_being_registered(text):
    cleaned = Redactor().clean(text)

    assert "SECRETVALUE" not in cleaned
    assert REDACTED in cleaned


@pytest.mark.parametrize(
    "run",
    [
        HEX_SECRET,
        HEX_SECRET.upper(),
        API_KEY,
        "bg_" + HEX_SECRET[:32],
        base64.b64encode(bytes.fromhex(HEX_SECRET)).decode(),
        base64.urlsafe_b64encode(bytes.fromhex(HEX_SECRET)).decode(),
    ],
)
def test_long_runs_of_hex_or_base64_are_removed(run):
    cleaned = Redactor().clean(f"found {run} here")

    assert cleaned.replace("bg_", "") == f"found {REDACTED} here"


@pytest.mark.parametrize(
    "text",
    [
        "account 0f8fad5b-d9cb-469f-a165-70867728950e is paused",
        "order ctab2cmzxw6ytboi4dcojzgq2t-1 (28457812345678901234) filled 0.00012345 BTC",
        'File "/srv/copytrade/venv/lib/python3/site-packages/copytrade_core/store/vault.py", line 12, in open',
        "the signature for this request is not valid",
        "2026-11-22T13:05:07.123Z copytrade_core.copying.dispatch started",
        "key fingerprint 7280df47",
    ],
)
def test_ordinary_text_stays_readable(redactor, text):
    assert redactor.clean(text) == text


def test_message_arguments_and_traceback_are_cleaned_for_every_logger(logged):
    def fail():
        try:
            raise ValueError(f"{PASSPHRASE} at https://host/?signature={API_KEY}")
        except ValueError as error:
            raise RuntimeError(f"wrapped {HEX_SECRET}") from error

    for name in ("copytrade_core.engine", "some.plugin", ""):
        logger = logging.getLogger(name)
        logger.debug("plain %s %r", API_KEY, {"passphrase": PASSPHRASE})
        logger.warning(f"formatted {HEX_SECRET}", stack_info=True)
        logger.error(ValueError(API_KEY))
        try:
            fail()
        except RuntimeError:
            logger.exception("failed with %s", PASSPHRASE)

    text = logged.getvalue()
    assert text.count("Traceback (most recent call last)") == 6
    assert text.count("Stack (most recent call last)") == 3
    assert text.count(REDACTED) >= 15
    for secret in PLANTED:
        assert secret not in text
        assert secret[:20] not in text


def test_a_wrong_format_string_loses_neither_the_line_nor_a_secret(logged, capsys):
    logging.getLogger("x").error("%d accounts of %s", "three", API_KEY, PASSPHRASE)

    assert "accounts of" in logged.getvalue()
    assert API_KEY not in logged.getvalue() + capsys.readouterr().err
    assert "horse" not in logged.getvalue()


def test_a_record_is_clean_for_the_handlers_of_others_too(logged):
    others = io.StringIO()
    handler = logging.StreamHandler(others)
    logging.getLogger().addHandler(handler)
    install_logging("DEBUG", logged)

    logging.getLogger("x").error("with %s", API_KEY)

    assert others.getvalue() == f"with {REDACTED}\n"
    logging.getLogger().removeHandler(handler)


def test_a_log_entry_is_one_line_whatever_the_message_holds(logged):
    logging.getLogger("x").info("name\n2026-01-01T00:00:00.000Z INFO forged\r\x1b[2J\x00\x85\u2028\u202etxt 张三\t.")

    (line,) = logged.getvalue().splitlines()
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO x \[MainThread\] name\\n2026", line)
    assert line.endswith(r"forged\r\x1b[2J\x00\x85\u2028\u202etxt 张三\t.")


def test_a_line_of_a_traceback_cannot_pass_for_an_entry(logged):
    try:
        raise ValueError("first\n2026-01-01T00:00:00.000Z INFO forged\x1b[2J")
    except ValueError:
        logging.getLogger("x").exception("failed")

    first, *rest = logged.getvalue().splitlines()
    assert first.endswith("failed")
    assert len(rest) > 3
    assert all(line.startswith("    ") for line in rest)
    assert "\x1b" not in logged.getvalue()


def test_the_wire_loggers_of_libraries_are_silent_below_warnings(logged):
    for name in ("urllib3.connectionpool", "websocket", "websockets.client"):
        logging.getLogger(name).debug("> GET /?anything")
        logging.getLogger(name).info("> GET /?anything")

    assert logged.getvalue() == ""


def test_what_ends_a_thread_or_the_program_is_logged_clean_and_not_printed(logged, capsys):
    def die():
        raise ValueError(f"no answer for {API_KEY}")

    thread = threading.Thread(target=die, name="leader-reader")
    thread.start()
    thread.join(10)
    try:
        die()
    except ValueError:
        sys.excepthook(*sys.exc_info())

    text = logged.getvalue()
    assert "the thread leader-reader died of ValueError" in text
    assert "the program ended with ValueError" in text
    assert API_KEY not in text + capsys.readouterr().err


def test_warnings_go_through_the_log(logged):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn(f"insecure {API_KEY}", stacklevel=1)

    assert "insecure" in logged.getvalue()
    assert API_KEY not in logged.getvalue()


def test_the_log_file_is_private_and_installing_again_replaces_it(logged, tmp_path):
    for name in ("first.log", "second.log"):
        install_logging("INFO", logged, tmp_path / name)
        logging.getLogger("x").info("in %s, %s", name, API_KEY)
    install_logging("INFO", logged)

    for name in ("first.log", "second.log"):
        lines = (tmp_path / name).read_text().splitlines()
        assert [line.split("] ")[1] for line in lines] == [f"in {name}, {REDACTED}"]
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    assert logged.getvalue().count("in second.log") == 1
