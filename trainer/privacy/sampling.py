"""Which units take part in a step: true Poisson sampling over units.

Each unit is drawn with the same probability, independently of all others and of all other steps;
the size of a batch is random and may be zero. Who is in a batch is secret and never leaves the
process: the accountant's amplification by sampling rests on it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trainer.privacy.csprng import SecureStream


def poisson_sample(stream: SecureStream, *, units: int, rate: float) -> NDArray[np.int64]:
    """Return the sorted numbers of the units of one step.

    Raises:
        ValueError: if the rate is not a probability.
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"sampling rate: expected 0 to 1, got {rate}")
    # uniform() is in (0, 1], so that a rate of 0 draws nobody and a rate of 1 everybody.
    return np.flatnonzero(stream.uniform(units) <= rate)


def draw_samples(stream: SecureStream, *, available: int, wanted: int) -> NDArray[np.int64]:
    """Return which samples of one unit are used: without repetition as far as there are enough.

    Raises:
        ValueError: if the unit has no samples.
    """
    if available < 1:
        raise ValueError("a unit has no samples")
    if available == 1:
        return np.zeros(wanted, dtype=np.int64)
    order = np.argsort(stream.words(available), kind="stable")
    return np.resize(order, wanted).astype(np.int64)
