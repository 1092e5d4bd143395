"""The vault: accounts, their keys (encrypted) and what people wished of them, in one file that is replaced whole.

The file is JSON with one entry a line. Each entry carries its record in the clear (so that an operator can see
what is there), a data key of its own wrapped by the master key, the secrets encrypted one by one with that data
key, and a MAC; a MAC over the file's very bytes closes it. ``docs/adr/0003-vault-format.md`` has the reasons.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import itertools
import json
import os
import re
import secrets as random_source
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ..codec import from_wire, to_wire
from ..errors import Conflict, CopytradeError, MasterKeyError, NotFound, VaultError
from ..model import AccountId, Credentials, Environment
from ..redaction import redactor
from .master_key import check_master_key, create_master_key, derive, read_key_file, sync_directory

SCHEMA = 1
JOURNAL_FILE = "journal.db"

_NONCE_BYTES = 12
_RESTORE = "nothing was changed; restore the file from a backup"
_CHANGEABLE = frozenset({"name", "uid", "paused", "disabled", "status", "resumed_ms"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Disabled:
    """Why the exchange refused an account, and since when (wall time, for display)."""

    kind: str
    message: str
    since_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountRecord:
    """One follower without its secrets. ``version`` grows with every change; `Vault` sets it and the fingerprint."""

    id: AccountId
    name: str
    exchange: str
    environment: Environment
    uid: str | None = None  # the exchange's own id of the account, once a verify has told it
    paused: bool = False  # a person's wish; the exchange's refusal is `disabled`
    disabled: Disabled | None = None
    status: str = "CREATED"  # VERIFIED once the exchange has agreed to the key
    resumed_ms: int = 0  # exchange time; leader orders placed before are never copied to it
    created_wall_ms: int = 0
    version: int = 1
    key_fingerprint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderRecord:
    """The leader on one exchange in one environment; there is one key set for each, and one of them is active."""

    exchange: str
    environment: Environment
    uid: str | None = None
    key_fingerprint: str = ""

    @property
    def id(self) -> str:
        return f"{self.exchange}/{self.environment}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedRecord:
    """An old key, kept because an order that it placed is not settled yet."""

    id: str
    account_id: AccountId
    name: str
    exchange: str
    environment: Environment
    key_fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _InstallRecord:
    id: str = "install"
    exchange: str = ""
    environment: str = ""


_Record = AccountRecord | LeaderRecord | SealedRecord | _InstallRecord
_KINDS: dict[str, type[_Record]] = {
    "install": _InstallRecord,
    "leader": LeaderRecord,
    "account": AccountRecord,
    "sealed": SealedRecord,
}


class _Keys:
    """What is derived from one master key; the master key itself is not kept."""

    __slots__ = ("_mac", "_wrapping", "check")

    def __init__(self, master_key: bytes) -> None:
        check_master_key(master_key, "the caller")
        self._wrapping = derive(master_key, "vault wrapping")
        self._mac = derive(master_key, "vault mac")
        # Tells "another key" from "altered file"; a key of its own label gives nothing away about the others.
        self.check = derive(master_key, "vault key check").hex()

    def mac(self, purpose: str, content: bytes) -> str:
        return hmac.new(self._mac, purpose.encode() + b"\0" + content, hashlib.sha256).hexdigest()

    def wrap(self, data_key: bytes, kind: str, record: _Record) -> str:
        return _encrypt(self._wrapping, data_key, _bound_to(kind, record, "data key"))

    def unwrap(self, wrapped: str, kind: str, record: _Record) -> bytes:
        return _decrypt(self._wrapping, wrapped, _bound_to(kind, record, "data key"))


@dataclass(frozen=True, slots=True)
class _Entry:
    """One line of the file. ``secrets`` are ciphertexts."""

    kind: str
    record: Any
    data_key: str
    secrets: Mapping[str, str]
    line: str = field(repr=False)

    @classmethod
    def build(cls, keys: _Keys, kind: str, record: _Record, data_key: str, secrets: Mapping[str, str]) -> _Entry:
        content = {"record": to_wire(record), "data_key": data_key, "secrets": dict(secrets)}
        line = _json({**content, "mac": keys.mac(kind, _json(content).encode())})
        return cls(kind, record, data_key, secrets, line)

    @classmethod
    def seal(cls, keys: _Keys, kind: str, record: _Record, plain: Mapping[str, str]) -> _Entry:
        """Encrypt *plain* under a new data key."""
        key = AESGCM.generate_key(256)
        secrets = {name: _encrypt(key, text.encode(), _bound_to(kind, record, name)) for name, text in plain.items()}
        return cls.build(keys, kind, record, keys.wrap(key, kind, record), secrets)

    @classmethod
    def read(cls, kind: str, row: Mapping[str, Any]) -> _Entry:
        return cls(kind, from_wire(row["record"], _KINDS[kind]), row["data_key"], row["secrets"], _json(row))

    def open(self, keys: _Keys) -> dict[str, str]:
        """Decrypt the secrets. :raises VaultError: naming the entry and the part that does not belong."""
        try:
            key = keys.unwrap(self.data_key, self.kind, self.record)
        except (InvalidTag, ValueError):
            raise VaultError(
                f"the keys of {self.label} were changed, or copied here from another entry: {_RESTORE}"
            ) from None
        plain = {}
        for name, text in self.secrets.items():
            try:
                plain[name] = _decrypt(key, text, _bound_to(self.kind, self.record, name)).decode()
            except (InvalidTag, ValueError):
                raise VaultError(
                    f"the field {name!r} of {self.label} was changed, or copied here from elsewhere: {_RESTORE}"
                ) from None
        return plain

    def with_record(self, keys: _Keys, record: _Record) -> _Entry:
        """Keep the secrets; *record* must have the identity that they are bound to."""
        return self.build(keys, self.kind, record, self.data_key, self.secrets)

    def rewrapped(self, old: _Keys, new: _Keys) -> _Entry:
        data_key = new.wrap(old.unwrap(self.data_key, self.kind, self.record), self.kind, self.record)
        return self.build(new, self.kind, self.record, data_key, self.secrets)

    @property
    def label(self) -> str:
        name = getattr(self.record, "name", "")
        return f"{self.kind} {name!r} ({self.record.id})" if name else f"{self.kind} {self.record.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    """All that the file says. Immutable, so that readers need no lock."""

    keys: _Keys
    revision: int
    copying: bool
    copying_since_ms: int
    active_leader: str | None
    install: _Entry
    leaders: Mapping[str, _Entry]
    accounts: Mapping[str, _Entry]
    sealed: Mapping[str, _Entry]

    def records(self) -> tuple[tuple[AccountRecord, ...], tuple[LeaderRecord, ...]]:
        """Return what is known of all accounts and leaders."""
        return (
            tuple(entry.record for entry in self.accounts.values()),
            tuple(entry.record for entry in self.leaders.values()),
        )

    def render(self) -> bytes:
        header = {
            "format": "copytrade-vault",
            "schema": SCHEMA,
            "revision": self.revision,
            "key_check": self.keys.check,
            "copying": self.copying,
            "copying_since_ms": self.copying_since_ms,
            "active_leader": self.active_leader,
        }
        lines = [f"{_json(name)}: {_json(value)},\n" for name, value in header.items()]
        lines.append(f'"install": {self.install.line},\n')
        for name, entries in (("leaders", self.leaders), ("accounts", self.accounts), ("sealed", self.sealed)):
            rows = ",\n".join(entry.line for entry in entries.values())
            lines.append(f'"{name}": [\n{rows}\n],\n')
        return _closed(("{\n" + "".join(lines)).encode("ascii"), self.keys)

    @classmethod
    def parse(cls, document: Mapping[str, Any], keys: _Keys) -> _State:
        """Read a file whose MAC and schema were found right."""

        def entries(kind: str, rows: list[Mapping[str, Any]]) -> dict[str, _Entry]:
            return {entry.record.id: entry for entry in (_Entry.read(kind, row) for row in rows)}

        return cls(
            keys=keys,
            revision=document["revision"],
            copying=document["copying"],
            copying_since_ms=document["copying_since_ms"],
            active_leader=document["active_leader"],
            install=_Entry.read("install", document["install"]),
            leaders=entries("leader", document["leaders"]),
            accounts=entries("account", document["accounts"]),
            sealed=entries("sealed", document["sealed"]),
        )


# Told all accounts and leaders, in the order in which they were added.
Check = Callable[[tuple[AccountRecord, ...], tuple[LeaderRecord, ...]], None]


def _let_pass(accounts: tuple[AccountRecord, ...], leaders: tuple[LeaderRecord, ...]) -> None: ...


class Vault:
    """The open vault. Thread-safe; every change is on the disk before its method returns.

    Reads answer from memory without waiting for writers. One process at a time may have it open (`DataDirLock`).
    Decrypted keys are not kept here; what was decrypted is made known to the process's log redactor.
    All changes may raise `VaultError`: the file could not be written or somebody else changed it, and nothing happened;
    or, as its message then says, it was written but may not survive a power cut.
    """

    def __init__(self, path: Path, state: _State, seen: tuple[int, int, int]) -> None:
        """Not for callers: `create` and `open` make vaults."""
        self._path = path
        self._state = state
        self._seen = seen
        self._writing = threading.Lock()
        # Told each revision that was written, on the writer's thread; it only enqueues.
        self.on_write: Callable[[int], None] = lambda revision: None

    def __repr__(self) -> str:
        return f"<Vault {self._path}: {len(self._state.accounts)} accounts>"

    @classmethod
    def create(cls, path: Path | str, master_key: bytes) -> Vault:
        """Make an empty vault at *path*, with a new install secret.

        :raises VaultError: a vault or a journal is there: data that a new vault would orphan.
        """
        path = Path(path)
        for present in (path, path.parent / JOURNAL_FILE):
            if present.exists() or present.is_symlink():
                raise VaultError(f"{present} is there already; a new vault is never made over existing data")
        keys = _Keys(master_key)
        install = _Entry.seal(keys, "install", _InstallRecord(), {"secret": random_source.token_hex(32)})
        state = _State(
            keys=keys,
            revision=1,
            copying=False,
            copying_since_ms=0,
            active_leader=None,
            install=install,
            leaders={},
            accounts={},
            sealed={},
        )
        seen = _replace_file(path, state.render())
        _sync_name(path)
        return cls(path, state, seen)

    @classmethod
    def open(cls, path: Path | str, master_key: bytes) -> Vault:
        """Open the vault at *path*, checked to the last byte. Nothing is written.

        :raises MasterKeyError: it was made with another master key.
        :raises VaultError: it is missing, cut off or altered; the message names the entry.
        """
        path = Path(path)
        keys = _Keys(master_key)
        try:
            with path.open("rb") as file:
                raw = file.read()
                seen = _signature(os.fstat(file.fileno()))
        except FileNotFoundError:
            if (path.parent / JOURNAL_FILE).exists():
                raise VaultError(
                    f"the vault {path} is missing although a journal lies beside it: restore it from a backup"
                ) from None
            raise VaultError(f"there is no vault at {path}; run `copytrade init`") from None
        except OSError as error:
            raise VaultError(f"the vault {path} cannot be read: {error.strerror}") from None
        if not _is_closed(raw, keys):
            raise _diagnose(path, raw, keys)
        document = json.loads(raw)
        if document["schema"] != SCHEMA:
            raise _other_schema(path, document)
        return cls(path, _State.parse(document, keys), seen)

    # accounts

    def accounts(self) -> tuple[AccountRecord, ...]:
        """Return all accounts in the order in which they were added."""
        return tuple(entry.record for entry in self._state.accounts.values())

    def account(self, account_id: AccountId) -> AccountRecord:
        """:raises NotFound: there is no such account."""
        record: AccountRecord = _find(self._state.accounts, account_id, "account").record
        return record

    def credentials(self, account_id: AccountId) -> Credentials:
        """Decrypt the key of an account. :raises NotFound: there is none. :raises VaultError: it was altered."""
        state = self._state
        return _credentials(_find(state.accounts, account_id, "account"), state.keys)

    def add_account(self, record: AccountRecord, credentials: Credentials, check: Check = _let_pass) -> AccountRecord:
        """Store a new account; version and fingerprint are set here.

        :param check: told what is there, with nobody changing it meanwhile; what it raises stops the change.
        :raises Conflict: its id is taken.
        """
        record = replace(record, version=1, key_fingerprint=_known_to_redactor(credentials).fingerprint)

        def add(state: _State) -> _State:
            if record.id in state.accounts:
                raise Conflict(f"there is an account {record.id!r} already", field="id")
            check(*state.records())
            entry = _Entry.seal(state.keys, "account", record, credentials.fields)
            return replace(state, accounts={**state.accounts, record.id: entry})

        self._change(add)
        return record

    def update_account(
        self,
        account_id: AccountId,
        expected_version: int | None,
        credentials: Credentials | None = None,
        check: Check = _let_pass,
        **changes: Any,
    ) -> AccountRecord:
        """Change an account and return it as it is now, one version on.

        :param expected_version: the version that the change was decided on; ``None`` for any.
        :param credentials: replace all its secrets, under a new data key.
        :param check: as in `add_account`.
        :param changes: of ``name, uid, paused, disabled, status, resumed_ms``.
        :raises Conflict: somebody changed it first.
        :raises NotFound: there is no such account.
        """
        if unknown := changes.keys() - _CHANGEABLE:
            raise TypeError(f"an account's {', '.join(sorted(unknown))} cannot be changed")

        def update(state: _State) -> _State:
            entry = _find(state.accounts, account_id, "account")
            if expected_version not in (None, entry.record.version):
                raise Conflict(
                    f"{entry.label} was changed meanwhile: it is at version {entry.record.version}, "
                    f"not {expected_version}",
                    field="version",
                )
            check(*state.records())
            record = replace(entry.record, version=entry.record.version + 1, **changes)
            if credentials is None:
                entry = entry.with_record(state.keys, record)
            else:
                record = replace(record, key_fingerprint=_known_to_redactor(credentials).fingerprint)
                entry = _Entry.seal(state.keys, "account", record, credentials.fields)
            return replace(state, accounts={**state.accounts, account_id: entry})

        updated: AccountRecord = self._change(update).accounts[account_id].record
        return updated

    def remove_account(self, account_id: AccountId) -> None:
        """Forget an account and its key. :raises NotFound: there is no such account."""

        def remove(state: _State) -> _State:
            _find(state.accounts, account_id, "account")
            return replace(state, accounts=_without(state.accounts, account_id))

        self._change(remove)

    # old keys, kept while an order that they placed is unsettled

    def seal_credentials(self, account_id: AccountId) -> str:
        """Keep a copy of an account's present key beside it, and return the copy's id.

        Call it before the key is replaced or the account removed; a crash between leaves both, never none.
        """
        sealed_id = str(uuid.uuid4())

        def seal(state: _State) -> _State:
            entry = _find(state.accounts, account_id, "account")
            account = entry.record
            record = SealedRecord(
                id=sealed_id,
                account_id=account.id,
                name=account.name,
                exchange=account.exchange,
                environment=account.environment,
                key_fingerprint=account.key_fingerprint,
            )
            copy = _Entry.seal(state.keys, "sealed", record, entry.open(state.keys))
            return replace(state, sealed={**state.sealed, sealed_id: copy})

        self._change(seal)
        return sealed_id

    def sealed(self) -> tuple[SealedRecord, ...]:
        """Return the old keys that are kept, oldest first."""
        return tuple(entry.record for entry in self._state.sealed.values())

    def sealed_credentials(self, sealed_id: str) -> Credentials:
        """Decrypt an old key. :raises NotFound: it was dropped. :raises VaultError: it was altered."""
        state = self._state
        return _credentials(_find(state.sealed, sealed_id, "sealed key"), state.keys)

    def drop_sealed(self, sealed_id: str) -> None:
        """Forget an old key. :raises NotFound: it was dropped before."""

        def drop(state: _State) -> _State:
            _find(state.sealed, sealed_id, "sealed key")
            return replace(state, sealed=_without(state.sealed, sealed_id))

        self._change(drop)

    # the leader, and whether its orders are copied

    def leader(self) -> LeaderRecord | None:
        """Return the active leader; ``None`` before one was set."""
        state = self._state
        return None if state.active_leader is None else state.leaders[state.active_leader].record

    def leaders(self) -> tuple[LeaderRecord, ...]:
        """Return every leader whose key is stored, active or not."""
        return tuple(entry.record for entry in self._state.leaders.values())

    def leader_credentials(self, exchange: str, environment: Environment) -> Credentials:
        """Decrypt a leader's key. :raises NotFound: none is stored there. :raises VaultError: it was altered."""
        state = self._state
        return _credentials(_find(state.leaders, f"{exchange}/{environment}", "leader"), state.keys)

    def set_leader(
        self, record: LeaderRecord, credentials: Credentials | None = None, check: Check = _let_pass
    ) -> LeaderRecord:
        """Make *record* the active leader. Without *credentials* the key stored for its environment stays.

        :param check: as in `add_account`.
        :raises NotFound: no credentials were given and none are stored.
        """

        def set_active(state: _State) -> _State:
            check(*state.records())
            if credentials is None:
                entry = _find(state.leaders, record.id, "leader")
                kept = replace(record, key_fingerprint=entry.record.key_fingerprint)
                entry = entry.with_record(state.keys, kept)
            else:
                new = replace(record, key_fingerprint=_known_to_redactor(credentials).fingerprint)
                entry = _Entry.seal(state.keys, "leader", new, credentials.fields)
            return replace(state, leaders={**state.leaders, record.id: entry}, active_leader=record.id)

        active: LeaderRecord = self._change(set_active).leaders[record.id].record
        return active

    @property
    def copying(self) -> bool:
        """Whether a person wishes that orders be copied; survives restarts."""
        return self._state.copying

    @property
    def copying_since_ms(self) -> int:
        """Exchange time since when; leader orders placed before are never copied."""
        return self._state.copying_since_ms

    def set_copying(self, copying: bool, since_ms: int) -> None:
        """Start or stop copying as of *since_ms*, exchange time."""
        self._change(lambda state: replace(state, copying=copying, copying_since_ms=since_ms))

    # the installation

    @property
    def install_secret(self) -> bytes:
        """32 random bytes that key our client order ids, made with the vault and never changed."""
        state = self._state
        return bytes.fromhex(state.install.open(state.keys)["secret"])

    @property
    def install_tag(self) -> str:
        """Four characters that mark this installation's client order ids."""
        digest = hashlib.sha256(b"tag" + self.install_secret).digest()
        return base64.b32encode(digest).decode()[:4].lower()

    @property
    def revision(self) -> int:
        """Grows with every write: an older copy of the file that was put back has a smaller one."""
        return self._state.revision

    def rotate(self, new_master_key: bytes) -> None:
        """Re-wrap every data key with *new_master_key*; the secrets' own ciphertexts stay.

        The file is replaced in one step, so the old key opens it until then and the new one from then on.
        `rotate_key_file` takes care of the key's own file.
        """
        new = _Keys(new_master_key)

        def rewrap(state: _State) -> _State:
            def all_of(entries: Mapping[str, _Entry]) -> dict[str, _Entry]:
                return {key: entry.rewrapped(state.keys, new) for key, entry in entries.items()}

            return replace(
                state,
                keys=new,
                install=state.install.rewrapped(state.keys, new),
                leaders=all_of(state.leaders),
                accounts=all_of(state.accounts),
                sealed=all_of(state.sealed),
            )

        self._change(rewrap)

    def _change(self, change: Callable[[_State], _State]) -> _State:
        # The lock orders writers; it must span the write, else an older state could replace a newer one.
        with self._writing:
            state = replace(change(self._state), revision=self._state.revision + 1)
            try:
                untouched = _signature(self._path.stat()) == self._seen
            except OSError:
                untouched = False
            if not untouched:
                raise VaultError(
                    f"{self._path} was changed or removed by somebody else; it is left alone: restart the engine"
                )
            self._seen = _replace_file(self._path, state.render())
            self._state = state
            self.on_write(state.revision)
            _sync_name(self._path)
            return state


