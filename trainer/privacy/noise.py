"""Gaussian noise from a cryptographic stream, on a lattice that does not depend on the data.

Protected:
* The noise cannot be predicted or repeated from a seed. Its tails reach 12 standard deviations.
* It cannot be run backwards. Each number is made of four 53-bit uniforms (two samples of Box and
  Muller, added: Holohan and Braghin 2021), so that nobody finds out by trying which sums a result
  could have come from.
* Which numbers can result says nothing. The sum is put on the multiples of a power of two that
  follows from the standard deviation alone, and so is the noise; floating-point numbers of
  other sums have other gaps, which is how real mechanisms were broken (Mironov 2012).
Given the sum on the lattice, the result is a function of that sum plus one Gaussian number, so that
the accountant's figure for real numbers holds for it.

Not protected:
* The probabilities of lattice points are those of a Gaussian up to the rounding of 53-bit
  arithmetic, not exactly (that would take a discrete Gaussian sampled with whole numbers: Canonne,
  Kamath and Steinke 2020, which is far too slow for millions of numbers a step).
* Putting a sum of n numbers on the lattice moves it by up to sqrt(n)/2 lattice steps. Two
  neighbours may come apart by 2^-36 sqrt(n) standard deviations: 2e-8 for 1.8 million parameters.
* The time that it takes does not depend on the sum, but no claim is made about caches.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.privacy.csprng import SecureStream

_ADDED: Final = 2
_LATTICE_BITS: Final = 36
"""A lattice step is a standard deviation divided by two to the power of at least this."""
_LARGEST: Final = 2.0**52
"""Lattice points up to here, and their sums with the noise, are exact in 64 bits."""


def gaussian(stream: SecureStream, count: int) -> NDArray[np.float64]:
    """Return `count` independent standard normal numbers."""
    half = -(-count // 2)
    out = torch.zeros((2, half), dtype=torch.float64)
    for _ in range(_ADDED):
        radius = _uniform(stream, half).log_().mul_(-2).sqrt_()
        angle = _uniform(stream, half).mul_(2 * math.pi)
        # The two numbers of one pair go to different places: added up they would be one sample.
        out[0].addcmul_(radius, angle.cos())
        out[1].addcmul_(radius, angle.sin_())
    return out.mul_(1 / math.sqrt(_ADDED)).flatten()[:count].numpy()


def _uniform(stream: SecureStream, count: int) -> torch.Tensor:
    return torch.from_numpy(stream.uniform(count))


def lattice_step(standard_deviation: float, *, largest: float = 0.0) -> float:
    """Return the power of two that results are multiples of; see `add_noise`."""
    fine = 2.0 ** (math.floor(math.log2(standard_deviation)) - _LATTICE_BITS)
    if largest <= fine * _LARGEST:
        return fine
    return 2.0 ** math.ceil(math.log2(largest / _LARGEST))


def add_noise(
    total: torch.Tensor,
    *,
    standard_deviation: float,
    stream: SecureStream,
    largest: float = 0.0,
) -> torch.Tensor:
    """Return `total` plus independent Gaussian noise on every element.

    Guarantee: with a sum of terms of Euclidean norm at most C, this is the Gaussian mechanism of
    noise multiplier `standard_deviation / C`, up to what the module's first lines say.

    Args:
        total: The sum. Elements beyond 2^16 standard deviations, or `largest`, are cut off there.
        standard_deviation: Of the noise on each element; 0 for none.
        stream: Where the noise comes from.
        largest: How large elements may be; a public number, since it widens the lattice.

    Raises:
        ValueError: if the standard deviation is negative, not finite, or too small for a lattice.
    """
    if standard_deviation == 0:
        return total.clone()
    if not 1e-100 < standard_deviation < math.inf:
        raise ValueError(f"standard deviation: expected at least 0, got {standard_deviation}")
    step = lattice_step(standard_deviation, largest=largest)
    # Clamping does not look at the data and brings no two sums further apart.
    points = total.to(torch.float64, copy=True).div_(step).round_().clamp_(-_LARGEST, _LARGEST)
    noise = torch.from_numpy(gaussian(stream, total.numel())).reshape(total.shape)
    points += noise.mul_(standard_deviation / step).round_()
    return points.mul_(step).to(total.dtype)
