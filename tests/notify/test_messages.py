"""What a person reads: one line for what is alike, in Chinese or English, short."""

from __future__ import annotations

import pytest

from copytrade_notify.messages import TEXT_BYTES, category, compose, own_event


def failed(account="Anna", **changes):
    return {
        "seq": 1, "t": "2026-11-22T14:35:57.457Z", "kind": "copy", "text": "Anna BUY FAILED: too small", "side": "BUY",
        "state": "FAILED", "reason": "too small", "account": account, **changes,
    }  # fmt: skip


def alarm(text="the leader is not heard", **changes):
    return {"seq": 2, "t": "2026-11-22T14:36:00.000Z", "kind": "alarm", "text": text, **changes}


@pytest.mark.parametrize(
    ("event", "word"),
    [
        (failed(), "copy_failed"),
        (failed(state="REJECTED"), "copy_failed"),
        (failed(state="STALE"), "copy_failed"),
        (failed(state="FILLED"), "copy"),
        (alarm(), "alarm"),
        ({"kind": "halt"}, "halt"),
        ({"kind": "engine", "halt_kind": "journal"}, "halt"),
        ({"kind": "engine"}, "engine"),
    ],
)
def test_an_event_belongs_to_what_a_target_can_ask_for(event, word):
    assert category(event) == word


def test_a_hundred_alike_become_one_line_with_a_count():
    text = compose([failed(f"account {n}") for n in range(100)], "en")

    assert text.splitlines() == [
        "copytrade",
        "[copy failed ×100] 14:35:57Z BUY FAILED: too small "
        "(account 0, account 1, account 2, account 3, account 4 and 95 more)",
    ]


def test_what_differs_stays_apart():
    text = compose([failed(), alarm(), failed("Bob"), failed(reason="no balance"), alarm()], "en", "prod-1")

    assert text.splitlines() == [
        "copytrade prod-1",
        "[copy failed ×2] 14:35:57Z BUY FAILED: too small (Anna, Bob)",
        "[alarm ×2] 14:36:00Z the leader is not heard",
        "[copy failed] 14:35:57Z BUY FAILED: no balance (Anna)",
    ]


def test_in_chinese_everything_is_told_in_chinese():
    events = [
        failed("小王", reason_kind="insufficient_balance", reason="the account does not hold enough (43012: no money)"),
        failed("小李", reason_kind="insufficient_balance", reason="the free balance does not cover the order"),
        failed("小赵", state="SKIPPED", reason_kind="too_small", computed="0.00000012", asset="BTC"),
        failed("小孙", state="UNKNOWN", reason_kind="no_answer", reason="not known yet, the exchange is being asked"),
        alarm(what="leader_not_heard"),
        alarm(
            "小王 was disabled: it may withdraw",
            what="account_disabled",
            name="小王",
            reason_kind="can_withdraw",
            reason="it may withdraw",
        ),
        {"kind": "halt", "text": "halted", "what": "halt_began", "halt_kind": "clock:bitget/demo", "halt": "unsure"},
        {"kind": "engine", "text": "over", "what": "halt_ended", "halt_kind": "clock:bitget/demo", "halt": "unsure"},
        {"kind": "account", "text": "小王 was paused", "what": "account_paused", "name": "小王"},
    ]

    assert compose(events, "zh").splitlines() == [
        "copytrade",
        "[跟单失败 ×2] 14:35:57Z 买入 失败：可用余额不足（小王、小李）",
        "[跟单] 14:35:57Z 买入 跳过：按比例计算的数量（0.00000012 BTC）舍去后为 0，太小（小赵）",
        "[跟单] 14:35:57Z 买入 核对中：没有按时收到回应（小孙）",
        "[告警] 14:36:00Z 听不到主账户：所有连接都已中断，正在重连；请检查本机网络",
        "[告警] 14:36:00Z 小王 已停用：这个 API Key 可以提现，已被拒绝使用；"
        "新建一个只能读取和现货交易的 Key，并更换到该账户",
        "[交易停机] 已停机：无法确定 bitget/demo 的时间；两次测得的时间一致后自动恢复；请开启 NTP 时间同步",
        "[交易停机] 恢复交易：无法确定 bitget/demo 的时间",
        "[账户] 小王 已暂停",
    ]


def test_in_english_an_alarm_says_what_can_be_done():
    text = compose([alarm(what="leader_not_heard")], "en")

    assert text.splitlines()[1] == "[alarm] 14:36:00Z the leader is not heard; check this machine's network"


def test_what_the_table_does_not_know_is_told_in_the_words_that_came():
    events = [
        failed("小王"),
        failed("小李"),
        alarm("no connection"),
        own_event("down", target="ops", reason="HTTP 500"),
    ]

    text = compose(events, "zh", lost=3)

    assert text.splitlines() == [
        "copytrade",
        "[跟单失败 ×2] 14:35:57Z 买入 失败：too small（小王、小李）",
        "[告警] 14:36:00Z no connection",
        "[通知] 通知目标 ops 无法送达（HTTP 500）；恢复后会补发",
        "另有 3 条较早的通知因积压被丢弃",
    ]


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_a_message_stays_short_and_says_what_it_leaves_out(lang):
    text = compose([alarm(f"故障 {n} " * 20) for n in range(300)], lang)

    assert len(text.encode()) <= TEXT_BYTES
    assert text.splitlines()[-1] in {f"…… 还有 {n} 项" for n in range(300)} | {f"... and {n} more" for n in range(300)}


def test_one_long_line_is_cut_between_characters():
    text = compose([alarm("测" * 3000)], "zh")

    assert 400 < len(text.encode()) <= TEXT_BYTES


def test_a_name_cannot_start_a_line_or_turn_the_writing_direction():
    text = compose([failed("Anna\n[halt] all is lost\x1b[2J\u202eevil")], "en")

    assert text.splitlines()[1] == "[copy failed] 14:35:57Z BUY FAILED: too small (Anna [halt] all is lost [2J evil)"
    assert len(text.splitlines()) == 2


def test_an_event_of_a_kind_that_is_not_known_yet_is_shown_as_it_is():
    assert compose([{"kind": "new", "text": "something"}], "en").splitlines()[1] == "[new] something"
