import math

import numpy as np
import pytest
from sklearn import metrics as oracle

from tests.metrics import guesses
from trainer.metrics.deviations import by_class, deviation, mean_deviation

METRICS = {
    "mse": oracle.mean_squared_error,
    "mae": oracle.mean_absolute_error,
    "rmse": oracle.root_mean_squared_error,
    "r2_score": oracle.r2_score,
}


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("seed", range(5))
def test_deviations_equal_those_of_scikit_learn(seed: int, metric: str) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.standard_normal(40)
    found = truth + rng.standard_normal(40)
    assert deviation(metric, found, truth) == pytest.approx(METRICS[metric](truth, found))
    assert deviation(metric, truth, truth) == (1.0 if metric == "r2_score" else 0.0)


@pytest.mark.parametrize("metric", METRICS)
def test_deviations_of_classes_are_means_over_classes(metric: str) -> None:
    probabilities, truth = guesses(2)
    score = mean_deviation(metric, by_class(probabilities, truth))
    wanted = METRICS[metric](np.eye(3)[truth], probabilities)
    assert score.value == pytest.approx(wanted)
    assert (score.counted, score.ignored) == (3, 0)


def test_a_constant_truth_explains_nothing_and_is_ignored() -> None:
    rng = np.random.default_rng(1)
    known = (rng.random(9), np.arange(9.0))
    score = mean_deviation("r2_score", [known, (rng.random(9), np.full(9, 0.1))])
    assert score.value == pytest.approx(oracle.r2_score(known[1], known[0]))
    assert (score.counted, score.ignored) == (1, 1)
    assert math.isnan(deviation("mse", np.array([]), np.array([])))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_no_number_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        deviation("mae", np.array([bad]), np.array([1.0]))


def test_unsigned_numbers_are_refused_before_they_wrap_around() -> None:
    with pytest.raises(ValueError, match="float64"):
        deviation("mse", np.array([0], dtype=np.uint8), np.array([1], dtype=np.uint8))


def test_numbers_of_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="one shape"):
        deviation("mse", np.zeros((3, 1)), np.zeros(3))
    with pytest.raises(ValueError, match="a row of probabilities"):
        list(by_class(np.zeros((3, 2)), np.array([0, 1])))
