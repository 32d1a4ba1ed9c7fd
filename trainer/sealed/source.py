"""A sealed file on its way in: counted, hashed by a second thread, and copied."""

from __future__ import annotations

import hashlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO, Self

from trainer.sealed.errors import SealedError, SealReason

_DRAIN_BYTES = 1024**2
_AHEAD = 4
"""Parts that wait to be hashed at most; each is a segment."""


class HashedSource:
    """Reads a stream once; what was returned is what was hashed, whatever becomes of the copy.

    MUST be used in a `with` statement, which ends its thread.
    """

    def __init__(self, stream: BinaryIO, *, limit: int, copy: BinaryIO | None = None) -> None:
        self._stream, self._limit, self._copy = stream, limit, copy
        self._sha256 = hashlib.sha256()
        self._waiting: deque[Future[None]] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sha256")
        self.size = 0
        """Bytes that were read."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(cancel_futures=True)

    def read(self, size: int, /) -> bytes:
        """Return `size` bytes, fewer at the end only.

        Raises:
            SealedError: when there are more than the limit.
        """
        data = self._stream.read(size)
        if 0 < len(data) < size:
            parts = [data]
            while (missing := size - sum(map(len, parts))) and (part := self._stream.read(missing)):
                parts.append(part)
            data = b"".join(parts)
        self.size += len(data)
        if self.size > self._limit:
            raise SealedError(SealReason.LIMIT, expected="a smaller file", got="a larger one")
        if len(self._waiting) == _AHEAD:
            self._waiting.popleft().result()
        self._waiting.append(self._thread.submit(self._sha256.update, data))
        if self._copy is not None:
            self._copy.write(data)
        return data

    def compare_digest(self, expected: str) -> None:
        """Read what is left, and compare the digest of everything.

        Raises:
            SealedError: when it is another one.
        """
        while self.read(_DRAIN_BYTES):
            pass
        while self._waiting:
            self._waiting.popleft().result()
        found = "sha256:" + self._sha256.hexdigest()
        if found != expected:
            hint = "the file was changed after it was sealed, or it is another file"
            raise SealedError(SealReason.DIGEST, expected=expected, got=found, hint=hint) from None
