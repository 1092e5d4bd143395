"""The vault keeps what it was told, says exactly what was altered, and never writes over anything it does not know."""

import itertools
import json
import os
import re
import secrets
import subprocess
import sys
import threading
from dataclasses import replace

import pytest

from copytrade_core.errors import Conflict, MasterKeyError, NotFound, VaultError
from copytrade_core.model import Credentials, Environment
from copytrade_core.redaction import redactor
from copytrade_core.store import vault as vault_module
from copytrade_core.store.master_key import create_master_key, read_key_file
from copytrade_core.store.vault import (
    AccountRecord,
    Disabled,
    LeaderRecord,
    Vault,
    rotate_key_file,
)

KEY = secrets.token_bytes(32)
OTHER_KEY = secrets.token_bytes(32)


def credentials(word: str) -> Credentials:
    return Credentials(
        {"api_key": f"key-of-{word}", "api_secret": f"secret-of-{word}", "passphrase": f"pass-of-{word}"}
    )


def account(account_id: str, name: str = "") -> AccountRecord:
    return AccountRecord(id=account_id, name=name or account_id, exchange="bitget", environment=Environment.DEMO)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "vault.json"


@pytest.fixture
def vault(path):
    return Vault.create(path, KEY)


@pytest.fixture
def full(vault):
    """A vault with something in every part."""
    for word in ("alice", "bob", "carol"):
        vault.add_account(account(f"id-{word}", word.title()), credentials(word))
    vault.set_leader(LeaderRecord(exchange="binance", environment=Environment.TEST), credentials("lead-test"))
    vault.set_leader(LeaderRecord(exchange="binance", environment=Environment.PROD), credentials("lead-prod"))
    vault.seal_credentials("id-carol")
    vault.set_copying(True, 1_700_000_000_000)
    return vault


def contents(vault):
    return (
        vault.accounts(),
        [vault.credentials(record.id).fields for record in vault.accounts()],
        vault.leader(),
        [vault.leader_credentials(record.exchange, record.environment).fields for record in vault.leaders()],
        [(record, vault.sealed_credentials(record.id).fields) for record in vault.sealed()],
        (vault.copying, vault.copying_since_ms, vault.install_secret, vault.install_tag, vault.revision),
    )


# --- keeping ----------------------------------------------------------------------------------------------


def test_what_was_stored_is_read_back_by_the_next_process(path, full):
    assert contents(Vault.open(path, KEY)) == contents(full)


def test_an_account_comes_back_as_it_was_added_with_version_and_fingerprint(vault):
    added = vault.add_account(account("id-1", "张三 ✓"), credentials("one"))

    assert added == replace(account("id-1", "张三 ✓"), version=1, key_fingerprint=credentials("one").fingerprint)
    assert vault.account("id-1") == added
    assert vault.credentials("id-1") == credentials("one")


def test_every_change_makes_a_new_version_and_keeps_the_rest(path, full):
    disabled = Disabled(kind="invalid_key", message="the key was refused", since_ms=5)

    full.update_account("id-bob", 1, paused=True, resumed_ms=9)
    full.update_account("id-bob", 2, disabled=disabled, status="VERIFIED", uid="77", name="Robert")
    updated = full.update_account("id-bob", None, disabled=None)

    assert updated == replace(
        account("id-bob", "Robert"),
        paused=True,
        resumed_ms=9,
        status="VERIFIED",
        uid="77",
        version=4,
        key_fingerprint=credentials("bob").fingerprint,
    )
    reopened = Vault.open(path, KEY)
    assert reopened.account("id-bob") == updated
    assert reopened.credentials("id-bob") == credentials("bob")


def test_a_change_decided_on_an_old_version_is_refused(path, full):
    full.update_account("id-bob", 1, paused=True)
    before = path.read_bytes()

    with pytest.raises(Conflict, match="version 2, not 1"):
        full.update_account("id-bob", 1, credentials("new"), paused=False)

    assert path.read_bytes() == before
    assert full.credentials("id-bob") == credentials("bob")


