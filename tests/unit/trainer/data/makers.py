"""Small volumes on disk, whole and broken."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

SHAPE = (24, 28, 9)
SPACING = (2.0, 2.0, 5.0)


def head(seed: int = 0) -> NDArray[np.int16]:
    """A round head with some texture, air around it."""
    x, y, _ = np.indices(SHAPE)
    inside = (x - 11.5) ** 2 / 100 + (y - 13.5) ** 2 / 144 < 1
    noise = np.random.default_rng(seed).normal(0, 20, SHAPE)
    return np.where(inside, 400 + noise, 0).astype(np.int16)


def lesion() -> NDArray[np.uint8]:
    """A block of tumour in slices 3 to 6, labelled as BraTS does."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[8:14, 10:18, 3:7] = 2
    mask[10:12, 12:14, 4:6] = 4
    return mask


def save(
    path: Path, array: NDArray[np.generic], *, affine: NDArray[np.float64] | None = None
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    where = np.diag([*SPACING, 1.0]) if affine is None else affine
    nib.save(nib.Nifti1Image(array, where), path)


def brats_patient(
    root: Path,
    patient: str,
    *,
    image: NDArray[np.generic] | None = None,
    mask: NDArray[np.generic] | None = None,
    modalities: tuple[str, ...] = ("flair",),
) -> Path:
    folder = root / patient
    for modality in modalities:
        save(folder / f"{patient}_{modality}.nii.gz", head() if image is None else image)
    save(folder / f"{patient}_seg.nii.gz", lesion() if mask is None else mask)
    return folder
