import math

import numpy as np
import pytest
from sklearn import metrics as oracle

from tests.metrics import guesses
from trainer.metrics.curves import (
    Curve,
    area,
    precision_recall_curve,
    precision_recall_curves,
    roc_auc,
    roc_curve,
    roc_curves,
)


def alike(curve: Curve | None, x: np.ndarray, y: np.ndarray, thresholds: np.ndarray) -> None:
    assert curve is not None
    np.testing.assert_allclose(curve.x, x)
    np.testing.assert_allclose(curve.y, y)
    np.testing.assert_allclose(curve.thresholds, thresholds)


@pytest.mark.parametrize("samples", [3, 4, 7, 60, 500])
@pytest.mark.parametrize("seed", range(5))
def test_curves_equal_those_of_scikit_learn(seed: int, samples: int) -> None:
    probabilities, truth = guesses(seed, samples=samples)
    for number, curve in roc_curves(probabilities, truth).items():
        alike(curve, *oracle.roc_curve(truth == number, probabilities[:, number]))
    for number, curve in precision_recall_curves(probabilities, truth).items():
        precision, recall, thresholds = oracle.precision_recall_curve(
            truth == number, probabilities[:, number], drop_intermediate=True
        )
        alike(curve, recall, precision, np.append(thresholds, math.inf))


@pytest.mark.parametrize("seed", range(5))
def test_the_area_equals_that_of_scikit_learn(seed: int) -> None:
    probabilities, truth = guesses(seed, classes=2)
    wanted = oracle.roc_auc_score(truth, probabilities[:, 1])
    assert roc_auc(probabilities, truth).value == pytest.approx(wanted)
    raw, truth = guesses(seed, classes=4)
    several = raw / raw.sum(axis=1, keepdims=True)
    wanted = oracle.roc_auc_score(truth, several, multi_class="ovr", average="macro")
    score = roc_auc(several, truth)
    assert score.value == pytest.approx(wanted)
    assert (score.counted, score.ignored) == (4, 0)


def test_perfect_scores_have_an_area_of_one_and_reversed_ones_of_nothing() -> None:
    truth = np.array([False, False, True, True])
    for scores, wanted in (([0.1, 0.2, 0.8, 0.9], 1.0), ([0.9, 0.8, 0.2, 0.1], 0.0)):
        curve = roc_curve(np.array(scores), truth)
        assert curve is not None
        assert area(curve) == wanted
    alike_all = roc_curve(np.full(4, 0.5), truth)
    assert alike_all is not None
    assert area(alike_all) == 0.5


def test_a_class_that_does_not_occur_is_ignored_and_counted() -> None:
    probabilities, truth = guesses(3)
    truth[truth == 2] = 0
    score = roc_auc(probabilities, truth)
    assert (score.counted, score.ignored) == (2, 1)
    assert roc_curves(probabilities, truth)[2] is None
    assert precision_recall_curves(probabilities, truth)[2] is None
    nothing = roc_auc(probabilities, np.zeros_like(truth))
    assert math.isnan(nothing.value)
    assert (nothing.counted, nothing.ignored) == (0, 3)
    assert roc_curve(np.array([]), np.array([], dtype=bool)) is None


def test_of_two_classes_only_the_second_has_a_curve() -> None:
    probabilities, truth = guesses(1, classes=2)
    assert list(roc_curves(probabilities, truth)) == [1]


def test_scores_that_are_no_numbers_are_refused() -> None:
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match="finite"):
            roc_curve(np.array([0.5, bad]), np.array([True, False]))
        with pytest.raises(ValueError, match="finite"):
            precision_recall_curve(np.array([0.5, bad]), np.array([True, False]))
    with pytest.raises(ValueError, match="one length"):
        roc_curve(np.array([0.5]), np.array([True, False]))
    with pytest.raises(ValueError, match="a row of probabilities"):
        roc_auc(np.zeros((3, 2)), np.array([0, 1]))


def test_a_long_curve_is_thinned_and_keeps_its_ends() -> None:
    rng = np.random.default_rng(1)
    curve = precision_recall_curve(rng.random(5000), rng.random(5000) < 0.5)
    assert curve is not None
    thin = curve.thinned(100)
    assert len(thin.x) == len(thin.y) == len(thin.thresholds) == 100
    assert (thin.x[0], thin.x[-1], thin.y[-1]) == (1.0, 0.0, 1.0)
    assert thin.thinned(100) is thin