def test_a_new_key_replaces_all_secrets_under_a_new_data_key(path, full):
    before = entry_of(path, "id-bob")

    updated = full.update_account("id-bob", 1, Credentials({"api_key": "new-key", "api_secret": "new-secret"}))

    assert updated.key_fingerprint == Credentials({"api_key": "new-key"}).fingerprint
    assert dict(full.credentials("id-bob").fields) == {"api_key": "new-key", "api_secret": "new-secret"}
    assert entry_of(path, "id-bob")["data_key"] != before["data_key"]


@pytest.mark.parametrize("name", ["id", "exchange", "environment", "version", "key_fingerprint", "nonsense"])
def test_what_the_secrets_are_bound_to_cannot_be_changed(full, name):
    with pytest.raises(TypeError, match=name):
        full.update_account("id-bob", None, **{name: "x"})


def test_an_id_is_taken_once(full):
    with pytest.raises(Conflict):
        full.add_account(account("id-bob"), credentials("other"))
    assert full.credentials("id-bob") == credentials("bob")


def test_what_is_not_there_is_not_found(full):
    full.remove_account("id-bob")

    for ask in (
        lambda: full.account("id-bob"),
        lambda: full.credentials("id-bob"),
        lambda: full.update_account("id-bob", None, paused=True),
        lambda: full.remove_account("id-bob"),
        lambda: full.seal_credentials("id-bob"),
        lambda: full.sealed_credentials("id-bob"),
        lambda: full.drop_sealed("id-bob"),
        lambda: full.leader_credentials("binance", Environment.DEMO),
        lambda: full.set_leader(LeaderRecord(exchange="binance", environment=Environment.DEMO)),
    ):
        with pytest.raises(NotFound):
            ask()


def test_a_sealed_key_outlives_its_account_until_it_is_dropped(path, vault):
    vault.add_account(account("id-1"), credentials("old"))
    sealed_id = vault.seal_credentials("id-1")
    vault.update_account("id-1", None, credentials("new"))
    vault.remove_account("id-1")

    reopened = Vault.open(path, KEY)

    assert reopened.sealed_credentials(sealed_id) == credentials("old")
    (record,) = reopened.sealed()
    assert (record.id, record.account_id, record.exchange) == (sealed_id, "id-1", "bitget")
    assert record.key_fingerprint == credentials("old").fingerprint
    reopened.drop_sealed(sealed_id)
    assert Vault.open(path, KEY).sealed() == ()


def test_leaders_are_switched_without_entering_the_key_again(path, vault):
    test, prod = (LeaderRecord(exchange="binance", environment=each) for each in (Environment.TEST, Environment.PROD))
    assert vault.leader() is None
    vault.set_leader(test, credentials("test"))
    vault.set_leader(prod, credentials("prod"))

    active = vault.set_leader(replace(test, uid="12"))

    assert active == replace(test, uid="12", key_fingerprint=credentials("test").fingerprint)
    reopened = Vault.open(path, KEY)
    assert reopened.leader() == active
    assert reopened.leader_credentials("binance", Environment.TEST) == credentials("test")
    assert reopened.leader_credentials("binance", Environment.PROD) == credentials("prod")


def test_the_install_secret_is_made_once_and_gives_the_tag(tmp_path, path, vault):
    assert len(vault.install_secret) == 32
    assert re.fullmatch("[a-z2-7]{4}", vault.install_tag)
    assert Vault.open(path, KEY).install_secret == vault.install_secret
    (tmp_path / "second").mkdir()
    assert Vault.create(tmp_path / "second" / "vault.json", KEY).install_secret != vault.install_secret


def test_the_file_is_private_and_holds_no_secret_in_any_form(path, full):
    text = path.read_text(encoding="ascii")

    assert path.stat().st_mode & 0o777 == 0o600
    for word in ("alice", "bob", "carol", "lead-test", "lead-prod"):
        for secret in credentials(word).fields.values():
            assert secret not in text
            assert secret.encode().hex() not in text
    assert KEY.hex() not in text
    assert full.install_secret.hex() not in text
    document = json.loads(text)
    entries = [document["install"], *document["leaders"], *document["accounts"], *document["sealed"]]
    nonces = [value[:16] for entry in entries for value in (entry["data_key"], *entry["secrets"].values())]
    assert len(nonces) == len(set(nonces)) == 2 + 6 * 4


