"""A double click does a thing once: a change that carries a name is done the first time, and answered each time."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field

from flask import Flask, Response, g, request

from ..problems import Problem

HEADER = "Idempotency-Key"
KEPT_SEC = 600
MOST = 2000  # of one who asks: nobody uses up what the others need
LONGEST_NAME = 128
WAIT_SEC = 120  # as long as the engine may take


@dataclass(slots=True)
class _Answer:
    until: float
    request: tuple[str, str, bytes]  # of the body only what tells it apart: it may hold keys
    done: threading.Event = field(default_factory=threading.Event)
    status: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


class Once:
    """Remembers answers by who asked and under which name, for ten minutes, in memory. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: OrderedDict[tuple[str, str], _Answer] = OrderedDict()

    def init(self, app: Flask) -> None:
        app.after_request(self._keep)
        app.teardown_request(self._give_up)

    def begin(self) -> Response | None:
        """Return the answer that was given before; ``None``: this is the first time. Called behind the guard."""
        name = request.headers.get(HEADER, "")
        if not name or request.method in ("GET", "HEAD", "OPTIONS"):
            return None
        if len(name) > LONGEST_NAME or not name.isprintable():
            raise Problem(400, "bad_request", f"{HEADER} is too long, or no plain text")
        asker = g.principal
        key = (asker.session_id or asker.token_id, name)
        this = (request.method, request.full_path, hashlib.sha256(request.get_data(cache=True)).digest())
        now = time.monotonic()
        with self._lock:
            self._forget(now)
            known = self._answers.get(key)
            if known is None:
                if sum(who == key[0] for who, _ in self._answers) >= MOST:
                    raise Problem(
                        429, "too_many_requests", "too many changes at once; wait a little", retry_after_sec=5
                    )
                g.once = (key, self._answers.setdefault(key, _Answer(now + KEPT_SEC, this)))
                return None
        if known.request != this:
            raise Problem(422, "invalid", f"this {HEADER} was used for something else")
        if not known.done.wait(WAIT_SEC) or not known.status:
            raise Problem(409, "still_running", "the same is being done already; look whether it was done")
        return Response(known.body, known.status, list(known.headers))

    def _keep(self, response: Response) -> Response:
        held = g.pop("once", None)
        if held is None:
            return response
        key, answer = held
        if response.status_code >= 500 or response.status_code in (401, 403, 429) or response.is_streamed:
            # Nothing that lasts: asked again, it is tried again.
            with self._lock:
                self._answers.pop(key, None)
        else:
            answer.status, answer.body = response.status_code, response.get_data()
            kept = ("Content-Type", "Location", "ETag")
            answer.headers = tuple((name, value) for name, value in response.headers if name in kept)
        answer.done.set()
        return response

    def _give_up(self, _: BaseException | None) -> None:
        held = g.pop("once", None)
        if held is not None:
            with self._lock:
                self._answers.pop(held[0], None)
            held[1].done.set()

    def _forget(self, now: float) -> None:
        for key in [key for key, answer in self._answers.items() if answer.until <= now and answer.done.is_set()]:
            del self._answers[key]
