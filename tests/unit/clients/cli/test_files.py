from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from clients.cli.errors import NotFoundError, UsageError
from clients.cli.files import file_digest, read_bytes, write_new


def test_a_file_is_replaced_only_when_asked(tmp_path: Path) -> None:
    path = write_new(tmp_path / "deep" / "file", b"one")
    with pytest.raises(UsageError, match="exists already"):
        write_new(path, b"two")
    assert path.read_bytes() == b"one"
    write_new(path, b"two", overwrite=True)
    assert path.read_bytes() == b"two"
    assert list(path.parent.iterdir()) == [path]


def test_input_is_bounded_and_named(tmp_path: Path) -> None:
    path = write_new(tmp_path / "file", b"0123456789")
    assert read_bytes(path, what="offer", limit=10) == b"0123456789"
    with pytest.raises(UsageError, match=r"offer: .* is larger than 9 bytes"):
        read_bytes(path, what="offer", limit=9)
    with pytest.raises(NotFoundError, match=r"offer: .* is not there"):
        read_bytes(tmp_path / "none", what="offer")
    with pytest.raises(UsageError, match="offer: "):
        read_bytes(tmp_path, what="offer")


def test_the_digest_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    path = write_new(tmp_path / "file", b"content")
    assert file_digest(path) == "sha256:" + hashlib.sha256(b"content").hexdigest()
    with pytest.raises(NotFoundError):
        file_digest(tmp_path / "none")