def test_nothing_shown_of_a_vault_gives_a_secret_away(full):
    shown = f"{full!r} {full} {full.accounts()} {full.credentials('id-bob')!r} {vars(full)}"

    for secret in credentials("bob").fields.values():
        assert secret not in shown
    assert KEY.hex() not in shown


def test_what_was_decrypted_is_known_to_the_log_redactor(full):
    full.credentials("id-alice")

    assert "pass-of-alice" not in redactor.clean("refused: pass-of-alice")


def test_many_threads_change_one_vault_and_nothing_is_lost(path, vault):
    failures = []

    def add(number):
        try:
            vault.add_account(account(f"id-{number}"), credentials(str(number)))
            vault.update_account(f"id-{number}", 1, paused=True)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=add, args=(number,), name=f"add-{number}") for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert failures == []
    assert {record.id for record in Vault.open(path, KEY).accounts()} == {f"id-{number}" for number in range(12)}
    assert all(record.paused and record.version == 2 for record in vault.accounts())


def test_readers_do_not_wait_for_a_slow_disk(vault, monkeypatch):
    vault.add_account(account("id-1"), credentials("one"))
    entered, release = threading.Event(), threading.Event()
    real = os.fsync

    def slow(descriptor):
        entered.set()
        assert release.wait(10)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", slow)
    writer = threading.Thread(target=vault.update_account, args=("id-1", 1), kwargs={"paused": True}, name="writer")
    writer.start()
    assert entered.wait(10)

    assert vault.account("id-1").paused is False  # not said before it is durable

    release.set()
    writer.join(10)
    assert vault.account("id-1").paused is True


# --- creating ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("present", ["vault.json", "journal.db"])
def test_a_vault_is_never_made_over_existing_data(tmp_path, path, present):
    (tmp_path / present).write_bytes(b"anything")

    with pytest.raises(VaultError, match=re.escape(present)):
        Vault.create(path, KEY)

    assert [entry.name for entry in tmp_path.iterdir()] == [present]
    assert (tmp_path / present).read_bytes() == b"anything"


def test_opening_never_creates(tmp_path, path):
    with pytest.raises(VaultError, match="copytrade init"):
        Vault.open(path, KEY)
    (tmp_path / "journal.db").touch()
    with pytest.raises(VaultError, match="backup"):
        Vault.open(path, KEY)
    assert not path.exists()


@pytest.mark.parametrize(
    "key", [b"", bytes(32), b"x" * 32, secrets.token_bytes(31)], ids=["none", "zeros", "one letter", "short"]
)
def test_a_bad_master_key_makes_and_opens_nothing(path, key):
    with pytest.raises(MasterKeyError):
        Vault.create(path, key)
    assert not path.exists()


# --- altered files ----------------------------------------------------------------------------------------


def entry_of(path, entry_id):
    document = json.loads(path.read_bytes())
    rows = document["accounts"] + document["sealed"]
    return next(row for row in rows if row["record"]["id"] == entry_id)


def refused(path, key=KEY):
    """Open *path*, which must fail and leave it alone; return the error."""
    before = path.read_bytes(), path.stat().st_mtime_ns, sorted(path.parent.iterdir())
    with pytest.raises((VaultError, MasterKeyError)) as caught:
        Vault.open(path, key)
    assert (path.read_bytes(), path.stat().st_mtime_ns, sorted(path.parent.iterdir())) == before
    for word in ("alice", "bob", "carol", "lead-test", "lead-prod"):
        assert f"secret-of-{word}" not in str(caught.value)
    return caught.value


def test_another_master_key_is_told_from_an_altered_file(path, full):
    assert isinstance(error := refused(path, OTHER_KEY), MasterKeyError)
    assert "not the master key" in error.message


@pytest.mark.parametrize("mask", [0x01, 0x20, 0x80, 0xFF])
def test_a_flipped_byte_anywhere_is_found_and_its_entry_named(path, full, mask):
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    ends = list(itertools.accumulate(len(line) for line in lines))

    for position in range(mask % 7, len(whole), 97):
        altered = bytearray(whole)
        altered[position] ^= mask
        path.write_bytes(altered)

        error = refused(path)

        assert isinstance(error, VaultError), position
        line = lines[next(number for number, end in enumerate(ends) if position < end)]
        named = [name for name in re.findall(rb'"(?:id|name)":"([^"]*)"', line) if name.decode() in error.message]
        if line.startswith(b'{"record":{"id"') and whole[position : position + 1] != b"\n":
            assert named, (position, error.message)

    path.write_bytes(whole)
    assert contents(Vault.open(path, KEY)) == contents(full)


