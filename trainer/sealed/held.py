"""A sealed file that is opened a piece at a time: what is in clear is in memory, never all of it.

The copy is ciphertext, so that it may lie on any disk. Everything is proven before the first file
is handed out, and proven again when it is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

from policies.wire.base import Document
from trainer.sealed.archive import Limits, Member, index_archive
from trainer.sealed.container import NAMED, HeaderT, read_header
from trainer.sealed.errors import SealedError, SealReason
from trainer.sealed.keys import DataKey
from trainer.sealed.segments import Segments

_COPY_BYTES = 1024**2


class HeldFiles:
    """The files inside a sealed file."""

    def __init__(
        self, name: str, segments: Segments, members: Mapping[str, Member], key: DataKey
    ) -> None:
        self._name, self._segments, self._members = name, segments, members
        self.key = key
        """Opens the copy again, and this file only."""

    @property
    def name(self) -> str:
        """What a refusal calls them together."""
        return self._name

    def names(self) -> frozenset[str]:
        """Return the names of all files."""
        return frozenset(self._members)

    def read(self, name: str, *, limit: int) -> bytes:
        """Return the content of one file.

        Raises:
            SealedError: when there is none of this name, it is longer than `limit`, or the sealed
                file is no longer what it was.
        """
        member = self._members.get(name)
        if member is None:
            raise SealedError(SealReason.ARCHIVE, expected=f"a file {name!r}", got="none")
        if member.size > limit:
            expected, got = f"at most {limit} bytes", f"{member.size} bytes"
            raise SealedError(SealReason.ARCHIVE, expected=expected, got=got)
        return self._segments.read(member.offset, member.size)


def hold_sealed(
    stream: BinaryIO,
    *,
    magic: bytes,
    header_type: type[HeaderT],
    unlock: Callable[[HeaderT], DataKey],
    expected_digest: str,
    into: Path,
    limits: Limits,
) -> HeldFiles:
    """Copy a sealed file to `into`, prove it, and return its files.

    1. The file is copied as it is.
    2. The header is read; `unlock` refuses it or unwraps its data key.
    3. Every segment is authenticated, the archive read to its end, and the digest compared.

    A file that is not the contract's is reported as that, not by what its damage happened to break
    first, unless its header says of what other file it is.

    Raises:
        SealedError: naming what did not hold; the copy is removed.
    """
    if into.exists():
        raise SealedError(SealReason.FORMAT, expected="a new file", got=f"{into} exists")
    try:
        _copy(stream, into, limit=limits.total_bytes + limits.total_bytes // 100 + 2**26)
        try:
            with into.open("rb", buffering=0) as file:
                header_bytes, header = read_header(file, magic=magic, header_type=header_type)
            key = unlock(header)
            return _proven(
                into, magic, header_bytes, key, expected_digest=expected_digest, limits=limits
            )
        except SealedError as error:
            if error.reason not in NAMED:
                _compare_digest(into, expected_digest)
            raise
    except BaseException:
        into.unlink(missing_ok=True)
        raise


def _copy(stream: BinaryIO, into: Path, *, limit: int) -> None:
    left = limit
    with into.open("xb") as copy:
        into.chmod(0o600)
        while part := stream.read(_COPY_BYTES):
            left -= len(part)
            if left < 0:
                raise SealedError(SealReason.LIMIT, expected="a smaller file", got="a larger one")
            copy.write(part)


def _compare_digest(path: Path, expected: str) -> None:
    with path.open("rb") as file:
        found = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        hint = "the file was changed after it was sealed, or it is another file"
        raise SealedError(SealReason.DIGEST, expected=expected, got=found, hint=hint) from None


def reopen_sealed(
    path: Path,
    *,
    magic: bytes,
    header_type: type[Document],
    key: DataKey,
    expected_digest: str,
    limits: Limits,
) -> HeldFiles:
    """Open a copy that is held, with the key of this one file, and prove it anew.

    Raises:
        SealedError: when it is not the file of that digest.
    """
    with path.open("rb", buffering=0) as file:
        header, _ = read_header(file, magic=magic, header_type=header_type)
    return _proven(path, magic, header, key, expected_digest=expected_digest, limits=limits)


def _proven(
    path: Path,
    magic: bytes,
    header: bytes,
    key: DataKey,
    *,
    expected_digest: str,
    limits: Limits,
) -> HeldFiles:
    before = magic + len(header).to_bytes(4, "big") + header
    segments = Segments(path, before=before, key=key, associated=header)
    members = index_archive(segments.stream(), limits=limits)
    # The copy may have been exchanged since it was written: what counts is what was read now.
    segments.compare_digest(expected_digest)
    return HeldFiles(path.stem, segments, members, key)
