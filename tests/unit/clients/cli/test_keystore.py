from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from clients.cli import keystore
from clients.cli.errors import NotFoundError, Refused, SignInError, UsageError
from clients.cli.keystore import Keystore, ask_passphrase, create_keystore, open_keystore

PASSPHRASE = "correct horse battery"  # noqa: S105
SECRET = b"the secret of this test"


@pytest.fixture(autouse=True)
def cheap_derivation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keystore, "_SCRYPT_N", 2**10)


@pytest.fixture
def store(tmp_path: Path) -> Keystore:
    return create_keystore(tmp_path / "keys", passphrase=PASSPHRASE)


def test_a_secret_comes_back_with_the_passphrase(store: Keystore) -> None:
    store.write("signing", SECRET)
    opened = open_keystore(store.folder, passphrase=PASSPHRASE)
    assert opened.read("signing") == SECRET
    assert opened.names() == ["signing"]


def test_another_passphrase_opens_nothing(store: Keystore) -> None:
    store.write("signing", SECRET)
    with pytest.raises(SignInError):
        open_keystore(store.folder, passphrase=PASSPHRASE.upper())


def test_nothing_on_disk_or_in_repr_shows_a_secret(store: Keystore) -> None:
    store.write("signing", SECRET)
    for path in store.folder.iterdir():
        assert SECRET not in path.read_bytes()
        assert PASSPHRASE.encode() not in path.read_bytes()
        assert path.stat().st_mode & 0o777 == 0o600
    assert "key" not in repr(store).replace("Keystore", "").replace("keys", "")


def test_a_file_that_was_exchanged_for_another_is_refused(store: Keystore) -> None:
    store.write("signing", SECRET)
    store.write("other", b"something else")
    shutil.copy(store.folder / "other.key", store.folder / "signing.key")
    with pytest.raises(Refused, match="was changed"):
        store.read("signing")


def test_a_changed_file_is_refused(store: Keystore) -> None:
    store.write("signing", SECRET)
    path = store.folder / "signing.key"
    value = json.loads(path.read_bytes())
    value["sealed"] = "A" + value["sealed"][1:] if value["sealed"][0] != "A" else "B"
    path.write_text(json.dumps(value))
    with pytest.raises(Refused, match=r"was changed|not base64"):
        store.read("signing")


@pytest.mark.parametrize("content", [b"", b"[]", b"no json", b'{"nonce": "!", "sealed": "!"}'])
def test_a_damaged_file_is_refused(store: Keystore, content: bytes) -> None:
    path = store.folder / "signing.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(Refused):
        store.read("signing")


def test_a_file_that_others_may_read_is_refused(store: Keystore) -> None:
    store.write("signing", SECRET)
    (store.folder / "signing.key").chmod(0o644)
    with pytest.raises(Refused, match="can be read by others"):
        store.read("signing")


@pytest.mark.parametrize(
    ("field", "value"), [("n", 2), ("n", 2**30), ("r", 1), ("p", 0), ("name", "md5")]
)
def test_a_weakened_derivation_is_refused(store: Keystore, field: str, value: object) -> None:
    path = store.folder / "store.json"
    content = json.loads(path.read_bytes())
    content["kdf"][field] = value
    path.write_text(json.dumps(content))
    with pytest.raises(Refused):
        open_keystore(store.folder, passphrase=PASSPHRASE)


def test_a_name_is_used_once_and_is_no_path(store: Keystore) -> None:
    store.write("signing", SECRET)
    with pytest.raises(UsageError, match="exists already"):
        store.write("signing", b"another")
    assert store.read("signing") == SECRET
    for name in ("../signing", "", "UPPER", "a/b"):
        with pytest.raises(UsageError, match="is not a key name"):
            store.write(name, SECRET)


def test_what_is_not_there_is_not_found(store: Keystore, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        store.read("signing")
    with pytest.raises(NotFoundError):
        open_keystore(tmp_path / "elsewhere", passphrase=PASSPHRASE)


def test_a_key_of_another_kind_is_refused(store: Keystore) -> None:
    store.write_private_key("curve", ec.generate_private_key(ec.SECP256R1()))
    store.write_private_key("rsa", rsa.generate_private_key(65537, 2048))
    with pytest.raises(Refused, match="expected an RSA key"):
        store.read_rsa_key("curve")
    with pytest.raises(Refused, match="expected an elliptic-curve key"):
        store.read_ec_key("rsa")


def test_nobody_at_the_terminal_is_asked_nothing() -> None:
    assert ask_passphrase(environment={"DEPA_PASSPHRASE": PASSPHRASE}) == PASSPHRASE
    with pytest.raises(SignInError, match="no passphrase"):
        ask_passphrase(environment={})
