"""Files that commands read and write: whole or not at all, never silently replaced."""

from __future__ import annotations

import hashlib
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clients.cli.errors import NotFoundError, UsageError

MAX_INPUT_BYTES = 64 * 1024 * 1024


def read_bytes(path: Path, *, what: str, limit: int = MAX_INPUT_BYTES) -> bytes:
    """Return a file's bytes.

    Raises:
        NotFoundError: when it is not there.
        UsageError: when it is not a file, not readable or too large.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except FileNotFoundError:
        raise NotFoundError(f"{what}: {path} is not there") from None
    except OSError as error:
        raise UsageError(f"{what}: {path}: {error.strerror}") from None
    if len(data) > limit:
        raise UsageError(f"{what}: {path} is larger than {limit} bytes")
    return data


def file_digest(path: Path) -> str:
    """Return `sha256:...` of a file of any size.

    Raises:
        NotFoundError: when it is not there.
    """
    try:
        with path.open("rb") as file:
            return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise NotFoundError(f"{path} is not there") from None


def write_new(path: Path, data: bytes, *, overwrite: bool = False) -> Path:
    """Write a file through a temporary one beside it.

    Raises:
        UsageError: when there is one and `overwrite` is not given.
    """
    if path.exists() and not overwrite:
        raise UsageError(f"{path} exists already", hint="choose another name, or give --overwrite")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Give a path at which to make a folder, which gets its name when the block has succeeded."""
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = out.with_name(f".{out.name}.{secrets.token_hex(6)}")
    try:
        yield folder
        folder.rename(out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
