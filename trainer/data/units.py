"""What a training set is: privacy units, each with the samples that belong to it."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class UnitDataset(Protocol):
    """A set of privacy units, that is of people, not of samples.

    Adding or removing one person adds or removes one unit; whatever `unit` returns for the others
    MUST NOT change by it (no statistics over the whole set).
    """

    def __len__(self) -> int:
        """Return the number of units."""
        ...

    def unit(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.generic]]:
        """Return all samples of one unit.

        Returns:
            inputs `[k, ...]` (images: `[k, channels, height, width]`) and targets `[k, ...]` with
            k >= 1: masks `[k, 1, height, width]` of float32 or class numbers `[k]` of int64.
        """
        ...
