"""Turn a volume into one that can be cut into patches: a pure function per volume.

1. The volume is resampled by area to one spacing and cut to the box around the patient's head.
2. Intensities are scaled, by the patient alone (see `trainer.data.intensity`).

Axes are depth, height, width: from the feet up, from the front back, from left to right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from trainer.data.errors import DataError, VolumeRefused
from trainer.data.frame import Frame
from trainer.data.grid import Image
from trainer.data.intensity import Scale, Window
from trainer.data.preprocess import Labels, Pictures, recipe_json
from trainer.data.volumes import Mask, Volume

Box: TypeAlias = tuple[slice, ...]


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

    def frame(
        self, patient: str, shape: tuple[int, ...], spacing: tuple[float, float, float]
    ) -> Frame:
        """Return how a scan of a shape and spacing is resampled.

        Raises:
            VolumeRefused: when it becomes too large.
        """
        return Frame.of(patient, shape, spacing=spacing, target=self.spacing)

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
    frame = recipe.frame(volume.patient, volume.mask.shape, volume.spacing)
    mask = frame.volume(volume.mask[None].astype(np.float32))[0] >= 0.5
    image, box = scaled_volume(volume.patient, volume.image, frame, recipe=recipe, keep=mask)
    return PatientVolume(volume.patient, image, mask[box][None].astype(np.uint8))


def scaled_volume(
    patient: str, image: Image, frame: Frame, *, recipe: VolumeRecipe, keep: Mask | None = None
) -> tuple[Pictures, Box]:
    """Return the scaled image `[C, d, h, w]` and the box of the frame that it fills.

    Args:
        patient: Name for refusals.
        image: The scan `[C, X, Y, Z]`.
        frame: How it is resampled.
        recipe: How it is scaled.
        keep: What the box has to hold besides the head.

    Raises:
        VolumeRefused: when all is air.
    """
    scale = recipe.scale
    resampled = frame.volume(scale.ready(image))
    head = scale.head(resampled)
    if not head.any():
        raise VolumeRefused(patient, "the image shows nothing but air")
    box = _box(head if keep is None else head | keep)
    scaled = scale.applied(patient, resampled[:, *box], head[box])
    return scaled.astype(np.float16), box


def _box(inside: Mask) -> Box:
    """Return the smallest box around what is inside."""
    sides = []
    for axis in range(inside.ndim):
        others = tuple(other for other in range(inside.ndim) if other != axis)
        places = np.flatnonzero(inside.any(axis=others))
        sides.append(slice(int(places[0]), int(places[-1]) + 1))
    return tuple(sides)
