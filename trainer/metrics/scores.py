"""Means that say over how much they run, and how much had no value."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Score:
    """A mean over cases or classes."""

    value: float
    """NaN if there was nothing to count."""
    counted: int
    """Over how many cases or classes the mean runs; over how many samples, of an accuracy."""
    ignored: int = 0
    """How many cases or classes had no value, and are not in the mean."""


def mean_score(values: Iterable[float]) -> Score:
    """Return the mean of the values that are numbers."""
    given = list(values)
    counted = [value for value in given if not math.isnan(value)]
    value = sum(counted) / len(counted) if counted else math.nan
    return Score(value, len(counted), len(given) - len(counted))


def ratio(above: float, below: float) -> float:
    """Return a share; NaN of nothing."""
    return above / below if below else math.nan
