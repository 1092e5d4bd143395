"""Reasons not to trade: each begins once, a later end replaces an earlier one, what lasts stands before what passes."""

from __future__ import annotations

import pytest

from copytrade_core.clock import wall_text
from copytrade_core.halts import Halts
from fakes import FakeClock

LABEL = "memory/test"


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def told():
    return []


@pytest.fixture
def halts(clock, told):
    return Halts(clock, lambda halt, began: told.append((halt.kind, halt.until, began)))


def ban(halts: Halts, until: str) -> None:
    halts.begin("banned:memory/test", "shut out", f"the ban, at {until}", exchange=LABEL, until=until)


def test_a_reason_begins_once_and_keeps_its_since(halts, clock, told):
    halts.begin("journal", "the disk is full", "a restart")
    since = wall_text(clock.wall_ms())
    clock.advance(60)
    halts.begin("journal", "the disk is still full", "a restart")

    (halt,) = halts.all()
    assert (halt.reason, halt.since) == ("the disk is full", since)
    assert told == [("journal", "", True)]
    assert halts.of_all() == halt


def test_a_ban_that_grows_ends_later_and_one_that_shrinks_does_not_end_sooner(halts, clock, told):
    ban(halts, "2026-11-28T08:40:00.000Z")
    since = halts.all()[0].since
    clock.advance(60)
    ban(halts, "2026-11-28T08:44:00.000Z")
    ban(halts, "2026-11-28T08:41:00.000Z")

    (halt,) = halts.all()
    assert (halt.since, halt.until) == (since, "2026-11-28T08:44:00.000Z")
    assert "08:44" in halt.ends_when
    assert [until[11:16] for _, until, _ in told] == ["08:40", "08:44"]
    assert halts.of_all() is None


def test_what_does_not_end_by_itself_is_named_before_what_does(halts):
    ban(halts, "2026-11-28T08:40:00.000Z")
    halts.begin("certificate:memory/test", "the certificate is bad", "a restart", exchange=LABEL)

    assert halts.of(LABEL).kind == "certificate:memory/test"
    halts.end("certificate:memory/test")
    assert halts.of(LABEL).kind == "banned:memory/test"
    halts.end("banned:memory/test")
    assert halts.of(LABEL) is None
