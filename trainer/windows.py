"""Runs a network over a volume that is larger than what it was trained on, window by window.

Windows overlap, and where they do their outputs are averaged, with less weight near the border of a
window: there a network has seen the least of the surroundings.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

Shape: TypeAlias = tuple[int, ...]
Values: TypeAlias = NDArray[np.float32]

OVERLAP: Final = 0.5
_MOST_OVERLAP: Final = 0.9
_VOXELS_AT_ONCE: Final = 1 << 20


def count_windows(sides: Shape, *, patch: Shape, overlap: float = OVERLAP) -> int:
    """Return how many windows cover a volume.

    Raises:
        ValueError: when the overlap is out of range or a side is missing.
    """
    return math.prod(len(starts) for starts in _starts(sides, patch, overlap))


@torch.no_grad()
def windowed(
    model: nn.Module,
    volume: Values,
    *,
    patch: Shape,
    overlap: float = OVERLAP,
    on_windows: Callable[[int], None] = lambda _count: None,
) -> Values:
    """Return the network's outputs `[k, *sides]` for a volume `[channels, *sides]`.

    Args:
        model: The network; it takes `[n, channels, *patch]`.
        volume: A volume of any size; one smaller than a window is filled up with zeros.
        patch: Sides of a window.
        overlap: Share of a window's side that the next one covers too, 0 to 0.9.
        on_windows: Told how many windows were done, after each few of them.

    Raises:
        ValueError: when the overlap is out of range or a side is missing.
    """
    model.eval()
    sides = volume.shape[1:]
    filled = _filled(volume, patch)
    starts = _starts(filled.shape[1:], patch, overlap)
    weight = _weight(patch)
    total: Values | None = None
    weights = np.zeros(filled.shape[1:], dtype=np.float32)
    for places in _batches(itertools.product(*starts), size=max(1, _VOXELS_AT_ONCE // weight.size)):
        boxes = [tuple(slice(a, a + b) for a, b in zip(at, patch, strict=True)) for at in places]
        given = np.stack([filled[(slice(None), *box)] for box in boxes])
        outputs = model(torch.from_numpy(given)).float().numpy()
        if total is None:
            total = np.zeros((outputs.shape[1], *filled.shape[1:]), dtype=np.float32)
        for box, output in zip(boxes, outputs, strict=True):
            total[(slice(None), *box)] += output * weight
            weights[box] += weight
        on_windows(len(places))
    if total is None:
        raise ValueError("a volume without a voxel has no windows")
    inside = tuple(slice(0, side) for side in sides)
    total /= weights
    return total[(slice(None), *inside)]


def _starts(sides: Shape, patch: Shape, overlap: float) -> list[list[int]]:
    """Return along each axis where windows begin, evenly spread from the first to the last."""
    if not 0 <= overlap <= _MOST_OVERLAP:
        raise ValueError(f"overlap: expected 0 to {_MOST_OVERLAP}, got {overlap}")
    if len(sides) != len(patch):
        raise ValueError(f"expected a volume of {len(patch)} sides, got {list(sides)}")
    found = []
    for side, window in zip(sides, patch, strict=True):
        left = max(0, side - window)
        steps = math.ceil(left / max(1, round(window * (1 - overlap))))
        found.append([round(left * step / max(1, steps)) for step in range(steps + 1)])
    return found


def _filled(volume: Values, patch: Shape) -> Values:
    missing = [max(0, window - side) for side, window in zip(volume.shape[1:], patch, strict=False)]
    return np.pad(volume, [(0, 0), *((0, more) for more in missing)]) if any(missing) else volume


def _weight(patch: Shape) -> Values:
    """Return the weight of each voxel of a window: a bell along each axis."""
    weight = np.ones(patch, dtype=np.float32)
    for axis, side in enumerate(patch):
        place = (np.arange(side) + 0.5) / side - 0.5
        bell = np.exp(-8 * place**2).astype(np.float32)
        weight *= bell.reshape([-1 if other == axis else 1 for other in range(len(patch))])
    return weight


def _batches(places: Iterator[Shape], *, size: int) -> Iterator[Sequence[Shape]]:
    while batch := list(itertools.islice(places, size)):
        yield batch
