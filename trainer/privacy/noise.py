"""Gaussian noise from a cryptographic stream.

Protected: the noise cannot be predicted or repeated from a seed, and its tails reach 8.5 standard
deviations (53-bit Box-Muller), where a generator of 32-bit numbers stops at 6.6.
Not protected: the result is a floating-point number, so its lowest bits are not exactly those of a
real Gaussian (Mironov 2012). Sums are rounded to float32 after the noise was added in float64,
which hides most of that, but no claim is made about an attacker who sees raw sums; the model's
weights are all that leaves.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.privacy.csprng import SecureStream


def gaussian(stream: SecureStream, count: int) -> NDArray[np.float64]:
    """Return `count` independent standard normal numbers."""
    half = -(-count // 2)
    radius = np.sqrt(-2.0 * np.log(stream.uniform(half)))
    angle = (2.0 * math.pi) * stream.uniform(half)
    out = np.empty(2 * half, dtype=np.float64)
    np.multiply(radius, np.cos(angle), out=out[:half])
    np.multiply(radius, np.sin(angle), out=out[half:])
    return out[:count]


def add_noise(
    total: torch.Tensor, *, standard_deviation: float, stream: SecureStream
) -> torch.Tensor:
    """Return `total` plus independent Gaussian noise on every element.

    Guarantee: with a sum of terms of Euclidean norm at most C, this is the Gaussian mechanism of
    noise multiplier `standard_deviation / C`.

    Raises:
        ValueError: if the standard deviation is negative or not finite.
    """
    if not 0 <= standard_deviation < math.inf:
        raise ValueError(f"standard deviation: expected at least 0, got {standard_deviation}")
    noise = torch.from_numpy(gaussian(stream, total.numel())).reshape(total.shape)
    return (total.double() + standard_deviation * noise).to(total.dtype)
