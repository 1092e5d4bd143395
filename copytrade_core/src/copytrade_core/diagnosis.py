"""What `doctor` finds: each part's state as a sentence, and what to do about it."""

from __future__ import annotations

import os
import shlex
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any

from . import open_files
from .accounts.service import Follower
from .clock import Clock, ExchangeClock
from .codec import to_wire
from .connector import ExchangeContext
from .errors import CopytradeError
from .exchanges import OpenExchange
from .kinds import remedy, sentence
from .model import Environment, KeyWarning
from .plugins import PluginReport, Plugins
from .settings import Settings
from .store.master_key import FILE_VARIABLE, default_key_path, load_master_key
from .store.vault import Vault
from .views import AccountState, Finding, GapView, Halt, LeaderView

LOW_DISK_BYTES = 200 * 1024 * 1024
CLOCK_OFF_MS = 1000


def finding(check: str, level: str, kind: str, **data: Any) -> Finding:
    """Return what was found of one part, in the words of the table."""
    to_do = "" if level == "ok" else remedy(kind, "en", **data)
    return Finding(
        check=check, level=level, kind=kind, text=sentence(kind, "en", **data), remedy=to_do, data=to_wire(data)
    )


def examine(
    *,
    settings: Settings,
    clock: Clock,
    since: str,
    halts: Sequence[Halt],
    exchanges: Iterable[OpenExchange],
    plugins: Iterable[PluginReport],
    leader: LeaderView | None,
    gap: GapView | None,
    followers: Sequence[Follower],
    key_warnings: Mapping[str, Sequence[KeyWarning]],
    is_copying: bool,
    needs_person: int,
) -> list[Finding]:
    """Look at every part of a running engine; *key_warnings* by whose key it is."""
    return [
        *_engine(since, halts),
        *_installation(settings, len(followers)),
        *_overridden(settings),
        *(_exchange(opened, clock) for opened in exchanges),
        *_plugins(report for report in plugins if report.error),
        _leader(leader),
        *_gap(gap),
        _copying(is_copying),
        *_followers(followers),
        *_keys(key_warnings),
        *_waiting(needs_person),
    ]


def examine_plugins(plugins: Plugins) -> Iterator[Finding]:
    """Look at the plug-ins alone, where not even the settings can be used."""
    yield from _plugins(plugins.reports)
    if not plugins.exchanges:
        yield finding("plug-ins", "error", "no_exchange")


def examine_without_engine(
    settings: Settings, plugins: Plugins, environ: MutableMapping[str, str]
) -> Iterator[Finding]:
    """Look at what can be seen without an engine: the installation, its exchanges' clocks. Changes nothing.

    The master key is taken from *environ*, and out of it; exchanges are asked for their time.
    """
    yield from examine_plugins(plugins)
    yield finding("settings", "ok", "settings_fine", path=settings.data_dir, symbol=str(settings.symbol))
    yield from _overridden(settings)
    if not settings.data_dir.is_dir():
        yield finding("data directory", "error", "data_dir_missing", path=settings.data_dir)
        return
    try:
        from_plugin = plugins.hook.copytrade_master_key(data_dir=str(settings.data_dir))
        key = load_master_key(environ, from_plugin, settings.data_dir)
    except CopytradeError as error:
        yield _refused("master key", error)
        yield from _installation(settings, 0)
        return
    yield finding("master key", "ok", "master_key_found")
    try:
        vault = Vault.open(settings.vault_path, key)
    except CopytradeError as error:
        yield _refused("vault", error)
        yield from _installation(settings, 0)
        return
    accounts = vault.accounts()
    yield finding("vault", "ok", "vault_opens", accounts=len(accounts))
    yield from _installation(settings, len(accounts))
    places = {(record.exchange, record.environment) for record in accounts}
    places |= {(record.exchange, record.environment) for record in vault.leaders()}
    for exchange, environment in sorted(places):
        yield _asked(settings, plugins, exchange, environment)


# --- the parts ---


def _refused(check: str, error: CopytradeError) -> Finding:
    return Finding(
        check=check,
        level="error",
        kind=error.kind,
        text=error.message,
        remedy=remedy(error.kind, "en"),
        data={"reason": error.message},
    )


def _engine(since: str, halts: Sequence[Halt]) -> Iterator[Finding]:
    if not halts:
        yield finding("engine", "ok", "engine_running", since=since)
    for halt in halts:
        yield finding(
            "engine",
            "error",
            "engine_halted",
            exchange=halt.exchange,
            since=halt.since,
            halt_kind=halt.kind,
            halt=halt.reason,
            ends_when=halt.ends_when,
        )


def _installation(settings: Settings, accounts: int) -> Iterator[Finding]:
    """Look at directory, files, disk and the number of files that may be open."""
    yield _directory(settings.data_dir)
    private = _private_files(settings)
    open_to_others = [path for path in private if stat.S_IMODE(path.stat().st_mode) & 0o077]
    for path in open_to_others:
        yield finding(path.name, "error", "file_open", path=path)
    if private and not open_to_others:
        yield finding("files", "ok", "files_private", files=[path.name for path in private])
    free_mib = shutil.disk_usage(settings.data_dir).free // 2**20
    is_low = free_mib * 2**20 <= LOW_DISK_BYTES
    kind, level = ("disk_low", "error") if is_low else ("disk_fine", "ok")
    yield finding("disk", level, kind, path=settings.data_dir, free_mib=f"{free_mib:,}")
    if not settings.database_url and settings.journal_path.exists():
        size_mib = sum(path.stat().st_size for path in _journal_files(settings)) // 2**20
        yield finding("journal", "ok", "journal_fine", path=settings.journal_path, size_mib=f"{size_mib:,}")
    limit = open_files.allowed()
    if limit is not None:
        wanted = open_files.wanted(accounts)
        kind, level = ("files_low", "error") if limit < wanted else ("files_fine", "ok")
        yield finding("open files", level, kind, limit=limit, accounts=accounts, wanted=wanted)