def test_a_file_cut_off_anywhere_is_found(path, full):
    whole = path.read_bytes()

    for length in [*range(0, len(whole), 97), len(whole) - 1, len(whole) - 2]:
        path.write_bytes(whole[:length])
        assert "cut off" in refused(path).message
    path.write_bytes(whole[: whole.index(b'"name":"Bob"') + 200])
    assert "Bob" in refused(path).message
    path.write_bytes(whole + b"\n")
    refused(path)


def rewrite(path, change):
    """Let *change* work on the parsed file and write it back in the same layout, all MACs left as they were."""
    document = json.loads(path.read_bytes())
    change(document)
    lines = []
    for name, value in document.items():
        if isinstance(value, list):
            rows = ",\n".join(json.dumps(row, separators=(",", ":")) for row in value)
            lines.append(f'"{name}": [\n{rows}\n]')
        else:
            lines.append(f'"{name}": {json.dumps(value, separators=(",", ":"))}')
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def test_the_rewriting_of_these_tests_alone_alters_nothing(path, full):
    rewrite(path, lambda document: None)
    assert contents(Vault.open(path, KEY)) == contents(full)


def accounts_of(document):
    return {row["record"]["name"]: row for row in document["accounts"]}


def copy_the_secrets_of_bob_to_alice(document):
    rows = accounts_of(document)
    rows["Alice"]["secrets"] = rows["Bob"]["secrets"]
    rows["Alice"]["data_key"] = rows["Bob"]["data_key"]


def copy_one_field_of_bob_to_alice(document):
    rows = accounts_of(document)
    rows["Alice"]["secrets"]["api_key"] = rows["Bob"]["secrets"]["api_key"]


def swap_two_fields_of_alice(document):
    fields = accounts_of(document)["Alice"]["secrets"]
    fields["api_key"], fields["api_secret"] = fields["api_secret"], fields["api_key"]


def move_alice_to_another_exchange(document):
    accounts_of(document)["Alice"]["record"]["exchange"] = "binance"


def give_alice_the_row_of_bob(document):
    rows = accounts_of(document)
    rows["Alice"].update({**rows["Bob"], "record": {**rows["Bob"]["record"], "id": "id-alice", "name": "Alice"}})


def resume_alice(document):
    accounts_of(document)["Alice"]["record"]["resumed_ms"] = 1


def drop_a_field_of_alice(document):
    del accounts_of(document)["Alice"]["secrets"]["passphrase"]


def add_to_alice(document):
    accounts_of(document)["Alice"]["more"] = 1


def spoil_alice(document):
    accounts_of(document)["Alice"]["record"]["environment"] = "moon"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (copy_the_secrets_of_bob_to_alice, r"keys of account 'Alice' \(id-alice\)"),
        (copy_one_field_of_bob_to_alice, r"field 'api_key' of account 'Alice'"),
        (swap_two_fields_of_alice, r"field 'api_key' of account 'Alice'"),
        (move_alice_to_another_exchange, r"keys of account 'Alice'"),
        (give_alice_the_row_of_bob, r"keys of account 'Alice'"),
        (resume_alice, r"settings of account 'Alice'"),
        (drop_a_field_of_alice, r"settings of account 'Alice'"),
        (add_to_alice, r"settings of account 'Alice'"),
        (spoil_alice, r"cannot be read \(entry 'Alice' 'id-alice'"),
    ],
)
def test_an_altered_entry_is_named_and_no_other(path, full, change, named):
    rewrite(path, change)

    error = refused(path)

    assert isinstance(error, VaultError)
    assert re.search(named, error.message), error.message
    assert "Bob" not in error.message
    assert "Carol" not in error.message


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda document: document.update(copying=False), id="copying switched"),
        pytest.param(lambda document: document.update(copying_since_ms=0), id="since earlier"),
        pytest.param(lambda document: document.update(active_leader="binance/test"), id="leader switched"),
        pytest.param(lambda document: document.update(key_check="0" * 64), id="check value"),
        pytest.param(lambda document: document.update(mac="0" * 64), id="file mac"),
        pytest.param(lambda document: document["accounts"].pop(), id="account removed"),
        pytest.param(lambda document: document["accounts"].append(document["accounts"][0]), id="account repeated"),
        pytest.param(lambda document: document["accounts"].reverse(), id="reordered"),
        pytest.param(lambda document: document.update(accounts={}), id="no list"),
        pytest.param(lambda document: document.update(schema=2), id="schema"),
        pytest.param(lambda document: document["accounts"].append(7), id="no entry"),
    ],
)
def test_an_altered_head_or_list_is_found(path, full, change):
    rewrite(path, change)

    assert isinstance(refused(path), VaultError)


