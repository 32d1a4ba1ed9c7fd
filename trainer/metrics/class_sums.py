"""What a unit adds to sums of classes' metrics, and the metrics that follow from such sums.

A unit counts as one, however many samples it has: each of k samples adds a kth part. The sums are
the fewest that the metrics follow from, since every further number takes noise of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal, Protocol, assert_never

import numpy as np
from numpy.typing import NDArray

from trainer.metrics.classes import Classes

Numbers = NDArray[np.float64]
ClassMetric = Literal[
    "accuracy",
    "f1_score",
    "precision",
    "recall",
    "confusion_matrix",
    "classification_report",
    "mse",
    "mae",
]

_DISTANCES: Final = ("mse", "mae")
_MIDDLE: Final = 0.5
_TOO_FEW: Final = 3.0
"""Sizes below this many standard deviations of their noise say nothing."""


@dataclass(frozen=True)
class Outcomes:
    """Units by what became of them, for each class; of all together there is one."""

    hit: Numbers
    missed: Numbers
    """Of the class, and taken for another."""
    mistaken: Numbers
    """Of another, and taken for the class."""

    @property
    def units(self) -> float:
        """How many units there are."""
        return float(self.hit.sum() + self.missed.sum())

    @property
    def sizes(self) -> Numbers:
        """Units that are of the class, and units that are taken for it."""
        sizes: Numbers = 2 * self.hit + self.missed + self.mistaken
        return sizes


class _Block(Protocol):
    """Numbers of norm at most one, from which the outcomes follow."""

    @property
    def columns(self) -> int: ...
    @property
    def spread(self) -> float:
        """Standard deviation of a size, if that of a number is one."""
        ...

    def part(self, found: Classes, truth: Classes) -> Numbers: ...
    def outcomes(self, sums: Numbers) -> Outcomes: ...


class _Hits:
    """Right and wrong, whatever the class."""

    columns = 2
    spread = math.sqrt(5)

    def part(self, found: Classes, truth: Classes) -> Numbers:
        right = float(np.mean(found == truth))
        return np.array([right, 1 - right])

    def outcomes(self, sums: Numbers) -> Outcomes:
        return Outcomes(sums[:1], sums[1:], np.zeros(1))


@dataclass(frozen=True)
class _ByClass:
    """Right and wrong by class; a wrong sample is in two of them, each with the root of a half."""

    classes: int
    spread = math.sqrt(8)

    @property
    def columns(self) -> int:
        return 3 * self.classes

    def part(self, found: Classes, truth: Classes) -> Numbers:
        right = found == truth
        rows = (truth[right], truth[~right], found[~right])
        counts = np.stack([np.bincount(row, minlength=self.classes) for row in rows])
        weights = np.array([1.0, math.sqrt(0.5), math.sqrt(0.5)])[:, None]
        part: Numbers = (counts * weights / len(truth)).reshape(-1)
        return part

    def outcomes(self, sums: Numbers) -> Outcomes:
        hit, missed, mistaken = sums.reshape(3, self.classes)
        return Outcomes(hit, missed * math.sqrt(2), mistaken * math.sqrt(2))


@dataclass(frozen=True)
class _Matrix:
    """Which class was taken for which."""

    classes: int

    @property
    def columns(self) -> int:
        return self.classes**2

    @property
    def spread(self) -> float:
        return math.sqrt(2 * self.classes + 2)

    def part(self, found: Classes, truth: Classes) -> Numbers:
        pairs = np.bincount(truth * self.classes + found, minlength=self.columns)
        part: Numbers = pairs / len(truth)
        return part

    def outcomes(self, sums: Numbers) -> Outcomes:
        matrix = sums.reshape(self.classes, self.classes)
        hit = matrix.diagonal()
        return Outcomes(hit, matrix.sum(axis=1) - hit, matrix.sum(axis=0) - hit)


@dataclass(frozen=True)
class ClassSums:
    """Sums for some metrics."""

    metrics: tuple[ClassMetric, ...]
    classes: int

    @cached_property
    def _block(self) -> _Block:
        if "confusion_matrix" in self.metrics:
            return _Matrix(self.classes)
        if set(self.metrics) <= {"accuracy", *_DISTANCES}:
            return _Hits()
        return _ByClass(self.classes)

    @property
    def _distances(self) -> tuple[ClassMetric, ...]:
        return tuple(metric for metric in self.metrics if metric in _DISTANCES)

    @property
    def columns(self) -> int:
        """Numbers that a unit adds."""
        return self._block.columns + len(self._distances)

    @property
    def bound(self) -> float:
        """The largest norm of what a unit adds."""
        return math.sqrt(1 + len(self._distances) * _MIDDLE**2)

    def part(self, *, found: Classes, probabilities: Numbers, truth: Classes) -> Numbers:
        """Return what one unit adds, of one sample or more."""
        wanted = np.zeros_like(probabilities)
        wanted[np.arange(len(truth)), truth] = 1
        apart = np.abs(probabilities - wanted)
        distances = {"mse": np.mean(apart**2), "mae": np.mean(apart)}
        numbers = [float(distances[metric]) - _MIDDLE for metric in self._distances]
        return np.concatenate([self._block.part(found, truth), numbers])

    def counts(self, sums: Numbers, *, noise: float) -> Mapping[str, float]:
        """Return over about how many units, or over how many classes, each figure runs."""
        outcomes = self._outcomes(sums)
        large = float(self._large(outcomes, noise).sum())
        units = max(0.0, outcomes.units)
        of_classes = ("f1_score", "precision", "recall")
        return {metric: large if metric in of_classes else units for metric in self.metrics}

    def figures(self, sums: Numbers, *, noise: float) -> Mapping[str, Any]:
        """Return the figures; None where there is too little to tell it from noise.

        Args:
            sums: Sums of parts, with noise.
            noise: Standard deviation of the noise in each.
        """
        numbers = self.numbers(sums, noise=noise)
        outcomes = self._outcomes(sums)
        return {metric: self._figure(metric, outcomes, numbers, sums) for metric in self.metrics}

    def numbers(self, sums: Numbers, *, noise: float) -> Mapping[str, float | None]:
        """Return those of the figures that are one number."""
        outcomes = self._outcomes(sums)
        large = self._large(outcomes, noise)
        known = outcomes.units > _TOO_FEW * noise * self._block.spread and outcomes.units > 0
        found: dict[str, float | None] = {}
        for metric in self.metrics:
            match metric:
                case "f1_score" | "precision" | "recall":
                    shares = _shares(metric, outcomes)[large]
                    found[metric] = float(shares.mean()) if len(shares) else None
                case "accuracy":
                    found[metric] = _accuracy(outcomes) if known else None
                case "mse" | "mae":
                    at = self._block.columns + self._distances.index(metric)
                    mean = _MIDDLE + float(sums[at]) / outcomes.units if known else None
                    found[metric] = None if mean is None else min(1.0, max(0.0, mean))
                case "confusion_matrix" | "classification_report":
                    continue
                case _:
                    assert_never(metric)
        return found

    def _outcomes(self, sums: Numbers) -> Outcomes:
        return self._block.outcomes(sums[: self._block.columns])

    def _large(self, outcomes: Outcomes, noise: float) -> NDArray[np.bool_]:
        large: NDArray[np.bool_] = outcomes.sizes > _TOO_FEW * noise * self._block.spread
        return large

    def _figure(
        self,
        metric: ClassMetric,
        outcomes: Outcomes,
        numbers: Mapping[str, float | None],
        sums: Numbers,
    ) -> Any:
        if metric == "confusion_matrix":
            return sums[: self._block.columns].reshape(self.classes, -1).round(2).tolist()
        return _report(outcomes) if metric == "classification_report" else numbers[metric]


def _accuracy(outcomes: Outcomes) -> float:
    return min(1.0, max(0.0, float(outcomes.hit.sum()) / outcomes.units))


def _shares(metric: Literal["f1_score", "precision", "recall"], outcomes: Outcomes) -> Numbers:
    """Return a figure of each class; 0 of a class that is next to nothing."""
    hit = outcomes.hit
    below = {
        "f1_score": outcomes.sizes,
        "precision": hit + outcomes.mistaken,
        "recall": hit + outcomes.missed,
    }[metric]
    above = 2 * hit if metric == "f1_score" else hit
    shares: Numbers = np.clip(above / np.where(below > 0, below, np.inf), 0, 1)
    return shares


def _report(outcomes: Outcomes) -> Mapping[str, Any]:
    names: tuple[Literal["f1_score", "precision", "recall"], ...] = (
        "precision",
        "recall",
        "f1_score",
    )
    columns = {name: _shares(name, outcomes) for name in names}
    support = (outcomes.hit + outcomes.missed).clip(min=0)
    rows = {
        str(number): {
            **{name: float(column[number]) for name, column in columns.items()},
            "support": round(float(support[number]), 2),
        }
        for number in range(len(support))
    }
    means = {name: float(column.mean()) for name, column in columns.items()}
    return {"classes": rows, "macro": {**means, "support": round(float(support.sum()), 2)}}
