"""Curves over the threshold of a probability, of one class against all others."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.metrics.classes import Classes
from trainer.metrics.scores import Score, mean_score

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """Points of a curve with the threshold of each."""

    x: Numbers
    """False positive rate, or recall."""
    y: Numbers
    """True positive rate, or precision."""
    thresholds: Numbers
    """From which score a sample counts as of the class; infinite where none does."""

    def thinned(self, points: int) -> Curve:
        """Return the curve with at most so many points, two or more, both ends among them."""
        if len(self.x) <= points:
            return self
        at = np.linspace(0, len(self.x) - 1, max(points, 2)).round().astype(int)
        return Curve(self.x[at], self.y[at], self.thresholds[at])


def roc_curve(scores: Numbers, truth: NDArray[np.bool_]) -> Curve | None:
    """Return true over false positive rate, thresholds falling; None if a class is empty.

    Points on a straight line between others are left out.

    Raises:
        ValueError: if the lists differ in length or a score is not finite.
    """
    false, true, thresholds = _counts(scores, truth)
    if not truth.any() or truth.all():
        return None
    bends = np.ones(len(true), dtype=bool)
    bends[1:-1] = (np.diff(true, 2) != 0) | (np.diff(false, 2) != 0)
    false, true, thresholds = false[bends], true[bends], thresholds[bends]
    return Curve(
        x=np.concatenate([[0.0], false / false[-1]]),
        y=np.concatenate([[0.0], true / true[-1]]),
        thresholds=np.concatenate([[math.inf], thresholds]),
    )


def precision_recall_curve(scores: Numbers, truth: NDArray[np.bool_]) -> Curve | None:
    """Return precision over recall, thresholds rising; None if the class is empty.

    Of points with one recall, the first and the last are kept. The last point of all, recall 0 and
    precision 1, is the one at which nothing is found.

    Raises:
        ValueError: if the lists differ in length or a score is not finite.
    """
    false, true, thresholds = _counts(scores, truth)
    if not truth.any():
        return None
    changes = np.ones(len(true), dtype=bool)
    changes[1:-1] = (np.diff(true[:-1]) != 0) | (np.diff(true[1:]) != 0)
    false, true, thresholds = false[changes], true[changes], thresholds[changes]
    precision, recall = true / (true + false), true / true[-1]
    return Curve(
        x=np.concatenate([recall[::-1], [0.0]]),
        y=np.concatenate([precision[::-1], [1.0]]),
        thresholds=np.concatenate([thresholds[::-1], [math.inf]]),
    )


def area(curve: Curve) -> float:
    """Return the area below a curve whose x rises, by trapezoids."""
    return float(np.trapezoid(curve.y, curve.x))


def roc_curves(probabilities: Numbers, truth: Classes) -> Mapping[int, Curve | None]:
    """Return the ROC curve of each class against all others; of two classes, of class 1 alone.

    Raises:
        ValueError: if there is no row of probabilities for each sample, or one is not finite.
    """
    return {
        number: roc_curve(probabilities[:, number], truth == number)
        for number in _judged(probabilities, truth)
    }


def precision_recall_curves(probabilities: Numbers, truth: Classes) -> Mapping[int, Curve | None]:
    """Return the precision-recall curve of each class; of two classes, of class 1 alone.

    Raises:
        ValueError: if there is no row of probabilities for each sample, or one is not finite.
    """
    return {
        number: precision_recall_curve(probabilities[:, number], truth == number)
        for number in _judged(probabilities, truth)
    }


def roc_auc(probabilities: Numbers, truth: Classes) -> Score:
    """Return the area below the ROC curve; of several classes, the mean over those that have one.

    Raises:
        ValueError: if there is no row of probabilities for each sample, or one is not finite.
    """
    curves = roc_curves(probabilities, truth).values()
    return mean_score(math.nan if curve is None else area(curve) for curve in curves)


def _judged(probabilities: Numbers, truth: Classes) -> range:
    if probabilities.ndim != 2 or len(probabilities) != len(truth):
        raise ValueError(
            f"expected a row of probabilities for each of {len(truth)} samples, "
            f"got {probabilities.shape}"
        )
    classes = probabilities.shape[1]
    return range(1, 2) if classes == 2 else range(classes)


def _counts(scores: Numbers, truth: NDArray[np.bool_]) -> tuple[Numbers, Numbers, Numbers]:
    """Return false and true positives from each different score on, scores falling."""
    if scores.shape != truth.shape or scores.ndim != 1:
        raise ValueError(f"expected two lists of one length, got {scores.shape} and {truth.shape}")
    if not np.isfinite(scores).all():
        raise ValueError("expected finite scores, got one that is not")
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], truth[order]
    last = np.flatnonzero(np.append(np.diff(scores) != 0, True)) if len(scores) else order
    true = np.cumsum(hits, dtype=np.float64)[last]
    return 1.0 + last - true, true, scores[last]
