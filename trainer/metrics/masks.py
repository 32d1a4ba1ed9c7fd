"""Overlap of masks per case.

A case is a patient: all slices of a patient are one mask. A case in which neither the truth nor the
prediction has anything is left out of the mean, and the mean says how many cases were counted.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trainer.metrics.scores import Score, mean_score, ratio

Mask = NDArray[np.bool_]
Case = tuple[Mask, Mask]
"""Prediction and truth of one case, of the same shape."""

OverlapMetric = Literal["dice_score", "jaccard_index", "precision", "recall"]


def dice_score(found: Mask, truth: Mask) -> float:
    """Return twice the overlap over the sum of both sizes; NaN if both are empty.

    Raises:
        ValueError: if the masks differ in shape or are not boolean.
    """
    both, found_size, truth_size = _sizes(found, truth)
    return ratio(2 * both, found_size + truth_size)


def jaccard_index(found: Mask, truth: Mask) -> float:
    """Return the overlap over the union; NaN if both are empty.

    Raises:
        ValueError: if the masks differ in shape or are not boolean.
    """
    both, found_size, truth_size = _sizes(found, truth)
    return ratio(both, found_size + truth_size - both)


def overlap(metric: OverlapMetric, cases: Iterable[Case]) -> Score:
    """Return the mean of a metric over cases.

    Raises:
        ValueError: if masks of a case differ in shape or are not boolean.
    """
    return mean_score(case_overlap(metric, found, truth) for found, truth in cases)


def case_overlap(metric: OverlapMetric, found: Mask, truth: Mask) -> float:
    """Return a metric of one case; NaN where it has no value.

    Raises:
        ValueError: if the masks differ in shape or are not boolean.
    """
    match metric:
        case "dice_score":
            return dice_score(found, truth)
        case "jaccard_index":
            return jaccard_index(found, truth)
        case "precision":
            both, found_size, _ = _sizes(found, truth)
            return ratio(both, found_size)
        case "recall":
            both, _, truth_size = _sizes(found, truth)
            return ratio(both, truth_size)


def check_masks(found: Mask, truth: Mask) -> None:
    """Refuse what is not two masks of one shape.

    Raises:
        ValueError: if the masks differ in shape or are not boolean.
    """
    if found.shape != truth.shape:
        raise ValueError(f"masks have shapes {found.shape} and {truth.shape}")
    if found.dtype != np.bool_ or truth.dtype != np.bool_:
        # Sums of small integers wrap around: a perfect uint8 mask of 255 would score 1/255.
        raise ValueError(f"expected boolean masks, got {found.dtype} and {truth.dtype}")


def _sizes(found: Mask, truth: Mask) -> tuple[int, int, int]:
    check_masks(found, truth)
    return int((found & truth).sum()), int(found.sum()), int(truth.sum())
