"""Keys over time: rights that were added, keys that run out, keys that work from everywhere."""

from __future__ import annotations

import time

import pytest

from copytrade_core import AuthenticationFailed, KeyPermissions, KeyWarning, OutcomeUnknown
from copytrade_core.accounts import key_care
from copytrade_core.clock import NS_PER_SEC
from copytrade_core.views import AccountState
from memory_exchange import MemoryExchange, engine, keys, until

DAY_MS = 24 * 3600 * 1000
GOOD = KeyPermissions(can_read=True, can_trade=True, can_withdraw=False, can_transfer=False, ip_restricted=True)


@pytest.fixture
def world(monkeypatch) -> MemoryExchange:
    monkeypatch.setattr(key_care, "START_SEC", 0.0)
    monkeypatch.setattr(key_care, "PAUSE_SEC", 0.005)
    monkeypatch.setattr(key_care, "LONGEST_REST_SEC", 0.02)
    world = MemoryExchange()
    for name in ("leader", "anna", "bela"):
        world.open(name, "1000", "0.1").permissions = GOOD
    return world


@pytest.fixture
def known(world, tmp_path):
    """A data directory with a leader and two followers, verified in an earlier run."""
    with engine(world, tmp_path / "data") as trader:
        for name in ("anna", "bela"):
            trader.add_account(name, "memory", "test", keys(name))
        trader.set_leader("memory", "test", keys("leader"))
    world.asked_keys.clear()
    return tmp_path / "data"


def account(trader, name="anna"):
    return next(one for one in trader.list_accounts() if one.name == name)


def may(**changes) -> KeyPermissions:
    return KeyPermissions(
        **{name: getattr(GOOD, name) for name in GOOD.__dataclass_fields__} | changes,
    )


def all_asked(world):
    return until(lambda: {"leader", "anna", "bela"} <= set(world.asked_keys))


def alarms(trader, kind):
    return [event for event in trader.list_feed() if event.kind == "alarm" and event.data.get("reason_kind") == kind]


@pytest.mark.parametrize(
    ("right", "kind"), [({"can_withdraw": True}, "can_withdraw"), ({"can_transfer": True}, "can_transfer")]
)
def test_a_key_that_may_take_money_out_by_now_disables_its_account(world, known, right, kind):
    world.holders["anna"].permissions = may(**right)

    with engine(world, known) as trader:
        until(lambda: account(trader).state is AccountState.DISABLED)

        assert account(trader).error_kind == kind
        assert "make one that may only read and trade spot" in account(trader).error
        all_asked(world)
        assert account(trader, "bela").state is AccountState.ACTIVE


