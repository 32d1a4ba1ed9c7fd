"""Find patients' volumes in a folder and read them, or say why one is refused.

Two layouts are read as they are, also side by side:

* BraTS: `<patient>/<patient>_flair.nii.gz`, `_t1`, `_t1ce`, `_t2` and the mask `_seg`;
* pairs: `<patient>_image.nii.gz` and `<patient>_label.nii.gz`.

A volume comes back in RAS+ orientation with its voxel size. Nothing in a file is believed before it
was checked: headers are read first, and a volume over the size limit is never loaded.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import nibabel as nib
import numpy as np
import numpy.typing as npt

from trainer.data.errors import DataError, VolumeRefused

Image: TypeAlias = npt.NDArray[np.float32]
Mask: TypeAlias = npt.NDArray[np.bool_]

BRATS_MODALITIES = ("flair", "t1", "t1ce", "t2")
MAX_VOXELS = 512**3
"""Voxels of one volume: a CT of 512 slices."""
MAX_FILE_BYTES = 2 * 1024**3
MAX_PATIENTS = 100_000
_SUFFIXES = (".nii.gz", ".nii")
_PATIENT = re.compile(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,126}\Z")
_AFFINE_TOLERANCE_MM = 1e-3


@dataclass(frozen=True)
class PatientFiles:
    """Where one patient's volumes lie."""

    patient: str
    images: tuple[Path, ...]
    """One file a channel, in the order of the modalities asked for."""
    mask: Path


@dataclass(frozen=True)
class Volume:
    """One patient's checked volume, axes running to the right, the front and the top."""

    patient: str
    image: Image
    """[C, X, Y, Z], finite."""
    mask: Mask
    """[X, Y, Z], tumour of any label."""
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
        modalities: BraTS channels, in order; pairs hold one channel and need one modality.

    Raises:
        DataError: when the folder is missing, holds no patient, or a modality is unknown.
    """
    unknown = [name for name in modalities if name not in BRATS_MODALITIES]
    if unknown or not modalities or len(set(modalities)) != len(modalities):
        known = ", ".join(BRATS_MODALITIES)
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
        if entry.is_dir():
            name = entry.name
            images = [(kind, _existing(entry / f"{name}_{kind}")) for kind in modalities]
            mask = _existing(entry / f"{name}_seg")
            if mask is not None or any(path is not None for _, path in images):
                result.append((name, images, mask))
            continue
        for suffix in _SUFFIXES:
            for part in ("_image", "_label"):
                if entry.name.endswith(part + suffix):
                    pairs[entry.name.removesuffix(part + suffix)] = None
    for name in pairs:
        images = [("image", _existing(root / f"{name}_image"))]
        images += [(kind, None) for kind in modalities[1:]]
        result.append((name, images, _existing(root / f"{name}_label")))
    return result


def _existing(stem: Path) -> Path | None:
    for suffix in _SUFFIXES:
        path = stem.with_name(stem.name + suffix)
        if path.is_file():
            return path
    return None


def read_volume(files: PatientFiles) -> Volume:
    """Read one patient's image channels and mask.

    Raises:
        VolumeRefused: when a file is damaged, empty, not three-dimensional, too large, not finite,
            or does not lie on the same grid as the others.
    """
    patient = files.patient
    images = [_open(path, patient) for path in files.images]
    label = _open(files.mask, patient)
    first = images[0]
    for other in (*images[1:], label):
        if other.shape != first.shape:
            raise VolumeRefused(patient, f"shapes differ: {first.shape} and {other.shape}")
        if not np.allclose(other.affine, first.affine, atol=_AFFINE_TOLERANCE_MM):
            raise VolumeRefused(patient, "image and mask do not lie at the same place (affine)")
    channels = np.stack([_voxels(image, patient) for image in images])
    mask = _voxels(label, patient)
    if np.any(mask < 0) or np.any(mask != np.rint(mask)):
        raise VolumeRefused(patient, "the mask holds values that are no labels")
    if not np.any(channels != channels[:, :1, :1, :1]):
        raise VolumeRefused(patient, "the image is empty: every voxel is the same")
    spacing = nib.affines.voxel_sizes(nib.as_closest_canonical(label).affine)
    x, y, z = (float(side) for side in spacing)
    return Volume(patient, channels, mask > 0, (x, y, z))


def _open(path: Path, patient: str) -> Any:
    """Return the NIfTI image in `path`, header checked, voxels not yet read."""
    size = path.stat().st_size
    if size == 0:
        raise VolumeRefused(patient, f"{path.name} is empty")
    if size > MAX_FILE_BYTES:
        raise VolumeRefused(patient, f"{path.name} is larger than {MAX_FILE_BYTES} bytes")
    try:
        image = nib.Nifti1Image.from_filename(path)
    except Exception as error:  # noqa: BLE001, nibabel raises whatever its parsers and zlib raise
        raise VolumeRefused(patient, f"{path.name} is no NIfTI file: {_line(error)}") from None
    shape = image.shape
    if len(shape) != 3:
        raise VolumeRefused(patient, f"{path.name} has {len(shape)} dimensions, expected 3")
    if min(shape) < 1 or int(np.prod(shape, dtype=np.int64)) > MAX_VOXELS:
        raise VolumeRefused(patient, f"{path.name} has shape {shape}, the limit is {MAX_VOXELS}")
    if image.get_data_dtype().kind not in "iuf":
        raise VolumeRefused(patient, f"{path.name} holds {image.get_data_dtype()}, not numbers")
    sizes = nib.affines.voxel_sizes(image.affine)
    if not np.all(np.isfinite(image.affine)) or not np.all((sizes > 1e-3) & (sizes < 100)):
        raise VolumeRefused(patient, f"{path.name} has an impossible voxel size")
    return image


def _voxels(image: Any, patient: str) -> Image:
    """Read the voxels in RAS+ orientation; `dataobj` keeps them from becoming float64."""
    name = Path(image.get_filename()).name
    try:
        voxels = np.asarray(nib.as_closest_canonical(image).dataobj)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise VolumeRefused(patient, f"{name} is damaged: {_line(error)}") from None
    # A value beyond float32 becomes infinite here and is then refused like any other.
    with np.errstate(over="ignore"):
        values = voxels.astype(np.float32)
    if not np.all(np.isfinite(values)):
        raise VolumeRefused(patient, f"{name} holds values that are not finite")
    return values


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
