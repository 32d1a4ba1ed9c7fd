"""Open a NIfTI file: header first, voxels when asked for."""

from __future__ import annotations

import zlib
from pathlib import Path

import nibabel as nib
import numpy as np

from trainer.data.errors import VolumeRefused
from trainer.data.grid import Grid, Image, first_line

SUFFIXES = (".nii.gz", ".nii")
MAX_FILE_BYTES = 2 * 1024**3


def open_nifti(path: Path, *, patient: str) -> Grid:
    """Return the volume in `path`, header checked, voxels not yet read.

    Raises:
        VolumeRefused: when it is empty, too large, damaged, or no three-dimensional image.
    """
    size = path.stat().st_size
    if size == 0:
        raise VolumeRefused(patient, f"{path.name} is empty")
    if size > MAX_FILE_BYTES:
        raise VolumeRefused(patient, f"{path.name} is larger than {MAX_FILE_BYTES} bytes")
    try:
        image = nib.Nifti1Image.from_filename(path)
    except Exception as error:  # noqa: BLE001, nibabel raises whatever its parsers and zlib raise
        raise VolumeRefused(patient, f"{path.name} is no NIfTI file: {first_line(error)}") from None
    if image.get_data_dtype().kind not in "iuf":
        raise VolumeRefused(patient, f"{path.name} holds {image.get_data_dtype()}, not numbers")

    def load() -> Image:
        try:
            # `dataobj` keeps the voxels from becoming float64.
            voxels = np.asarray(image.dataobj)
        except (OSError, EOFError, ValueError, zlib.error) as error:
            raise VolumeRefused(patient, f"{path.name} is damaged: {first_line(error)}") from None
        # A value beyond float32 becomes infinite here and is then refused like any other.
        with np.errstate(over="ignore"):
            return voxels.astype(np.float32)

    affine = np.asarray(image.affine, dtype=np.float64)
    return Grid(patient, path.name, tuple(image.shape), affine, load)
