import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from trainer.privacy.csprng import SecureStream, UnsafeSeededStream
from trainer.privacy.noise import add_noise, gaussian, lattice_step


def values(stream: SecureStream, count: int) -> NDArray[np.float64]:
    return gaussian(stream, count).numpy()


def test_noise_is_standard_normal() -> None:
    count = 1_000_000
    found = values(UnsafeSeededStream(11), count)
    assert found.mean() == pytest.approx(0, abs=4 / math.sqrt(count))
    assert found.std() == pytest.approx(1, abs=4 / math.sqrt(2 * count))
    assert (found**3).mean() == pytest.approx(0, abs=4 * math.sqrt(15 / count))
    assert (found**4).mean() == pytest.approx(3, abs=4 * math.sqrt(96 / count))


@pytest.mark.parametrize("edge", [1.0, 2.0, 3.0, 4.0])
def test_noise_has_the_tails_of_a_normal(edge: float) -> None:
    count = 1_000_000
    share = (np.abs(values(UnsafeSeededStream(12), count)) > edge).mean()
    exact = math.erfc(edge / math.sqrt(2))
    assert share == pytest.approx(exact, abs=4 * math.sqrt(exact / count))


def test_noise_of_neighbours_is_uncorrelated() -> None:
    found = values(UnsafeSeededStream(13), 400_000)
    half = len(found) // 2
    for left, right in ((found[:-1], found[1:]), (found[:half], found[half:])):
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


@pytest.mark.parametrize("deviation", [-1.0, math.nan, math.inf, 1e-200])
def test_noise_is_refused_for_no_standard_deviation(deviation: float) -> None:
    with pytest.raises(ValueError, match="standard deviation"):
        add_noise(torch.zeros(3), standard_deviation=deviation, stream=SecureStream())


@pytest.mark.parametrize("deviation", [1e-3, 0.7, 512.0])
def test_results_lie_on_a_lattice_that_the_data_does_not_change(deviation: float) -> None:
    step = lattice_step(deviation)
    for total in (0.0, 1 / 3, 1e-9, 123.456, -7e5 * deviation):
        noisy = add_noise(
            torch.full((1000,), total, dtype=torch.float64),
            standard_deviation=deviation,
            stream=SecureStream(),
        )
        assert torch.equal(torch.frac(noisy / step), torch.zeros_like(noisy))
    assert math.log2(step).is_integer()
    assert 2**-37 < step / deviation <= 2**-36


def test_sums_in_one_step_of_the_lattice_become_the_same_result() -> None:
    step = lattice_step(0.5)
    totals = torch.tensor([3.0, 3.0 + 0.3 * step, 3.0 - 0.3 * step], dtype=torch.float64)
    results = [
        float(add_noise(total, standard_deviation=0.5, stream=UnsafeSeededStream(15)))
        for total in totals
    ]
    assert len(set(results)) == 1


def test_a_sum_beyond_the_lattice_is_cut_and_stays_exact() -> None:
    noisy = add_noise(
        torch.full((4,), 1e30, dtype=torch.float64),
        standard_deviation=1.0,
        stream=SecureStream(),
    )
    assert bool(((noisy - 2.0**16).abs() < 20).all())


def test_no_number_is_the_sum_of_the_two_halves_of_one_pair() -> None:
    # Radii of 1 at a twelfth of the circle, two to a number: cosines in one half of the places,
    # sines in the other. A pair's cosine and sine added up would give a third number.
    class Fixed(UnsafeSeededStream):
        def words(self, count: int) -> NDArray[np.uint64]:
            uniforms = np.repeat([math.exp(-0.5), 1 / 12], count // 2)
            return ((1 - uniforms) * 2.0**52).astype(np.uint64)

    assert values(Fixed(16), 6) == pytest.approx([math.sqrt(1.5)] * 3 + [math.sqrt(0.5)] * 3)


def test_the_largest_and_smallest_words_give_finite_numbers() -> None:
    class Fixed(UnsafeSeededStream):
        def words(self, count: int) -> NDArray[np.uint64]:
            return np.resize(np.array([0, 2**64 - 1, 2**52 - 1, 2**52], np.uint64), count)

    found = values(Fixed(17), 64)
    assert np.isfinite(found).all()
    assert np.abs(found).max() <= math.sqrt(2 * 2 * 52 * math.log(2))


def test_blocks_of_numbers_are_each_their_own() -> None:
    found = values(SecureStream(), 300_001)
    assert len(np.unique(found)) == len(found)


def test_without_noise_the_sum_is_what_it_was() -> None:
    total = torch.tensor([1 / 3, -2.0])
    same = add_noise(total, standard_deviation=0.0, stream=SecureStream())
    assert torch.equal(same, total)
    assert same is not total


def test_steps_of_noise_have_the_variance_of_their_sum() -> None:
    # Bias of the lattice, if any, would add up over a run.
    steps, total = 200, torch.zeros(2000)
    stream = UnsafeSeededStream(17)
    for _ in range(steps):
        total = total + add_noise(torch.zeros(2000), standard_deviation=0.1, stream=stream)
    assert float(total.mean()) == pytest.approx(0, abs=4 * 0.1 * math.sqrt(steps / 2000))
    assert float(total.var()) == pytest.approx(0.01 * steps, rel=4 * math.sqrt(2 / 2000))


def test_a_public_limit_widens_the_lattice_for_sums_far_above_the_noise() -> None:
    total = torch.full((2000,), 3e7, dtype=torch.float64)
    cut = add_noise(total, standard_deviation=1.0, stream=SecureStream())
    assert float(cut.max()) < 1e5
    noisy = add_noise(total, standard_deviation=1.0, stream=SecureStream(), largest=2.0**26)
    assert float((noisy - total).std()) == pytest.approx(1, rel=0.1)
    step = lattice_step(1.0, largest=2.0**26)
    assert step == 2.0**-26
    assert bool((noisy / step == (noisy / step).round()).all())
