"""Small CT series on disk, whole and bent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
)

ROOT = "1.2.826.0.1.3680043.10.9999"
SLOPE, INTERCEPT = 0.5, -1024.0


def series(
    folder: Path,
    hounsfield: NDArray[np.generic],
    *,
    spacing: tuple[float, float, float] = (2.0, 2.0, 5.0),
    bend: Callable[[int, Dataset], None] | None = None,
) -> Path:
    """Write [X, Y, Z] (right, front, top) as one file a slice, named against their order."""
    folder.mkdir(parents=True, exist_ok=True)
    x, y, z = spacing
    count = hounsfield.shape[2]
    for number in range(count):
        # Columns run to the left and rows to the back, as scanners write them.
        plane = hounsfield[::-1, ::-1, number].T
        one = Dataset()
        one.file_meta = FileMetaDataset()
        one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        one.file_meta.MediaStorageSOPClassUID = one.SOPClassUID = CTImageStorage
        uid = f"{ROOT}.{number + 1}"
        one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID = uid
        one.SeriesInstanceUID = f"{ROOT}.9"
        one.PatientID, one.Modality = "P1", "CT"
        one.Rows, one.Columns = plane.shape
        one.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        one.ImagePositionPatient = [
            -(hounsfield.shape[0] - 1) * x, -(hounsfield.shape[1] - 1) * y, number * z
        ]  # fmt: skip
        one.PixelSpacing = [y, x]
        one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
        one.BitsAllocated = one.BitsStored = 16
        one.HighBit, one.PixelRepresentation = 15, 0
        one.RescaleSlope, one.RescaleIntercept = str(SLOPE), str(INTERCEPT)
        stored = np.rint((plane.astype(np.float64) - INTERCEPT) / SLOPE).astype("<u2")
        one.PixelData = stored.tobytes()
        if bend is not None:
            bend(number, one)
        one.save_as(folder / f"{count - number:03d}.dcm", enforce_file_format=True)
    return folder


def enhanced(
    path: Path,
    hounsfield: NDArray[np.generic],
    *,
    spacing: tuple[float, float, float] = (2.0, 2.0, 5.0),
    order: Sequence[int] | None = None,
    number: int = 1,
    bend: Callable[[Dataset], None] | None = None,
) -> Path:
    """Write [X, Y, Z] as one file of several frames, in an order that is not theirs.

    Args:
        path: Where to.
        hounsfield: The values.
        spacing: Millimetres between voxels.
        order: Which slices are its frames.
        number: Of the file in its series.
        bend: Changes the file before it is written.
    """
    x, y, z = spacing
    slices = [*range(1, hounsfield.shape[2], 2), *range(0, hounsfield.shape[2], 2)]
    slices = slices if order is None else list(order)
    one = Dataset()
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one.file_meta.MediaStorageSOPClassUID = one.SOPClassUID = EnhancedCTImageStorage
    one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID = f"{ROOT}.{number}"
    one.SeriesInstanceUID = f"{ROOT}.9"
    one.PatientID, one.Modality = "P1", "CT"
    one.Rows, one.Columns = hounsfield.shape[1], hounsfield.shape[0]
    one.NumberOfFrames = len(slices)
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.BitsAllocated = one.BitsStored = 16
    one.HighBit, one.PixelRepresentation = 15, 1
    shared = Dataset()
    shared.PlaneOrientationSequence = [_item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])]
    shared.PixelMeasuresSequence = [_item(PixelSpacing=[y, x], SliceThickness=z)]
    one.SharedFunctionalGroupsSequence = [shared]
    one.PerFrameFunctionalGroupsSequence = []
    planes = []
    for place in slices:
        # Every frame has a scale of its own, as where the dose differs from slice to slice.
        slope, intercept = 0.5 * (1 + place % 2), 10 * place - 1000
        group = Dataset()
        where = [-(hounsfield.shape[0] - 1) * x, -(hounsfield.shape[1] - 1) * y, place * z]
        group.PlanePositionSequence = [_item(ImagePositionPatient=where)]
        group.PixelValueTransformationSequence = [
            _item(RescaleSlope=str(slope), RescaleIntercept=str(intercept), RescaleType="HU")
        ]
        one.PerFrameFunctionalGroupsSequence.append(group)
        plane = hounsfield[::-1, ::-1, place].T.astype(np.float64)
        planes.append((plane - intercept) / slope)
    one.PixelData = np.rint(np.stack(planes)).astype("<i2").tobytes()
    if bend is not None:
        bend(one)
    path.parent.mkdir(parents=True, exist_ok=True)
    one.save_as(path, enforce_file_format=True)
    return path.parent


def compressed(folder: Path, syntax: UID) -> Path:
    """Compress every file of a folder, in place."""
    plugin = {JPEG2000Lossless: "pylibjpeg", JPEGLSLossless: "pyjpegls"}.get(syntax, "pydicom")
    for path in folder.iterdir():
        one = dcmread(path)
        one.compress(syntax, generate_instance_uid=False, encoding_plugin=plugin)
        one.save_as(path)
    return folder


def _item(**fields: object) -> Dataset:
    item = Dataset()
    for name, value in fields.items():
        setattr(item, name, value)
    return item


def ct_head(*, lesion: float = 70.0) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """A skull with a brain of 35 HU and a bleeding in it: values and mask, [X, Y, Z]."""
    x, y, z = np.indices((24, 28, 9))
    radius = (x - 11.5) ** 2 / 100 + (y - 13.5) ** 2 / 144
    image = np.where(radius < 1, 900, -1000)
    image = np.where(radius < 0.8, 35, image)
    mask = (x >= 14) & (x < 18) & (y >= 8) & (y < 12) & (z >= 3) & (z < 6)
    return np.where(mask, lesion, image).astype(np.int16), mask.astype(np.uint8)
