"""The archive inside a sealed file: a pax tar (POSIX.1-2001) of regular files, read strictly.

The same folder always gives the same bytes. The reader is our own, since it reads what someone else
has chosen: only regular files below the target folder, no links, no devices, no second entry of a
name, nothing after the end, and every size is bounded before it is believed.
"""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

from trainer.sealed.errors import SealedError, SealReason

_BLOCK = 512
_COPY_BYTES = 1024**2
_MAX_PAX_BYTES = 64 * 1024
_MAX_PADDING = 10240
_MAX_DEPTH = 8
_MAX_NAME_BYTES = 1024
_MAX_PART_BYTES = 255
_PAX_RECORD = re.compile(rb"\A(\d{1,5}) ([a-zA-Z.]{1,32})=")
_PAX_KEYS = {"path", "size", "mtime", "atime", "ctime", "uid", "gid", "uname", "gname"}


@dataclass(frozen=True)
class Limits:
    """How much an archive may unpack to."""

    files: int = 200_000
    total_bytes: int = 64 * 1024**3


class Source(Protocol):
    """What is read from front to back."""

    def read(self, size: int, /) -> bytes | None:
        """Return up to `size` bytes, none at the end."""
        ...


def write_archive(source: Path, out: BinaryIO) -> None:
    """Write a folder's regular files, or one file, as a tar whose bytes depend on nothing else.

    Raises:
        SealedError: when the folder is empty or holds something that is no regular file.
    """
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for name, path in _members(source):
            entry = tarfile.TarInfo(name)
            entry.size = path.stat().st_size
            entry.mode = 0o600
            with path.open("rb") as file:
                tar.addfile(entry, file)


def _members(source: Path) -> list[tuple[str, Path]]:
    if source.is_file():
        return [(source.name, source)]
    members = []
    for path in source.rglob("*"):
        name = path.relative_to(source).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise _refused("regular files", f"{name!r}, which is none")
        if path.is_file():
            members.append((name, path))
    if not members:
        raise _refused(f"a file or a folder of files at {source}", "nothing")
    return sorted(members)


def extract_archive(stream: BinaryIO, into: Path, *, limits: Limits) -> None:
    """Unpack an archive into the folder `into`, which MUST be empty and private.

    The caller MUST remove the folder when this raises.

    Raises:
        SealedError: for anything but a bounded archive of regular files with nothing after it.
    """
    for name, size in _walk(stream, limits=limits):
        _write_file(stream, into, name, size)


@dataclass(frozen=True)
class Member:
    """Where a file lies in an archive."""

    offset: int
    size: int


class PassedStream(Source, Protocol):
    """What an archive is indexed in, read from its first byte."""

    @property
    def position(self) -> int:
        """How many bytes were read."""
        ...

    def skip(self, size: int) -> int:
        """Pass over up to `size` bytes; return how many, 0 at the end."""
        ...


def index_archive(stream: PassedStream, *, limits: Limits) -> dict[str, Member]:
    """Read an archive from its first byte to its end, and return where each file lies.

    Raises:
        SealedError: for anything but a bounded archive of regular files with nothing after it.
    """
    members: dict[str, Member] = {}
    for name, size in _walk(stream, limits=limits):
        if name in members:
            raise _refused("each name once", repr(name))
        members[name] = Member(stream.position, size)
        left = size
        while left > 0:
            if not (passed := stream.skip(left)):
                raise _refused("more of the archive", "its end")
            left -= passed
    return members


def _walk(stream: Source, *, limits: Limits) -> Iterator[tuple[str, int]]:
    """Yield name and size of each file; the caller MUST read the file before it goes on."""
    left = limits.total_bytes
    files = 0
    extended: dict[str, str] = {}
    while (entry := _read_entry(stream)) is not None:
        name, size, kind = entry
        if kind == b"x":
            extended = _read_pax(stream, size)
            continue
        if kind not in (b"0", b"\0"):
            raise _refused("a regular file", f"{name!r} of type {kind!r}")
        name = extended.get("path", name)
        size = _number(extended["size"].encode(), base=10) if "size" in extended else size
        extended = {}
        files, left = files + 1, left - size
        if files > limits.files or left < 0:
            got = f"more than {limits.files} files or {limits.total_bytes} bytes"
            raise SealedError(SealReason.LIMIT, expected="an archive within the limits", got=got)
        _check_name(name)
        yield name, size
        _skip_padding(stream, size)
    if files == 0 or extended:
        raise _refused("at least one file and its content", "neither")
    _expect_padding(stream)


