"""A plaintext read once from front to back, which proves every segment of it."""

from __future__ import annotations

from pathlib import Path

from trainer.sealed.keys import DataKey
from trainer.sealed.seen import SeenSegments
from trainer.sealed.segments import (
    HEADER_BYTES,
    SEGMENT_BYTES,
    TAG_BYTES,
    SegmentCipher,
    Segments,
    damaged,
)
from trainer.sealed.source import HashedSource


class PlainStream:
    """Decrypts what a source gives, one segment ahead of its reader.

    What a segment's identity is taken from is what was decrypted and hashed, in memory. No copy of
    it on a disk has a part in the proof.
    """

    def __init__(self, source: HashedSource, *, key: DataKey, associated: bytes) -> None:
        """Read the header of the ciphertext.

        Args:
            source: The sealed file from its ciphertext on.
            key: Opens it.
            associated: What was sealed with it in clear.

        Raises:
            SealedError: when it is no ciphertext.
        """
        self._source, self._start = source, source.size
        self._cipher = SegmentCipher(source.read(HEADER_BYTES), key=key, associated=associated)
        self._seen = SeenSegments()
        self._buffer = memoryview(bytearray(SEGMENT_BYTES))
        self._size = 0
        self._plain = memoryview(b"")
        """Of the segment that is being read, what was not read yet."""
        self._next = source.read(SEGMENT_BYTES - HEADER_BYTES)
        if len(self._next) < TAG_BYTES:
            raise damaged("a file that is cut off")

    @property
    def position(self) -> int:
        """How many bytes were read."""
        return self._size - len(self._plain)

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, none at the end.

        Raises:
            SealedError: when a segment does not authenticate.
        """
        return bytes(self._take(size))

    def skip(self, size: int) -> int:
        """Prove up to `size` bytes without handing them out; return how many, 0 at the end.

        Raises:
            SealedError: when a segment does not authenticate.
        """
        return len(self._take(size))

    def segments(self, path: Path) -> Segments:
        """Return the plaintext, to be read from a copy of the file.

        The caller MUST have compared the digest of everything.

        Raises:
            ValueError: when not all was read yet.
        """
        if self._plain or self._next:
            raise ValueError("a file is read to its end before it is read from any place")
        return Segments(
            path,
            start=self._start,
            size=self._size,
            cipher=self._cipher,
            seen=self._seen,
        )

    def _take(self, size: int) -> memoryview:
        # A segment may be empty, the last one of a plaintext that fills those before.
        while not self._plain and self._next:
            self._advance()
        part, self._plain = self._plain[:size], self._plain[size:]
        return part

    def _advance(self) -> None:
        data, self._next = self._next, self._source.read(SEGMENT_BYTES)
        size = len(data) - TAG_BYTES
        if size < 0:
            raise damaged("a file that is cut off")
        plain = self._buffer[:size]
        self._cipher.decrypt_into(plain, data, number=len(self._seen), last=not self._next)
        self._seen.add(data)
        self._size += size
        self._plain = plain
