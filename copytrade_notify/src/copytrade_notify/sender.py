"""One thread a target: gathers what happened, posts it, tries again, and keeps what could not be delivered."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

import requests

from copytrade_core.clock import Clock

from .config import Target
from .formats import Verdict, judge, render
from .messages import Event, category, compose, own_event

log = logging.getLogger(__name__)

WAITING_LIMIT = 1000
GATHER_SEC = 2.0
BETWEEN_SEC = 3.5  # DingTalk and WeCom take 20 messages a minute; DingTalk is deaf for ten minutes after more
PAUSES_SEC = (1.0, 4.0)  # before the second and the third attempt
DOWN_SEC = 60.0  # then what waits is tried again
CONNECT_SEC, READ_SEC = 3.05, 8.0
ANSWER_BYTES = 64 * 1024
STOP_SEC = 8.0


class Sender:
    """Delivers to one target, on a thread of its own. `offer` never waits."""

    def __init__(self, target: Target, on_down: Callable[[Target, str], None], clock: Clock | None = None) -> None:
        """*on_down* is called from the sender's thread when a target that worked is found not to."""
        self.target = target
        self._on_down = on_down
        self._clock = clock or Clock()
        self._changed = threading.Condition()
        self._waiting: deque[Event] = deque()
        self._lost = 0
        self._stopping = False
        self._is_down = False
        self._session = requests.Session()
        self._session.trust_env = False  # no proxies, no .netrc: the address is all there is
        self._thread = threading.Thread(target=self._run, name=f"notify-{target.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Have the thread try once to deliver what waits, and end; does not wait for it."""
        with self._changed:
            self._stopping = True
            self._changed.notify()

    def stop(self, timeout_sec: float = STOP_SEC) -> None:
        """`end` the thread and join it."""
        self.end()
        if self._thread.is_alive():
            self._thread.join(timeout_sec)
        self._session.close()

    def offer(self, event: Event) -> None:
        """Queue an event if the target wants its kind. Of too many that wait the oldest is dropped and counted."""
        if self.target.events.isdisjoint((category(event), event.get("kind"))) and event.get("kind") != "notify":
            return
        with self._changed:
            self._waiting.append(event)
            if len(self._waiting) > WAITING_LIMIT:
                self._waiting.popleft()
                self._lost += 1
            self._changed.notify()

    def post(self, events: Sequence[Event], lost: int = 0) -> Verdict:
        """Post one message about *events*, once, on the caller's thread."""
        target = self.target
        text = compose(events, target.lang, target.installation, lost)
        url, body = render(target, text, events, self._clock.wall_ms())
        headers = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "copytrade-notify"}
        try:
            with self._session.post(
                url, data=body, headers=headers, timeout=(CONNECT_SEC, READ_SEC), allow_redirects=False, stream=True
            ) as answer:
                read = answer.raw.read(ANSWER_BYTES, decode_content=True)
                return judge(target.format, answer.status_code, answer.headers.get("Retry-After", ""), read)
        except Exception as error:  # requests' and urllib3's errors quote the address, so only their class is told
            return Verdict(False, type(error).__name__, again=True)

    # --- on the sender's thread ---

    def _run(self) -> None:
        earliest = 0.0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._stopping)
            # A burst becomes one message; and so does whatever comes while the last one is too recent.
            self._rest(max(GATHER_SEC, earliest - time.monotonic()))
            with self._changed:
                events, lost = list(self._waiting), self._lost
                self._waiting.clear()
                self._lost = 0
            delivered = not events or self._deliver(events, lost)
            if not delivered:
                self._keep(events, lost)
            if self._stopping:
                return
            earliest = time.monotonic() + (BETWEEN_SEC if delivered else DOWN_SEC)

    def _deliver(self, events: Sequence[Event], lost: int) -> bool:
        for pause_sec in (*PAUSES_SEC, None):
            verdict = self.post(events, lost)
            if verdict.delivered:
                if self._is_down:
                    log.info("notices reach %s again", self.target.name)
                self._is_down = False
                return True
            if pause_sec is None or not verdict.again or self._stopping:
                break
            self._rest(max(pause_sec, verdict.wait_sec))
        if not self._is_down:
            self._is_down = True
            log.warning("notices do not reach %s: %s", self.target.name, verdict.reason)
            self._on_down(self.target, verdict.reason)
        return False

    def _keep(self, events: Sequence[Event], lost: int) -> None:
        """Put what could not be delivered back in front of what came since."""
        with self._changed:
            together = [*events, *self._waiting]
            self._lost += lost + max(0, len(together) - WAITING_LIMIT)
            self._waiting = deque(together[-WAITING_LIMIT:])

    def _rest(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping, seconds)


class Notifier:
    """All targets together."""

    def __init__(self, targets: Sequence[Target]) -> None:
        self.senders = tuple(Sender(target, self._down) for target in targets)

    def start(self) -> None:
        for sender in self.senders:
            sender.start()

    def stop(self) -> None:
        for sender in self.senders:
            sender.end()  # all at once: several that do not answer are waited for together
        for sender in self.senders:
            sender.stop()

    def offer(self, event: Event) -> None:
        for sender in self.senders:
            sender.offer(event)

    def _down(self, target: Target, reason: str) -> None:
        """Tell the others, once: whoever reads only the silent one would not know."""
        for sender in self.senders:
            if sender.target is not target:
                sender.offer(own_event("down", target=target.name, reason=reason))
