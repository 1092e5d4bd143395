"""The exchanges in use: opened once each, their clocks kept, their rules cached."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from .clock import NS_PER_SEC, Clock, ExchangeClock
from .connector import Exchange, ExchangeContext, ThreadPoolGateway
from .errors import CopytradeError
from .model import Environment, SymbolRules
from .plugins import Plugins
from .settings import Settings
from .workers import OnDeath, Ticker

log = logging.getLogger(__name__)

CLOCK_EVERY_SEC = 60.0
CLOCK_RETRY_SEC = 2.0
RULES_EVERY_SEC = 600.0


@dataclass(slots=True, eq=False)
class OpenExchange:
    """One exchange in one environment, as the engine uses it."""

    id: str
    environment: Environment
    exchange: Exchange
    clock: ExchangeClock
    rules: SymbolRules | None = None
    clock_due_ns: int = 0
    rules_due_ns: int = 0
    error: str = ""
    error_kind: str = ""
    jumped_ms: float = 0.0
    begun_anew: int = 0  # how many times that its clock was put back have been answered
    told: tuple[bool, bool, str] = (False, False, "")  # as `Exchanges` last told it: clock known, rules there, error
    shut_until_ns: int = 0  # until when (monotonic) it has shut our address out
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def label(self) -> str:
        return f"{self.id}/{self.environment}"

    @property
    def sends_bursts(self) -> bool:
        """Whether its gateway writes many accounts' orders by itself rather than one a thread."""
        return not isinstance(self.exchange.gateway, ThreadPoolGateway)


