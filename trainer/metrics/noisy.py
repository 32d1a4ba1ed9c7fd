"""Sums over units to which no unit adds more than a bound, with noise: all that leaves of them.

Whatever is computed from a noisy sum costs nothing more. What the noise does to such a figure is
found out by adding noise again: the noise's law is public, and so is the sum that has some already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.privacy.csprng import SecureStream
from trainer.privacy.noise import add_noise

Numbers = NDArray[np.float64]

_MOST_UNITS: Final = 1 << 24
_DRAWS: Final = 200
_FEWEST: Final = _DRAWS // 2
_SEED: Final = 20_26


@dataclass(frozen=True)
class NoisySum:
    """A sum as it may leave."""

    values: Numbers
    """`[columns]`."""
    deviation: float
    """Standard deviation of the noise in each column."""


def noisy_sum(
    parts: Iterable[Numbers],
    *,
    columns: int,
    bound: float,
    noise_multiplier: float,
    stream: SecureStream,
) -> NoisySum:
    """Sum what units add, and add noise.

    Formal guarantee: whatever the parts are, this is the Gaussian mechanism of the noise multiplier
    for data sets of which one has a part more than the other.

    Args:
        parts: `[columns]`, one for each unit. One of a larger norm is scaled down to the bound;
            one that is not finite counts as zero.
        columns: How many numbers there are.
        bound: The most that the Euclidean norm of a part may be.
        noise_multiplier: Standard deviation of the noise in each column divided by the bound.
        stream: Where the noise comes from.

    Raises:
        ValueError: if a part has another number of columns, the noise is none, or there are more
            than 16 million parts, whose sums the noise's lattice does not hold.
    """
    if not (bound > 0 and noise_multiplier > 0):
        raise ValueError(f"expected a bound and noise, got {bound} and {noise_multiplier}")
    total = np.zeros(columns)
    for count, part in enumerate(parts):
        if count == _MOST_UNITS:
            raise ValueError(f"expected at most {_MOST_UNITS} units")
        if part.shape != (columns,):
            raise ValueError(f"expected {columns} numbers of a unit, got {part.shape}")
        if np.isfinite(part).all():
            total += part * (bound / max(bound, float(np.linalg.norm(part))))
    deviation = noise_multiplier * bound
    noisy = add_noise(
        torch.from_numpy(total),
        standard_deviation=deviation,
        stream=stream,
        largest=bound * _MOST_UNITS,
    )
    return NoisySum(noisy.numpy(), deviation)


def deviations(
    figures: Callable[[Numbers], Mapping[str, float | None]], found: NoisySum
) -> Mapping[str, float | None]:
    """Return the standard deviation of each figure that comes from noise.

    Args:
        figures: Computes them from a sum; None for one that has no value.
        found: The sum that they were computed from.
    """
    # Nothing secret is drawn: as public as the sum that it is added to.
    random = np.random.default_rng(_SEED)
    drawn: dict[str, list[float]] = {}
    for _ in range(_DRAWS):
        again = found.values + random.normal(0, found.deviation, found.values.shape)
        for name, value in figures(again).items():
            drawn.setdefault(name, []).extend([] if value is None else [value])
    return {
        name: float(np.std(values)) if len(values) >= _FEWEST else None
        for name, values in drawn.items()
    }
