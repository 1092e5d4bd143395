"""How gunicorn serves the panel: ``gunicorn -c python:copytrade_webapp.gunicorn_conf copytrade_webapp.wsgi:app``.

One worker with threads: live streams, tickets, rate limits and replayed proofs are kept in its memory. No ``preload``
(threads do not survive the fork) and no ``max_requests`` (every recycling would end all streams).
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import Any

from copytrade_core.redaction import install_logging

from .settings import PanelSettings

_settings = PanelSettings.from_environment()

bind = _settings.bind
worker_class = "gthread"
workers = 1
threads = _settings.threads
worker_connections = 1000
timeout = 60
graceful_timeout = 20
keepalive = 5
limit_request_line = 2048
limit_request_fields = 50
limit_request_field_size = 8190  # a forwarded client certificate needs some
header_map = "drop"
# The socket is for the proxy, by its group; what the panel keeps is its own (access/store.py says so of each file).
umask = 0o007 if bind.startswith("unix:") else 0o077
# A worker that writes its sign of life to a slow disk looks dead.
worker_tmp_dir = "/dev/shm"
control_socket_disable = True
# The app itself decides whose forwarded headers count; gunicorn must not rewrite the peer before.
forwarded_allow_ips = ""
accesslog = None  # addresses may carry what is nobody's business; the audit has who did what
proc_name = "copytrade-panel"

ALIVE_EVERY_SEC = 0.1


def when_ready(_: Any) -> None:
    """Leave the address for commands that print links; it may have been given to this process alone."""
    with contextlib.suppress(OSError):  # a full disk must not keep the panel from being looked at
        _settings.address_path.unlink(missing_ok=True)
        with open(_settings.address_path, "x", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(_settings.url)


def on_exit(_: Any) -> None:
    with contextlib.suppress(OSError):
        _settings.address_path.unlink(missing_ok=True)


def post_worker_init(worker: Any) -> None:
    """Begin to follow the engine, and see to it that open streams do not hold up the end."""
    from .panel import panel_of

    install_logging("INFO")
    panel = panel_of(worker.app.callable)
    panel.start()

    def watch() -> None:
        # worker_exit comes too late: with threads it may run while streams still hold the worker.
        while worker.alive:
            _pause.wait(ALIVE_EVERY_SEC)
        panel.stop()

    _pause = threading.Event()
    threading.Thread(target=watch, name="panel-end", daemon=True).start()
