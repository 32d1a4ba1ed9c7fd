"""Masks and guesses for tests of metrics."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

EMPTY = np.zeros((3, 1, 16, 16), dtype=bool)


def square(top: int, left: int, *, side: int = 4, size: int = 16) -> NDArray[np.bool_]:
    """Return three slices with a square."""
    mask = np.zeros((3, 1, size, size), dtype=bool)
    mask[..., top : top + side, left : left + side] = True
    return mask


def guesses(
    seed: int, *, samples: int = 60, classes: int = 3
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return probabilities, some of them alike, and true classes, each of them there."""
    rng = np.random.default_rng(seed)
    truth = np.concatenate([np.arange(classes), rng.integers(0, classes, samples - classes)])
    scores = rng.random((samples, classes)) + np.eye(classes)[truth] * rng.random()
    return np.round(scores / scores.sum(axis=1, keepdims=True), 2), truth.astype(np.int64)
