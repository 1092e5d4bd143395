"""The file of targets: private, strict, and never quoted."""

from __future__ import annotations

import os

import pytest

from copytrade_core.errors import ConfigError
from copytrade_notify.config import read_targets

TOKEN = "TOKENabcdefghij0123456789"
HOOK = f"https://example.com/hooks/{TOKEN}"


def one(**fields):
    return {"targets": [{"format": "json", "url": HOOK, **fields}]}


def test_a_target_takes_the_shared_settings_and_its_own_win(config_file):
    shared = {"lang": "en", "installation": "prod-1", "events": ["halt"]}
    targets = [{"format": "wecom", "url": HOOK}, {"format": "json", "url": HOOK, "lang": "zh", "name": "ops"}]

    first, second = read_targets(config_file({**shared, "targets": targets}))

    assert (first.name, first.lang, first.installation, first.events) == ("wecom-1", "en", "prod-1", {"halt"})
    assert (second.name, second.lang, second.installation) == ("ops", "zh", "prod-1")


def test_without_settings_alarms_halts_and_failed_copies_are_told_in_chinese(config_file):
    (target,) = read_targets(config_file(one()))

    assert (target.lang, target.events) == ("zh", {"alarm", "halt", "copy_failed"})


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_file_that_others_can_read_is_refused(config_file, mode):
    with pytest.raises(ConfigError, match="chmod 600"):
        read_targets(config_file(one(), mode))


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe", 0o600)

    with pytest.raises(ConfigError, match="owner alone"):
        read_targets(tmp_path / "pipe")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9000/x", "http://127.9.9.9/x", "http://localhost/x", "http://[::1]:80/x", "https://a.example",
        "https://api.telegram.org/bot123456:ABC-def_1/sendMessage", "https://a.example:8443/x?key=1-2&b=%20",
    ],
)  # fmt: skip
def test_these_addresses_are_taken(config_file, url):
    assert read_targets(config_file(one(url=url)))[0].url == url


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/x", "http://127.0.0.1.example.com/x", "http://127.0.0.256/x", "https://user:pw@a.example/x",
        "https://a.example\\@b.example/x", "ftp://a.example/x", "https:///x", "https://a.example/x y", "https://ä.example",
        "https://a.example/x#y", "https://a.example\n", "http://2130706433/",
    ],
)  # fmt: skip
def test_these_addresses_are_refused_without_being_quoted(config_file, url):
    with pytest.raises(ConfigError) as caught:
        read_targets(config_file(one(url=url)))

    assert url not in caught.value.message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param("{", "not JSON", id="no-json"),
        pytest.param(f'{{"targets": "{TOKEN}', "not JSON", id="cut-off-behind-a-token"),
        pytest.param([], "must hold", id="a-list"),
        pytest.param({"targets": []}, "must hold", id="no-target"),
        pytest.param({"targets": [HOOK]}, "target 1 must be an object", id="a-bare-address"),
        pytest.param({**one(), "language": "en"}, "no setting 'language'", id="unknown-setting"),
        pytest.param(one(colour=TOKEN), "takes no 'colour'", id="unknown-field"),
        pytest.param(one(secret=TOKEN), "takes no 'secret'", id="a-secret-that-nobody-uses"),
        pytest.param(one(format="slack"), "must be one of", id="unknown-format"),
        pytest.param(one(format="telegram"), "chat_id is missing", id="telegram-without-chat"),
        pytest.param(one(url=""), "url is missing", id="no-address"),
        pytest.param(one(url=[TOKEN]), "must be text", id="an-address-that-is-no-text"),
        pytest.param(one(lang="de"), "lang must be", id="language"),
        pytest.param(one(events=["alarms"]), "events must be", id="events"),
        pytest.param(one(events=[]), "events must be", id="no-events"),
        pytest.param({"targets": one(name="a")["targets"] * 2}, "same name", id="twice"),
    ],
)
def test_what_is_wrong_is_named_without_a_secret(config_file, content, words):
    with pytest.raises(ConfigError, match=words) as caught:
        read_targets(config_file(content))

    assert TOKEN not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        read_targets(tmp_path / "absent.json")


def test_no_secret_stands_in_a_targets_repr(config_file):
    content = one(format="feishu", secret="SECRETabcdefgh")
    (target,) = read_targets(config_file(content))

    assert TOKEN not in repr(target)
    assert "SECRETabcdefgh" not in repr(target)
    assert {HOOK, TOKEN, "SECRETabcdefgh"} <= set(target.secrets)
