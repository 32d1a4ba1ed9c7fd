"""Find patients' volumes in a folder and read them, or say why one is refused.

Two layouts are read as they are, also side by side:

* folders: `<patient>/<patient>_flair.nii.gz`, `_t1`, `_t1ce`, `_t2` or `_ct`, and the mask `_seg`;
* pairs: `<patient>_image.nii.gz` and `<patient>_label.nii.gz`.

Where a NIfTI file may stand, a folder of the same name with one DICOM series may stand too; a CT
may also lie as `.dcm` files anywhere in the patient's folder.

A volume comes back in RAS+ orientation with its voxel size. Nothing in a file is believed before it
was checked: headers are read first, and a volume over the size limit is never loaded.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from trainer.data.dicom import holds_dicom, open_series
from trainer.data.errors import DataError, VolumeRefused
from trainer.data.grid import Grid, Image
from trainer.data.nifti import SUFFIXES, open_nifti

Mask: TypeAlias = npt.NDArray[np.bool_]

MODALITIES = ("flair", "t1", "t1ce", "t2", "ct")
MAX_PATIENTS = 100_000
_PATIENT = re.compile(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,126}\Z")
_AFFINE_TOLERANCE_MM = 1e-3


@dataclass(frozen=True)
class PatientFiles:
    """Where one patient's volumes lie."""

    patient: str
    images: tuple[Path, ...]
    """One file or series a channel, in the order of the modalities asked for."""
    mask: Path


@dataclass(frozen=True)
class Volume:
    """One patient's checked volume, axes running to the right, the front and the top."""

    patient: str
    image: Image
    """[C, X, Y, Z], finite."""
    mask: Mask
    """[X, Y, Z], what is to be found, of any label."""
    spacing: tuple[float, float, float]
    """Millimetres between voxels along X, Y, Z."""


@dataclass(frozen=True)
class Found:
    """What a folder holds."""

    patients: tuple[PatientFiles, ...]
    """Sorted by name."""
    refused: tuple[VolumeRefused, ...]
    """Patients without an image or a mask, or with an unusable name."""


def find_patients(root: Path, *, modalities: tuple[str, ...] = ("flair",)) -> Found:
    """List the patients under `root`, reading names only.

    Args:
        root: Folder in one of the two layouts.
        modalities: Channels, in order; pairs hold one channel and need one modality.

    Raises:
        DataError: when the folder is missing, holds no patient, or a modality is unknown.
    """
    unknown = [name for name in modalities if name not in MODALITIES]
    if unknown or not modalities or len(set(modalities)) != len(modalities):
        known = ", ".join(MODALITIES)
        raise DataError(f"modalities: expected different ones of {known}, got {modalities}")
    if not root.is_dir():
        raise DataError(f"{root} is not a folder", hint="give the folder that holds the volumes")
    patients: list[PatientFiles] = []
    refused: list[VolumeRefused] = []
    candidates = sorted(_candidates(root, modalities), key=lambda item: item[0])
    names = Counter(name for name, _, _ in candidates)
    for patient, images, mask in candidates:
        missing = [name for name, path in (*images, ("mask", mask)) if path is None]
        if not _PATIENT.match(patient):
            refused.append(VolumeRefused(patient, "its name is no plain file name"))
        elif names[patient] > 1:
            refused.append(VolumeRefused(patient, "two volumes have this patient's name"))
        elif missing:
            refused.append(VolumeRefused(patient, f"{' and '.join(missing)} missing"))
        elif mask is not None:
            paths = tuple(path for _, path in images if path is not None)
            patients.append(PatientFiles(patient, paths, mask))
    if not patients and not refused:
        hint = "expected <patient>/<patient>_flair.nii.gz or <patient>_image.nii.gz"
        raise DataError(f"{root} holds no volumes", hint=hint)
    if len(patients) + len(refused) > MAX_PATIENTS:
        raise DataError(f"{root} holds more than {MAX_PATIENTS} patients")
    return Found(tuple(patients), tuple(refused))


_Candidate: TypeAlias = tuple[str, list[tuple[str, Path | None]], Path | None]


def _candidates(root: Path, modalities: tuple[str, ...]) -> list[_Candidate]:
    result: list[_Candidate] = []
    pairs: dict[str, None] = {}
    for entry in root.iterdir():
        if entry.name.startswith("."):
            continue
        stem = _stem(entry)
        if stem.endswith(("_image", "_label")):
            pairs[stem[: -len("_image")]] = None
        elif entry.is_dir():
            name = entry.name
            images = [(kind, _channel(entry, kind)) for kind in modalities]
            mask = _existing(entry / f"{name}_seg")
            if mask is not None or any(path is not None for _, path in images):
                result.append((name, images, mask))
    for name in pairs:
        images = [("image", _existing(root / f"{name}_image"))]
        images += [(kind, None) for kind in modalities[1:]]
        result.append((name, images, _existing(root / f"{name}_label")))
    return result


