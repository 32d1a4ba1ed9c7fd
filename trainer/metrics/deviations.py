"""How far numbers lie from the true ones.

Of masks the numbers are probabilities of pixels and a case is a patient; of classes they are
probabilities, the truth is 0 or 1, and a case is a class.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trainer.metrics.classes import Classes
from trainer.metrics.scores import Score, mean_score

Numbers = NDArray[np.float64]
DeviationMetric = Literal["mse", "mae", "rmse", "r2_score"]


def deviation(metric: DeviationMetric, found: Numbers, truth: Numbers) -> float:
    """Return a metric of one case; NaN of no numbers, and for `r2_score` of a constant truth.

    Raises:
        ValueError: if the numbers differ in shape, are not float64 or not finite.
    """
    if found.shape != truth.shape:
        raise ValueError(f"expected numbers of one shape, got {found.shape} and {truth.shape}")
    if found.dtype != np.float64 or truth.dtype != np.float64:
        # Differences of unsigned numbers wrap around.
        raise ValueError(f"expected float64 numbers, got {found.dtype} and {truth.dtype}")
    if not (np.isfinite(found).all() and np.isfinite(truth).all()):
        raise ValueError("expected finite numbers, got one that is not")
    if not found.size:
        return math.nan
    # In place: of a volume these are many numbers.
    apart = found - truth
    match metric:
        case "mse":
            return float(np.mean(np.square(apart, out=apart)))
        case "mae":
            return float(np.mean(np.abs(apart, out=apart)))
        case "rmse":
            return math.sqrt(float(np.mean(np.square(apart, out=apart))))
        case "r2_score":
            if (truth == truth.flat[0]).all():
                return math.nan
            spread = float(np.sum((truth - truth.mean()) ** 2))
            return 1 - float(np.sum(np.square(apart, out=apart))) / spread


def mean_deviation(metric: DeviationMetric, cases: Iterable[tuple[Numbers, Numbers]]) -> Score:
    """Return the mean of a metric over cases.

    Raises:
        ValueError: if numbers of a case differ in shape, are not float64 or not finite.
    """
    return mean_score(deviation(metric, found, truth) for found, truth in cases)


def by_class(probabilities: Numbers, truth: Classes) -> Iterable[tuple[Numbers, Numbers]]:
    """Yield each class's probabilities, and 1 where it is the true one.

    Raises:
        ValueError: if there is no row of probabilities for each sample.
    """
    if probabilities.ndim != 2 or len(probabilities) != len(truth):
        raise ValueError(
            f"expected a row of probabilities for each of {len(truth)} samples, "
            f"got {probabilities.shape}"
        )
    for number in range(probabilities.shape[1]):
        yield probabilities[:, number], (truth == number).astype(np.float64)
