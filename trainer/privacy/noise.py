"""Gaussian noise from a cryptographic stream, on a lattice that does not depend on the data.

Protected:
* The noise cannot be predicted or repeated from a seed. Its tails reach 12 standard deviations.
* It cannot be run backwards. Each number is made of four 52-bit uniforms (two samples of Box and
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

from trainer.privacy.csprng import SecureStream

_ADDED: Final = 2
_BLOCK: Final = 1 << 19
"""Numbers made at a time, so few that they stay in the cache."""
_FRACTION: Final = (1 << 52) - 1
_ONE: Final = 0x3FF << 52
"""Exponent bits of the numbers from one up to two."""
_LATTICE_BITS: Final = 36
"""A lattice step is a standard deviation divided by two to the power of at least this."""
_LARGEST: Final = 2.0**52
"""Lattice points up to here, and their sums with the noise, are exact in 64 bits."""


def gaussian(stream: SecureStream, count: int) -> torch.Tensor:
    """Return `count` independent standard normal numbers, `[count]` float64.

    The two numbers of a pair go to different halves: added up they would be one sample.
    """
    half = -(-count // 2)
    uniform = _uniform(stream, 2 * _ADDED * half).view(2, _ADDED, half)
    # sqrt(-2 log u), over the square root of how many are added.
    radius = uniform[0].log_().mul_(-2 / _ADDED).sqrt_()
    angle = uniform[1].mul_(2 * math.pi)
    out = torch.empty(2, half, dtype=torch.float64)
    torch.sum(angle.cos().mul_(radius), dim=0, out=out[0])
    torch.sum(angle.sin_().mul_(radius), dim=0, out=out[1])
    return out.view(-1)[:count]


def _uniform(stream: SecureStream, count: int) -> torch.Tensor:
    """Return numbers in (0, 1], multiples of 2^-52, made in place of 52 bits of each word."""
    words = torch.from_numpy(stream.words(count).view(np.int64))
    between = words.bitwise_and_(_FRACTION).bitwise_or_(_ONE).view(torch.float64)
    return between.neg_().add_(2)


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
    flat = total.reshape(-1)
    out = torch.empty_like(flat)
    for source, target in zip(torch.split(flat, _BLOCK), torch.split(out, _BLOCK), strict=True):
        # Clamping does not look at the data and brings no two sums further apart.
        points = source.to(torch.float64, copy=True).div_(step).round_()
        points.clamp_(-_LARGEST, _LARGEST)
        points += gaussian(stream, len(source)).mul_(standard_deviation / step).round_()
        target.copy_(points.mul_(step))
    return out.view_as(total)
