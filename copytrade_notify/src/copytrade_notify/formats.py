"""How each robot wants to be told, and what its answers mean.

DingTalk: https://open.dingtalk.com/document/robots/custom-robot-access. Feishu and Lark:
https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot. WeCom:
https://developer.work.weixin.qq.com/document/path/91770. Telegram: https://core.telegram.org/bots/api#sendmessage.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

if TYPE_CHECKING:
    from .config import Target

LONGEST_WAIT_SEC = 60


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an answer means: delivered, or why not and what to do."""

    delivered: bool
    reason: str = ""
    again: bool = False  # a further attempt may help
    wait_sec: int = 0  # asked for by the other side


def _plain(target: Target, text: str, events: Sequence[Mapping[str, Any]], now_ms: int) -> tuple[str, Any]:
    return target.url, {"installation": target.installation, "text": text, "count": len(events), "events": events}


def _dingtalk(target: Target, text: str, events: Sequence[Mapping[str, Any]], now_ms: int) -> tuple[str, Any]:
    url = target.url
    if target.secret:
        sign = _sign(target.secret, f"{now_ms}\n{target.secret}")
        url += ("&" if "?" in url else "?") + urlencode({"timestamp": now_ms, "sign": sign})
    return url, {"msgtype": "text", "text": {"content": text}}


def _feishu(target: Target, text: str, events: Sequence[Mapping[str, Any]], now_ms: int) -> tuple[str, Any]:
    body: dict[str, Any] = {"msg_type": "text", "content": {"text": text}}
    if target.secret:
        seconds = str(now_ms // 1000)
        # Not as DingTalk does it: here time and secret are the key, and nothing is signed.
        body |= {"timestamp": seconds, "sign": _sign(f"{seconds}\n{target.secret}", "")}
    return target.url, body


def _wecom(target: Target, text: str, events: Sequence[Mapping[str, Any]], now_ms: int) -> tuple[str, Any]:
    return target.url, {"msgtype": "text", "text": {"content": text}}


def _telegram(target: Target, text: str, events: Sequence[Mapping[str, Any]], now_ms: int) -> tuple[str, Any]:
    return target.url, {"chat_id": target.chat_id, "text": text, "link_preview_options": {"is_disabled": True}}


FORMATS: Mapping[str, Callable[..., tuple[str, Any]]] = {
    "json": _plain,
    "dingtalk": _dingtalk,
    "feishu": _feishu,
    "wecom": _wecom,
    "telegram": _telegram,
}


def render(target: Target, text: str, events: Sequence[Mapping[str, Any]], now_ms: int) -> tuple[str, bytes]:
    """Return the address, signed where the target has a secret, and the body to post."""
    url, body = FORMATS[target.format](target, text, events, now_ms)
    return url, json.dumps(body, ensure_ascii=False, default=str).encode()


def judge(format_: str, status: int, retry_after: str, body: bytes) -> Verdict:
    """Say what an answer means. A reason holds the robot's code, never its words: they may repeat what we sent."""
    wait_sec = _seconds(retry_after)
    try:
        answer = json.loads(body, parse_float=Decimal) if format_ != "json" else None
    except ValueError:
        answer = None
    fields = answer if isinstance(answer, dict) else {}
    parameters = fields.get("parameters")
    if isinstance(parameters, dict):
        wait_sec = max(wait_sec, _seconds(str(parameters.get("retry_after", ""))))
    # Feishu's answer has had both spellings.
    code = next((fields[name] for name in ("errcode", "code", "StatusCode", "error_code") if name in fields), None)
    said = f"code {code}" if isinstance(code, int) else ""
    if not 200 <= status < 300:
        reason = ", ".join(filter(None, (f"HTTP {status}", said)))
        return Verdict(False, reason, again=status == 429 or status >= 500, wait_sec=wait_sec)
    if format_ == "json" or code == 0 or (format_ == "telegram" and fields.get("ok") is True):
        return Verdict(True)
    # A robot's own refusal, "too many messages" among them: trying again at once would not help.
    return Verdict(False, said or "its answer is not the robot's")


def _sign(key: str, text: str) -> str:
    return base64.b64encode(hmac.new(key.encode(), text.encode(), hashlib.sha256).digest()).decode()


def _seconds(text: str) -> int:
    return min(int(text), LONGEST_WAIT_SEC) if text.isascii() and text.isdecimal() and len(text) < 9 else 0
