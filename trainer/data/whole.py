"""Turn a volume into one that can be cut into patches: a pure function per volume.

1. The volume is resampled by area to one spacing and cut to the box around the patient's head.
2. Intensities are scaled, by the patient alone (see `trainer.data.intensity`).

Axes are depth, height, width: from the feet up, from the front back, from left to right.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.data.errors import DataError, VolumeRefused
from trainer.data.grid import Image
from trainer.data.intensity import Scale, Window
from trainer.data.preprocess import Labels, Pictures, recipe_json
from trainer.data.resample import along, area_weights
from trainer.data.volumes import Mask, Volume

_MAX_SIDE = 1024


@dataclass(frozen=True)
class VolumeRecipe:
    """How volumes become volumes of one spacing.

    Raises:
        DataError: when a value is out of range.
    """

    spacing: tuple[float, float, float] = (5.0, 2.0, 2.0)
    """Millimetres between voxels along depth, height and width."""
    percentiles: tuple[float, float] = (0.5, 99.5)
    modalities: tuple[str, ...] = ("flair",)
    windows: tuple[Window, ...] = ()
    """Channels of a CT; other images have none."""

    def __post_init__(self) -> None:
        if not all(0.1 <= side <= 50 for side in self.spacing):
            raise DataError(f"spacing: {self.spacing} is out of range, 0.1 to 50 mm")
        self.scale  # noqa: B018 - checks its own part

    @property
    def scale(self) -> Scale:
        """How intensities are scaled."""
        return Scale(self.modalities, self.percentiles, self.windows)

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as it stands in a data set's manifest."""
        return recipe_json(self)


@dataclass(frozen=True)
class PatientVolume:
    """One patient, ready for training: one privacy unit."""

    patient: str
    image: Pictures
    """[C, D, H, W], scaled."""
    mask: Labels
    """[1, D, H, W], 0 or 1."""


def whole_volume(volume: Volume, *, recipe: VolumeRecipe) -> PatientVolume:
    """Resample, cut and scale one patient's volume; an empty mask is a healthy patient's.

    Raises:
        VolumeRefused: when all is air, or the volume is too large at this spacing.
    """
    scale = recipe.scale
    image, mask = _resampled(volume, recipe)
    head = scale.head(image)
    if not head.any():
        raise VolumeRefused(volume.patient, "the image shows nothing but air")
    box = _box(head | mask)
    scaled = scale.applied(volume.patient, image[:, *box], head[box])
    return PatientVolume(
        volume.patient, scaled.astype(np.float16), mask[box][None].astype(np.uint8)
    )


def _resampled(volume: Volume, recipe: VolumeRecipe) -> tuple[Image, Mask]:
    """Return image [C, D, H, W], 0 where there is air, and mask [D, H, W]."""
    image = recipe.scale.ready(volume.image).transpose(0, 3, 2, 1)[:, :, ::-1]
    mask = volume.mask.transpose(2, 1, 0)[:, ::-1].astype(np.float32)
    for axis, (source, target) in enumerate(zip(volume.spacing[::-1], recipe.spacing, strict=True)):
        length = mask.shape[axis]
        side = math.ceil(length * source / target - 1e-6)
        if side > _MAX_SIDE:
            reason = f"{side} voxels along one side at this spacing, at most {_MAX_SIDE}"
            raise VolumeRefused(volume.patient, reason)
        weights = area_weights(length, side, step=target / source)
        image = along(image, weights, axis=axis + 1)
        mask = along(mask, weights, axis=axis)
    return image, np.asarray(mask >= 0.5)


def _box(inside: Mask) -> tuple[slice, ...]:
    """Return the smallest box around what is inside."""
    sides = []
    for axis in range(inside.ndim):
        others = tuple(other for other in range(inside.ndim) if other != axis)
        places = np.flatnonzero(inside.any(axis=others))
        sides.append(slice(int(places[0]), int(places[-1]) + 1))
    return tuple(sides)
