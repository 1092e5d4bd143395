"""How many files and sockets this process may have open; too few would end in the middle of a burst of orders."""

from __future__ import annotations

import sys

from .errors import ConfigError

LEAST = 256  # what an engine wants for itself: libraries, journal, warm connections, threads that connect at once
EACH_ACCOUNT = 2  # on an exchange that gives every account a socket of its own, and a warm connection besides


def wanted(accounts: int) -> int:
    """Return how many an engine with so many accounts may come to need."""
    return LEAST + EACH_ACCOUNT * accounts


def allowed() -> int | None:
    """Return how many this process may open now; ``None`` where the system does not limit them like that."""
    if sys.platform == "win32":
        return None
    import resource

    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if soft == resource.RLIM_INFINITY else soft


def raise_limit(accounts: int) -> None:
    """Take as many as are wanted where the system lets us. :raises ConfigError: it lets us have too few to start."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    aim = wanted(accounts)
    if soft == resource.RLIM_INFINITY or soft >= aim:
        return
    may_have = aim if hard == resource.RLIM_INFINITY else min(hard, aim)
    if may_have > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (may_have, hard))
    if max(soft, may_have) < LEAST:
        raise ConfigError(
            f"only {max(soft, may_have)} open files and sockets are allowed here, and the engine wants at least "
            f"{LEAST}: raise the limit (ulimit -n {aim}, or LimitNOFILE= in its systemd unit)"
        )