def rotate_key_file(vault_path: Path, key_path: Path, present: bytes | None = None) -> None:
    """Give the vault a new master key and put it in *key_path*. Killed anywhere, running it again completes it.

    The new key is written to ``<key_path>.new`` first, the vault re-wrapped, then the file put in its place: at
    every moment the present key or one of the two files opens the vault. No engine may run (hold `DataDirLock`).

    :param present: the key in force where *key_path* does not hold it; nothing may be at *key_path* then.
    :raises MasterKeyError: no key opens the vault, or another key is at *key_path*.
    :raises VaultError: the vault was altered.
    """
    new_path = key_path.with_name(key_path.name + ".new")
    try:
        vault = Vault.open(vault_path, read_key_file(key_path) if present is None else present)
    except MasterKeyError:
        # An earlier run was killed after the vault was re-wrapped, or was not seen to end.
        if new_path.exists():
            Vault.open(vault_path, read_key_file(new_path))
        elif present is not None and key_path.exists():
            Vault.open(vault_path, read_key_file(key_path))
            return
        else:
            raise
    else:
        if present is not None and key_path.exists():
            raise MasterKeyError(f"{key_path} is there already and is never overwritten; choose another place")
        vault.rotate(read_key_file(new_path) if new_path.exists() else create_master_key(new_path))
    try:
        _keep(key_path)
        new_path.replace(key_path)
        sync_directory(key_path.parent)
    except OSError as error:
        raise MasterKeyError(
            f"the vault now opens with {new_path}, which could not be moved to {key_path}: {error.strerror}; "
            "run it again"
        ) from None


