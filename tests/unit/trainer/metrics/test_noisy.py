import math
from collections.abc import Iterable

import numpy as np
import pytest
from numpy.typing import NDArray

from trainer.metrics.noisy import NoisySum, deviations, noisy_sum
from trainer.privacy.csprng import SecureStream, UnsafeSeededStream

TINY = 1e-6


def summed(
    parts: Iterable[NDArray[np.float64]], *, bound: float = 1.0, noise: float = TINY
) -> NoisySum:
    return noisy_sum(parts, columns=3, bound=bound, noise_multiplier=noise, stream=SecureStream())


def test_parts_within_the_bound_are_added_as_they_are() -> None:
    found = summed([np.array([0.1, 0.2, 0.3]), np.array([0.0, -0.6, 0.8])])
    assert found.values == pytest.approx([0.1, -0.4, 1.1], abs=2e-5)


@pytest.mark.parametrize("size", [1.0000001, 5.0, 1e30])
def test_no_unit_adds_more_than_the_bound(size: float) -> None:
    part = np.array([3.0, -4.0, 12.0]) * size
    found = summed([part], bound=2.0)
    assert np.linalg.norm(found.values) == pytest.approx(2.0, abs=2e-5)
    assert found.values / 2 == pytest.approx(part / np.linalg.norm(part), abs=2e-5)


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_a_part_that_is_not_finite_adds_nothing(odd: float) -> None:
    found = summed([np.array([0.5, odd, 0.0]), np.array([0.1, 0.0, 0.0])])
    assert found.values == pytest.approx([0.1, 0, 0], abs=2e-5)


def test_the_noise_is_the_multiplier_times_the_bound() -> None:
    stream = UnsafeSeededStream(5)
    found = noisy_sum(
        [np.ones(100_000) * 1e-4],
        columns=100_000,
        bound=2.0,
        noise_multiplier=1.5,
        stream=stream,
    )
    assert found.deviation == 3.0
    assert found.values.std() == pytest.approx(3.0, rel=0.02)


def test_two_sums_of_one_set_are_never_the_same() -> None:
    parts = [np.array([0.1, 0.2, 0.3])]
    assert not np.array_equal(summed(parts, noise=1.0).values, summed(parts, noise=1.0).values)


@pytest.mark.parametrize(("bound", "noise"), [(0.0, 1.0), (1.0, 0.0), (1.0, -1.0), (math.nan, 1.0)])
def test_a_sum_without_bound_or_noise_is_refused(bound: float, noise: float) -> None:
    with pytest.raises(ValueError, match="expected a bound and noise"):
        summed([], bound=bound, noise=noise)


def test_a_part_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 3 numbers of a unit"):
        summed([np.zeros(4)])


def test_the_deviation_of_a_figure_is_that_of_repeated_noise() -> None:
    found = NoisySum(np.array([10.0, 100.0]), 2.0)
    spread = deviations(lambda sums: {"mean": float(sums[0] / 100), "none": None}, found)
    assert spread["mean"] == pytest.approx(0.02, rel=0.15)
    assert spread["none"] is None
