"""Named faults: armed by tests and the admin API, consumed one by one; and the untidiness that is always on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

# Faults of the wire that every dialect offers on its HTTP replies (`wire.misbehave`). Each may be given
# ``params``: ``on`` = order (default), query or any; ``executed`` = false lets the order not happen.
WIRE_FAULTS: Mapping[str, str] = {
    "reply_lost_after_execution": "done, then the connection is cut without a reply",
    "reply_lost_before_execution": "the connection is cut, nothing was done",
    "no_answer_executed": "done, no answer ever comes (params: seconds = 60 until it is cut)",
    "no_answer_not_executed": "nothing was done, no answer ever comes (params: seconds)",
    "late_answer": "done at once, answered late (params: seconds = 11)",
    "http_5xx_executed": "done, then a gateway's page (params: status = 504, body = html or empty)",
    "http_5xx_not_executed": "a gateway's page, nothing was done (params: status, body)",
    "html_200": "done, status 200 with an HTML page",
    "empty_200": "done, status 200 with no body",
    "wrong_shape_200": "done, status 200 with JSON of another shape",
    "short_body": "done, fewer bytes than Content-Length says, then closed",
    "drip": "done, the reply comes byte by byte (params: seconds_per_byte = 1)",
    "sliced": "done, the reply comes in slices of a few bytes (params: seconds_per_byte = 0.002)",
    "redirect": "not done, sent elsewhere (params: status = 307, location)",
    "garbage": "done, bytes that are no HTTP",
    "closed_after_reply": "answered well, then the kept-alive connection is closed without saying so",
}
NOT_EXECUTED = {"reply_lost_before_execution", "no_answer_not_executed", "http_5xx_not_executed", "redirect"}


class UnknownFault(ValueError):
    """There is no such fault, or it cannot be armed as asked."""


@dataclass(slots=True, kw_only=True)
class Fault:
    """One armed fault. ``left`` counts down (``None``: until cleared); filters of ``None`` fit all."""

    name: str
    exchange: str | None = None
    account: str | None = None
    left: int | None = 1
    probability: float = 1.0
    until_ns: int | None = None
    params: dict[str, Any] = field(default_factory=dict)
    taken: int = 0

    @property
    def executed(self) -> bool:
        """Whether the request is to be carried out before the wire misbehaves."""
        return self.name not in NOT_EXECUTED and bool(self.params.get("executed", True))

    def number(self, name: str, default: float) -> float:
        return float(self.params.get(name, default))


class FaultBoard:
    """What is armed. A fault is taken in the order of arming; chance decides by the world's seed."""

    def __init__(self, chance: Callable[[str, float], bool], monotonic_ns: Callable[[], int]) -> None:
        self._chance = chance
        self._monotonic_ns = monotonic_ns
        self._armed: list[Fault] = []
        self._known: dict[str, dict[str, str]] = {}

    def learn(self, exchange: str, names: Mapping[str, str]) -> None:
        """Register the faults that an exchange's dialect can do, each with one line of explanation."""
        self._known[exchange] = dict(names)

    def names(self, exchange: str | None = None) -> dict[str, str]:
        known = [self._known.get(exchange, {})] if exchange else list(self._known.values())
        return {name: text for table in known for name, text in sorted(table.items())}

    def arm(
        self,
        name: str,
        *,
        exchange: str | None = None,
        account: str | None = None,
        count: int | None = 1,
        probability: float = 1.0,
        duration_ms: int | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> Fault:
        """Arm a fault *count* times (``None``: until cleared or *duration_ms* are over).

        :raises UnknownFault: nobody does that fault; the message lists those there are.
        """
        known = self.names(exchange)
        if name not in known:
            raise UnknownFault(f"no fault {name!r}; there are: {', '.join(sorted(known))}")
        if (count is not None and count < 1) or not 0 < probability <= 1:
            raise UnknownFault("count must be at least 1 and probability above 0, at most 1")
        until_ns = None if duration_ms is None else self._monotonic_ns() + duration_ms * 1_000_000
        fault = Fault(
            name=name,
            exchange=exchange,
            account=account,
            left=count,
            probability=probability,
            until_ns=until_ns,
            params=dict(params or {}),
        )
        self._armed.append(fault)
        return fault

    def clear(self, name: str | None = None) -> None:
        self._armed = [fault for fault in self._armed if name is not None and fault.name != name]

    @property
    def any_armed(self) -> bool:
        return bool(self._armed)

    def armed(self) -> list[dict[str, Any]]:
        return [asdict(fault) for fault in self._armed]

    def take(
        self, names: Collection[str], exchange: str, account: str | None = None, on: str | None = None
    ) -> Fault | None:
        """Return the first armed fault among *names* that fits, counted down; usually ``None``.

        :param on: order or query: what kind of request asks. Faults are for orders unless their params say otherwise.
        """
        if not self._armed:
            return None
        for fault in self._armed:
            if (
                fault.name not in names
                or fault.exchange not in (None, exchange)
                or fault.account not in (None, account)
                or (on is not None and fault.params.get("on", "order") not in (on, "any"))
            ):
                continue
            if fault.until_ns is not None and self._monotonic_ns() > fault.until_ns:
                self._armed.remove(fault)
                return self.take(names, exchange, account, on)
            if fault.probability < 1 and not self._chance(f"fault/{fault.name}/{account}", fault.probability):
                continue
            fault.taken += 1
            if fault.left is not None:
                fault.left -= 1
                if fault.left == 0:
                    self._armed.remove(fault)
            return fault
        return None


@dataclass(slots=True, kw_only=True)
class Untidiness:
    """How untidy an exchange is without any fault armed: probabilities from 0 to 1, times in ms.

    The defaults are always on, since the real exchanges do all of this; each can be set by the admin API.
    """

    position_delayed: float = 0.15  # a balance event comes late
    position_merged: float = 0.10  # it comes only together with the next one
    position_lost: float = 0.03
    position_first: float = 0.15  # it comes before the reports of its cause
    report_duplicated: float = 0.05
    report_delayed: float = 0.05
    report_lost: float = 0.005  # on one connection only
    event_before_reply: float = 0.30
    snapshot_stale: float = 0.03  # a balance read is a little old, and says so by its time
    lookup_late: float = 0.05  # an order just sent is not found at first
    delay_min_ms: int = 5
    delay_max_ms: int = 250
    lookup_late_ms: int = 400
    fill_min_ms: int = 20  # exchanges that acknowledge first and fill later
    fill_max_ms: int = 500

    def set(self, changes: Mapping[str, Any]) -> None:
        """Set some of them. :raises UnknownFault: there is no such one, or the value is out of range."""
        names = {one.name for one in fields(self)}
        for name, value in changes.items():
            if name not in names:
                raise UnknownFault(f"no untidiness {name!r}; there are: {', '.join(sorted(names))}")
            in_ms = name.endswith("_ms")
            if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0 or (not in_ms and value > 1):
                raise UnknownFault(f"{name} must be a {'number of ms' if in_ms else 'probability from 0 to 1'}")
        for name, value in changes.items():
            setattr(self, name, int(value) if name.endswith("_ms") else float(value))

    def tidy(self) -> None:
        """Set every probability to 0, for a test that is about something else."""
        self.set({one.name: 0 for one in fields(self) if not one.name.endswith("_ms")})
