"""Random numbers that nobody outside the process can predict: AES-256 in counter mode.

The key comes from the operating system, lives only in this object and is never stored, logged or
shown. A stream is not shared between uses: noise, sampling and augmentation have one each.
"""

from __future__ import annotations

import hashlib
import logging
import os
from typing import Final

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

_KEY_BYTES: Final = 32
_CHUNK: Final = 1 << 20
_ZEROS: Final = memoryview(bytes(_CHUNK))
_LOG = logging.getLogger(__name__)


class SecureStream:
    """An endless stream of random numbers with a fresh key from the operating system."""

    def __init__(self) -> None:
        self._start(os.urandom(_KEY_BYTES))

    def _start(self, key: bytes) -> None:
        # The counter starts at zero because the key is used for this one stream only.
        cipher = Cipher(algorithms.AES(key), modes.CTR(bytes(16)))
        self._encryptor = cipher.encryptor()

    def begin(self, step: int) -> None:
        """Hear that a step begins, which changes nothing: no step's numbers can be had again."""

    def words(self, count: int) -> NDArray[np.uint64]:
        """Return `count` uniform 64-bit words."""
        out = np.empty(count, dtype="<u8")
        view = memoryview(out).cast("B")  # type: ignore[arg-type]  # numpy 2 stubs miss the protocol
        for start in range(0, len(view), _CHUNK):
            piece = view[start : start + _CHUNK]
            self._encryptor.update_into(_ZEROS[: len(piece)], piece)
        return out

    def uniform(self, count: int) -> NDArray[np.float64]:
        """Return `count` numbers in (0, 1], multiples of 2^-53."""
        return ((self.words(count) >> np.uint64(11)).astype(np.float64) + 1.0) * 2.0**-53

    def integers(self, count: int, *, below: int) -> NDArray[np.int64]:
        """Return `count` whole numbers from 0 up to but not including `below` (at most 2^31).

        The bias of reducing 64 bits is below 2^-33 and concerns no privacy claim.

        Raises:
            ValueError: if `below` is out of range.
        """
        if not 1 <= below <= 2**31:
            raise ValueError(f"below: expected 1 to 2^31, got {below}")
        return (self.words(count) % np.uint64(below)).astype(np.int64)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a random stream is never stored or sent")


class UnsafeSeededStream(SecureStream):
    """The same stream from a seed, for tests: whoever knows the seed removes the noise."""

    def __init__(self, seed: int, *, purpose: str = "") -> None:
        _LOG.warning("UNSAFE: random numbers come from a seed and protect nobody")
        self._name = f"unsafe {seed} {purpose}"
        self._start(hashlib.sha256(self._name.encode()).digest())

    def begin(self, step: int) -> None:
        """Go to where a step's numbers are, whatever was drawn before."""
        self._start(hashlib.sha256(f"{self._name} {step}".encode()).digest())
