"""Open a folder of DICOM files as one volume.

The folder must hold the slices of exactly one series of one patient. Slices are put in order by
where they lie, never by name or number, and values are rescaled as each file says, so that a CT
comes out in Hounsfield units. Nothing of a file but these numbers is kept: names, dates and all
other attributes stay behind.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom import Dataset, dcmread
from pydicom.uid import RLELossless

from trainer.data.errors import VolumeRefused
from trainer.data.grid import Affine, Grid, Image, first_line
from trainer.data.nifti import SUFFIXES as NIFTI

Vector = npt.NDArray[np.float64]

MAX_SLICES = 4096
MAX_SLICE_BYTES = 64 * 1024**2
_UNEVEN = 0.05
"""Share of the usual distance by which one between two slices may differ."""
_OFF_LINE_MM = 1.0
_SAME = 1e-3
_NEEDED = (
    "SeriesInstanceUID",
    "Rows",
    "Columns",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
)
_READ = (
    *_NEEDED,
    "PatientID",
    "Modality",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "RescaleSlope",
    "RescaleIntercept",
)


@dataclass(frozen=True)
class _Slice:
    """What one file says of itself."""

    path: Path
    series: str
    patient: str
    """Compared with the other slices', never shown."""
    shape: tuple[int, int]
    """Rows and columns."""
    position: Vector
    """Centre of the first pixel, millimetres to the left, the back and the top."""
    along: Vector
    """Directions in which columns and rows are counted."""
    spacing: Vector
    """Millimetres between rows and between columns."""
    slope: float
    intercept: float

    @property
    def depth(self) -> float:
        """How far the slice lies along the direction across it."""
        return float(self.position @ np.cross(self.along[:3], self.along[3:]))


def holds_dicom(folder: Path) -> bool:
    """Return whether there are files below a folder that are named as DICOM files."""
    return any(path.suffix.lower() == ".dcm" for path in folder.rglob("*"))


def open_series(folder: Path, *, patient: str) -> Grid:
    """Return the series below `folder`, headers checked, pixels not yet read.

    Raises:
        VolumeRefused: when a file is damaged or compressed, when there is more than one series or
            patient, or when a slice is missing, doubled or unlike the others.
    """
    name = folder.name
    paths = _files(folder)
    if not paths:
        raise VolumeRefused(patient, f"{name} holds no DICOM files")
    if len(paths) > MAX_SLICES:
        raise VolumeRefused(patient, f"{name} holds more than {MAX_SLICES} files")
    slices = [_header(path, patient) for path in paths]
    _check_alike(slices, patient=patient, name=name)
    slices.sort(key=lambda one: one.depth)
    affine = _affine(slices, patient=patient, name=name)
    rows, columns = slices[0].shape

    def load() -> Image:
        voxels = np.empty((columns, rows, len(slices)), dtype=np.float32)
        for place, one in enumerate(slices):
            voxels[:, :, place] = _pixels(one, patient).T
        return voxels

    return Grid(patient, name, (columns, rows, len(slices)), affine, load)


