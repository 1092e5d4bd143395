"""The plug-in as the engine meets it: found, checked, told, and tried by hand."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from copytrade_core.cli.main import main
from copytrade_core.clock import Clock
from copytrade_core.feed import Feed
from copytrade_core.kinds import event_sentence
from copytrade_core.plugins import Plugins
from copytrade_core.settings import Settings
from copytrade_core.store.journal import Journal
from copytrade_core.store.vault import Vault
from copytrade_core.trader import CopyTrader
from copytrade_notify import plugin
from memory_exchange import MASTER_KEY, until


@pytest.fixture
def configured(robot, config_file, monkeypatch, quick):
    """The plug-in as a new process has it."""

    def configure(**changes):
        target = {"format": "json", "url": f"{robot.url}/hook", "lang": "en", **changes}
        monkeypatch.setenv("COPYTRADE_NOTIFY", str(config_file({"targets": [target]})))

    plugin.configured_targets.cache_clear()
    plugin._notifier.cache_clear()
    yield configure
    if plugin._notifier.cache_info().currsize:
        plugin._notifier().stop()
    plugin.configured_targets.cache_clear()
    plugin._notifier.cache_clear()


def test_an_alarm_of_the_engine_arrives(configured, robot, tmp_path):
    configured()
    plugins = Plugins()
    plugins.register(plugin, "notify")
    assert not plugins.reports[0].error
    journal = Journal.in_data_dir(tmp_path, None, lambda error: None)
    feed = Feed(Clock(), journal, plugins)
    feed.start()
    try:
        feed.publish("account", "nobody asked for this", what="account_paused")
        feed.alarm("the leader is not heard", what="leader_not_heard")

        (event,) = robot.next().body["events"]
        assert (event["kind"], event["text"], event["what"]) == ("alarm", "the leader is not heard", "leader_not_heard")
    finally:
        feed.stop()
        journal.close()


def test_a_wrong_file_is_shown_with_the_plug_in_and_nothing_of_it_runs(configured):
    configured(url="http://example.com/TOKEN")
    plugins = Plugins.discover()

    (error,) = (report.error for report in plugins.reports if report.name == "notify")
    assert "url must be an https address" in error
    assert "TOKEN" not in error
    assert not plugins.hook.copytrade_on_event.get_hookimpls()
    assert "binance" in plugins.exchanges


def test_without_a_file_it_is_there_and_says_nothing(configured, monkeypatch):
    monkeypatch.delenv("COPYTRADE_NOTIFY", raising=False)
    plugins = Plugins()
    plugins.register(plugin, "notify")

    assert not plugins.reports[0].error
    plugin.copytrade_on_event({"kind": "alarm", "text": "x"})


def test_the_command_tries_every_target(configured, robot):
    configured(name="ops")

    done = CliRunner().invoke(main, ["notify-test"])

    assert (done.exit_code, done.output) == (0, "ops (json): delivered\n")
    assert "a test: notices arrive here" in robot.next().body["text"]


def test_the_command_says_which_target_failed(configured, robot):
    configured(name="ops")
    robot.refuse(403)

    done = CliRunner().invoke(main, ["notify-test"])

    assert (done.exit_code, done.output) == (1, "ops (json): HTTP 403\n")


def test_the_command_says_that_nothing_is_configured(configured, monkeypatch):
    monkeypatch.delenv("COPYTRADE_NOTIFY", raising=False)

    done = CliRunner().invoke(main, ["notify-test"])

    assert done.exit_code == 1
    assert "COPYTRADE_NOTIFY is not set" in done.output


def test_a_wrong_file_is_an_alarm_when_the_engine_starts(configured, tmp_path, caplog):
    configured(url="http://example.com/TOKEN")
    data_dir = tmp_path / "data"
    data_dir.mkdir(mode=0o700)
    Vault.create(data_dir / "vault.json", MASTER_KEY)

    with CopyTrader.open(
        settings=Settings(data_dir=data_dir), plugins=Plugins.discover(), master_key=MASTER_KEY
    ) as trader:
        trader.start()
        (told,) = until(lambda: [event for event in trader.list_feed() if event.data.get("name") == "notify"])

    assert (told.kind, told.data["what"]) == ("alarm", "plugin_failed")
    assert "url must be an https address" in told.text
    assert "TOKEN" not in told.text
    assert any("url must be an https address" in record.getMessage() for record in caplog.records)
    assert event_sentence(told.text, told.data, "zh").startswith("插件 notify 无法工作：")
