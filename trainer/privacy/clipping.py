"""How much one privacy unit may count for: its gradient is bounded before anything is summed.

* flat        the whole gradient has norm at most C (Abadi et al. 2016)
* per-layer   each of L layers has norm at most C / sqrt(L), so that the whole has at most C
* automatic   the gradient is scaled to norm C * n / (n + 0.01): small ones count nearly as much as
              large ones, and C needs no tuning (Bu et al. 2023, AUTO-S)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Final

import torch

_STABILITY: Final = 0.01
_BLOCK: Final = 1024
"""Numbers whose squares are summed in float32."""


class Clipping(StrEnum):
    """Which norm is bounded, and how."""

    FLAT = "flat"
    PER_LAYER = "per-layer"
    AUTOMATIC = "automatic"


def unit_means(gradients: torch.Tensor, *, owner: torch.Tensor, units: int) -> torch.Tensor:
    """Average per-sample gradients within each unit.

    Args:
        gradients: `[samples, size]`, one gradient a sample.
        owner: `[samples]` int64, the unit of each sample.
        units: Number of units; each owns at least one sample.

    Returns:
        `[units, size]`; the argument itself where each unit has one sample.
    """
    if owner.numel() == units:
        return gradients
    means = gradients.new_zeros(units, gradients.shape[1])
    means.index_add_(0, owner, gradients)
    return means.div_(counts_of(owner, units=units).to(means.dtype)[:, None])


def counts_of(owner: torch.Tensor, *, units: int) -> torch.Tensor:
    """Return how many samples each unit has, `[units]`."""
    return torch.bincount(owner, minlength=units)


def row_norms(*blocks: torch.Tensor) -> torch.Tensor:
    """Return the Euclidean norm of each row of float32 numbers, `[rows]`.

    Summing a million squares in float32 loses up to 1e-5 of a norm, which a unit would count for on
    top of the bound: a few are summed in float32, and these sums in float64.

    Args:
        blocks: `[rows, numbers]`; rows of the same number are parts of one.
    """
    parts = torch.cat([part for block in blocks for part in _norms_inside(block)], dim=1)
    norms: torch.Tensor = torch.linalg.vector_norm(parts.double(), dim=1)
    return norms.to(parts.dtype)


def _norms_inside(rows: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yield the norms of short pieces, and of what is left over, `[rows, pieces]` each."""
    pieces, rest = divmod(rows.shape[1], _BLOCK)
    if pieces:
        inside = rows[:, : pieces * _BLOCK].reshape(len(rows), pieces, _BLOCK)
        yield torch.linalg.vector_norm(inside, dim=2)
    if rest or not pieces:
        yield torch.linalg.vector_norm(rows[:, pieces * _BLOCK :], dim=1, keepdim=True)


def scales(norms: torch.Tensor, *, max_norm: float, clipping: Clipping) -> torch.Tensor:
    """Return by what the parts of each unit's gradient are multiplied.

    A unit with a norm that is not finite gets zero everywhere: that it overflowed says something
    about that unit. The caller MUST NOT multiply the infinite numbers themselves.

    Args:
        norms: Euclidean norms of the parts, `[units, parts]`.
        max_norm: The bound C on the norm of all scaled parts together.
        clipping: How the bound is kept; only `PER_LAYER` has more than one part.

    Returns:
        `[units, parts]`.
    """
    bound = max_norm / math.sqrt(norms.shape[1])
    divisor = norms + _STABILITY if clipping is Clipping.AUTOMATIC else norms.clamp(min=bound)
    finite = torch.isfinite(norms).all(dim=1, keepdim=True)
    return torch.where(finite, bound / divisor, torch.zeros_like(norms))


def without(values: torch.Tensor, *, units: torch.Tensor) -> torch.Tensor:
    """Return values with zero in the rows where `units` is true."""
    if not bool(units.any()):
        return values
    return torch.where(units.reshape(-1, *[1] * (values.dim() - 1)), 0.0, values)


def clip_and_sum(
    gradients: torch.Tensor,
    *,
    owner: torch.Tensor,
    units: int,
    max_norm: float,
    clipping: Clipping = Clipping.FLAT,
    layers: Sequence[slice] = (),
) -> torch.Tensor:
    """Average per-sample gradients within each unit, clip each unit, and sum.

    The bound is enforced on exactly the numbers that are summed.

    Args:
        gradients: `[samples, size]`, one gradient a sample.
        owner: `[samples]` int64, the unit of each sample.
        units: Number of units; each owns at least one sample.
        max_norm: The bound C.
        clipping: Which norm is bounded.
        layers: Columns of each layer, for `PER_LAYER`.

    Returns:
        `[size]`.
    """
    means = unit_means(gradients, owner=owner, units=units)
    parts = layers if clipping is Clipping.PER_LAYER else [slice(None)]
    norms = torch.stack([row_norms(means[:, part]) for part in parts], dim=1)
    scale = scales(norms, max_norm=max_norm, clipping=clipping)
    means = without(means, units=~torch.isfinite(norms).all(dim=1))
    return torch.cat([scale[:, index] @ means[:, part] for index, part in enumerate(parts)])
