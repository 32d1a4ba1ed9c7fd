"""Hausdorff distance of masks: how far the outlines lie apart where they differ most."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt

from trainer.metrics.masks import Mask, check_masks


@dataclass(frozen=True)
class CaseDistance:
    """The distance of a case."""

    value: float
    """The largest of its slices; NaN if no slice has a distance."""
    ignored_slices: int
    """Slices in which one mask is empty and the other is not: nothing is at no distance."""


def hausdorff_distance(
    found: Mask, truth: Mask, *, spacing: Sequence[float] | None = None
) -> float:
    """Return the largest distance from a point of either mask to the other mask.

    Args:
        found: The prediction, of any number of dimensions, all of them in space.
        truth: The true mask.
        spacing: Millimetres between points along each dimension; without it the unit is one pixel.

    Returns:
        The distance in pixels, or in millimetres; NaN if either mask is empty.

    Raises:
        ValueError: if the masks differ in shape, are not boolean or do not fit the spacing.
    """
    check_masks(found, truth)
    steps = tuple(spacing) if spacing is not None else (1.0,) * found.ndim
    if len(steps) != found.ndim or not all(0 < step < math.inf for step in steps):
        raise ValueError(f"expected {found.ndim} positive distances, got spacing {steps}")
    if not found.any() or not truth.any():
        return math.nan
    # All points of both lie in one box, and distances between them do not depend on the rest.
    box = _box(found | truth)
    found, truth = found[box], truth[box]
    return max(_farthest(found, truth, steps), _farthest(truth, found, steps))


def case_distance(
    found: Mask, truth: Mask, *, spacing: tuple[float, float] | None = None
) -> CaseDistance:
    """Return the distance of a case `[slices, channels, height, width]`, measured within slices.

    Slices of a patient are chosen, not adjacent, so that no distance between them is known.

    Raises:
        ValueError: if the masks differ in shape, are not boolean or have no four dimensions.
    """
    check_masks(found, truth)
    if found.ndim != 4:
        raise ValueError(f"expected [slices, channels, height, width], got {found.shape}")
    planes = [
        (one, other)
        for one, other in zip(
            found.reshape(-1, *found.shape[2:]), truth.reshape(-1, *truth.shape[2:]), strict=True
        )
        if one.any() or other.any()
    ]
    distances = [hausdorff_distance(*plane, spacing=spacing) for plane in planes]
    known = [distance for distance in distances if not math.isnan(distance)]
    return CaseDistance(max(known, default=math.nan), len(distances) - len(known))


def volume_distance(
    found: Mask, truth: Mask, *, spacing: tuple[float, float, float] | None = None
) -> float:
    """Return the largest distance of a case `[1, channels, depth, height, width]` in space.

    A channel in which either mask is empty has none; NaN if no channel has one.

    Raises:
        ValueError: if the masks differ in shape, are not boolean or have no five dimensions.
    """
    check_masks(found, truth)
    if found.ndim != 5:
        raise ValueError(f"expected [1, channels, depth, height, width], got {found.shape}")
    spaces = zip(
        found.reshape(-1, *found.shape[2:]), truth.reshape(-1, *truth.shape[2:]), strict=True
    )
    distances = [hausdorff_distance(*space, spacing=spacing) for space in spaces]
    return max((one for one in distances if not math.isnan(one)), default=math.nan)


def _farthest(source: Mask, target: Mask, steps: tuple[float, ...]) -> float:
    to_target = distance_transform_edt(~target, sampling=steps)
    return float(np.max(to_target[source]))


def _box(mask: Mask) -> tuple[slice, ...]:
    found = []
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        at = np.flatnonzero(mask.any(axis=others))
        found.append(slice(int(at[0]), int(at[-1]) + 1))
    return tuple(found)
