"""A volume that was opened but not yet read: where its voxels lie, and how to load them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import nibabel as nib
import numpy as np
import numpy.typing as npt

from trainer.data.errors import VolumeRefused

Image: TypeAlias = npt.NDArray[np.float32]
Affine: TypeAlias = npt.NDArray[np.float64]

MAX_VOXELS = 512**3
"""Voxels of one volume: a CT of 512 slices."""
_SMALLEST_MM, _LARGEST_MM = 1e-3, 100


@dataclass(frozen=True)
class Grid:
    """One image file or series whose header was checked; axes as they are stored."""

    patient: str
    name: str
    """What a refusal calls it."""
    shape: tuple[int, ...]
    affine: Affine
    """From voxel numbers to millimetres to the right, the front and the top."""
    load: Callable[[], Image]
    """Reads the voxels; raises `VolumeRefused` when they are damaged."""

    def __post_init__(self) -> None:
        patient, name, shape = self.patient, self.name, self.shape
        if len(shape) != 3:
            raise VolumeRefused(patient, f"{name} has {len(shape)} dimensions, expected 3")
        if min(shape) < 1 or int(np.prod(shape, dtype=np.int64)) > MAX_VOXELS:
            raise VolumeRefused(patient, f"{name} has shape {shape}, the limit is {MAX_VOXELS}")
        sizes = nib.affines.voxel_sizes(self.affine)
        possible = np.all((sizes > _SMALLEST_MM) & (sizes < _LARGEST_MM))
        if not np.all(np.isfinite(self.affine)) or not possible or np.isnan(self._turn).any():
            raise VolumeRefused(patient, f"{name} has an impossible voxel size")

    @cached_property
    def _turn(self) -> npt.NDArray[np.float64]:
        turn: npt.NDArray[np.float64] = nib.io_orientation(self.affine)
        return turn

    @property
    def upright_shape(self) -> tuple[int, ...]:
        """Voxels along the axes nearest to right, front and top."""
        shape = [0, 0, 0]
        for axis, target in enumerate(self._turn[:, 0].astype(int)):
            shape[target] = self.shape[axis]
        return tuple(shape)

    @property
    def upright_affine(self) -> Affine:
        """The affine of the upright voxels."""
        back = nib.orientations.inv_ornt_aff(self._turn, self.shape)
        return np.asarray(self.affine @ back, dtype=np.float64)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres between upright voxels."""
        x, y, z = (float(side) for side in nib.affines.voxel_sizes(self.upright_affine))
        return x, y, z

    def upright(self) -> Image:
        """Read the voxels, axes running to the right, the front and the top.

        Raises:
            VolumeRefused: when the file is damaged or a voxel is not finite.
        """
        values = nib.orientations.apply_orientation(self.load(), self._turn)
        if not np.all(np.isfinite(values)):
            raise VolumeRefused(self.patient, f"{self.name} holds values that are not finite")
        return np.asarray(values, dtype=np.float32)

    def stored(self, upright: Image) -> Image:
        """Return upright voxels along the axes in which this image is stored."""
        upright_axes = np.array([[0, 1], [1, 1], [2, 1]])
        back = nib.orientations.ornt_transform(upright_axes, self._turn)
        return np.asarray(nib.orientations.apply_orientation(upright, back))


def first_line(error: Exception) -> str:
    """Return a library's message in one short line."""
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
