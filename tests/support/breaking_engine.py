"""The engine's real process, which breaks at a named point once it is told to: ``breaking_engine.py POINT NTH HOW``.

It is ``copytrade engine --json`` with one function wrapped. When the file ``break-now`` lies beside the data directory,
the NTH call of that function after it kills the process with SIGKILL, or, where HOW is ``disk``, lets no byte be
written to any file from there on.
"""

from __future__ import annotations

import functools
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

from copytrade_core.cli.main import main
from copytrade_core.copying.dispatch import Dispatcher
from copytrade_core.copying.settle import Settler
from copytrade_core.leader.watcher import LeaderWatcher
from copytrade_core.model import ExecutionReport
from copytrade_core.store import book

# Name -> what is wrapped, and whether it breaks before or after the call. Between "in" and the commit lies no act of
# ours: what broke inside of a transaction never was.
POINTS: dict[str, tuple[Any, str, str]] = {
    "before J0": (book, "record_frames", "before"),
    "J0-J1": (LeaderWatcher, "_take", "before"),
    "in J1": (book, "plan", "after"),
    "J1-J2": (Dispatcher, "planned", "before"),
    "in J2": (book, "claim", "after"),
    "J2, before the socket": (Dispatcher, "_submit", "before"),
    "sent": (Dispatcher, "_submit", "after"),
    "answer read, before J3": (Dispatcher, "_on_outcome", "before"),
    "in J3": (book, "answered", "after"),
    "J3-J4": (Settler, "open", "before"),
    "in J4": (book, "executed", "after"),
    "recovering": (Dispatcher, "recover", "after"),
    "J3": (book, "answered", "before"),
    "J4": (book, "executed", "before"),
    "J1": (book, "plan", "before"),
    "J2": (book, "claim", "before"),
}


def break_at(point: str, nth: int, how: str) -> None:
    owner, name, when = POINTS[point]
    original = getattr(owner, name)
    signal_file = Path(os.environ["DATA_DIR"]).parent / "break-now"
    calls = 0

    def strike() -> None:
        nonlocal calls
        calls += 1
        if calls != nth:
            return
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

    @functools.wraps(original)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        counts = signal_file.exists()
        if name == "_take":  # balances come all the time; the point is an order's report
            counts = counts and isinstance(args[1], ExecutionReport)
        if counts and when == "before":
            strike()
        result = original(*args, **kwargs)
        if counts and when == "after":
            strike()
        return result

    setattr(owner, name, wrapped)


if __name__ == "__main__":
    break_at(sys.argv[1], int(sys.argv[2]), sys.argv[3])
    sys.argv[1:] = ["engine", "--json"]
    sys.exit(main())
