"""User data events of the simulated Binance, as untidy as the real ones.

Shapes: https://github.com/binance/binance-spot-api-docs/blob/master/user-data-stream.md
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any

from copytrade_core.sim import Change, Connection, SimAccount, SimOrder, Step, World
from copytrade_core.sim.faults import Untidiness

from .sim_rules import EXCHANGE, fmt

EVENT_FAULTS = {
    "report_lost": "the last execution report of an order never comes",
    "report_duplicated": "an execution report comes twice; with count null: every frame twice",
    "reports_reordered": "the reports of one order come last first",
    "reports_delayed": "the reports of one order come late (params: seconds = 2)",
    "position_lost": "a balance event never comes",
    "position_delayed": "a balance event comes late (params: seconds = 1)",
    "position_first": "a balance event comes before the reports of its cause",
    "position_merged": "a balance event comes late, with all that happened meanwhile (params: seconds = 1)",
    "altered_event": "a field of an event is replaced (params: field, raw = JSON text; no raw: removed)",
}


@dataclass(slots=True)
class Subscription:
    """One account on one connection."""

    id: int
    connection: Connection
    account: SimAccount
    by_logon: bool
    silent: bool = False
    free_at: float = 0.0  # the loop's time until which earlier events are on their way: order within a stream is kept


class UserStreams:
    """Who listens to which account, and the delivery of what happens there."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._by_account: dict[str, list[Subscription]] = defaultdict(list)

    def add(self, subscription: Subscription) -> None:
        self._by_account[subscription.account.id].append(subscription)

    def remove(self, subscription: Subscription) -> None:
        self._by_account[subscription.account.id].remove(subscription)

    def of(self, account_id: str) -> list[Subscription]:
        return self._by_account.get(account_id, [])

    def push(self, change: Change) -> None:
        """Tell the subscribers of the account what happened."""
        subscriptions = [one for one in self.of(change.account.id) if not one.silent]
        if not subscriptions:
            return
        world, account = self._world, change.account.id
        untidiness = world.untidiness[EXCHANGE]
        event_ms = max(world.now_ms(EXCHANGE), change.time_ms)
        reports = [_report(change, step, event_ms) for step in change.steps]
        if change.asset:
            reports = [
                {
                    "e": "balanceUpdate",
                    "E": event_ms,
                    "a": change.asset,
                    "d": fmt(change.delta),
                    "T": change.time_ms,
                }
            ]
        lateness = 0.0
        if fault := self._fault("reports_delayed", account):
            lateness = fault.number("seconds", 2) * 1000
        if self._fault("reports_reordered", account):
            reports.reverse()
        texts = [self._text(report, account) for report in reports]
        if self._lost(account, change):
            texts.pop()
        position = self._position(change.account, change.balances, change.time_ms, event_ms)
        for subscription in subscriptions:
            self._deliver(subscription, texts, lateness, untidiness)
        self._push_position(subscriptions, position, change, untidiness)

    def _lost(self, account: str, change: Change) -> bool:
        # The last report is the one that matters: it says how much was filled.
        return bool(change.steps) and self._fault("report_lost", account) is not None

    def _deliver(self, subscription: Subscription, texts: list[str], lateness: float, untidiness: Untidiness) -> None:
        world, account = self._world, subscription.account.id
        if not world.chance(f"reply/{account}", untidiness.event_before_reply):
            lateness += 1 + 4 * world.random_for(f"reply/{account}").random()
        if world.chance(f"report/{account}", untidiness.report_delayed):
            lateness += self._some_ms(account, untidiness)
        for text in texts:
            if world.chance(f"report/{account}", untidiness.report_lost):
                continue
            twice = world.chance(f"report/{account}", untidiness.report_duplicated) or self._fault(
                "report_duplicated", account
            )
            for _ in range(2 if twice else 1):
                self._send_in_order(subscription, text, lateness)

    def _push_position(
        self, subscriptions: list[Subscription], position: str, change: Change, untidiness: Untidiness
    ) -> None:
        world, account = self._world, change.account
        purpose = f"position/{account.id}"
        if self._fault("position_lost", account.id) or world.chance(purpose, untidiness.position_lost):
            return
        merged = self._fault("position_merged", account.id)
        if merged or world.chance(purpose, untidiness.position_merged):
            after_ms = merged.number("seconds", 1) * 1000 if merged else self._some_ms(account.id, untidiness)
            asyncio.get_running_loop().call_later(after_ms / 1000, self._push_merged, account, change)
            return
        first = self._fault("position_first", account.id) or world.chance(purpose, untidiness.position_first)
        late_ms = 0.0
        if fault := self._fault("position_delayed", account.id):
            late_ms = fault.number("seconds", 1) * 1000
        elif world.chance(purpose, untidiness.position_delayed):
            late_ms = self._some_ms(account.id, untidiness)
        for subscription in subscriptions:
            if first:
                self._send(subscription, position)
            elif late_ms:
                # Not in order on purpose: what happens later may well be told before it.
                subscription.connection.later(late_ms, partial(self._send, subscription, position))
            else:
                self._send_in_order(subscription, position, 0)

    def _push_merged(self, account: SimAccount, change: Change) -> None:
        balances = {asset: (account.free(asset), account.locked(asset)) for asset in change.balances}
        text = self._position(account, balances, account.updated_ms, self._world.now_ms(EXCHANGE))
        for subscription in self.of(account.id):
            if not subscription.silent:
                self._send(subscription, text)

    def _some_ms(self, account: str, untidiness: Untidiness) -> float:
        return self._world.random_for(f"delay/{account}").uniform(untidiness.delay_min_ms, untidiness.delay_max_ms)

    def _fault(self, name: str, account: str) -> Any:
        return self._world.faults.take((name,), EXCHANGE, account)

    def _position(
        self, account: SimAccount, balances: dict[str, tuple[Decimal, Decimal]], u: int, event_ms: int
    ) -> str:
        rows = [{"a": asset, "f": fmt(free), "l": fmt(locked)} for asset, (free, locked) in balances.items()]
        return self._text({"e": "outboundAccountPosition", "E": event_ms, "u": u, "B": rows}, account.id)

    def _text(self, event: dict[str, Any], account: str) -> str:
        fault = self._fault("altered_event", account)
        return altered(event, fault.params) if fault else dumps(event)

    def _send_in_order(self, subscription: Subscription, text: str, late_ms: float) -> None:
        now = asyncio.get_running_loop().time()
        due = max(now + late_ms / 1000, subscription.free_at)
        if due <= now:
            self._send(subscription, text)
            return
        # Timers of equal time have no order: each comes a microsecond after the one before.
        subscription.free_at = due + 1e-6
        subscription.connection.at(due, partial(self._send, subscription, text))

    def _send(self, subscription: Subscription, text: str) -> None:
        if not subscription.silent and subscription in self.of(subscription.account.id):
            subscription.connection.send(f'{{"subscriptionId":{subscription.id},"event":{text}}}')


