"""Where the master key comes from, and that a bad one is refused with a sentence that helps and gives nothing away."""

import base64
import os
import secrets

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from copytrade_core.errors import MasterKeyError
from copytrade_core.store.master_key import create_master_key, default_key_path, derive, load_master_key

HOOKED, VARIABLE, FILED, DEFAULT = (secrets.token_bytes(32) for _ in range(4))


def text(key: bytes) -> str:
    return base64.b64encode(key).decode()


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def data_dir(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def key_file(tmp_path):
    return put(tmp_path / "master.key", text(FILED))


def put(path, content, mode=0o600):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    path.chmod(mode)
    return path


def test_hook_then_variable_then_file_then_default(data_dir, key_file):
    put(default_key_path(data_dir), text(DEFAULT))
    environ = {"COPYTRADE_MASTER_KEY": text(VARIABLE), "COPYTRADE_MASTER_KEY_FILE": str(key_file)}

    assert load_master_key(dict(environ), HOOKED, data_dir) == HOOKED
    assert load_master_key(dict(environ), None, data_dir) == VARIABLE
    del environ["COPYTRADE_MASTER_KEY"]
    assert load_master_key(dict(environ), None, data_dir) == FILED
    del environ["COPYTRADE_MASTER_KEY_FILE"]
    assert load_master_key(dict(environ), None, data_dir) == DEFAULT


@pytest.mark.parametrize("hook_result", [HOOKED, None], ids=["hook", "no hook"])
def test_the_variable_does_not_stay_in_the_environment(monkeypatch, hook_result):
    monkeypatch.setenv("COPYTRADE_MASTER_KEY", text(VARIABLE))

    load_master_key(os.environ, hook_result)

    assert "COPYTRADE_MASTER_KEY" not in os.environ


def test_a_refused_variable_does_not_stay_either():
    environ = {"COPYTRADE_MASTER_KEY": "short"}

    with pytest.raises(MasterKeyError):
        load_master_key(environ, None)

    assert environ == {}


def test_none_at_all_says_where_it_looked_and_what_to_do(data_dir):
    with pytest.raises(MasterKeyError) as caught:
        load_master_key({}, None, data_dir)

    for hint in (
        "COPYTRADE_MASTER_KEY",
        "COPYTRADE_MASTER_KEY_FILE",
        str(default_key_path(data_dir)),
        "copytrade init",
    ):
        assert hint in caught.value.message
    assert not default_key_path(data_dir).exists()


REFUSED = [
    pytest.param(secrets.token_bytes(31), id="31 bytes"),
    pytest.param(secrets.token_bytes(33), id="33 bytes"),
    pytest.param(secrets.token_bytes(16), id="16 bytes"),
    pytest.param(b"", id="empty"),
    pytest.param(bytes(32), id="all zero"),
    pytest.param(b"\xff" * 32, id="all one"),
    pytest.param(bytes(range(32)), id="counting"),
    pytest.param(bytes(range(64, 0, -2)), id="counting down"),
    pytest.param(secrets.token_bytes(4) * 8, id="repeated"),
    pytest.param(b"0123456789abcdef0123456789ABCDEF", id="typed"),
    pytest.param(b"change-me-change-me-change-me-32", id="sample"),
]


@pytest.mark.parametrize("key", REFUSED)
def test_a_key_that_was_not_drawn_at_random_is_refused_wherever_it_comes_from(tmp_path, key):
    path = put(tmp_path / "bad.key", text(key))
    sources = [({}, key), ({"COPYTRADE_MASTER_KEY_FILE": str(path)}, None)]
    if key:
        sources.append(({"COPYTRADE_MASTER_KEY": text(key)}, None))

    for environ, hook_result in sources:
        with pytest.raises(MasterKeyError) as caught:
            load_master_key(environ, hook_result)
        assert "openssl rand -base64 32" in caught.value.message
        assert not key or text(key) not in caught.value.message


@pytest.mark.parametrize(
    "bad",
    ["not base64!", text(VARIABLE)[:-2], secrets.token_hex(32), "密钥", "\udcff" * 44],
    ids=["words", "cut short", "hex", "not ASCII", "not text"],
)
def test_other_than_base64_is_refused_without_showing_it(bad):
    with pytest.raises(MasterKeyError) as caught:
        load_master_key({"COPYTRADE_MASTER_KEY": bad}, None)

    assert bad not in caught.value.message
    assert caught.value.__cause__ is None


def test_a_hook_must_answer_with_bytes():
    with pytest.raises(MasterKeyError, match="32 bytes, not str"):
        load_master_key({}, "x" * 32)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620, 0o644])
def test_a_file_that_others_can_open_is_refused(key_file, mode):
    key_file.chmod(mode)

    with pytest.raises(MasterKeyError, match=f"chmod 600 {key_file}"):
        load_master_key({"COPYTRADE_MASTER_KEY_FILE": str(key_file)}, None)


def test_the_group_bits_of_a_systemd_credential_are_its_access_list(key_file):
    environ = {"COPYTRADE_MASTER_KEY_FILE": str(key_file), "CREDENTIALS_DIRECTORY": str(key_file.parent)}
    key_file.chmod(0o440)

    assert load_master_key(environ, None) == FILED

    key_file.chmod(0o444)
    with pytest.raises(MasterKeyError):
        load_master_key(environ, None)


def test_a_named_file_that_is_missing_is_an_error_although_the_default_is_there(tmp_path, data_dir):
    put(default_key_path(data_dir), text(DEFAULT))

    with pytest.raises(MasterKeyError, match=r"none\.key cannot be read"):
        load_master_key({"COPYTRADE_MASTER_KEY_FILE": str(tmp_path / "none.key")}, None, data_dir)


def test_a_new_key_is_private_lies_outside_the_data_and_is_found_again(home, data_dir):
    path = default_key_path(data_dir)

    key = create_master_key(path)

    assert path.is_relative_to(home)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    assert load_master_key({}, None, data_dir) == key
    assert default_key_path(data_dir / ".." / "data") == path
    assert default_key_path(data_dir / "other") != path


def test_a_key_file_is_never_overwritten(key_file):
    with pytest.raises(MasterKeyError, match="never overwritten"):
        create_master_key(key_file)

    assert key_file.read_text() == text(FILED)
    assert list(key_file.parent.glob("*.tmp")) == []


def test_a_dangling_link_is_not_followed(tmp_path):
    link = tmp_path / "link.key"
    link.symlink_to(tmp_path / "target.key")

    with pytest.raises(MasterKeyError):
        create_master_key(link)

    assert not (tmp_path / "target.key").exists()


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    def fail(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)

    with pytest.raises(MasterKeyError, match="No space left"):
        create_master_key(tmp_path / "new.key")

    assert list(tmp_path.glob("new*")) == []


def test_a_data_directory_that_holds_the_configuration_is_refused(home):
    with pytest.raises(MasterKeyError, match="outside"):
        default_key_path(home)


def test_derived_keys_are_rfc_5869_and_differ_by_label():
    expected = HKDF(algorithm=hashes.SHA256(), length=32, salt=b"copytrade", info=b"vault mac").derive(FILED)

    assert derive(FILED, "vault mac") == expected
    assert derive(FILED, "vault wrapping") != expected
    assert derive(DEFAULT, "vault mac") != expected
