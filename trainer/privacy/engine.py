"""What an engine promises: a sum over units in which no unit counts for more than a bound.

An engine returns nothing but that sum: no norms, no losses, no single gradients. The caller MUST
add noise to it before anything derived from it leaves the process.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

import torch

MAX_NUMBERS: Final = 1 << 21
"""Numbers of a forward pass's inputs; the activations take several hundred times as many bytes."""

SampleLoss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Outputs and targets of samples to one loss a sample, `[samples]`."""


class Precision(StrEnum):
    """In which numbers activations and their gradients are computed; sums are always float32."""

    FP32 = "fp32"
    BF16 = "bf16"

    def on(self, device: torch.device) -> torch.autocast:
        """Return the context to compute in."""
        return torch.autocast(device.type, torch.bfloat16, enabled=self is Precision.BF16)


@dataclass(frozen=True)
class UnitBatch:
    """The samples of the units of one step.

    Attributes:
        inputs: `[samples, ...]` float32.
        targets: `[samples, ...]`.
        owner: `[samples]` int64, ascending: the number of each sample's unit, from 0.
        units: How many units there are; each has at least one sample.
    """

    inputs: torch.Tensor
    targets: torch.Tensor
    owner: torch.Tensor
    units: int

    def to(self, device: torch.device) -> UnitBatch:
        """Return the batch where the model is."""
        return UnitBatch(
            self.inputs.to(device), self.targets.to(device), self.owner.to(device), self.units
        )

    def part(self, first: int, last: int) -> UnitBatch:
        """Return the units from `first` up to but not including `last`."""
        start, stop = torch.searchsorted(self.owner, self.owner.new_tensor([first, last])).tolist()
        return UnitBatch(
            inputs=self.inputs[start:stop],
            targets=self.targets[start:stop],
            owner=self.owner[start:stop] - first,
            units=last - first,
        )

    def at_once(self, most: int) -> int:
        """Return how many samples a forward pass takes: at most `most`, fewer of large ones."""
        numbers = max(1, math.prod(self.inputs.shape[1:]))
        return max(1, min(most, MAX_NUMBERS // numbers))

    def parts(self, *, samples: int) -> list[UnitBatch]:
        """Cut into parts of whole units with about `samples` samples each."""
        counts = torch.bincount(self.owner, minlength=self.units).tolist()
        parts, first, held = [], 0, 0
        for unit, count in enumerate(counts):
            if held and held + count > samples:
                parts.append(self.part(first, unit))
                first, held = unit, 0
            held += count
        if held:
            parts.append(self.part(first, self.units))
        return parts


class GradientEngine(Protocol):
    """Computes what a step learns from a batch."""

    @property
    def size(self) -> int:
        """Number of trainable parameters, the length of every sum."""
        ...

    def unit_sum(self, batch: UnitBatch) -> torch.Tensor:
        """Return the sum over units of the mean gradient of the unit's samples, `[size]`."""
        ...

    def close(self) -> None:
        """Detach from the model."""
        ...


class PrivateEngine(GradientEngine, Protocol):
    """A gradient engine in which no unit counts for more than `max_grad_norm`."""

    @property
    def max_grad_norm(self) -> float:
        """The bound C."""
        ...

    def unit_sum(self, batch: UnitBatch) -> torch.Tensor:
        """Return the sum over units of the clipped mean gradient of the unit's samples.

        Formal guarantees, for a model in which no sample affects another:
        * Each unit adds one vector of Euclidean norm at most `max_grad_norm` (within 1e-6 of it).
        * That vector depends on the unit's own samples and the weights only, so that the sum of two
          batches is the sum of their sums, up to rounding.
        * A unit whose gradient is not finite adds zero.
        * A batch without units gives zeros.

        Returns:
            `[size]` float32, the trainable parameters flattened in the order of the model.
        """
        ...