class Exchanges:
    """Opens exchanges on first use and keeps their clocks and rules fresh on one thread."""

    def __init__(
        self,
        settings: Settings,
        plugins: Plugins,
        clock: Clock,
        on_death: OnDeath,
        on_change: Callable[[OpenExchange], None],
        on_shut_out: Callable[[OpenExchange, float], None] = lambda opened, seconds: None,
        shut_out_left_sec: Callable[[str], float] = lambda label: 0.0,
    ) -> None:
        """
        :param on_change: told when an exchange's clock or rules became usable or stopped being so.
        :param on_shut_out: told for how many seconds an exchange has shut our address out, and again with 0 when
            that is over.
        :param shut_out_left_sec: for how long the exchange of a label has still shut us out, as an earlier run knew it.
        """
        self._shut_out_left_sec = shut_out_left_sec
        self._on_shut_out = on_shut_out
        self._settings = settings
        self._plugins = plugins
        self._clock = clock
        self._on_change = on_change
        self._lock = threading.Lock()
        self._open: dict[tuple[str, Environment], OpenExchange] = {}
        self._keeper = Ticker("clock-keeper", clock, on_death, self._keep)

    def start(self) -> None:
        self._keeper.start()

    def get(self, exchange: str, environment: Environment) -> OpenExchange:
        """Return the opened exchange; opening does no I/O. :raises UnknownExchange, ConfigError: it cannot be."""
        with self._lock:
            found = self._open.get((exchange, environment))
        if found is not None:
            return found
        label = f"{exchange}/{environment}"
        shut_out_sec = self._shut_out_left_sec(label)
        with self._lock:
            found = self._open.get((exchange, environment))
            if found is not None:
                return found
            exchange_clock = ExchangeClock(self._clock)
            context = ExchangeContext(
                environment=environment,
                symbol=self._settings.symbol,
                clock=self._clock,
                exchange_clock=exchange_clock,
                endpoints=self._settings.endpoints_for(exchange, environment),
                on_shut_out=lambda seconds: self.shut_out(label, seconds),
                shut_out_sec=shut_out_sec,
            )
            opened = OpenExchange(
                id=exchange,
                environment=environment,
                exchange=self._plugins.open_exchange(exchange, context),
                clock=exchange_clock,
            )
            self._open[exchange, environment] = opened
        if shut_out_sec:
            self.shut_out(label, shut_out_sec)
        self._keeper.wake()
        return opened

    def all(self) -> list[OpenExchange]:
        with self._lock:
            return list(self._open.values())

    def ready(self, opened: OpenExchange) -> None:
        """Measure the clock and read the rules now where they are missing; for the caller that needs them at once.

        :raises ExchangeError: the exchange cannot be reached.
        """
        with opened.lock:
            if opened.clock.is_known and opened.rules is not None:
                return
            if not opened.clock.is_known:
                self._measure(opened)
            if opened.rules is None:
                self._read_rules(opened)
        self._keeper.wake()  # which tells of it: a halt may be over

    def shut_out(self, label: str, seconds: float) -> None:
        """Take notice that an exchange has shut our address out for so long. From any thread."""
        until_ns = self._clock.monotonic_ns() + int(seconds * NS_PER_SEC)
        with self._lock:
            opened = next((each for each in self._open.values() if each.label == label), None)
            # The answers to what was under way all say the same.
            if opened is None or until_ns <= opened.shut_until_ns + NS_PER_SEC:
                return
            opened.shut_until_ns = until_ns
        self._on_shut_out(opened, seconds)
        self._keeper.wake()

    def remeasure(self, opened: OpenExchange) -> None:
        """Have the clock measured again soon: the exchange refused a timestamp, or its own stamps contradict it."""
        opened.clock_due_ns = 0
        self._keeper.wake()

    def reload_rules(self, opened: OpenExchange) -> None:
        """Have the rules read again soon: the exchange refused a size."""
        opened.rules_due_ns = 0
        self._keeper.wake()

    def stop(self) -> None:
        self._keeper.stop()
        for opened in self.all():
            opened.exchange.close()

    def _keep(self) -> float:
        now = self._clock.monotonic_ns()
        for opened in self.all():
            with self._lock:
                is_over = 0 < opened.shut_until_ns <= now
                if is_over:
                    opened.shut_until_ns = opened.clock_due_ns = 0
            if is_over:
                self._on_shut_out(opened, 0.0)
            with opened.lock:
                try:
                    if opened.clock_due_ns <= now or not opened.clock.is_known:
                        self._measure(opened)
                    if opened.rules_due_ns <= now:
                        self._read_rules(opened)
                    opened.error = opened.error_kind = ""
                except CopytradeError as error:
                    opened.error, opened.error_kind = error.message, error.kind
                except Exception as error:  # a plug-in's bug: no reason to lose the other exchanges' clocks
                    log.exception("the plug-in of %s failed", opened.label)
                    opened.error, opened.error_kind = f"its plug-in failed with {type(error).__name__}", "plugin_bug"
            state = (opened.clock.is_known, opened.rules is not None, opened.error)
            # Held against what was told and not against what was a moment ago: others measure, too.
            if state != opened.told or opened.jumped_ms:
                opened.told = state
                self._on_change(opened)
                opened.jumped_ms = 0.0
        dues = [min(opened.clock_due_ns, opened.rules_due_ns) for opened in self.all()]
        wait = (min(dues, default=now + int(CLOCK_EVERY_SEC * NS_PER_SEC)) - self._clock.monotonic_ns()) / NS_PER_SEC
        ends = [(opened.shut_until_ns - now) / NS_PER_SEC for opened in self.all() if opened.shut_until_ns]
        return max(0.0, min([max(wait, CLOCK_RETRY_SEC), CLOCK_EVERY_SEC, *ends]))

    def _measure(self, opened: OpenExchange) -> None:
        jump = opened.clock.measure(opened.exchange.server_time_ms)
        if jump > ExchangeClock.JUMP_ALARM_MS:
            opened.jumped_ms = jump
        # A jump is measured again soon: the clock counts as known only when two measurements agree.
        pause = CLOCK_EVERY_SEC if opened.clock.is_known else CLOCK_RETRY_SEC
        opened.clock_due_ns = self._clock.monotonic_ns() + int(pause * NS_PER_SEC)

    def _read_rules(self, opened: OpenExchange) -> None:
        opened.rules = opened.exchange.rules()
        opened.rules_due_ns = self._clock.monotonic_ns() + int(RULES_EVERY_SEC * NS_PER_SEC)
