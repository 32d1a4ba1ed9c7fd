from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.metrics import EMPTY, square
from trainer.metrics.deviations import mean_deviation
from trainer.metrics.mask_sums import MaskMetric, MaskSums
from trainer.metrics.masks import overlap

EVERY: tuple[MaskMetric, ...] = get_args(MaskMetric)
CASES = [
    (square(2, 2), square(2, 2)),
    (square(2, 2), square(3, 3)),
    (square(0, 0), square(8, 8)),
    (EMPTY, EMPTY),
    (EMPTY, square(1, 1)),
    (square(1, 1), EMPTY),
]


def probability(found: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.where(found, 0.9, 0.2)


def total(sums: MaskSums) -> NDArray[np.float64]:
    parts = [
        sums.part(found=found, probability=probability(found), truth=truth)
        for found, truth in CASES
    ]
    return np.sum(parts, axis=0)


@pytest.mark.parametrize("metric", ["dice_score", "jaccard_index", "precision", "recall"])
def test_without_noise_overlaps_are_those_of_public_data(metric: MaskMetric) -> None:
    public = overlap(metric, CASES)  # type: ignore[arg-type]  # one of the four
    for sums in (MaskSums((metric,)), MaskSums(EVERY)):
        assert sums.figures(total(sums), noise=0)[metric] == pytest.approx(public.value)
        assert sums.counts(total(sums))[metric] == pytest.approx(public.counted)


@pytest.mark.parametrize("metric", ["mse", "mae", "rmse"])
def test_without_noise_distances_are_those_of_public_data(metric: MaskMetric) -> None:
    public = mean_deviation(
        metric,  # type: ignore[arg-type]  # one of the three
        [(probability(found), truth.astype(np.float64)) for found, truth in CASES],
    )
    for sums in (MaskSums((metric,)), MaskSums(EVERY)):
        assert sums.figures(total(sums), noise=0)[metric] == pytest.approx(public.value)
        assert sums.counts(total(sums))[metric] == public.counted == len(CASES)


@given(
    chosen=st.sets(st.sampled_from(EVERY), min_size=1),
    found=st.lists(st.booleans(), min_size=16, max_size=16),
    truth=st.lists(st.booleans(), min_size=16, max_size=16),
    level=st.floats(0, 1),
)
def test_no_patient_adds_more_than_the_bound(
    chosen: set[MaskMetric], found: list[bool], truth: list[bool], level: float
) -> None:
    sums = MaskSums(tuple(sorted(chosen)))
    shape = (1, 1, 4, 4)
    part = sums.part(
        found=np.array(found).reshape(shape),
        probability=np.full(shape, level),
        truth=np.array(truth).reshape(shape),
    )
    assert part.shape == (sums.columns,)
    assert np.linalg.norm(part) <= sums.bound + 1e-12


def test_a_patient_without_numbers_adds_nothing_and_is_no_error() -> None:
    sums = MaskSums(EVERY)
    odd = np.full(EMPTY.shape, np.nan)
    part = sums.part(found=EMPTY, probability=odd, truth=square(1, 1))
    assert not part.any()


def test_a_count_that_may_be_noise_gives_no_figure() -> None:
    sums = MaskSums(("dice_score",))
    assert sums.figures(np.array([10.0, 29.0]), noise=10)["dice_score"] is None
    assert sums.figures(np.array([10.0, 31.0]), noise=10)["dice_score"] == pytest.approx(
        0.8226, abs=1e-3
    )
    assert sums.figures(np.array([0.0, 0.0]), noise=0)["dice_score"] is None


def test_a_figure_stays_from_nothing_to_one() -> None:
    sums = MaskSums(("mse",))
    assert sums.figures(np.array([90.0, 100.0]), noise=1)["mse"] == 1
    assert sums.figures(np.array([-90.0, 100.0]), noise=1)["mse"] == 0
