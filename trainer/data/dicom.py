"""Open a folder of DICOM files as one volume.

The folder must hold the slices of exactly one series of one patient, one a file or many. Slices are
put in order by where they lie, never by name or number, and values are rescaled as each says, so
that a CT comes out in Hounsfield units.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from trainer.data.dicom_pixels import stored_frames
from trainer.data.dicom_slices import MAX_SLICES, Slice, read_slices
from trainer.data.errors import VolumeRefused
from trainer.data.grid import Affine, Grid, Image, first_line
from trainer.data.nifti import SUFFIXES as NIFTI

_UNEVEN: Final = 0.05
"""Share of the usual distance by which one between two slices may differ."""
_OFF_LINE_MM: Final = 1.0
_SAME: Final = 1e-3


def holds_dicom(folder: Path) -> bool:
    """Return whether there are files below a folder that are named as DICOM files."""
    return any(path.suffix.lower() == ".dcm" for path in folder.rglob("*"))


def open_series(folder: Path, *, patient: str) -> Grid:
    """Return the series below `folder`, headers checked, pixels not yet read.

    Raises:
        VolumeRefused: when a file is damaged or compressed as is not read, when there is more than
            one series or patient, or when a slice is missing, doubled or unlike the others.
    """
    name = folder.name
    paths = _files(folder)
    if not paths:
        raise VolumeRefused(patient, f"{name} holds no DICOM files")
    if len(paths) > MAX_SLICES:
        raise VolumeRefused(patient, f"{name} holds more than {MAX_SLICES} files")
    slices = [one for path in paths for one in read_slices(path, patient=patient)]
    if len(slices) > MAX_SLICES:
        raise VolumeRefused(patient, f"{name} holds more than {MAX_SLICES} slices")
    _check_alike(slices, patient=patient, name=name)
    slices.sort(key=lambda one: one.depth)
    affine = _affine(slices, patient=patient, name=name)
    rows, columns = slices[0].shape

    def load() -> Image:
        voxels = np.empty((columns, rows, len(slices)), dtype=np.float32)
        placed = sorted(enumerate(slices), key=lambda item: (item[1].path, item[1].frame))
        for path, of_file in itertools.groupby(placed, key=lambda item: item[1].path):
            _fill(voxels, path, list(of_file), patient=patient)
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


def _check_alike(slices: Sequence[Slice], *, patient: str, name: str) -> None:
    series = Counter(one.series for one in slices)
    if len(series) > 1:
        counts = ", ".join(str(count) for count in sorted(series.values(), reverse=True))
        raise VolumeRefused(patient, f"{name} holds {len(series)} series, of {counts} slices")
    if len({one.patient for one in slices}) > 1:
        raise VolumeRefused(patient, f"{name} holds slices of more than one patient")
    first = slices[0]
    for one in slices[1:]:
        if one.shape != first.shape:
            reason = f"{one.name} has {one.shape} pixels, {first.name} has {first.shape}"
            raise VolumeRefused(patient, reason)
        same = np.allclose(one.along, first.along, atol=_SAME) and np.allclose(
            one.spacing, first.spacing, atol=_SAME
        )
        if not same:
            reason = f"{one.name} is turned or scaled unlike {first.name}"
            raise VolumeRefused(patient, reason)


def _affine(slices: Sequence[Slice], *, patient: str, name: str) -> Affine:
    """Return where sorted slices lie, or say which of them is missing or doubled."""
    if len(slices) < 2:
        raise VolumeRefused(patient, f"{name} holds 1 slice, expected at least 2")
    steps = np.diff([one.depth for one in slices])
    usual = float(np.median(steps))
    for place, step in enumerate(steps):
        one, after = slices[place].name, slices[place + 1].name
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


def _fill(voxels: Image, path: Path, placed: Sequence[tuple[int, Slice]], *, patient: str) -> None:
    """Put the frames of a file where they belong."""
    first = placed[0][1]
    try:
        frames = stored_frames(path, shape=first.shape, count=first.frames)
        for (place, one), frame in zip(placed, frames, strict=True):
            scaled = frame.astype(np.float32) * np.float32(one.slope) + np.float32(one.intercept)
            voxels[:, :, place] = scaled.T
    except Exception as error:  # noqa: BLE001, pydicom raises whatever its parsers and decoders raise
        raise VolumeRefused(patient, f"{path.name} is damaged: {first_line(error)}") from None