def _stem(entry: Path) -> str:
    """Return the name without what says that it is an image; empty if it may be none."""
    if entry.is_dir():
        return entry.name
    ends = (suffix for suffix in SUFFIXES if entry.name.endswith(suffix))
    suffix = next(ends, None)
    return "" if suffix is None else entry.name.removesuffix(suffix)


def _channel(folder: Path, kind: str) -> Path | None:
    found = _existing(folder / f"{folder.name}_{kind}")
    return folder if found is None and kind == "ct" and holds_dicom(folder) else found


def _existing(stem: Path) -> Path | None:
    for suffix in SUFFIXES:
        path = stem.with_name(stem.name + suffix)
        if path.is_file():
            return path
    return stem if stem.is_dir() else None


def read_volume(files: PatientFiles) -> Volume:
    """Read one patient's image channels and mask.

    Raises:
        VolumeRefused: when a file is damaged, empty, not three-dimensional, too large, not finite,
            or does not lie on the same grid as the others.
    """
    patient = files.patient
    images = [open_grid(path, patient=patient) for path in files.images]
    label = open_grid(files.mask, patient=patient)
    _check_aligned((*images, label), others="image and mask")
    channels = np.stack([image.upright() for image in images])
    mask = label.upright()
    if np.any(mask < 0) or np.any(mask != np.rint(mask)):
        raise VolumeRefused(patient, "the mask holds values that are no labels")
    _check_seen(patient, channels)
    return Volume(patient, channels, mask > 0, label.spacing)


@dataclass(frozen=True)
class Scan:
    """A patient's checked image without a mask."""

    image: Image
    """[C, X, Y, Z] as in `Volume`, finite."""
    grid: Grid
    """Where the voxels lie, and how they are stored."""

    @property
    def patient(self) -> str:
        """What refusals call it."""
        return self.grid.patient


def read_scan(path: Path, *, modalities: tuple[str, ...]) -> Scan:
    """Read an image to look for something in.

    Args:
        path: A NIfTI file or a folder with a DICOM series, where there is one modality; or a
            patient's folder, as `find_patients` reads it.
        modalities: Channels, in order.

    Raises:
        VolumeRefused: when a channel is missing or not fit, as in `read_volume`.
    """
    patient = (_stem(path) or path.name).removesuffix("_image")
    if not _PATIENT.match(patient):
        raise VolumeRefused(patient, "its name is no plain file name")
    if not path.exists():
        raise VolumeRefused(patient, f"{path} is not there")
    found = {kind: _scan_channel(path, kind, alone=len(modalities) == 1) for kind in modalities}
    missing = [kind for kind, place in found.items() if place is None]
    if missing:
        raise VolumeRefused(patient, f"{' and '.join(missing)} missing")
    grids = [open_grid(place, patient=patient) for place in found.values() if place is not None]
    _check_aligned(grids, others="channels")
    image = np.stack([grid.upright() for grid in grids])
    _check_seen(patient, image)
    return Scan(image, grids[0])


def _scan_channel(path: Path, kind: str, *, alone: bool) -> Path | None:
    if path.is_file():
        return path if alone else None
    found = _channel(path, kind)
    return path if found is None and alone and holds_dicom(path) else found


def _check_aligned(grids: Sequence[Grid], *, others: str) -> None:
    first = grids[0]
    for other in grids[1:]:
        if other.upright_shape != first.upright_shape:
            reason = f"shapes differ: {first.upright_shape} and {other.upright_shape}"
            raise VolumeRefused(first.patient, reason)
        if not np.allclose(other.upright_affine, first.upright_affine, atol=_AFFINE_TOLERANCE_MM):
            raise VolumeRefused(first.patient, f"{others} do not lie at the same place (affine)")


def _check_seen(patient: str, image: Image) -> None:
    if not np.any(image != image[:, :1, :1, :1]):
        raise VolumeRefused(patient, "the image is empty: every voxel is the same")


def open_grid(path: Path, *, patient: str) -> Grid:
    """Open a NIfTI file, or a folder with a DICOM series; voxels are not yet read.

    Raises:
        VolumeRefused: when the header is damaged, or not that of one three-dimensional image.
    """
    return (
        open_series(path, patient=patient) if path.is_dir() else open_nifti(path, patient=patient)
    )
