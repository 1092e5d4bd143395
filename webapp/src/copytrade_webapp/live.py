"""The live stream, ``WS /api/v1/stream``: a snapshot, then numbered changes; nothing is taken from the browser."""

from __future__ import annotations

import contextlib
import logging
import socket
import struct
import threading
import time
from typing import Any

from flask import Flask, g, request
from flask_sock import Sock
from simple_websocket import ConnectionClosed

from .access.origins import allowed_origins
from .access.tickets import Tickets
from .hub import LiveHub, Viewer
from .problems import Problem
from .settings import PanelSettings

log = logging.getLogger(__name__)

STREAM_PATH = "/api/v1/stream"
SUBPROTOCOL = "ct.v1"
TICKET_PREFIX = "ticket."
MOST_PER_SECOND = 10
SEND_TIMEOUT_SEC = 5
UNREAD_LIMIT = 16  # messages of a browser that has nothing to say


class Sockets:
    """How many streams are open, all and of one viewer: each holds a thread of the server."""

    def __init__(self, most: int, most_each: int = 6) -> None:
        self._most, self._most_each = most, most_each
        self._lock = threading.Lock()
        self._open: dict[str, int] = {}

    def enter(self, label: str) -> None:
        """:raises Problem: 503, there are too many."""
        with self._lock:
            if sum(self._open.values()) >= self._most or self._open.get(label, 0) >= self._most_each:
                raise Problem(503, "too_many_streams", "too many live streams are open: close other windows")
            self._open[label] = self._open.get(label, 0) + 1

    def leave(self, label: str) -> None:
        with self._lock:
            self._open[label] -= 1
            if not self._open[label]:
                del self._open[label]


def init_live(app: Flask, hub: LiveHub, tickets: Tickets, settings: PanelSettings) -> None:
    """Add the route. Everything is checked before the upgrade: flask-sock itself accepts any origin."""
    app.config["SOCK_SERVER_OPTIONS"] = {
        "ping_interval": 25,
        "max_message_size": 16_384,
        "subprotocols": [SUBPROTOCOL],
    }
    sockets = Sockets(settings.most_sockets)
    app.extensions["copytrade_sockets"] = sockets

    @app.before_request
    def admit() -> None:
        if request.path != STREAM_PATH:
            return
        if request.headers.get("Upgrade", "").lower() != "websocket":
            raise Problem(426, "upgrade_required", "this address is a WebSocket")
        origin = request.headers.get("Origin", "")
        if not origin or origin not in allowed_origins(settings):
            raise Problem(403, "wrong_origin", "the live stream is only for the panel's own pages")
        offered = [each.strip() for each in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
        ticket = next((each.removeprefix(TICKET_PREFIX) for each in offered if each.startswith(TICKET_PREFIX)), "")
        if SUBPROTOCOL not in offered or not ticket:
            raise Problem(401, "ticket_required", "the live stream needs a ticket of POST /api/v1/stream/ticket")
        label = tickets.redeem(ticket, origin)
        if label is None:
            raise Problem(401, "ticket_invalid", "this ticket was used before, is too old, or of somebody else")
        sockets.enter(label)
        g.stream_label = label
        if (held := request.environ.get("gunicorn.socket")) is not None:
            # The library closes the socket that it is given. It gets a handle of its own: gunicorn counts a connection
            # out twice whose socket it finds closed, and a reader that is just being woken when the last handle goes
            # sleeps on until its next ping.
            g.stream_socket = held
            request.environ["gunicorn.socket"] = held.dup()

    @app.teardown_request
    def leave(_: BaseException | None) -> None:
        # Here and not in the route: a handshake that fails never gets there.
        if (label := g.pop("stream_label", None)) is not None:
            sockets.leave(label)

    @Sock(app).route(STREAM_PATH)
    def stream(socket_: Any) -> None:
        viewer = hub.join(g.stream_label)
        try:
            _serve(socket_, hub, viewer, settings.ws_heartbeat_sec)
        except (ConnectionClosed, OSError) as gone:
            log.debug("a live stream ended: %s", type(gone).__name__)
        finally:
            hub.leave(viewer)
            # The library's reader would wait for a browser that never closes its side, and hold up the process's end.
            with contextlib.suppress(OSError):
                g.get("stream_socket", socket_.sock).shutdown(socket.SHUT_RDWR)


def _serve(websocket: Any, hub: LiveHub, viewer: Viewer, heartbeat_sec: float) -> None:
    """Push until the stream ends; this thread is its only writer."""
    timeout = struct.pack("ll", SEND_TIMEOUT_SEC, 0)
    websocket.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeout)
    beat_due = time.monotonic() + heartbeat_sec
    while websocket.connected:
        viewer.wake.wait(min(1.0, max(0.0, beat_due - time.monotonic())))
        viewer.wake.clear()
        if viewer.closing.is_set():
            websocket.close(*viewer.close_with)
            return
        if len(websocket.input_buffer) > UNREAD_LIMIT:
            websocket.close(1008, "this stream only speaks")
            return
        messages = hub.take(viewer)
        if not messages and time.monotonic() >= beat_due:
            messages = [hub.beat(viewer)]
        for message in messages:
            websocket.send(message)
            beat_due = time.monotonic() + heartbeat_sec
        if messages:
            # What changes during this pause goes out together.
            viewer.closing.wait(1 / MOST_PER_SECOND)