def test_an_entry_put_back_from_an_older_file_is_found(path, full):
    old = json.loads(path.read_bytes())
    full.update_account("id-bob", None, credentials("new"))

    rewrite(path, lambda document: document.update(accounts=old["accounts"]))

    assert "older file" in refused(path).message


def test_a_newer_schema_is_refused_even_when_its_macs_are_right(path, monkeypatch):
    with monkeypatch.context() as newer:
        newer.setattr(vault_module, "SCHEMA", 2)
        Vault.create(path, KEY)

    assert "schema 2, this program knows 1" in refused(path).message


def test_secrets_are_bound_to_their_place_even_for_someone_who_can_make_macs(path, full):
    keys = vault_module._Keys(KEY)
    state = full._state
    alice, bob = state.accounts["id-alice"], state.accounts["id-bob"]

    def build(data_key, fields):
        return vault_module._Entry.build(keys, "account", alice.record, data_key, fields)

    for forged, named in (
        (build(bob.data_key, bob.secrets), "keys of account 'Alice'"),
        (
            build(alice.data_key, {**alice.secrets, "passphrase": bob.secrets["passphrase"]}),
            "'passphrase' of account 'Al",
        ),
        (
            build(alice.data_key, {**alice.secrets, "api_key": alice.secrets["api_secret"]}),
            "'api_key' of account 'Alice'",
        ),
    ):
        path.write_bytes(replace(state, accounts={**state.accounts, "id-alice": forged}).render())
        opened = Vault.open(path, KEY)
        with pytest.raises(VaultError, match=re.escape(named)):
            opened.credentials("id-alice")
        with pytest.raises(VaultError):
            opened.seal_credentials("id-alice")
        assert opened.credentials("id-bob") == credentials("bob")


# --- writing ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["fsync", "replace", "open"])
def test_a_write_that_fails_changes_nothing_and_the_next_one_works(path, full, monkeypatch, step):
    before = path.read_bytes(), contents(full)

    def fail(*_arguments, **_options):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, step, fail)
        with pytest.raises(VaultError, match="nothing was changed: No space left"):
            full.update_account("id-bob", 1, credentials("new"), paused=True)

    assert (path.read_bytes(), contents(full)) == before
    assert [entry.name for entry in path.parent.iterdir()] == ["vault.json"]
    full.update_account("id-bob", 1, paused=True)
    assert Vault.open(path, KEY).account("id-bob").paused


def test_memory_follows_the_disk_when_only_the_last_sync_fails(path, full, monkeypatch):
    real = os.fsync
    calls = iter([True, False])  # the file's, then the directory's

    def second_fails(descriptor):
        if not next(calls):
            raise OSError(5, "Input/output error")
        real(descriptor)

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", second_fails)
        with pytest.raises(VaultError, match="may not survive a power cut"):
            full.update_account("id-bob", 1, paused=True)

    assert full.account("id-bob") == Vault.open(path, KEY).account("id-bob")
    full.update_account("id-bob", 2, paused=False)


KILLED = """
import os, sys
from copytrade_core.store.vault import Vault
vault = Vault.open(sys.argv[1], bytes.fromhex(sys.stdin.read()))
real = getattr(os, sys.argv[2])
def die(*arguments):
    if sys.argv[3] == "after":
        real(*arguments)
    os.kill(os.getpid(), 9)
setattr(os, sys.argv[2], die)
vault.update_account("id-bob", 1, paused=True)
"""


