"""Counts of classes, and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trainer.metrics.scores import Score, mean_score, ratio

Classes = NDArray[np.int64]
Matrix = NDArray[np.int64]
"""Counts `[classes, classes]`, true class by row and found class by column."""

ClassMetric = Literal["accuracy", "f1_score", "precision", "recall"]


@dataclass(frozen=True)
class ClassRow:
    """The figures of one class, or their mean over classes."""

    precision: float
    recall: float
    f1_score: float
    support: int
    """Samples that are truly of the class, or of any."""


@dataclass(frozen=True)
class ClassReport:
    """The figures of every class that occurs."""

    classes: dict[int, ClassRow]
    accuracy: float
    macro: ClassRow
    """The mean over classes, each counting alike."""
    weighted: ClassRow
    """The mean over classes, each counting by its support."""


def confusion_matrix(found: Classes, truth: Classes, *, classes: int) -> Matrix:
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


def classification(metric: ClassMetric, matrix: Matrix) -> Score:
    """Return a metric of a confusion matrix; all but accuracy are means over classes that occur.

    A class that is in the truth but never found has precision 0.
    """
    if metric == "accuracy":
        hits, samples = int(matrix.diagonal().sum()), int(matrix.sum())
        return Score(ratio(hits, samples), samples)
    return mean_score(_by_class(metric, matrix)[_occurs(matrix)].tolist())


def classification_report(matrix: Matrix) -> ClassReport:
    """Return precision, recall and F1 of every class that occurs, and their means.

    Raises:
        ValueError: if nothing was counted.
    """
    support = matrix.sum(axis=1)
    if not support.sum():
        raise ValueError("expected a sample at least, got none")
    at = np.flatnonzero(_occurs(matrix))
    columns = [_by_class(metric, matrix)[at] for metric in ("precision", "recall", "f1_score")]
    figures = np.stack(columns, axis=1)
    total = int(support.sum())
    return ClassReport(
        classes={
            int(number): _row(row, int(support[number]))
            for number, row in zip(at, figures, strict=True)
        },
        accuracy=classification("accuracy", matrix).value,
        macro=_row(figures.mean(axis=0), total),
        weighted=_row(np.average(figures, axis=0, weights=support[at]), total),
    )


def _occurs(matrix: Matrix) -> NDArray[np.bool_]:
    occurs: NDArray[np.bool_] = (matrix.sum(axis=0) + matrix.sum(axis=1)) > 0
    return occurs


def _by_class(
    metric: Literal["f1_score", "precision", "recall"], matrix: Matrix
) -> NDArray[np.float64]:
    hits, truth, found = matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0)
    below = {"f1_score": truth + found, "precision": found, "recall": truth}[metric]
    above = 2 * hits if metric == "f1_score" else hits
    shares: NDArray[np.float64] = above / np.maximum(below, 1)
    return shares


def _row(figures: NDArray[np.float64], support: int) -> ClassRow:
    precision, recall, f1_score = (float(figure) for figure in figures)
    return ClassRow(precision, recall, f1_score, support)
