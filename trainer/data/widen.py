"""Numbers as they are trained on, made from numbers as they are stored."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_SHIFT: Final = 13
"""By so many bits is the fraction of a float32 longer than that of a float16."""
_PARTS: Final = np.int32(-0x70002000)
"""Sign, five bits of the exponent and the fraction: 0x8FFFE000."""
_SCALE: Final = np.float32(2.0**112)
"""The exponents of the two types start that far from each other."""


def widened(array: NDArray[np.float16] | NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return a copy in float32, which holds each of these finite numbers exactly.

    NumPy converts half floats one at a time. By their bits it is five times as quick: put in place,
    and scaled by the difference of the exponents, which also makes the smallest ones right.
    """
    if array.dtype != np.float16 or not _keeps_smallest():
        return array.astype(np.float32)
    bits: NDArray[Any] = array.view(np.int16).astype(np.int32)
    bits <<= _SHIFT
    bits &= _PARTS
    wide = bits.view(np.float32)
    wide *= _SCALE
    return wide


def _keeps_smallest() -> bool:
    """Return whether this processor calculates with the smallest numbers, not with zero.

    A library may have told it to.
    """
    smallest = np.array([1 << _SHIFT], np.int32).view(np.float32)
    return bool((smallest * _SCALE)[0] == np.float32(2.0**-24))