def _keep(key_path: Path) -> None:
    """Keep a key beside the one that takes its place: older backups open with it alone."""
    for count in itertools.count(1):
        kept = key_path.with_name(f"{key_path.name}.old-{count}")
        if not key_path.exists() or (kept.exists() and kept.samefile(key_path)):
            return  # there is none, or a run that was killed has kept it
        if not kept.exists():
            os.link(key_path, kept)
            return


def _json(value: Any) -> str:
    text: str = json.dumps(value, separators=(",", ":"))
    return text


def _bound_to(kind: str, record: _Record, purpose: str) -> bytes:
    """What a ciphertext is tied to: it opens in this place alone."""
    return _json([SCHEMA, kind, record.id, record.exchange, record.environment, purpose]).encode()


def _encrypt(key: bytes, plain: bytes, bound_to: bytes) -> str:
    nonce = random_source.token_bytes(_NONCE_BYTES)
    return base64.b64encode(nonce + AESGCM(key).encrypt(nonce, plain, bound_to)).decode()


def _decrypt(key: bytes, text: str, bound_to: bytes) -> bytes:
    raw = base64.b64decode(text, validate=True)
    return AESGCM(key).decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], bound_to)


def _closed(body: bytes, keys: _Keys) -> bytes:
    return body + f'"mac": "{keys.mac("file", body)}"\n}}\n'.encode()