def test_every_key_is_asked_about_once_after_a_start_and_again_within_a_day(world, known):
    with engine(world, known) as trader:
        all_asked(world)
        due = until(lambda: len(trader._key_care._due_ns) == 3 and dict(trader._key_care._due_ns))

        assert sorted(world.asked_keys) == ["anna", "bela", "leader"]
        hours = [(due_ns - time.monotonic_ns()) // (3600 * NS_PER_SEC) for due_ns in due.values()]
        assert all(11 <= each <= 24 for each in hours)
        assert len(set(due.values())) == 3


def test_a_verify_counts_as_having_asked(world, known):
    world.open("cara", "1", "1")

    with engine(world, known) as trader:
        trader.add_account("cara", "memory", "test", keys("cara"))
        all_asked(world)

        assert "cara" not in world.asked_keys


def test_a_key_that_ends_soon_is_told_of_once_a_day(world, known):
    world.holders["anna"].permissions = may(expires_ms=world.now_ms() + 5 * DAY_MS + 60_000)

    for _ in range(2):
        world.asked_keys.clear()
        with engine(world, known) as trader:
            until(lambda t=trader: account(t).warnings)
            all_asked(world)
            until(lambda t=trader: alarms(t, "key_expires"))
            assert account(trader).state is AccountState.ACTIVE
            assert account(trader).warnings == (
                KeyWarning(kind="key_expires", text="its key ends in 5 days", data={"days": 5}),
            )

    with engine(world, known) as trader:
        assert [event.text for event in alarms(trader, "key_expires")] == [
            "anna: its key ends in 5 days: make a new one"
        ]


def test_a_key_that_ends_later_is_nobodys_worry(world, known):
    world.holders["anna"].permissions = may(expires_ms=world.now_ms() + 15 * DAY_MS)

    with engine(world, known) as trader:
        all_asked(world)

        assert account(trader).warnings == ()
        assert alarms(trader, "key_expires") == []


def test_a_key_without_an_address_is_shown_and_nobody_is_nagged(world, known):
    world.holders["anna"].permissions = may(ip_restricted=False)

    with engine(world, known) as trader:
        until(lambda: account(trader).warnings)

        finding = next(one for one in trader.doctor() if one.check == "account anna")
        assert finding.level == "warning"
        assert "works from any address" in finding.text
        assert [event for event in trader.list_feed() if event.kind == "alarm"] == []


def test_the_leader_with_too_many_rights_is_an_alarm_and_still_heard(world, known):
    world.holders["leader"].permissions = may(can_withdraw=True)

    with engine(world, known) as trader:
        until(lambda: alarms(trader, "can_withdraw"))

        until(lambda: trader.get_leader().connected)
        assert (
            "may withdraw" in next(one for one in trader.doctor() if one.check == "leader" and one.level != "ok").text
        )


def test_a_key_that_is_refused_is_verified_and_then_disabled(world, known):
    with engine(world, known) as trader:
        all_asked(world)
    world.holders["anna"].refused = AuthenticationFailed("the exchange does not know this key", kind="invalid_key")

    with engine(world, known) as trader:
        until(lambda: account(trader).error_kind == "invalid_key")


def test_no_answer_is_no_finding_and_is_asked_again(world, known, monkeypatch):
    monkeypatch.setattr(key_care, "RETRY_SEC", 0.01)
    failing = [OutcomeUnknown("no answer"), RuntimeError("a bug")]

    with engine(world, known) as trader:
        until(lambda: len(trader._key_care._due_ns) == 3)  # each is judged, too: nothing is put off after this
        connector = trader._accounts.find(account(trader).id).connector
        asked = []

        def answer():
            asked.append(1)
            if failing:
                raise failing.pop()
            return may(ip_restricted=False)

        monkeypatch.setattr(connector, "key_permissions", answer)
        account_id = account(trader).id
        with trader._key_care._lock:
            trader._key_care._due_ns[account_id] = 0

        until(lambda: account(trader).warnings)
        assert len(asked) == 3
        assert account(trader).state is AccountState.ACTIVE
        assert trader.status().halts == ()


def test_a_verify_says_what_the_exchange_does_not_tell(world, known):
    world.holders["anna"].permissions = KeyPermissions(can_read=True, can_trade=True)

    with engine(world, known) as trader:
        found = trader.verify_account(account(trader).id)

        assert found.ok
        assert [warning.kind for warning in found.warnings] == ["key_withdraw_unknown"]
        assert "withdraw or transfer" in found.warnings[0].text
        assert account(trader).warnings == ()  # on a test network this is so of every key: it is no news each time


@pytest.mark.parametrize("right", ["can_withdraw", "can_transfer"])
def test_a_key_with_too_many_rights_is_refused_even_if_its_plug_in_does_not_mind(world, known, right):
    with engine(world, known) as trader:
        world.holders["anna"].permissions = may(**{right: True})

        found = trader.verify_account(account(trader).id)

        assert (found.ok, found.error_kind) == (False, right)
        assert account(trader).state is AccountState.DISABLED


@pytest.mark.parametrize("right", ["can_withdraw", "can_transfer"])
def test_a_new_key_with_too_many_rights_does_not_replace_the_old_one(world, known, right):
    with engine(world, known) as trader:
        before = account(trader)
        world.holders["anna"].permissions = may(**{right: True})

        with pytest.raises(AuthenticationFailed) as caught:
            trader.update_account(before.id, before.version, credentials=keys("anna"))

        assert caught.value.kind == right
        assert account(trader).version == before.version


@pytest.mark.parametrize("right", ["can_withdraw", "can_transfer"])
def test_a_leaders_key_with_too_many_rights_is_refused(world, known, right):
    with engine(world, known) as trader:
        leader_key = trader.get_leader().key_fingerprint
        world.open("boss", "1000", "1").permissions = may(**{right: True})

        with pytest.raises(AuthenticationFailed) as caught:
            trader.set_leader("memory", "test", keys("boss"))

        assert caught.value.kind == right
        assert trader.get_leader().key_fingerprint == leader_key


def test_setting_the_leader_says_what_is_to_be_seen_to_about_its_key(world, known):
    world.open("boss", "1000", "1").permissions = may(can_trade=None, can_withdraw=None, ip_restricted=False)

    with engine(world, known) as trader:
        view = trader.set_leader("memory", "test", keys("boss"))

        assert [warning.kind for warning in view.warnings] == ["key_any_address", "key_withdraw_unknown"]
        # What a test network never tells is said once; what can be mended is shown until it is.
        assert [warning.kind for warning in trader.get_leader().warnings] == ["key_any_address"]
        assert trader.status().leader.warnings == trader.get_leader().warnings
