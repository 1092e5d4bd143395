"""What `doctor` finds: each part's state as a sentence, and what to do about it."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence

from .accounts.service import Follower
from .exchanges import OpenExchange
from .plugins import PluginReport
from .settings import Settings
from .views import Finding, Halt, LeaderView

LOW_DISK_BYTES = 200 * 1024 * 1024


def examine(
    *,
    settings: Settings,
    since: str,
    halts: Sequence[Halt],
    exchanges: Iterable[OpenExchange],
    plugins: Iterable[PluginReport],
    leader: LeaderView | None,
    followers: Iterable[Follower],
    key_warnings: Mapping[str, Sequence[str]],
) -> list[Finding]:
    """Look at every part of a running engine; *key_warnings* by whose key it is."""
    return [
        *_engine(since, halts),
        *_files(settings),
        *_exchanges(exchanges),
        *_plugins(plugins),
        _leader(leader),
        *_followers(followers),
        *_keys(key_warnings),
    ]


def _engine(since: str, halts: Sequence[Halt]) -> Iterator[Finding]:
    if not halts:
        yield Finding(check="engine", level="ok", text=f"running since {since}")
    for halt in halts:
        where = f" on {halt.exchange}" if halt.exchange else ""
        yield Finding(
            check="engine", level="error", text=f"halted{where}: {halt.reason}", remedy=f"ends with {halt.ends_when}"
        )


def _files(settings: Settings) -> Iterator[Finding]:
    free = shutil.disk_usage(settings.data_dir).free
    if free > LOW_DISK_BYTES:
        yield Finding(check="disk", level="ok", text=f"{free // 2**20:,} MiB free")
    else:
        yield Finding(check="disk", level="error", text=f"only {free // 2**20:,} MiB free", remedy="make room")
    for path in (settings.vault_path, settings.journal_path):
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077:
            yield Finding(check=path.name, level="error", text="others can read it", remedy=f"chmod 600 {path}")
    if settings.endpoints:
        yield Finding(
            check="endpoints",
            level="warning",
            text=f"{', '.join(sorted(settings.endpoints))}: addresses on this machine stand in; nothing there is real",
            remedy="unset COPYTRADE_ENDPOINTS to trade",
        )


def _exchanges(exchanges: Iterable[OpenExchange]) -> Iterator[Finding]:
    for opened in exchanges:
        if opened.error or not opened.clock.is_known:
            yield Finding(
                check=opened.label,
                level="error",
                text=opened.error or "its clock has not been measured",
                remedy="check the connection and this machine's clock",
            )
        else:
            yield Finding(check=opened.label, level="ok", text="reached; its clock is known")


def _plugins(plugins: Iterable[PluginReport]) -> Iterator[Finding]:
    for report in plugins:
        if report.error:
            remedy = f"reinstall or remove {report.distribution or report.name}"
            yield Finding(check=f"plug-in {report.name}", level="error", text=report.error, remedy=remedy)


def _leader(leader: LeaderView | None) -> Finding:
    if leader is None:
        return Finding(check="leader", level="warning", text="none is set", remedy="copytrade leader set")
    if not leader.connected:
        return Finding(check="leader", level="error", text=leader.error or "not heard", remedy="copytrade leader show")
    return Finding(check="leader", level="ok", text=f"heard on {leader.connections} connections")


def _followers(followers: Iterable[Follower]) -> Iterator[Finding]:
    for follower in followers:
        if follower.refusal is None:
            continue
        kind, reason = follower.refusal
        is_paused = kind == "paused"
        yield Finding(
            check=f"account {follower.record.name}",
            level="warning" if is_paused else "error",
            text=reason,
            remedy="copytrade accounts resume" if is_paused else "copytrade accounts verify",
        )


def _keys(warnings: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
    for whose, texts in warnings.items():
        for text in texts:
            yield Finding(check=whose, level="warning", text=text, remedy="change the key at the exchange")
