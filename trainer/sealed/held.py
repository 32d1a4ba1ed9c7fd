"""A sealed file that is opened a piece at a time: what is in clear is in memory, never all of it.

The copy is ciphertext, so that it may lie on any disk. Everything is proven before the first file
is handed out. What is then read from the copy must be what was proven.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import BinaryIO

from policies.wire.base import Document
from trainer.sealed.archive import Limits, Member, index_archive
from trainer.sealed.container import NAMED, HeaderT, read_header
from trainer.sealed.errors import SealedError, SealReason
from trainer.sealed.keys import DataKey
from trainer.sealed.plain import PlainStream
from trainer.sealed.segments import Segments
from trainer.sealed.source import HashedSource


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

    def read(self, name: str, *, limit: int) -> memoryview:
        """Return the content of one file; the caller MUST not change it.

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

    In one pass, in which every byte is copied as it is and hashed by a second thread:

    1. The header is read; `unlock` refuses it or unwraps its data key.
    2. Every segment is authenticated, and the archive read to its end.
    3. The digest of everything is compared.

    What was read from the stream is what is proven; the copy need not be the same. It is believed
    only segment by segment, as far as each is the one that was proven.

    A file that is not the contract's is reported as that, not by what its damage happened to break
    first, unless its header says of what other file it is.

    Raises:
        SealedError: naming what did not hold; the copy is removed.
    """
    if into.exists():
        raise SealedError(SealReason.FORMAT, expected="a new file", got=f"{into} exists")
    copy = into.open("xb")
    proven = partial(_proven, copy=into, expected_digest=expected_digest, limits=limits)
    try:
        with copy, HashedSource(stream, limit=_most(limits), copy=copy) as source:
            into.chmod(0o600)
            try:
                header_bytes, header = read_header(source, magic=magic, header_type=header_type)
                key = unlock(header)
                return proven(source, header_bytes, key)
            except SealedError as error:
                if error.reason not in NAMED:
                    source.compare_digest(expected_digest)
                raise
    except BaseException:
        into.unlink(missing_ok=True)
        raise


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
    with path.open("rb") as file, HashedSource(file, limit=_most(limits)) as source:
        header, _ = read_header(source, magic=magic, header_type=header_type)
        return _proven(
            source,
            header,
            key,
            copy=path,
            expected_digest=expected_digest,
            limits=limits,
        )


def _most(limits: Limits) -> int:
    """Return how large a sealed file may be: its plaintext, tags and headers."""
    return limits.total_bytes + limits.total_bytes // 100 + 2**26


def _proven(
    source: HashedSource,
    header: bytes,
    key: DataKey,
    *,
    copy: Path,
    expected_digest: str,
    limits: Limits,
) -> HeldFiles:
    plain = PlainStream(source, key=key, associated=header)
    members = index_archive(plain, limits=limits)
    source.compare_digest(expected_digest)
    return HeldFiles(copy.stem, plain.segments(copy), members, key)
