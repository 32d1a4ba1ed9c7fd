"""Cuts random patches out of one patient's volume.

Where a patch lies depends on this patient's mask and the random stream, on nobody else's data.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from policies.wire.datasets import VolumesDataset
from trainer.privacy.csprng import SecureStream

Shape: TypeAlias = tuple[int, ...]
_T = TypeVar("_T", bound=np.generic)


def draw_patches(
    image: NDArray[np.float32],
    truth: NDArray[_T],
    *,
    config: VolumesDataset,
    count: int,
    stream: SecureStream,
) -> Iterator[tuple[NDArray[np.float32], NDArray[_T]]]:
    """Yield `count` patches of an image `[C, D, H, W]` and its mask `[K, D, H, W]`.

    A share of them holds a random voxel of the mask, if there is one; the others lie anywhere. What
    a volume lacks to the size of a patch is filled up with zeros.
    """
    sides = image.shape[1:]
    marked = np.argwhere(truth.any(axis=0))
    for _ in range(count):
        which, voxel, *offsets = stream.integers(2 + len(sides), below=2**31).tolist()
        centred = len(marked) and which < config.around_mask * 2**31
        at = marked[voxel % len(marked)] if centred else None
        starts = _starts(sides, config.patch, offsets, at)
        box = [slice(at, at + side) for at, side in zip(starts, config.patch, strict=True)]
        yield _filled(image[:, *box], config.patch), _filled(truth[:, *box], config.patch)


def _starts(
    sides: Shape, patch: Shape, offsets: list[int], at: NDArray[np.int64] | None
) -> Iterator[int]:
    """Yield along each axis where a patch begins; with `at` such that it holds this voxel."""
    for axis, (side, length, offset) in enumerate(zip(sides, patch, offsets, strict=True)):
        low, high = 0, max(0, side - length)
        if at is not None:
            low, high = max(low, int(at[axis]) - length + 1), min(high, int(at[axis]))
        yield low + offset % (high - low + 1)


def _filled(part: NDArray[_T], patch: Shape) -> NDArray[_T]:
    missing = [length - side for side, length in zip(part.shape[1:], patch, strict=True)]
    return np.pad(part, [(0, 0), *((0, more) for more in missing)]) if any(missing) else part
