"""What a patient adds to sums of masks' metrics, and the metrics that follow from such sums.

A metric of masks is a mean over patients of a number from 0 to 1. Each patient adds that number
less a half, which has half the norm and says the same, and one to the count of those who have it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from trainer.metrics.deviations import deviation
from trainer.metrics.masks import Mask, case_overlap

Numbers = NDArray[np.float64]
Group = Literal["either", "found", "truth", "all"]
MaskMetric = Literal["dice_score", "jaccard_index", "precision", "recall", "mse", "mae", "rmse"]

_GROUPS: Final[Mapping[MaskMetric, Group]] = {
    "dice_score": "either",
    "jaccard_index": "either",
    "precision": "found",
    "recall": "truth",
    "mse": "all",
    "mae": "all",
    "rmse": "all",
}
"""Which patients have a value: those of whom something is found, is true, or either; or all."""
_MIDDLE: Final = 0.5
_TOO_FEW: Final = 3.0
"""Counts below this many standard deviations of their noise say nothing."""


@dataclass(frozen=True)
class MaskSums:
    """Sums for some metrics."""

    metrics: tuple[MaskMetric, ...]

    @property
    def _groups(self) -> Sequence[Group]:
        return sorted({_GROUPS[metric] for metric in self.metrics})

    @property
    def columns(self) -> int:
        """Numbers that a patient adds."""
        return len(self.metrics) + len(self._groups)

    @property
    def bound(self) -> float:
        """The largest norm of what a patient adds."""
        return math.sqrt(len(self.metrics) * _MIDDLE**2 + len(self._groups))

    def part(self, *, found: Mask, probability: Numbers, truth: Mask) -> Numbers:
        """Return what one patient adds; nothing if the network gives no numbers.

        Raises:
            ValueError: if the masks do not fit each other.
        """
        if not np.isfinite(probability).all():
            # An error would say something of this patient, without noise.
            return np.zeros(self.columns)
        values = [_value(metric, found, probability, truth) for metric in self.metrics]
        has = {
            "either": bool(found.any() or truth.any()),
            "found": bool(found.any()),
            "truth": bool(truth.any()),
            "all": True,
        }
        sums = [
            value - _MIDDLE if has[_GROUPS[metric]] else 0.0
            for metric, value in zip(self.metrics, values, strict=True)
        ]
        return np.array([*sums, *(float(has[group]) for group in self._groups)])

    def counts(self, sums: Numbers) -> Mapping[str, float]:
        """Return over about how many patients each mean runs."""
        of_group = dict(zip(self._groups, sums[len(self.metrics) :].tolist(), strict=True))
        return {metric: max(0.0, of_group[_GROUPS[metric]]) for metric in self.metrics}

    def figures(self, sums: Numbers, *, noise: float) -> Mapping[str, float | None]:
        """Return the means; None where there are too few patients to tell them from noise.

        Args:
            sums: Sums of parts, with noise.
            noise: Standard deviation of the noise in each.
        """
        counts = self.counts(sums)
        return {
            metric: None
            if counts[metric] < _TOO_FEW * noise or not counts[metric]
            else min(1.0, max(0.0, _MIDDLE + float(total) / counts[metric]))
            for metric, total in zip(self.metrics, sums[: len(self.metrics)], strict=True)
        }


def _value(metric: MaskMetric, found: Mask, probability: Numbers, truth: Mask) -> float:
    match metric:
        case "dice_score" | "jaccard_index" | "precision" | "recall":
            return case_overlap(metric, found, truth)
        case "mse" | "mae" | "rmse":
            return deviation(metric, probability, truth.astype(np.float64))
