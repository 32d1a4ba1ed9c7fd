import math

import numpy as np
import pytest

from trainer.privacy.csprng import SecureStream, UnsafeSeededStream
from trainer.privacy.sampling import draw_samples, poisson_sample

UNITS, RATE, STEPS = 200, 0.15, 2000


@pytest.fixture(scope="module")
def drawn() -> np.ndarray:
    """Who took part in which step, `[STEPS, UNITS]`."""
    stream = UnsafeSeededStream(21)
    table = np.zeros((STEPS, UNITS), dtype=bool)
    for step in range(STEPS):
        table[step, poisson_sample(stream, units=UNITS, rate=RATE)] = True
    return table


def test_batch_sizes_have_the_mean_and_variance_of_poisson_sampling(drawn: np.ndarray) -> None:
    sizes = drawn.sum(axis=1)
    variance = UNITS * RATE * (1 - RATE)
    assert sizes.mean() == pytest.approx(UNITS * RATE, abs=4 * math.sqrt(variance / STEPS))
    assert sizes.var() == pytest.approx(variance, rel=4 * math.sqrt(2 / STEPS))


def test_every_unit_is_drawn_equally_often(drawn: np.ndarray) -> None:
    shares = drawn.mean(axis=0)
    assert np.abs(shares - RATE).max() < 4.5 * math.sqrt(RATE * (1 - RATE) / STEPS)


def test_units_are_drawn_independently_of_each_other(drawn: np.ndarray) -> None:
    both = np.corrcoef(drawn[:, :50].T.astype(float)) - np.eye(50)
    assert np.abs(both).max() < 5 / math.sqrt(STEPS)


def test_a_unit_is_never_in_a_batch_twice() -> None:
    stream = SecureStream()
    for _ in range(50):
        chosen = poisson_sample(stream, units=100, rate=0.9)
        assert len(np.unique(chosen)) == len(chosen)


def test_rates_of_zero_and_one_draw_nobody_and_everybody() -> None:
    assert poisson_sample(SecureStream(), units=50, rate=0.0).tolist() == []
    assert poisson_sample(SecureStream(), units=50, rate=1.0).tolist() == list(range(50))


@pytest.mark.parametrize("rate", [-0.1, 1.1, math.nan])
def test_sampling_is_refused_for_no_probability(rate: float) -> None:
    with pytest.raises(ValueError, match="sampling rate"):
        poisson_sample(SecureStream(), units=5, rate=rate)


def test_samples_of_a_unit_do_not_repeat_while_there_are_others() -> None:
    for _ in range(20):
        assert len(set(draw_samples(SecureStream(), available=6, wanted=4).tolist())) == 4
    assert sorted(draw_samples(SecureStream(), available=2, wanted=4).tolist()) == [0, 0, 1, 1]
    assert draw_samples(SecureStream(), available=1, wanted=3).tolist() == [0, 0, 0]


def test_a_unit_without_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="no samples"):
        draw_samples(SecureStream(), available=0, wanted=1)