def _is_closed(raw: bytes, keys: _Keys) -> bool:
    body, mac, _ = raw.rpartition(b'"mac": "')
    return bool(mac) and hmac.compare_digest(raw, _closed(body, keys))


def _find(entries: Mapping[str, _Entry], key: str, what: str) -> _Entry:
    if key not in entries:
        raise NotFound(f"there is no {what} {key!r}", field="id")
    return entries[key]


def _without(entries: Mapping[str, _Entry], key: str) -> dict[str, _Entry]:
    return {other: entry for other, entry in entries.items() if other != key}


def _credentials(entry: _Entry, keys: _Keys) -> Credentials:
    return _known_to_redactor(Credentials(entry.open(keys)))


def _known_to_redactor(credentials: Credentials) -> Credentials:
    redactor.register(*credentials.fields.values())
    return credentials


def _signature(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_mtime_ns, status.st_size


def _replace_file(path: Path, content: bytes) -> tuple[int, int, int]:
    """Put *content* in the place of *path* as a whole; on any error *path* is as it was."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.unlink(missing_ok=True)  # left by a crash
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            seen = _signature(os.fstat(file.fileno()))
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise VaultError(f"the vault {path} could not be written, nothing was changed: {error.strerror}") from None
    return seen


def _sync_name(path: Path) -> None:
    try:
        sync_directory(path.parent)
    except OSError as error:
        raise VaultError(f"the vault {path} was written but may not survive a power cut: {error.strerror}") from None


def _diagnose(path: Path, raw: bytes, keys: _Keys) -> CopytradeError:
    """Say what is wrong with a file whose MAC is: another key, cut off, or altered, and where."""
    if not raw.endswith(b'"\n}\n'):
        where = _label_on(raw.split(b"\n")[-1])
        return VaultError(f"the vault {path} is cut off{f' in {where}' if where else ''}: {_RESTORE}")
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError) as error:
        start = error.pos if isinstance(error, json.JSONDecodeError) else getattr(error, "start", 0)
        line = raw.count(b"\n", 0, start)
        where = _label_on(raw.split(b"\n")[line]) or "no account's"
        return VaultError(f"the vault {path} was altered in line {line + 1} ({where}): {_RESTORE}")
    if document.get("schema") != SCHEMA:
        return _other_schema(path, document)
    rows = [("install", document.get("install"))]
    for kind, name in (("leader", "leaders"), ("account", "accounts"), ("sealed", "sealed")):
        listed = document.get(name)
        rows += [(kind, row) for row in (listed if isinstance(listed, list) else [])]
    faults = [_fault(kind, row, keys) for kind, row in rows]
    # One MAC that is right proves the master key, whatever became of the check value.
    if document.get("key_check") != keys.check and all(faults):
        return MasterKeyError(
            f"this is not the master key that the vault {path} was made with; nothing was changed "
            "(if `copytrade rotate-key` was interrupted, run it again)"
        )
    damage = "; ".join(filter(None, faults)) or (
        "its entries are whole, but the head was changed, "
        "or entries were removed, repeated or put back from an older file"
    )
    return VaultError(f"the vault {path} was altered: {damage}: {_RESTORE}")


def _other_schema(path: Path, document: Mapping[str, Any]) -> VaultError:
    return VaultError(
        f"the vault {path} has schema {document.get('schema')!r}, this program knows {SCHEMA}: "
        "a newer one wrote it, or it was altered; nothing was changed"
    )


def _label_on(line: bytes) -> str:
    name, entry_id = (re.search(rb'"%s": ?"([^"]*)"' % key, line) for key in (b"name", b"id"))
    texts = [ascii(found[1].decode("ascii", "replace")) for found in (name, entry_id) if found]
    return f"entry {' '.join(texts)}" if texts else ""


def _fault(kind: str, row: Any, keys: _Keys) -> str:
    """Return what is wrong with one entry; empty where its MAC is right."""
    try:
        content = {name: row[name] for name in ("record", "data_key", "secrets")}
        if row.keys() == {*content, "mac"} and keys.mac(kind, _json(content).encode()) == row["mac"]:
            return ""
        entry = _Entry.read(kind, row)
    except Exception:  # damage can have given it any shape
        return f"an entry that cannot be read ({_label_on(_json(row).encode()) or kind})"
    try:
        entry.open(keys)
    except VaultError as error:
        return error.message.removesuffix(f": {_RESTORE}")
    return f"the settings of {entry.label} were changed"
