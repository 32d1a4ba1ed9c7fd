"""The service's home."""

from __future__ import annotations

from pathlib import Path

import pytest

from contract_service.errors import HomeError
from contract_service.init import (
    CHECKPOINT_KEY,
    RECEIPT_KEY,
    ROOT_KEY,
    STATEMENT_KEY,
    TRUST_FILE,
    init_home,
    load_home,
)
from ledger.errors import LedgerError
from ledger.trust import TrustedLog

NOW = 1_795_262_400
PASSPHRASE = "correct horse battery"  # noqa: S105


def make(home: Path, *, passphrase: str = PASSPHRASE, origin: str = "log.test/x") -> str:
    return init_home(home, passphrase=passphrase, origin=origin, organization="Operator", now=NOW)


def test_a_home_opens_to_what_was_made(tmp_path: Path) -> None:
    fingerprint = make(tmp_path / "home")
    opened = load_home(tmp_path / "home", passphrase=PASSPHRASE, now=NOW)
    assert opened.fingerprint == fingerprint
    trusted = TrustedLog.from_document(opened.keys.document, root_fingerprint=fingerprint, at=NOW)
    assert (trusted.origin, trusted.service) == ("log.test/x", opened.identity.did)


def test_only_the_owner_can_read_a_home(tmp_path: Path) -> None:
    home = tmp_path / "home"
    make(home)
    assert home.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in home.iterdir()} == {0o600}


def test_private_keys_are_encrypted(tmp_path: Path) -> None:
    home = tmp_path / "home"
    make(home)
    for name in (ROOT_KEY, STATEMENT_KEY, RECEIPT_KEY, CHECKPOINT_KEY):
        assert (home / name).read_bytes().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")


def test_a_home_is_made_once(tmp_path: Path) -> None:
    make(tmp_path / "home")
    with pytest.raises(HomeError, match="not empty"):
        make(tmp_path / "home")


def test_a_short_passphrase_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HomeError, match="12 characters"):
        make(tmp_path / "home", passphrase="short")  # noqa: S106
    assert not (tmp_path / "home").exists()


def test_an_origin_that_cannot_name_a_log_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LedgerError):
        make(tmp_path / "home", origin="two words")


def test_another_passphrase_opens_nothing_and_is_not_told(tmp_path: Path) -> None:
    make(tmp_path / "home")
    with pytest.raises(HomeError) as error:
        load_home(tmp_path / "home", passphrase="another passphrase", now=NOW)  # noqa: S106
    assert "another passphrase" not in f"{error.value} {error.value.hint}"


@pytest.mark.parametrize("name", [TRUST_FILE, STATEMENT_KEY, RECEIPT_KEY, CHECKPOINT_KEY])
def test_a_home_with_a_file_missing_or_damaged_does_not_open(tmp_path: Path, name: str) -> None:
    home = tmp_path / "home"
    make(home)
    content = (home / name).read_bytes()
    (home / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(HomeError, match=name):
        load_home(home, passphrase=PASSPHRASE, now=NOW)
    (home / name).unlink()
    with pytest.raises(HomeError, match=name):
        load_home(home, passphrase=PASSPHRASE, now=NOW)


def test_keys_that_others_can_read_are_refused(tmp_path: Path) -> None:
    home = tmp_path / "home"
    make(home)
    (home / STATEMENT_KEY).chmod(0o640)
    with pytest.raises(HomeError, match="read by others"):
        load_home(home, passphrase=PASSPHRASE, now=NOW)


def test_keys_of_another_home_do_not_fit(tmp_path: Path) -> None:
    make(tmp_path / "one")
    make(tmp_path / "two")
    other = (tmp_path / "two" / STATEMENT_KEY).read_bytes()
    (tmp_path / "one" / STATEMENT_KEY).write_bytes(other)
    with pytest.raises(HomeError):
        load_home(tmp_path / "one", passphrase=PASSPHRASE, now=NOW)


def test_the_home_does_not_open_after_its_certificates_have_expired(tmp_path: Path) -> None:
    make(tmp_path / "home")
    with pytest.raises(HomeError):
        load_home(tmp_path / "home", passphrase=PASSPHRASE, now=NOW + 826 * 86_400)
