import math

import numpy as np
import pytest
import torch

from trainer.privacy.csprng import SecureStream, UnsafeSeededStream
from trainer.privacy.noise import add_noise, gaussian


def test_noise_is_standard_normal() -> None:
    count = 1_000_000
    values = gaussian(UnsafeSeededStream(11), count)
    assert values.mean() == pytest.approx(0, abs=4 / math.sqrt(count))
    assert values.std() == pytest.approx(1, abs=4 / math.sqrt(2 * count))
    assert (values**3).mean() == pytest.approx(0, abs=4 * math.sqrt(15 / count))
    assert (values**4).mean() == pytest.approx(3, abs=4 * math.sqrt(96 / count))


@pytest.mark.parametrize("edge", [1.0, 2.0, 3.0, 4.0])
def test_noise_has_the_tails_of_a_normal(edge: float) -> None:
    count = 1_000_000
    share = (np.abs(gaussian(UnsafeSeededStream(12), count)) > edge).mean()
    exact = math.erfc(edge / math.sqrt(2))
    assert share == pytest.approx(exact, abs=4 * math.sqrt(exact / count))


def test_noise_of_neighbours_is_uncorrelated() -> None:
    values = gaussian(UnsafeSeededStream(13), 400_000)
    half = len(values) // 2
    for left, right in ((values[:-1], values[1:]), (values[:half], values[half:])):
        assert np.corrcoef(left, right)[0, 1] == pytest.approx(0, abs=0.01)


def test_odd_numbers_of_values_are_given() -> None:
    assert gaussian(SecureStream(), 7).shape == (7,)
    assert gaussian(SecureStream(), 0).shape == (0,)


def test_noise_has_the_standard_deviation_that_is_asked_for() -> None:
    total = torch.full((200_000,), 3.0)
    noisy = add_noise(total, standard_deviation=0.5, stream=UnsafeSeededStream(14))
    assert noisy.dtype == torch.float32
    assert float((noisy - total).std()) == pytest.approx(0.5, rel=0.01)
    assert float(noisy.mean()) == pytest.approx(3.0, abs=0.01)


@pytest.mark.parametrize("deviation", [-1.0, math.nan, math.inf])
def test_noise_is_refused_for_no_standard_deviation(deviation: float) -> None:
    with pytest.raises(ValueError, match="standard deviation"):
        add_noise(torch.zeros(3), standard_deviation=deviation, stream=SecureStream())