def _directory(data_dir: Path) -> Finding:
    status = data_dir.stat()
    is_private = status.st_uid == os.geteuid() and not stat.S_IMODE(status.st_mode) & 0o077
    kind, level = ("data_dir_fine", "ok") if is_private else ("data_dir_open", "error")
    return finding("data directory", level, kind, path=data_dir)


def _private_files(settings: Settings) -> list[Path]:
    files = [settings.vault_path, *_journal_files(settings), *_key_files(settings)]
    return [path for path in files if path.exists()]


def _journal_files(settings: Settings) -> list[Path]:
    path = settings.journal_path
    files = [path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")]
    return [each for each in files if each.exists()]


def _key_files(settings: Settings) -> list[Path]:
    named = os.environ.get(FILE_VARIABLE)
    if named and "CREDENTIALS_DIRECTORY" in os.environ:
        return []  # systemd's own: its group bits are not what they seem
    if named:
        return [Path(named).expanduser()]
    try:
        return [default_key_path(settings.data_dir)]
    except CopytradeError:
        return []


def _overridden(settings: Settings) -> Iterator[Finding]:
    for exchange, environments in settings.endpoints.items():
        for env in environments:
            yield finding("endpoints", "warning", "endpoints_overridden", exchange=exchange, env=env)


def _exchange(opened: OpenExchange, clock: Clock) -> Finding:
    if opened.error or not opened.clock.is_known:
        return finding(
            opened.label,
            "error",
            "exchange_failed",
            reason_kind=opened.error_kind or "clock_unknown",
            reason=opened.error,
            exchange=opened.label,
        )
    return _offset(opened.label, opened.clock.now_ms() - clock.wall_ms())


def _asked(settings: Settings, plugins: Plugins, exchange: str, environment: Environment) -> Finding:
    """Ask an exchange for its time, as an engine would."""
    label = f"{exchange}/{environment}"
    clock = Clock()
    measured = ExchangeClock(clock)
    context = ExchangeContext(
        environment=environment,
        symbol=settings.symbol,
        clock=clock,
        exchange_clock=measured,
        endpoints=settings.endpoints_for(exchange, environment),
    )
    try:
        opened = plugins.open_exchange(exchange, context)
        try:
            measured.measure(opened.server_time_ms, probes=2)
        finally:
            opened.close()
    except CopytradeError as error:
        return finding(label, "error", "exchange_failed", reason_kind=error.kind, reason=error.message, exchange=label)
    return _offset(label, measured.now_ms() - clock.wall_ms())


def _offset(label: str, offset_ms: int) -> Finding:
    # Orders are dated by the exchange's own clock; this one dates what people read, and tells of a machine adrift.
    kind, level = ("clock_off", "warning") if abs(offset_ms) > CLOCK_OFF_MS else ("exchange_fine", "ok")
    return finding(label, level, kind, exchange=label, offset_ms=abs(offset_ms))


def _plugins(plugins: Iterable[PluginReport]) -> Iterator[Finding]:
    for report in plugins:
        package = report.distribution or report.name
        if report.error:
            yield finding(f"plug-in {report.name}", "error", "plugin_broken", error=report.error, package=package)
        else:
            yield finding(f"plug-in {report.name}", "ok", "plugin_fine", package=package, version=report.version)


def _leader(leader: LeaderView | None) -> Finding:
    if leader is None:
        return finding("leader", "warning", "leader_none")
    place: dict[str, Any] = {"exchange": leader.exchange, "env": leader.env.value}
    if not leader.connected:
        return finding("leader", "error", "leader_failed", **place, reason_kind=leader.error_kind, reason=leader.error)
    return finding("leader", "ok", "leader_heard", **place, connections=leader.connections)


def _gap(gap: GapView | None) -> Iterator[Finding]:
    if gap is not None:
        data = {"since": gap.since, "reason_kind": gap.reason_kind, "reason": gap.reason}
        yield finding("leader's events", "warning", "gap_open", **data)


def _copying(is_copying: bool) -> Finding:
    kind, level = ("copying_on", "ok") if is_copying else ("copying_off", "warning")
    return finding("copying", level, kind)


def _followers(followers: Sequence[Follower]) -> Iterator[Finding]:
    active = sum(follower.state is AccountState.ACTIVE for follower in followers)
    yield finding("accounts", "ok", "accounts_fine", active=active, accounts=len(followers))
    for follower in followers:
        if follower.refusal is None:
            continue
        kind, reason = follower.refusal
        record = follower.record
        data: dict[str, Any] = {
            "exchange": record.exchange,
            "env": record.environment.value,
            "name": shlex.quote(record.name),
        }
        if kind == "paused":
            yield finding(f"account {record.name}", "warning", "account_held", **data)
        else:
            data |= {"reason_kind": kind, "reason": reason}
            yield finding(f"account {record.name}", "error", "account_refused", **data)


def _keys(warnings: Mapping[str, Sequence[KeyWarning]]) -> Iterator[Finding]:
    for whose, each in warnings.items():
        for warning in each:
            yield Finding(
                check=whose,
                level="warning",
                kind=warning.kind,
                text=warning.text,
                remedy=remedy(warning.kind, "en", **warning.data),
                data=dict(warning.data),
            )


def _waiting(needs_person: int) -> Iterator[Finding]:
    if needs_person:
        yield finding("copies", "warning", "copies_wait", count=needs_person)