def dumps(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def altered(value: dict[str, Any], params: dict[str, Any]) -> str:
    """Return *value* as JSON with one top-level field replaced by raw text, or removed."""
    name, mark = str(params.get("field", "")), "\x00raw\x00"
    changed = {**value, name: mark} if "raw" in params else {k: v for k, v in value.items() if k != name}
    return dumps(changed).replace(json.dumps(mark), str(params.get("raw", "")))


def _report(change: Change, step: Step, event_ms: int) -> dict[str, Any]:
    order = change.order
    assert isinstance(order, SimOrder)
    fill = step.fill
    cancelled = step.execution == "CANCELED"
    report: dict[str, Any] = {
        "e": "executionReport",
        "E": event_ms,
        "s": order.symbol,
        "c": order.extra.get("cancel_id", "web_cancel") if cancelled else order.client_order_id,
        "S": order.side,
        "o": order.type,
        "f": "GTC",
        "q": fmt(order.quantity),
        "p": fmt(order.price or Decimal(0)),
        "P": "0.00000000",
        "F": "0.00000000",
        "g": -1,
        "C": order.client_order_id if cancelled else "",
        "x": step.execution,
        "X": step.status,
        "r": "NONE",
        "i": order.order_id,
        "l": fmt(fill.quantity) if fill else "0.00000000",
        "z": fmt(step.executed_base),
        "L": fmt(fill.price) if fill else "0.00000000",
        "n": fmt(fill.fee) if fill else "0",
        "N": fill.fee_asset if fill else None,
        "T": change.time_ms,
        "t": fill.trade_id if fill else -1,
        "I": step.execution_id,
        "w": step.execution == "NEW" or (order.type == "LIMIT" and step.status == "PARTIALLY_FILLED"),
        "m": bool(fill and fill.maker),
        "M": fill is not None,
        "O": order.created_ms,
        "Z": fmt(step.executed_quote),
        "Y": fmt(fill.quote) if fill else "0.00000000",
        "Q": fmt(order.sent_quote or Decimal(0)),
        "W": order.created_ms,
        "V": order.extra.get("selfTradePreventionMode", "EXPIRE_MAKER"),
    }
    if step.execution == "EXPIRED":
        report["eR"] = order.expiry_reason
    for letter, name in (("j", "strategyId"), ("J", "strategyType")):
        if name in order.extra:
            report[letter] = int(order.extra[name])
    return report
