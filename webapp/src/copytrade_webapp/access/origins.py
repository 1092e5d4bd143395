"""From where the panel may be used: exact hosts and origins, so that no other name leads a browser here."""

from __future__ import annotations

from functools import lru_cache

from ..settings import PanelSettings


@lru_cache
def allowed_hosts(settings: PanelSettings) -> frozenset[str]:
    """Return the values of ``Host`` that this panel answers to."""
    if settings.public_url:
        return frozenset({settings.public_url.partition("://")[2]})
    host, _, port = settings.bind.rpartition(":")
    if host in ("127.0.0.1", "localhost", "[::1]"):
        # Whichever way this machine is spelled in the address line.
        return frozenset(f"{each}:{port}" for each in ("127.0.0.1", "localhost", "[::1]"))
    return frozenset({settings.bind})


@lru_cache
def allowed_origins(settings: PanelSettings) -> frozenset[str]:
    """Return the exact origins from which a page may change something or follow the live stream."""
    if settings.public_url:
        return frozenset({settings.public_url})
    return frozenset(f"http://{host}" for host in allowed_hosts(settings))