def _files(folder: Path) -> list[Path]:
    """List what may be a slice: `.dcm`, or no suffix at all, as archives write them."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and path.suffix.lower() in (".dcm", "")
        and not path.name.startswith(".")
        and not path.name.endswith(NIFTI)
        and path.name not in ("DICOMDIR", "LICENSE", "README")
    )


def _header(path: Path, patient: str) -> _Slice:
    if path.stat().st_size > MAX_SLICE_BYTES:
        raise VolumeRefused(patient, f"{path.name} is larger than {MAX_SLICE_BYTES} bytes")
    header = _read(path, patient, pixels=False)
    missing = [name for name in _NEEDED if header.get(name) is None]
    if missing:
        raise VolumeRefused(patient, f"{path.name} has no {', '.join(missing)}")
    _check_kind(header, path, patient)
    try:
        slope, intercept = float(header.get("RescaleSlope", 1)), header.get("RescaleIntercept", 0)
        one = _Slice(
            path=path,
            series=str(header.SeriesInstanceUID),
            patient=str(header.get("PatientID", "")),
            shape=(int(header.Rows), int(header.Columns)),
            position=np.asarray(header.ImagePositionPatient, dtype=np.float64),
            along=np.asarray(header.ImageOrientationPatient, dtype=np.float64),
            spacing=np.asarray(header.PixelSpacing, dtype=np.float64),
            slope=slope,
            intercept=float(intercept),
        )
    except (TypeError, ValueError) as error:
        raise VolumeRefused(patient, f"{path.name} is damaged: {first_line(error)}") from None
    shapes = (one.position.shape, one.along.shape, one.spacing.shape)
    numbers = np.concatenate([one.position.ravel(), one.along.ravel(), one.spacing.ravel()])
    if shapes != ((3,), (6,), (2,)) or not np.isfinite(numbers).all():
        raise VolumeRefused(patient, f"{path.name} does not say where it lies")
    return one


def _check_kind(header: Dataset, path: Path, patient: str) -> None:
    syntax = header.file_meta.TransferSyntaxUID
    colours = header.get("SamplesPerPixel", 1), header.get("PhotometricInterpretation")
    if syntax.is_compressed and not syntax.is_deflated and syntax != RLELossless:
        reason = f"is compressed ({syntax.name}): write it without compression first"
    elif int(header.get("NumberOfFrames") or 1) != 1:
        reason = "holds several frames: write one file a slice first"
    elif colours != (1, "MONOCHROME2"):
        reason = f"is no grey image ({colours[1]})"
    elif header.get("Modality") == "CT" and header.get("RescaleSlope") is None:
        reason = "is a CT without rescale slope: its values are no Hounsfield units"
    else:
        return
    raise VolumeRefused(patient, f"{path.name} {reason}")


def _read(path: Path, patient: str, *, pixels: bool) -> Dataset:
    try:
        with warnings.catch_warnings():
            # Files that bend the standard a little are read; what matters is checked here.
            warnings.simplefilter("ignore")
            if pixels:
                return dcmread(path)
            header = dcmread(path, stop_before_pixels=True, specific_tags=list(_READ))
            # Elements are parsed when they are first looked at.
            for name in _READ:
                header.get(name)
            return header
    except Exception as error:  # noqa: BLE001, pydicom raises whatever its parsers raise
        reason = f"{path.name} is no DICOM file: {first_line(error)}"
        raise VolumeRefused(patient, reason) from None


def _check_alike(slices: Sequence[_Slice], *, patient: str, name: str) -> None:
    series = Counter(one.series for one in slices)
    if len(series) > 1:
        counts = ", ".join(str(count) for count in sorted(series.values(), reverse=True))
        raise VolumeRefused(patient, f"{name} holds {len(series)} series, of {counts} slices")
    if len({one.patient for one in slices}) > 1:
        raise VolumeRefused(patient, f"{name} holds slices of more than one patient")
    first = slices[0]
    for one in slices[1:]:
        if one.shape != first.shape:
            reason = f"{one.path.name} has {one.shape} pixels, {first.path.name} has {first.shape}"
            raise VolumeRefused(patient, reason)
        same = np.allclose(one.along, first.along, atol=_SAME) and np.allclose(
            one.spacing, first.spacing, atol=_SAME
        )
        if not same:
            reason = f"{one.path.name} is turned or scaled unlike {first.path.name}"
            raise VolumeRefused(patient, reason)


def _affine(slices: Sequence[_Slice], *, patient: str, name: str) -> Affine:
    """Return where sorted slices lie, or say which of them is missing or doubled."""
    if len(slices) < 2:
        raise VolumeRefused(patient, f"{name} holds 1 slice, expected at least 2")
    steps = np.diff([one.depth for one in slices])
    usual = float(np.median(steps))
    for place, step in enumerate(steps):
        one, after = slices[place].path.name, slices[place + 1].path.name
        if step < _SAME:
            raise VolumeRefused(patient, f"{one} and {after} lie at the same place")
        if abs(step - usual) > _UNEVEN * usual:
            reason = f"{step:.2f} mm from {one} to {after}, elsewhere {usual:.2f}: a slice missing?"
            raise VolumeRefused(patient, reason)
    first, last = slices[0], slices[-1]
    # A tilted gantry moves every slice a little: the step need not stand upright on the slices.
    step_vector = (last.position - first.position) / (len(slices) - 1)
    line = first.position + np.arange(len(slices))[:, None] * step_vector
    off = np.abs(np.stack([one.position for one in slices]) - line).max()
    if off > _OFF_LINE_MM:
        raise VolumeRefused(patient, f"{name}: the slices do not lie above one another")
    affine = np.eye(4)
    affine[:3, 0] = first.along[:3] * first.spacing[1]
    affine[:3, 1] = first.along[3:] * first.spacing[0]
    affine[:3, 2] = step_vector
    affine[:3, 3] = first.position
    # DICOM counts to the left and the back.
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def _pixels(one: _Slice, patient: str) -> Image:
    dataset = _read(one.path, patient, pixels=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            stored = dataset.pixel_array
    except Exception as error:  # noqa: BLE001, as above, and whatever decoders raise
        reason = f"{one.path.name} is damaged: {first_line(error)}"
        raise VolumeRefused(patient, reason) from None
    if stored.shape != one.shape:
        raise VolumeRefused(patient, f"{one.path.name} is damaged: its pixels do not fit its size")
    return stored.astype(np.float32) * np.float32(one.slope) + np.float32(one.intercept)
