"""Read the plaintext of a sealed file from any place, a segment at a time.

Tink defines the format (AES-GCM-HKDF streaming); its Python library reads it from front to back
only. A ciphertext is a header and segments:

    length of the header, 1 byte | salt, 32 bytes | prefix of nonces, 7 bytes | segments

The key is HKDF of the data key with the salt, and the associated data as info. A segment's nonce is
the prefix, its number and whether it is the last, so that none can be moved, left out or added.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from trainer.sealed.errors import SealedError, SealReason
from trainer.sealed.keys import DataKey

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

SEGMENT_BYTES = 1024**2
_SALT, _PREFIX, _TAG = 32, 7, 16
_HEADER = 1 + _SALT + _PREFIX


class Segments:
    """The plaintext of one ciphertext; one segment of it is in memory at a time.

    What was seen once must be seen again: the digest of every segment is kept, so that nobody can
    exchange the file behind a reader's back, not even who knows its key.
    """

    def __init__(self, path: Path, *, before: bytes, key: DataKey, associated: bytes) -> None:
        """Open the ciphertext that stands in a file after the bytes `before`.

        Raises:
            SealedError: when it is too short for a ciphertext.
        """
        self._path, self._start = path, len(before)
        self._size = path.stat().st_size - len(before)
        if self._size < _HEADER + _TAG:
            raise _damaged("a file that is cut off")
        with path.open("rb") as file:
            file.seek(len(before))
            header = file.read(_HEADER)
        if len(header) != _HEADER or header[0] != _HEADER:
            raise _damaged("another header of the ciphertext")
        salt, self._prefix = header[1 : 1 + _SALT], header[1 + _SALT :]
        derived = HKDF(SHA256(), 32, salt=salt, info=associated).derive(key.secret)
        self._cipher = AESGCM(derived)
        self._count = -(-self._size // SEGMENT_BYTES)
        # A last segment of a tag alone holds nothing, but is there.
        if self._size - (self._count - 1) * SEGMENT_BYTES < _TAG:
            raise _damaged("a file that is cut off")
        self._whole = hashlib.sha256(before + header)
        self._digests: list[bytes] = []
        """Of the segments that were seen, which are the first ones."""
        self._cached: tuple[int, bytes] = (-1, b"")

    @property
    def size(self) -> int:
        """Bytes of the plaintext."""
        return self._size - _HEADER - self._count * _TAG

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes of the plaintext from `offset`, fewer at its end.

        Raises:
            SealedError: when a segment does not authenticate, or is not the one that was seen.
        """
        parts = []
        end = min(offset + length, self.size)
        while offset < end:
            number, at = self._place(offset)
            part = self._segment(number)[at : at + end - offset]
            parts.append(part)
            offset += len(part)
        return b"".join(parts)

    def stream(self) -> PlainStream:
        """Return the whole plaintext as a stream, for reading it once from front to back."""
        return PlainStream(self)

    def compare_digest(self, expected: str) -> None:
        """Compare the digest of everything before and in the ciphertext, as it was seen.

        Raises:
            SealedError: when it is another one, or not all was read yet.
        """
        found = "sha256:" + self._whole.hexdigest()
        if len(self._digests) != self._count or found != expected:
            raise SealedError(SealReason.DIGEST, expected=expected, got=found)

    def _place(self, offset: int) -> tuple[int, int]:
        """Return which segment holds a byte of the plaintext, and where in it."""
        number, at = divmod(offset + _HEADER, SEGMENT_BYTES - _TAG)
        return (number, at) if number else (0, offset)

    def _segment(self, number: int) -> bytes:
        if self._cached[0] == number:
            return self._cached[1]
        first = _HEADER if number == 0 else 0
        with self._path.open("rb") as file:
            file.seek(self._start + number * SEGMENT_BYTES + first)
            data = file.read(SEGMENT_BYTES - first)
        digest = hashlib.sha256(data).digest()
        if number < len(self._digests) and self._digests[number] != digest:
            raise _damaged("another segment than was there before")
        if number > len(self._digests):
            raise ValueError("a file is read from front to back before it is read from any place")
        last = number == self._count - 1
        nonce = self._prefix + number.to_bytes(4, "big") + bytes([last])
        try:
            plain = self._cipher.decrypt(nonce, data, None)
        except InvalidTag:
            raise _damaged("a segment that does not authenticate") from None
        if number == len(self._digests):
            self._digests.append(digest)
            self._whole.update(data)
        self._cached = (number, plain)
        return plain


class PlainStream(io.RawIOBase):
    """A plaintext from front to back."""

    def __init__(self, segments: Segments) -> None:
        self._segments = segments
        self.position = 0

    def readable(self) -> bool:
        """Say that this is a source."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read what fits, up to the end of a segment."""
        view = memoryview(buffer).cast("B")
        data = self._segments.read(self.position, min(len(view), SEGMENT_BYTES))
        view[: len(data)] = data
        self.position += len(data)
        return len(data)


def _damaged(got: str) -> SealedError:
    expected = "ciphertext and header as they were sealed"
    return SealedError(SealReason.AUTHENTICATION, expected=expected, got=got)
