"""Read the plaintext of a sealed file from any place, a segment at a time.

Tink defines the format (AES-GCM-HKDF streaming); its Python library reads it from front to back
only. A ciphertext is a header and segments:

    length of the header, 1 byte | salt, 32 bytes | prefix of nonces, 7 bytes | segments

The key is HKDF of the data key with the salt, and the associated data as info. A segment's nonce is
the prefix, its number and whether it is the last, so that none can be moved, left out or added.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from trainer.sealed.errors import SealedError, SealReason
from trainer.sealed.keys import DataKey
from trainer.sealed.seen import SeenSegments

SEGMENT_BYTES = 1024**2
TAG_BYTES = 16
_SALT, _PREFIX = 32, 7
HEADER_BYTES = 1 + _SALT + _PREFIX


class SegmentCipher:
    """Decrypts the segments of one ciphertext."""

    def __init__(self, header: bytes, *, key: DataKey, associated: bytes) -> None:
        """Derive the key.

        Raises:
            SealedError: when this is no header of a ciphertext.
        """
        if len(header) != HEADER_BYTES:
            raise damaged("a file that is cut off")
        if header[0] != HEADER_BYTES:
            raise damaged("another header of the ciphertext")
        salt, self._prefix = header[1 : 1 + _SALT], header[1 + _SALT :]
        self._cipher = AESGCM(HKDF(SHA256(), 32, salt=salt, info=associated).derive(key.secret))

    def decrypt_into(self, plain: memoryview, data: bytes, *, number: int, last: bool) -> None:
        """Decrypt a segment into a buffer of just its size.

        Raises:
            SealedError: when it does not authenticate; the buffer MUST then be thrown away.
        """
        nonce = self._prefix + number.to_bytes(4, "big") + bytes([last])
        try:
            self._cipher.decrypt_into(nonce, data, None, plain)
        except InvalidTag:
            raise damaged("a segment that does not authenticate") from None


class Segments:
    """The plaintext of one ciphertext that was proven.

    One segment of it is in memory at a time. What is read must be what was seen: nobody can
    exchange the file behind a reader's back, not even who knows its key.
    """

    def __init__(
        self,
        path: Path,
        *,
        start: int,
        size: int,
        cipher: SegmentCipher,
        seen: SeenSegments,
    ) -> None:
        """Raise nothing yet.

        Args:
            path: A copy of the sealed file.
            start: Where the ciphertext starts in it.
            size: Bytes of the plaintext.
            cipher: Opens its segments.
            seen: Every segment, as it was proven.
        """
        self._path, self._start, self._size = path, start, size
        self._cipher, self._seen = cipher, seen
        self._cached = (-1, _room(0))

    def read(self, offset: int, length: int) -> memoryview:
        """Return `length` bytes of the plaintext from `offset`, fewer at its end.

        Raises:
            SealedError: when a segment is not the one that was seen.
        """
        end = min(offset + length, self._size)
        whole = _room(max(0, end - offset))
        with self._path.open("rb") as file:
            left = whole
            while left:
                done = self._read_part(file, left, offset)
                left, offset = left[done:], offset + done
        return whole

    def _read_part(self, file: BinaryIO, into: memoryview, offset: int) -> int:
        """Fill a buffer up to the end of a segment at most, and return how many bytes that was."""
        number, at = divmod(offset + HEADER_BYTES, SEGMENT_BYTES - TAG_BYTES)
        first = 0 if number else HEADER_BYTES
        start = offset - at + first
        size = min(SEGMENT_BYTES - TAG_BYTES - first, self._size - start)
        begin, stop = offset - start, min(size, offset - start + len(into))
        part = into[: stop - begin]
        if len(part) == size:
            self._decrypt(file, part, number)
        else:
            if self._cached[0] != number:
                plain = _room(size)
                self._decrypt(file, plain, number)
                self._cached = (number, plain)
            part[:] = self._cached[1][begin:stop]
        return len(part)

    def _decrypt(self, file: BinaryIO, plain: memoryview, number: int) -> None:
        file.seek(self._start + (number * SEGMENT_BYTES if number else HEADER_BYTES))
        data = file.read(len(plain) + TAG_BYTES)
        if not self._seen.holds(number, data):
            raise damaged("another segment than was there before")
        last = number == len(self._seen) - 1
        self._cipher.decrypt_into(plain, data, number=number, last=last)


def damaged(got: str) -> SealedError:
    """Return the refusal of a ciphertext."""
    expected = "ciphertext and header as they were sealed"
    return SealedError(SealReason.AUTHENTICATION, expected=expected, got=got)


def _room(size: int) -> memoryview:
    """Return memory that nobody has set to zero, since all of it is written to."""
    return np.empty(size, np.uint8).data
