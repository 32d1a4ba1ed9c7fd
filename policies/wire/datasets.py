"""What a pipeline says of the samples that it trains on: their kind and shape."""

from __future__ import annotations

import math
from typing import Annotated, Final, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from policies.wire.base import Wire
from policies.wire.tables import TableDataset

_MAX_SIDE: Final = 1024
_MAX_VOXELS: Final = 1 << 23
"""Numbers of one patch, all channels together (32 MB)."""

Shape: TypeAlias = tuple[int, ...]
Side = Annotated[int, Field(ge=8, le=_MAX_SIDE)]
Depth = Annotated[int, Field(ge=4, le=_MAX_SIDE)]


class SlicesDataset(Wire):
    """Image slices with masks, grouped by patient."""

    kind: Literal["slices"]
    size: tuple[Side, Side]
    """Height and width in pixels that every slice must have."""
    channels: int = Field(default=1, ge=1, le=16)
    classes: int = Field(default=1, ge=1, le=16)
    """Mask channels."""


class VolumesDataset(Wire):
    """Whole volumes with masks, one a patient, of which training sees random patches."""

    kind: Literal["volumes"]
    patch: tuple[Depth, Side, Side]
    """Depth, height and width in voxels of a patch."""
    channels: int = Field(default=1, ge=1, le=16)
    classes: int = Field(default=1, ge=1, le=16)
    """Mask channels."""
    around_mask: float = Field(default=0.5, ge=0, le=1)
    """Share of a patient's patches that hold a voxel of its own mask; the others lie anywhere."""

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        voxels = math.prod(self.patch) * max(self.channels, self.classes)
        if voxels > _MAX_VOXELS:
            raise ValueError(f"a patch has {voxels} numbers, at most {_MAX_VOXELS} are allowed")
        return self


class ArraysDataset(Wire):
    """Arrays of one shape with a class number each, one record per unit."""

    kind: Literal["arrays"]
    shape: tuple[Annotated[int, Field(ge=1, le=65_536)], ...] = Field(min_length=1, max_length=3)
    classes: int = Field(ge=2, le=10_000)


Dataset = Annotated[
    SlicesDataset | VolumesDataset | ArraysDataset | TableDataset, Field(discriminator="kind")
]


def sample_shape(dataset: Dataset) -> Shape:
    """Return the shape of one sample's input."""
    match dataset:
        case SlicesDataset():
            return (dataset.channels, *dataset.size)
        case VolumesDataset():
            return (dataset.channels, *dataset.patch)
        case ArraysDataset() | TableDataset():
            return dataset.shape


def answer_shape(dataset: Dataset) -> Shape:
    """Return the shape of what a network has to say of one sample: a mask, or a number a class."""
    match dataset:
        case SlicesDataset():
            return (dataset.classes, *dataset.size)
        case VolumesDataset():
            return (dataset.classes, *dataset.patch)
        case ArraysDataset() | TableDataset():
            return (dataset.classes,)


def patch_of(dataset: Dataset) -> tuple[int, int, int] | None:
    """Return the sides of the patches that volumes are seen through; None for other data."""
    return dataset.patch if isinstance(dataset, VolumesDataset) else None
