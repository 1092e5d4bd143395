"""Plug-ins that watch what happens: each is told everything, and none can keep it from the others."""

from __future__ import annotations

import queue
from decimal import Decimal

import pytest

from copytrade_core import hookimpl
from copytrade_core.clock import Clock
from copytrade_core.feed import Feed
from copytrade_core.plugins import Plugins
from copytrade_core.store.journal import Journal


class Watcher:
    def __init__(self):
        self.told = queue.Queue()

    @hookimpl
    def copytrade_on_event(self, event):
        self.told.put(event)


class Counter:
    """Takes none of the parameters."""

    def __init__(self):
        self.told = queue.Queue()

    @hookimpl
    def copytrade_on_event(self):
        self.told.put("something happened")


class Breaker:
    def __init__(self, error):
        self.error = error

    @hookimpl
    def copytrade_on_event(self, event):
        raise self.error


@pytest.fixture
def feed(tmp_path):
    """A feed that tells *plugins*; started here, stopped at the end."""
    opened = []

    def start(*observers):
        plugins = Plugins()
        for number, observer in enumerate(observers):
            plugins.register(observer, f"observer {number}")
        journal = Journal.in_data_dir(tmp_path, None, lambda error: None)
        opened.append((Feed(Clock(), journal, plugins), journal))
        opened[0][0].start()
        return opened[0][0]

    yield start
    for started, journal in opened:
        started.stop()
        journal.close()


def test_an_observer_is_told_what_was_journalled_with_amounts_as_text(feed):
    watcher = Watcher()

    feed(watcher).publish("copy", "filled", what="copy_moved", filled_base=Decimal("0.00000001"))

    event = watcher.told.get(timeout=10)
    assert (event["kind"], event["text"], event["filled_base"]) == ("copy", "filled", "0.00000001")
    assert event["seq"] == 1
    assert event["t"].endswith("Z")


def test_an_observer_takes_only_the_parameters_that_it_wants(feed):
    counter = Counter()

    feed(counter).publish("copy", "filled", what="copy_moved")

    assert counter.told.get(timeout=10) == "something happened"


@pytest.mark.parametrize("error", [RuntimeError("no connection"), SystemExit(1)], ids=["fails", "quits"])
def test_an_observer_that_fails_keeps_nothing_from_the_others(feed, error):
    watchers = Watcher(), Watcher()
    started = feed(watchers[0], Breaker(error), watchers[1])

    started.publish("copy", "first", what="copy_moved")
    started.publish("copy", "second", what="copy_moved")

    for watcher in watchers:
        assert [watcher.told.get(timeout=10)["text"] for _ in range(2)] == ["first", "second"]
