from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.metrics import guesses
from trainer.metrics.class_sums import ClassMetric, ClassSums
from trainer.metrics.classes import classification, classification_report, confusion_matrix
from trainer.metrics.deviations import by_class, mean_deviation

EVERY: tuple[ClassMetric, ...] = get_args(ClassMetric)
ONE_NUMBER: tuple[ClassMetric, ...] = ("accuracy", "f1_score", "precision", "recall")
PROBABILITIES, TRUTH = guesses(4)
FOUND = PROBABILITIES.argmax(axis=1)
MATRIX = confusion_matrix(FOUND, TRUTH, classes=3)


def total(sums: ClassSums) -> NDArray[np.float64]:
    """Return the sums of units of one sample each."""
    parts = [
        sums.part(
            found=FOUND[one : one + 1],
            probabilities=PROBABILITIES[one : one + 1],
            truth=TRUTH[one : one + 1],
        )
        for one in range(len(TRUTH))
    ]
    return np.sum(parts, axis=0)


def figures(*metrics: ClassMetric) -> Any:
    sums = ClassSums(metrics, 3)
    return sums.figures(total(sums), noise=0)


@pytest.mark.parametrize("metric", ONE_NUMBER)
@pytest.mark.parametrize("beside", [(), ("confusion_matrix",), ("classification_report",)])
def test_without_noise_a_figure_is_that_of_public_data(
    metric: ClassMetric, beside: tuple[ClassMetric, ...]
) -> None:
    public = classification(metric, MATRIX)  # type: ignore[arg-type]  # one of the four
    assert figures(metric, *beside)[metric] == pytest.approx(public.value)


@pytest.mark.parametrize("metric", ["mse", "mae"])
def test_without_noise_a_distance_is_that_of_public_data(metric: ClassMetric) -> None:
    public = mean_deviation(metric, by_class(PROBABILITIES, TRUTH))  # type: ignore[arg-type]
    assert figures(metric)[metric] == pytest.approx(public.value)
    assert figures(*EVERY)[metric] == pytest.approx(public.value)


def test_without_noise_the_matrix_is_that_of_public_data() -> None:
    assert figures("confusion_matrix")["confusion_matrix"] == MATRIX.tolist()


@pytest.mark.parametrize("beside", [(), ("confusion_matrix",)])
def test_without_noise_the_report_is_that_of_public_data(beside: tuple[ClassMetric, ...]) -> None:
    found = figures("classification_report", *beside)["classification_report"]
    public = classification_report(MATRIX)
    for number, row in public.classes.items():
        for name in ("precision", "recall", "f1_score", "support"):
            assert found["classes"][str(number)][name] == pytest.approx(getattr(row, name))
    assert found["macro"]["f1_score"] == pytest.approx(public.macro.f1_score)
    assert found["macro"]["support"] == len(TRUTH)


def test_a_unit_of_many_samples_counts_as_one() -> None:
    sums = ClassSums(("accuracy",), 3)
    part = sums.part(
        found=np.array([0, 1, 2, 2]),
        probabilities=np.full((4, 3), 1 / 3),
        truth=np.array([0, 1, 2, 0]),
    )
    assert part == pytest.approx([0.75, 0.25])


@given(
    chosen=st.sets(st.sampled_from(EVERY), min_size=1),
    samples=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=6),
    certain=st.booleans(),
)
def test_no_unit_adds_more_than_the_bound(
    chosen: set[ClassMetric], samples: list[tuple[int, int]], certain: bool
) -> None:
    sums = ClassSums(tuple(sorted(chosen)), 4)
    found, truth = np.array(samples).T
    probabilities = np.eye(4)[found] if certain else np.full((len(found), 4), 0.25)
    part = sums.part(found=found, probabilities=probabilities, truth=truth)
    assert part.shape == (sums.columns,)
    assert np.linalg.norm(part) <= sums.bound + 1e-12


def test_fewer_numbers_are_summed_where_fewer_are_asked() -> None:
    assert ClassSums(("accuracy",), 10).columns == 2
    assert ClassSums(("accuracy", "f1_score"), 10).columns == 30
    assert ClassSums(("accuracy", "confusion_matrix", "mse"), 10).columns == 101


def test_a_class_that_may_be_noise_is_not_in_a_mean() -> None:
    sums = ClassSums(("recall",), 2)
    # Hits, misses and mistakes of two classes; the second one is as large as the noise.
    noisy = np.array([300.0, 4.0, 0.0, 3.0, 0.0, 2.0])
    assert sums.figures(noisy, noise=5)["recall"] == pytest.approx(1.0)
    assert sums.counts(noisy, noise=5)["recall"] == 1
    assert sums.figures(noisy / 100, noise=5)["recall"] is None


def test_a_figure_stays_from_nothing_to_one() -> None:
    accuracy = ClassSums(("accuracy",), 2)
    assert accuracy.figures(np.array([105.0, -5.0]), noise=1)["accuracy"] == 1
    assert accuracy.figures(np.array([-5.0, 105.0]), noise=1)["accuracy"] == 0
    distance = ClassSums(("mse",), 2)
    assert distance.figures(np.array([50.0, 50.0, -90.0]), noise=1)["mse"] == 0
