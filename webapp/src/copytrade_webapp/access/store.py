"""``panel.db``: who may use the panel. Tokens, sessions, devices, one-time codes, and who did what.

Secrets are kept as SHA-256: they are random with at least 160 bits, so that there is nothing to guess and a slow hash
would only be a way to keep the panel busy. Both the panel and the command line write here, in short transactions.
That something was used, or done, is written down if it can be: a full disk must not keep anybody from stopping.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Executable,
    Integer,
    MetaData,
    Row,
    Table,
    Text,
    create_engine,
    event,
    func,
    select,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import QueuePool

from copytrade_core.clock import Clock
from copytrade_core.errors import ConfigError, Conflict, NotFound

log = logging.getLogger(__name__)

SCHEMA_VERSION = 1
BUSY_TIMEOUT_SEC = 5
TOKEN_PREFIX = "ctp_"
LOGIN_CODE_MS = 10 * 60_000
ENROLMENT_CODE_MS = 30 * 86_400_000
SEEN_EVERY_MS = 60_000  # "last used" is not written with every request
AUDIT_KEPT = 20_000
# Strangers cause these: apart from the rest, so that they push nothing out of the audit.
REFUSED = "login_refused"
REFUSED_KEPT = 1_000
LINKS = "login link"
_LINKS_PREFIX = "link-"  # of its id: names are anybody's choice
MOST_PENDING = 50  # devices that nobody has approved; further ones are refused
MS_PER_SEC = 1000

metadata = MetaData()
meta = Table("meta", metadata, Column("name", Text, primary_key=True), Column("value", Text, nullable=False))
tokens = Table(
    "tokens",
    metadata,
    Column("id", Text, primary_key=True),
    Column("hash", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("last_used_ms", BigInteger),
    Column("revoked_ms", BigInteger),
)
sessions = Table(
    "sessions",
    metadata,
    Column("id", Text, primary_key=True),  # shown to nobody but the administrator's list; the cookie is another
    Column("hash", Text, nullable=False, unique=True),
    Column("token_id", Text, nullable=False),
    Column("device_id", Text, nullable=False, default=""),
    Column("created_ms", BigInteger, nullable=False),
    Column("seen_ms", BigInteger, nullable=False),
    Column("proved_ms", BigInteger, nullable=False),  # when the token was last shown
)
codes = Table(
    "codes",
    metadata,
    Column("hash", Text, primary_key=True),
    Column("purpose", Text, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
)
devices = Table(
    "devices",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("thumbprint", Text, nullable=False, unique=True),
    Column("state", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("approved_ms", BigInteger),
    Column("approved_by", Text, nullable=False, default=""),
    Column("last_used_ms", BigInteger),
    Column("last_address", Text, nullable=False, default=""),
)
audit = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("t_ms", BigInteger, nullable=False),
    Column("who", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("detail", Text, nullable=False, default=""),
    Column("address", Text, nullable=False, default=""),
)


class DeviceKind(StrEnum):
    WEBCRYPTO = "webcrypto"  # a key in the browser's profile
    CERTIFICATE = "certificate"  # a client certificate, shown to the proxy


class DeviceState(StrEnum):
    PENDING = "PENDING"
    APPROVED = "APPROVED"
    REVOKED = "REVOKED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    id: str
    name: str
    created_ms: int
    last_used_ms: int | None
    revoked_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    id: str
    token_id: str
    token_name: str
    device_id: str
    created_ms: int
    proved_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    id: str
    kind: DeviceKind
    name: str
    thumbprint: str
    state: DeviceState
    created_ms: int
    approved_ms: int | None
    approved_by: str
    last_used_ms: int | None
    last_address: str


class PanelStore:
    """The database of one data directory; made (mode 0600) on first use. Thread-safe."""

    def __init__(self, path: Path, clock: Clock | None = None) -> None:
        """:raises ConfigError: it cannot be opened, or is of a newer version."""
        self.clock = clock or Clock()
        try:
            # Made by us first, so that there is no moment in which others could read it.
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        except OSError as error:
            raise ConfigError(f"{path} cannot be opened: {error.strerror}") from None
        self._engine = create_engine(
            f"sqlite:///{path}",
            poolclass=QueuePool,
            max_overflow=-1,  # the server's threads bound it; who reads must not wait for those who wait to write
            connect_args={"timeout": BUSY_TIMEOUT_SEC},
            hide_parameters=True,
        )
        self._reader = self._engine.execution_options(only_reads=True)

        @event.listens_for(self._engine, "connect")
        def _prepare(connection: Any, _: Any) -> None:
            connection.isolation_level = None  # transactions are begun below, for writing at once
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA foreign_keys=ON")

        @event.listens_for(self._engine, "begin")
        def _begin(connection: Connection) -> None:
            # Who reads waits for no writer.
            is_reader = connection.get_execution_options().get("only_reads")
            connection.exec_driver_sql("BEGIN" if is_reader else "BEGIN IMMEDIATE")

        try:
            with self._engine.begin() as connection:
                metadata.create_all(connection)
                found = connection.execute(select(meta.c.value).where(meta.c.name == "version")).scalar()
                if found is None:
                    connection.execute(meta.insert(), {"name": "version", "value": str(SCHEMA_VERSION)})
                elif not found.isdecimal() or int(found) > SCHEMA_VERSION:
                    raise ConfigError(f"{path} was written by a newer version of the panel")
        except SQLAlchemyError as error:
            raise ConfigError(f"{path} cannot be used: {type(error).__name__}") from None

    def close(self) -> None:
        self._engine.dispose()

    def now_ms(self) -> int:
        return self.clock.wall_ms()

    # --- tokens ---

    def add_token(self, name: str) -> tuple[str, str]:
        """Return the id and the secret of a new access token; the secret is shown this once."""
        token_id, secret = _new_id(), TOKEN_PREFIX + secrets.token_urlsafe(32)
        row = {"id": token_id, "hash": digest(secret), "name": name, "created_ms": self.now_ms()}
        with self._engine.begin() as connection:
            connection.execute(tokens.insert(), row)
        return token_id, secret

    def list_tokens(self) -> list[Token]:
        with self._reader.connect() as connection:
            found = connection.execute(select(tokens).order_by(tokens.c.created_ms))
            return [_token(row) for row in found]

    def check_token(self, secret: str) -> Token | None:
        """Return the token whose secret this is, in force; ``None``: it is none."""
        now = self.now_ms()
        with self._reader.connect() as connection:
            row = connection.execute(
                select(tokens).where(tokens.c.hash == digest(secret), tokens.c.revoked_ms.is_(None))
            ).first()
        if row is None:
            return None
        if now - (row.last_used_ms or 0) > SEEN_EVERY_MS:
            self._write_if_possible(tokens.update().where(tokens.c.id == row.id).values(last_used_ms=now))
        return _token(row)

    def revoke_token(self, token_id: str) -> list[str]:
        """End a token and its sessions; return the sessions' ids. :raises NotFound: there is none in force."""
        with self._engine.begin() as connection:
            done = connection.execute(
                tokens.update()
                .where(tokens.c.id == token_id, tokens.c.revoked_ms.is_(None))
                .values(revoked_ms=self.now_ms())
            )
            if done.rowcount != 1:
                raise NotFound(f"there is no token {token_id} in force", field="id")
            return _end_sessions(connection, sessions.c.token_id == token_id)

    def token_of_links(self) -> str:
        """Return the id of the token that sessions begun by a one-time link belong to, made when first asked for.

        Nobody knows its secret; revoking it ends all sessions that came by a link.
        """
        with self._engine.begin() as connection:
            found = connection.execute(
                select(tokens.c.id).where(tokens.c.id.startswith(_LINKS_PREFIX), tokens.c.revoked_ms.is_(None))
            ).scalar()
            if found is None:
                found = _LINKS_PREFIX + _new_id()
                row = {"id": found, "hash": digest(secrets.token_urlsafe(32)), "name": LINKS}
                connection.execute(tokens.insert(), {**row, "created_ms": self.now_ms()})
            return str(found)

    # --- sessions ---

    def add_session(self, token_id: str, device_id: str = "") -> tuple[str, str]:
        """Return the id and the cookie of a new session."""
        session_id, cookie, now = _new_id(), secrets.token_urlsafe(32), self.now_ms()
        row = {"id": session_id, "hash": digest(cookie), "token_id": token_id, "device_id": device_id}
        with self._engine.begin() as connection:
            connection.execute(sessions.insert(), {**row, "created_ms": now, "seen_ms": now, "proved_ms": now})
        return session_id, cookie

    def find_session(self, cookie: str, idle_sec: int, absolute_sec: int) -> Session | None:
        """Return the session of a cookie while it lasts; one that has run out is ended."""
        now = self.now_ms()
        with self._reader.connect() as connection:
            row = connection.execute(
                select(sessions, tokens.c.name.label("token_name"), tokens.c.revoked_ms)
                .join(tokens, tokens.c.id == sessions.c.token_id)
                .where(sessions.c.hash == digest(cookie))
            ).first()
        if row is None:
            return None
        is_over = now - row.seen_ms > idle_sec * MS_PER_SEC or now - row.created_ms > absolute_sec * MS_PER_SEC
        if is_over or row.revoked_ms is not None:
            self._write_if_possible(sessions.delete().where(sessions.c.id == row.id))
            return None
        if now - row.seen_ms > SEEN_EVERY_MS:
            self._write_if_possible(sessions.update().where(sessions.c.id == row.id).values(seen_ms=now))
        return Session(
            id=row.id,
            token_id=row.token_id,
            token_name=row.token_name,
            device_id=row.device_id,
            created_ms=row.created_ms,
            proved_ms=row.proved_ms,
        )

    def prove_session(self, session: Session, token: Token) -> bool:
        """Note that the token of a session was shown again; ``False``: it is another's.

        A session that began by a link has shown none yet: it becomes that of the token.
        """
        if token.id != session.token_id and not session.token_id.startswith(_LINKS_PREFIX):
            return False
        with self._engine.begin() as connection:
            connection.execute(
                sessions.update().where(sessions.c.id == session.id).values(proved_ms=self.now_ms(), token_id=token.id)
            )
        return True

    def bind_session(self, session_id: str, device_id: str) -> None:
        """Tie a session to the device that uses it: revoking the device ends it."""
        with self._engine.begin() as connection:
            connection.execute(sessions.update().where(sessions.c.id == session_id).values(device_id=device_id))

    def end_session(self, session_id: str) -> None:
        with self._engine.begin() as connection:
            connection.execute(sessions.delete().where(sessions.c.id == session_id))

    # --- one-time codes ---

    def add_login_code(self) -> str:
        """Return a code that logs one browser in, once, within ten minutes."""
        return self._add_code("login", LOGIN_CODE_MS)

    def add_enrolment_code(self) -> str:
        """Return a code that registers one device without anybody's approval, once, within thirty days."""
        return self._add_code("enrolment", ENROLMENT_CODE_MS)

    def use_code(self, purpose: str, code: str) -> bool:
        """Use a code up; whether it was good."""
        with self._engine.begin() as connection:
            done = connection.execute(
                codes.delete().where(
                    codes.c.hash == digest(code), codes.c.purpose == purpose, codes.c.expires_ms > self.now_ms()
                )
            )
            return done.rowcount == 1

    def _add_code(self, purpose: str, life_ms: int) -> str:
        code, now = secrets.token_urlsafe(24), self.now_ms()
        with self._engine.begin() as connection:
            connection.execute(codes.delete().where(codes.c.expires_ms <= now))
            connection.execute(codes.insert(), {"hash": digest(code), "purpose": purpose, "expires_ms": now + life_ms})
        return code

    # --- devices ---

    def add_device(self, kind: DeviceKind, name: str, thumbprint: str, *, approved_by: str = "") -> Device:
        """Register a device; PENDING unless *approved_by* says who vouches for it. One that is known stays as it is.

        :raises Conflict: too many wait for approval already.
        """
        now = self.now_ms()
        row = {
            "id": _new_id(),
            "kind": kind.value,
            "name": name,
            "thumbprint": thumbprint,
            "state": DeviceState.APPROVED.value if approved_by else DeviceState.PENDING.value,
            "created_ms": now,
            "approved_ms": now if approved_by else None,
            "approved_by": approved_by,
        }
        with self._engine.begin() as connection:
            known = connection.execute(select(devices).where(devices.c.thumbprint == thumbprint)).first()
            if known is not None:
                return _device(known)  # a page that has just opened asks many things at once
            pending = connection.execute(
                select(func.count()).select_from(devices).where(devices.c.state == DeviceState.PENDING)
            ).scalar()
            if not approved_by and (pending or 0) >= MOST_PENDING:
                raise Conflict("too many devices wait for approval: approve or revoke some first")
            connection.execute(devices.insert(), row)
            found = connection.execute(select(devices).where(devices.c.id == row["id"])).one()
        return _device(found)

    def list_devices(self) -> list[Device]:
        with self._reader.connect() as connection:
            return [_device(row) for row in connection.execute(select(devices).order_by(devices.c.created_ms))]

    def find_device(self, thumbprint: str) -> Device | None:
        with self._reader.connect() as connection:
            row = connection.execute(select(devices).where(devices.c.thumbprint == thumbprint)).first()
        return None if row is None else _device(row)

    def get_device(self, device_id: str) -> Device:
        """:raises NotFound: there is none."""
        with self._reader.connect() as connection:
            row = connection.execute(select(devices).where(devices.c.id == device_id)).first()
        if row is None:
            raise NotFound(f"there is no device {device_id}", field="id")
        return _device(row)

    def approve_device(self, device_id: str, by: str) -> Device:
        """Let a pending device in. :raises NotFound: there is none that waits."""
        values = {"state": DeviceState.APPROVED.value, "approved_ms": self.now_ms(), "approved_by": by}
        with self._engine.begin() as connection:
            self._change_device(device_id, (DeviceState.PENDING,), values, "waits for approval", connection)
        return self.get_device(device_id)

    def rename_device(self, device_id: str, name: str) -> Device:
        """:raises NotFound: there is none in force."""
        states = (DeviceState.PENDING, DeviceState.APPROVED)
        with self._engine.begin() as connection:
            self._change_device(device_id, states, {"name": name}, "is in force", connection)
        return self.get_device(device_id)

    def revoke_device(self, device_id: str) -> list[str]:
        """Shut a device out for good and end its sessions; return their ids. :raises NotFound: there is none."""
        values = {"state": DeviceState.REVOKED.value}
        with self._engine.begin() as connection:
            self._change_device(
                device_id, (DeviceState.PENDING, DeviceState.APPROVED), values, "is in force", connection
            )
            return _end_sessions(connection, sessions.c.device_id == device_id)

    def saw_device(self, device: Device, address: str) -> None:
        """Note that a device was used, once a minute at most."""
        now = self.now_ms()
        if now - (device.last_used_ms or 0) > SEEN_EVERY_MS or device.last_address != address:
            self._write_if_possible(
                devices.update().where(devices.c.id == device.id).values(last_used_ms=now, last_address=address)
            )

    @staticmethod
    def _change_device(
        device_id: str, states: Sequence[DeviceState], values: Mapping[str, Any], wanted: str, connection: Connection
    ) -> None:
        done = connection.execute(
            devices.update().where(devices.c.id == device_id, devices.c.state.in_(states)).values(**values)
        )
        if done.rowcount != 1:
            raise NotFound(f"there is no device {device_id} that {wanted}", field="id")

    def _write_if_possible(self, *statements: Executable) -> bool:
        try:
            with self._engine.begin() as connection:
                for statement in statements:
                    connection.execute(statement)
        except SQLAlchemyError as error:
            log.error("panel.db cannot be written: %s", error.__cause__ or type(error).__name__)
            return False
        return True

    # --- whether somebody may go on ---

    def in_force(self, label: str, idle_sec: int, absolute_sec: int) -> bool:
        """Whether token, session and device of a live stream's label (``session:1/device:2``) are still good."""
        now = self.now_ms()
        with self._reader.connect() as connection:
            for part in label.split("/"):
                what, _, which = part.partition(":")
                statement = {
                    "token": select(tokens.c.id).where(tokens.c.id == which, tokens.c.revoked_ms.is_(None)),
                    "session": select(sessions.c.id)
                    .join(tokens, tokens.c.id == sessions.c.token_id)
                    .where(
                        sessions.c.id == which,
                        tokens.c.revoked_ms.is_(None),
                        sessions.c.seen_ms >= now - idle_sec * MS_PER_SEC,
                        sessions.c.created_ms >= now - absolute_sec * MS_PER_SEC,
                    ),
                    "device": select(devices.c.id).where(
                        devices.c.id == which, devices.c.state == DeviceState.APPROVED
                    ),
                }[what]
                if connection.execute(statement).first() is None:
                    return False
        return True

    # --- who did what ---

    def note(self, who: str, what: str, detail: str = "", address: str = "") -> None:
        """Record an action for the administrator; the oldest go when there are too many."""
        is_refusal = what == REFUSED
        alike = audit.c.what == REFUSED if is_refusal else audit.c.what != REFUSED
        kept = REFUSED_KEPT if is_refusal else AUDIT_KEPT
        oldest = select(audit.c.id).where(alike).order_by(audit.c.id.desc()).offset(kept).limit(1).scalar_subquery()
        row = {"t_ms": self.now_ms(), "who": who, "what": what, "detail": detail, "address": address}
        if not self._write_if_possible(audit.insert().values(row), audit.delete().where(alike, audit.c.id <= oldest)):
            log.error("the audit lacks that %s did %s", who, what)

    def list_audit(self, limit: int = 100, before: int | None = None) -> list[Row[Any]]:
        """Return what was done, newest first."""
        statement = select(audit).order_by(audit.c.id.desc()).limit(limit)
        if before is not None:
            statement = statement.where(audit.c.id < before)
        with self._reader.connect() as connection:
            return list(connection.execute(statement))


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _new_id() -> str:
    return secrets.token_hex(8)


def _end_sessions(connection: Connection, which: Any) -> list[str]:
    ids = list(connection.execute(select(sessions.c.id).where(which)).scalars())
    connection.execute(sessions.delete().where(which))
    return ids


def _token(row: Row[Any]) -> Token:
    return Token(
        id=row.id,
        name=row.name,
        created_ms=row.created_ms,
        last_used_ms=row.last_used_ms,
        revoked_ms=row.revoked_ms,
    )


def _device(row: Row[Any]) -> Device:
    return Device(
        id=row.id,
        kind=DeviceKind(row.kind),
        name=row.name,
        thumbprint=row.thumbprint,
        state=DeviceState(row.state),
        created_ms=row.created_ms,
        approved_ms=row.approved_ms,
        approved_by=row.approved_by,
        last_used_ms=row.last_used_ms,
        last_address=row.last_address,
    )
