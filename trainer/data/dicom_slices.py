"""Read the headers of DICOM files: each slice with where it lies, one a file or many.

Nothing of a file but these numbers is kept: names, dates and all other attributes stay behind.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pydicom import Dataset, dcmread
from pydicom.filereader import read_file_meta_info

from trainer.data.dicom_pixels import MAX_FRAME_PIXELS, unread
from trainer.data.errors import VolumeRefused
from trainer.data.grid import first_line

Vector = npt.NDArray[np.float64]

MAX_SLICES: Final = 4096
MAX_FILE_BYTES: Final = 512 * 1024**2
_OF_FILE: Final = ("SeriesInstanceUID", "Rows", "Columns")
_SHARED, _EACH = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
_PLACE: Final = {
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
}
"""What says where a slice lies, and the group it stands in where a file has several frames."""
_SCALE: Final = {
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
}
_READ: Final = (
    *_OF_FILE,
    *_PLACE,
    *_SCALE,
    _SHARED,
    _EACH,
    "PatientID",
    "Modality",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PhotometricInterpretation",
)


@dataclass(frozen=True)
class Slice:
    """What one frame says of itself."""

    path: Path
    frame: int
    """Its place in the file."""
    frames: int
    """How many the file has."""
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
    def name(self) -> str:
        """What refusals call it."""
        name = self.path.name
        return name if self.frames == 1 else f"frame {self.frame + 1} of {name}"

    @property
    def depth(self) -> float:
        """How far the slice lies along the direction across it."""
        return float(self.position @ np.cross(self.along[:3], self.along[3:]))


def read_slices(path: Path, *, patient: str) -> tuple[Slice, ...]:
    """Return the slices of a file in their order, reading no pixels.

    Raises:
        VolumeRefused: when the file is damaged, too large, compressed as is not read, or no grey
            image that says where it lies.
    """
    if path.stat().st_size > MAX_FILE_BYTES:
        raise VolumeRefused(patient, f"{path.name} is larger than {MAX_FILE_BYTES} bytes")
    try:
        with warnings.catch_warnings():
            # Files that bend the standard a little are read; what matters is checked here.
            warnings.simplefilter("ignore")
            # Before anything else is read: one way of writing has to be inflated as a whole.
            syntax = read_file_meta_info(path).get("TransferSyntaxUID")
            if syntax is None:
                raise VolumeRefused(patient, f"{path.name} does not say how it is written")
            if reason := unread(syntax):
                raise VolumeRefused(patient, f"{path.name} {reason}")
            header = dcmread(path, stop_before_pixels=True, specific_tags=list(_READ))
            return tuple(_slices(header, path, patient))
    except VolumeRefused:
        raise
    except Exception as error:  # noqa: BLE001, pydicom raises whatever its parsers raise
        reason = f"{path.name} is no DICOM file that can be read: {first_line(error)}"
        raise VolumeRefused(patient, reason) from None


def _slices(header: Dataset, path: Path, patient: str) -> Iterator[Slice]:
    count = int(header.get("NumberOfFrames") or 1)
    groups = header.get(_EACH)
    if count != 1 and not groups:
        reason = f"holds {count} frames and does not say where each lies: write one file a slice"
        raise VolumeRefused(patient, f"{path.name} {reason}")
    if not 1 <= count <= MAX_SLICES or (groups and len(groups) != count):
        places = f" and {len(groups)} places" if groups else ""
        reason = f"says that it has {count} frames{places}, expected as many, up to {MAX_SLICES}"
        raise VolumeRefused(patient, f"{path.name} {reason}")
    _check_kind(header, path, patient)
    for frame in range(count):
        yield _slice(header, path, patient, frame=frame, frames=count)


def _check_kind(header: Dataset, path: Path, patient: str) -> None:
    missing = [name for name in _OF_FILE if header.get(name) is None]
    colours = header.get("SamplesPerPixel", 1), header.get("PhotometricInterpretation")
    pixels = int(header.get("Rows") or 0) * int(header.get("Columns") or 0)
    if missing:
        reason = f"has no {', '.join(missing)}"
    elif colours != (1, "MONOCHROME2"):
        reason = f"is no grey image ({str(colours[1])[:32]})"
    elif not 0 < pixels <= MAX_FRAME_PIXELS:
        reason = f"has {pixels} pixels a slice, expected 1 to {MAX_FRAME_PIXELS}"
    else:
        return
    raise VolumeRefused(patient, f"{path.name} {reason}")


def _slice(header: Dataset, path: Path, patient: str, *, frame: int, frames: int) -> Slice:
    place = {name: _value(header, name, group, frame) for name, group in _PLACE.items()}
    scale = {name: _value(header, name, group, frame) for name, group in _SCALE.items()}
    missing = [name for name, value in place.items() if value is None]
    if missing:
        raise VolumeRefused(patient, f"{path.name} has no {', '.join(missing)}")
    if header.get("Modality") == "CT" and scale["RescaleSlope"] is None:
        reason = "is a CT without rescale slope: its values are no Hounsfield units"
        raise VolumeRefused(patient, f"{path.name} {reason}")
    slope, intercept = scale["RescaleSlope"], scale["RescaleIntercept"]
    one = Slice(
        path=path,
        frame=frame,
        frames=frames,
        series=str(header.SeriesInstanceUID),
        patient=str(header.get("PatientID", "")),
        shape=(int(header.Rows), int(header.Columns)),
        position=np.asarray(place["ImagePositionPatient"], dtype=np.float64),
        along=np.asarray(place["ImageOrientationPatient"], dtype=np.float64),
        spacing=np.asarray(place["PixelSpacing"], dtype=np.float64),
        slope=1.0 if slope is None else float(slope),
        intercept=0.0 if intercept is None else float(intercept),
    )
    shapes = (one.position.shape, one.along.shape, one.spacing.shape)
    numbers = np.concatenate([one.position.ravel(), one.along.ravel(), one.spacing.ravel()])
    if shapes != ((3,), (6,), (2,)) or not np.isfinite(numbers).all():
        raise VolumeRefused(patient, f"{path.name} does not say where it lies")
    return one


def _value(header: Dataset, name: str, group: str, frame: int) -> Any:
    """Return what is said of a frame: by itself, for all frames together, or by the file."""
    for sequence, index in ((_EACH, frame), (_SHARED, 0)):
        items = header.get(sequence)
        inner = items[index].get(group) if items else None
        if inner and inner[0].get(name) is not None:
            return inner[0].get(name)
    return header.get(name)