def _refused(expected: str, got: str) -> SealedError:
    return SealedError(SealReason.ARCHIVE, expected=expected, got=got)


def _read(stream: Source, size: int) -> bytes:
    parts = []
    while size > 0:
        part = stream.read(size)
        if not part:
            raise _refused("more of the archive", "its end")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _number(field: bytes, *, base: int = 8) -> int:
    text = field.rstrip(b"\0 ").lstrip(b" ")
    if not re.fullmatch(rb"[0-7]{1,12}" if base == 8 else rb"[0-9]{1,18}", text):
        raise _refused("a number", repr(bytes(field[:24])))
    return int(text, base)


def _read_entry(stream: Source) -> tuple[str, int, bytes] | None:
    """Read one ustar header; None at the end of the archive."""
    block = _read(stream, _BLOCK)
    if not any(block):
        if any(_read(stream, _BLOCK)):
            raise _refused("a second block of zeros", "other bytes")
        return None
    if block[257:265] != b"ustar\x0000":
        raise _refused("a POSIX tar header", "other bytes")
    total = sum(block[:148]) + 8 * 0x20 + sum(block[156:])
    if _number(block[148:156]) != total:
        raise _refused(f"header checksum {total}", repr(block[148:156]))
    name = block[:100].partition(b"\0")[0]
    prefix = block[345:500].partition(b"\0")[0]
    full = prefix + b"/" + name if prefix else name
    return _text(full), _number(block[124:136]), block[156:157]


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise _refused("a name in UTF-8", repr(data[:80])) from None


def _read_pax(stream: Source, size: int) -> dict[str, str]:
    """Read an extended header: lines of `<length> <key>=<value>` (POSIX.1-2001, pax)."""
    if not 0 < size <= _MAX_PAX_BYTES:
        raise _refused(f"an extended header of at most {_MAX_PAX_BYTES} bytes", f"{size}")
    data = _read(stream, size)
    _skip_padding(stream, size)
    records: dict[str, str] = {}
    while data:
        match = _PAX_RECORD.match(data)
        length = int(match[1]) if match else 0
        if match is None or not match.end() < length <= len(data) or data[length - 1] != 0x0A:
            raise _refused("an extended header record", repr(data[:40]))
        key = match[2].decode()
        if key not in _PAX_KEYS or key in records:
            raise _refused("known extended header keys, once each", key)
        records[key] = _text(data[match.end() : length - 1])
        data = data[length:]
    return records


def _check_name(name: str) -> None:
    path = PurePosixPath(name)
    if (
        not path.parts
        or path.is_absolute()
        or ".." in path.parts
        or str(path) != name
        or len(path.parts) > _MAX_DEPTH
        or len(name.encode()) > _MAX_NAME_BYTES
        or any(len(part.encode()) > _MAX_PART_BYTES for part in path.parts)
        or any(ord(letter) < 0x20 or letter in "\\\x7f" for letter in name)
    ):
        raise _refused("a plain relative path", repr(name[:200]))


def _write_file(stream: Source, into: Path, name: str, size: int) -> None:
    path = PurePosixPath(name)
    target = into.joinpath(*path.parts)
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        file = os.fdopen(os.open(target, flags, 0o600), "wb")
    except (FileExistsError, NotADirectoryError):
        raise _refused("each name once", repr(name)) from None
    with file:
        left = size
        while left > 0:
            part = _read(stream, min(left, _COPY_BYTES))
            file.write(part)
            left -= len(part)


def _skip_padding(stream: Source, size: int) -> None:
    if any(_read(stream, -size % _BLOCK)):
        raise _refused("zeros after a file", "other bytes")


def _expect_padding(stream: Source) -> None:
    """Read to the end of the stream, which also authenticates its last segment."""
    seen = 0
    while part := stream.read(_COPY_BYTES):
        seen += len(part)
        if any(part) or seen > _MAX_PADDING:
            raise _refused("nothing after the archive", f"{seen} more bytes")
