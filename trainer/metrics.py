"""Metrics on public test data: overlap of masks per case, and counts of classes.

A case is a patient: all slices of a patient are one mask. A case in which neither the truth nor the
prediction has anything is left out of the mean, and the mean says how many cases were counted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Case = tuple[Mask, Mask]
"""Prediction and truth of one case, of the same shape."""
Classes = NDArray[np.int64]

OverlapMetric = Literal["dice_score", "jaccard_index", "precision", "recall"]
ClassMetric = Literal["accuracy", "f1_score", "precision", "recall"]


@dataclass(frozen=True)
class Score:
    """A mean over cases or classes."""

    value: float
    """NaN if there was nothing to count."""
    counted: int
    """Over how many cases or classes the mean runs."""


def dice_score(found: Mask, truth: Mask) -> float:
    """Return twice the overlap over the sum of both sizes; NaN if both are empty.

    Raises:
        ValueError: if the masks differ in shape or are not boolean.
    """
    both, found_size, truth_size = _sizes(found, truth)
    return _ratio(2 * both, found_size + truth_size)


def jaccard_index(found: Mask, truth: Mask) -> float:
    """Return the overlap over the union; NaN if both are empty.

    Raises:
        ValueError: if the masks differ in shape or are not boolean.
    """
    both, found_size, truth_size = _sizes(found, truth)
    return _ratio(both, found_size + truth_size - both)


def overlap(metric: OverlapMetric, cases: Iterable[Case]) -> Score:
    """Return the mean of a metric over cases.

    Raises:
        ValueError: if masks of a case differ in shape or are not boolean.
    """
    return mean_score(_overlap(metric, found, truth) for found, truth in cases)


def confusion_matrix(found: Classes, truth: Classes, *, classes: int) -> NDArray[np.int64]:
    """Return counts `[classes, classes]`, true class by row and found class by column.

    Raises:
        ValueError: if the lists differ in length or hold a number that is no class.
    """
    if found.shape != truth.shape or found.ndim != 1:
        raise ValueError(f"expected two lists of one length, got {found.shape} and {truth.shape}")
    if found.size and not (
        0 <= min(found.min(), truth.min()) <= max(found.max(), truth.max()) < classes
    ):
        raise ValueError(f"expected classes from 0 to {classes - 1}")
    counts = np.bincount(truth * classes + found, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64)


def classification(metric: ClassMetric, matrix: NDArray[np.int64]) -> Score:
    """Return a metric of a confusion matrix; all but accuracy are means over classes that occur.

    A class that is in the truth but never found has precision 0.
    """
    hits = matrix.diagonal()
    truth, found = matrix.sum(axis=1), matrix.sum(axis=0)
    if metric == "accuracy":
        return Score(_ratio(int(hits.sum()), int(matrix.sum())), int(matrix.sum()))
    occurs = (truth + found) > 0
    below = {"f1_score": truth + found, "precision": found, "recall": truth}[metric]
    above = 2 * hits if metric == "f1_score" else hits
    scores = above[occurs] / np.maximum(below[occurs], 1)
    return mean_score(scores.tolist())


def mean_score(values: Iterable[float]) -> Score:
    """Return the mean of the values that are numbers."""
    counted = [value for value in values if not math.isnan(value)]
    return Score(sum(counted) / len(counted) if counted else math.nan, len(counted))


def _overlap(metric: OverlapMetric, found: Mask, truth: Mask) -> float:
    match metric:
        case "dice_score":
            return dice_score(found, truth)
        case "jaccard_index":
            return jaccard_index(found, truth)
        case "precision":
            both, found_size, _ = _sizes(found, truth)
            return _ratio(both, found_size)
        case "recall":
            both, _, truth_size = _sizes(found, truth)
            return _ratio(both, truth_size)


def _sizes(found: Mask, truth: Mask) -> tuple[int, int, int]:
    if found.shape != truth.shape:
        raise ValueError(f"masks have shapes {found.shape} and {truth.shape}")
    if found.dtype != np.bool_ or truth.dtype != np.bool_:
        # Sums of small integers wrap around: a perfect uint8 mask of 255 would score 1/255.
        raise ValueError(f"expected boolean masks, got {found.dtype} and {truth.dtype}")
    return int((found & truth).sum()), int(found.sum()), int(truth.sum())


def _ratio(above: int, below: int) -> float:
    return above / below if below else math.nan
