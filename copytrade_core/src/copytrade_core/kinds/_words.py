"""Traders' words for states, sides and the like: English, Chinese."""

from __future__ import annotations

WORDS = {
    # of a copy
    "PLANNED": ("planned", "待发送"),
    "SUBMITTING": ("being sent", "发送中"),
    "NOT_SENT": ("not sent yet", "未发出，待重试"),
    "ACKED": ("accepted", "已接单"),
    "UNKNOWN": ("being checked", "核对中"),
    "FILLED": ("done", "成功"),
    "PARTLY_FILLED": ("partly filled", "部分成交"),
    "REJECTED": ("refused", "被拒绝"),
    "FAILED": ("failed", "失败"),
    "SKIPPED": ("skipped", "跳过"),
    "STALE": ("too old", "过期"),
    "NEEDS_PERSON": ("needs a person", "待人工处理"),
    # of a leader order
    "COPIED": ("copied", "已跟单"),
    "IGNORED": ("not copied", "不跟单"),
    "UNDECIDED": ("undecided", "待人工给出比例"),
    # of an account
    "ACTIVE": ("active", "跟单中"),
    "PAUSED": ("paused", "已暂停"),
    "DISABLED": ("disabled", "已停用"),
    "CREATED": ("created", "已创建"),
    "VERIFIED": ("verified", "已验证"),
    # of an order
    "BUY": ("buy", "买入"),
    "SELL": ("sell", "卖出"),
    # environments, and where a balance comes from
    "prod": ("production", "正式"),
    "test": ("test network", "测试网"),
    "demo": ("demo", "模拟"),
    "pushed": ("pushed", "推送"),
    "read": ("read", "读取"),
    "fills": ("from fills", "由成交推算"),
    # of a finding
    "ok": ("in order", "正常"),
    "warning": ("warning", "注意"),
    "error": ("to be mended", "需处理"),
}
