"""How a volume of one spacing lies in a scan: there, and back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from trainer.data.errors import VolumeRefused
from trainer.data.grid import Image
from trainer.data.resample import along, area_weights, back_weights

_MAX_SIDE = 1024


@dataclass(frozen=True)
class Frame:
    """Depth, height and width of a scan, resampled by area.

    Axes are from the feet up, from the front back, from left to right.
    """

    there: tuple[Image, Image, Image]
    """Weights along depth, height and width."""
    here: tuple[Image, Image, Image]
    """Those of the way back."""

    @classmethod
    def of(
        cls,
        patient: str,
        shape: tuple[int, ...],
        *,
        spacing: tuple[float, float, float],
        target: tuple[float, float, float],
    ) -> Self:
        """Plan the resampling of a scan `[X, Y, Z]` to `target` millimetres.

        Raises:
            VolumeRefused: when it becomes too large.
        """
        there, here = [], []
        for length, source, wanted in zip(shape[::-1], spacing[::-1], target, strict=True):
            side = math.ceil(length * source / wanted - 1e-6)
            if side > _MAX_SIDE:
                reason = f"{side} voxels along one side at this spacing, at most {_MAX_SIDE}"
                raise VolumeRefused(patient, reason)
            there.append(area_weights(length, side, step=wanted / source))
            here.append(back_weights(length, side, step=wanted / source))
        return cls((there[0], there[1], there[2]), (here[0], here[1], here[2]))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Depth, height and width."""
        depth, height, width = (len(weights) for weights in self.there)
        return depth, height, width

    def volume(self, image: Image) -> Image:
        """Return `[C, D, H, W]` of an image `[C, X, Y, Z]`."""
        return _along_all(image.transpose(0, 3, 2, 1)[:, :, ::-1], self.there)

    def back(self, volume: Image) -> Image:
        """Return what lies at the voxels of the scan `[C, X, Y, Z]`, interpolated."""
        return _along_all(volume, self.here)[:, :, ::-1].transpose(0, 3, 2, 1)


def _along_all(image: Image, weights: tuple[Image, ...]) -> Image:
    for axis, matrix in enumerate(weights, start=1):
        image = along(image, matrix, axis=axis)
    return np.asarray(image)