@pytest.mark.parametrize(
    ("step", "moment", "written"),
    [("fsync", "before", False), ("fsync", "after", False), ("replace", "before", False), ("replace", "after", True)],
)
def test_a_kill_leaves_the_old_file_or_the_new_one(path, full, step, moment, written):
    command = [sys.executable, "-c", KILLED, str(path), step, moment]
    assert subprocess.run(command, input=KEY.hex(), text=True, check=False).returncode == -9

    reopened = Vault.open(path, KEY)

    assert reopened.account("id-bob").paused is written
    reopened.update_account("id-bob", None, paused=True)
    assert [entry.name for entry in path.parent.iterdir()] == ["vault.json"]


def test_a_file_that_somebody_else_changed_is_left_alone(path, full):
    other = Vault.open(path, KEY)
    other.set_copying(False, 0)
    theirs = path.read_bytes()

    with pytest.raises(VaultError, match="somebody else"):
        full.update_account("id-bob", 1, paused=True)
    assert path.read_bytes() == theirs

    path.unlink()
    with pytest.raises(VaultError):
        other.set_copying(True, 1)
    assert not path.exists()


# --- rotation ---------------------------------------------------------------------------------------------


def test_after_rotation_only_the_new_key_opens_and_nothing_else_changed(path, full):
    before = contents(full)[:-1], full.install_secret
    ciphertexts = entry_of(path, "id-bob")["secrets"]

    full.rotate(OTHER_KEY)

    reopened = Vault.open(path, OTHER_KEY)
    assert (contents(reopened)[:-1], reopened.install_secret) == before
    assert entry_of(path, "id-bob")["secrets"] == ciphertexts
    assert isinstance(refused(path, KEY), MasterKeyError)
    full.add_account(account("id-dave"), credentials("dave"))
    assert Vault.open(path, OTHER_KEY).credentials("id-dave") == credentials("dave")


def test_a_rotation_that_fails_leaves_the_old_key_in_force(path, full, monkeypatch):
    with monkeypatch.context() as broken:
        broken.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(5, "Input/output error")))
        with pytest.raises(VaultError):
            full.rotate(OTHER_KEY)

    assert contents(Vault.open(path, KEY)) == contents(full)


@pytest.mark.parametrize("kill_at", ["os.fsync", "os.link", "os.replace", "second os.replace", "never"])
def test_a_rotation_of_the_key_file_killed_anywhere_is_completed_by_the_next(tmp_path, monkeypatch, kill_at):
    class Killed(BaseException):
        pass

    keys = tmp_path / "keys"
    key_file = keys / "master.key"
    old = create_master_key(key_file)
    path = tmp_path / "vault.json"
    vault = Vault.create(path, old)
    vault.add_account(account("id-1"), credentials("one"))
    name = kill_at.removeprefix("second ").removeprefix("os.")
    calls = iter([kill_at.startswith("second "), False])

    if kill_at != "never":
        real = getattr(os, name)

        def die(*arguments, **options):
            if next(calls):
                return real(*arguments, **options)
            raise Killed

        with monkeypatch.context() as killing:
            killing.setattr(os, name, die)
            with pytest.raises(Killed):
                rotate_key_file(path, key_file)
        files = [key_file, *keys.glob("*.new")]
        assert any(opens(path, read_key_file(file)) for file in files)

    rotate_key_file(path, key_file)

    names = sorted(entry.name for entry in keys.glob("*.key*") if not entry.name.endswith(".tmp"))
    assert names == ["master.key", "master.key.old-1"]
    assert read_key_file(keys / "master.key.old-1") == old
    assert read_key_file(key_file) != old
    assert Vault.open(path, read_key_file(key_file)).credentials("id-1") == credentials("one")
    assert not opens(path, old)


def opens(path, key):
    try:
        Vault.open(path, key)
    except MasterKeyError:
        return False
    return True


def test_rotation_with_a_key_that_never_fitted_changes_nothing(tmp_path, path, full):
    key_file = tmp_path / "keys" / "master.key"
    create_master_key(key_file)
    before = path.read_bytes()

    with pytest.raises(MasterKeyError):
        rotate_key_file(path, key_file)

    assert path.read_bytes() == before
    assert [entry.name for entry in key_file.parent.iterdir()] == ["master.key"]
