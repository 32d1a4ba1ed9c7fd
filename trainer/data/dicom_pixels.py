"""Decode the frames of a DICOM file, each after its own header was compared with the file's.

Pixels may stand as they are, or be compressed without loss by run lengths, JPEG-LS or JPEG 2000.
The older lossless JPEG is not read: its decoders come under the GPL or have a history of memory
errors. What was compressed with loss is no measurement any more.
"""

from __future__ import annotations

import logging
import struct
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from pydicom import Dataset, dcmread
from pydicom.encaps import generate_frames
from pydicom.pixels.utils import iter_pixels
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

MAX_FRAME_PIXELS: Final = 4096**2
_PLAIN: Final = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)
_BITS: Final = (8, 16, 32)
_OF_FRAMES: Final = (
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    "PixelData",
)

Stored = npt.NDArray[np.generic]

for _name in ("pydicom", "openjpeg"):
    # What they would say of a damaged file, with a trace, becomes a refusal of one line here.
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)


def unread(syntax: UID) -> str | None:
    """Return why pixels that are written so are not read; None if they are."""
    if syntax in (*_PLAIN, *_ENCODED):
        return None
    return (
        f"is compressed ({syntax.name[:64]}): what is read is no compression, or RLE, JPEG-LS or "
        "JPEG 2000 without loss; convert it first, as gdcmconv --raw does"
    )


def stored_frames(path: Path, *, shape: tuple[int, int], count: int) -> Iterator[Stored]:
    """Yield the frames of a file in their order, as they are stored.

    Args:
        path: The file, whose header was checked.
        shape: Rows and columns of each frame.
        count: How many frames there are.

    Raises:
        ValueError: if a frame is missing, too many, or not what the header says.
        Exception: whatever else parser and decoders raise.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield from _stored_frames(path, shape, count)


def _stored_frames(path: Path, shape: tuple[int, int], count: int) -> Iterator[Stored]:
    dataset = dcmread(path, specific_tags=list(_OF_FRAMES))
    if int(dataset.BitsAllocated) not in _BITS:
        raise ValueError(f"{dataset.BitsAllocated} bits a pixel, expected 8, 16 or 32")
    syntax = dataset.file_meta.TransferSyntaxUID
    plugin = ""
    if syntax in _ENCODED:
        plugin, check = _ENCODED[syntax]
        _check_all(dataset, check, shape=shape, count=count)
    found = 0
    for frame in iter_pixels(dataset, raw=True, decoding_plugin=plugin):
        found += 1
        if frame.shape != shape or found > count:
            raise ValueError("its pixels do not fit its size")
        yield frame
    if found != count:
        raise ValueError(f"{found} frames, expected {count}")


_Check = Callable[[bytes, tuple[int, int], int], None]
"""Takes an encoded frame, its shape and the bytes of a pixel; raises `ValueError`."""


def _check_all(dataset: Dataset, check: _Check, *, shape: tuple[int, int], count: int) -> None:
    """Compare every encoded frame with what the file says of it."""
    offsets = None
    if "ExtendedOffsetTable" in dataset:
        offsets = dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths
    bytes_each = int(dataset.BitsAllocated) // 8
    found = 0
    for frame in generate_frames(
        dataset.PixelData, number_of_frames=count, extended_offsets=offsets
    ):
        found += 1
        if found > count:
            break
        check(frame, shape, bytes_each)
    if found != count:
        raise ValueError(f"{found} frames or more, expected {count}")


def _check_run_lengths(frame: bytes, shape: tuple[int, int], bytes_each: int) -> None:
    """Add up the run lengths: a few bytes can say that there are very many."""
    pixels = shape[0] * shape[1]
    segments, *starts = struct.unpack("<16L", frame[:64])
    ends = [*starts[1:segments], len(frame)]
    if segments != bytes_each:
        raise ValueError(f"{segments} segments a frame, expected {bytes_each}")
    for start, end in zip(starts[:segments], ends, strict=True):
        if not 64 <= start <= end <= len(frame):
            raise ValueError("segments do not lie one after the other")
        if (length := _run_length(frame[start:end])) > pixels + 1:
            raise ValueError(f"{length} bytes in a segment, expected {pixels}")


def _run_length(segment: bytes) -> int:
    at = length = 0
    while at < len(segment):
        run = segment[at]
        # Below 128 that many bytes and one more follow; above, one that stands for 257 less.
        at += run + 2 if run < 128 else 2 if run > 128 else 1
        length += run + 1 if run < 128 else 257 - run if run > 128 else 0
    return length


def _check_jpeg_ls(frame: bytes, shape: tuple[int, int], bytes_each: int) -> None:
    """Find the header of the frame among the segments before the scan."""
    at = 2
    if frame[:2] != b"\xff\xd8":
        raise ValueError("is no JPEG-LS image")
    while at + 4 <= len(frame):
        marker, length = struct.unpack(">HH", frame[at : at + 4])
        if marker == 0xFFF7:
            bits, rows, columns, components = struct.unpack(">BHHB", frame[at + 4 : at + 10])
            _check_size((rows, columns), shape, components, bits, bytes_each)
            return
        if not 0xFFC0 <= marker <= 0xFFFE or length < 2:
            break
        at += 2 + length
    raise ValueError("is no JPEG-LS image")


def _check_jpeg_2000(frame: bytes, shape: tuple[int, int], bytes_each: int) -> None:
    """Read the size that stands at the beginning of a code stream."""
    if frame[:4] != b"\xff\x4f\xff\x51" or len(frame) < 43:
        raise ValueError("is no JPEG 2000 code stream")
    width, height, left, top, tile_width, tile_height = struct.unpack(">6L", frame[8:32])
    (components,) = struct.unpack(">H", frame[40:42])
    if tile_width * tile_height * _MOST_TILES < width * height:
        raise ValueError(f"has tiles of {tile_width} x {tile_height} pixels, which are too small")
    bits = (frame[42] & 0x7F) + 1
    _check_size((height - top, width - left), shape, components, bits, bytes_each)


_MOST_TILES: Final = 4096


def _check_size(
    size: tuple[int, int], shape: tuple[int, int], components: int, bits: int, bytes_each: int
) -> None:
    if size != shape or components != 1 or bits > 8 * bytes_each:
        raise ValueError(
            f"holds {components} x {size[0]} x {size[1]} numbers of {bits} bits, expected "
            f"1 x {shape[0]} x {shape[1]} of at most {8 * bytes_each}"
        )


_ENCODED: Final[dict[UID, tuple[str, _Check]]] = {
    RLELossless: ("pydicom", _check_run_lengths),
    JPEGLSLossless: ("pyjpegls", _check_jpeg_ls),
    JPEG2000Lossless: ("pylibjpeg", _check_jpeg_2000),
}
"""Which decoder reads a compressed frame, and what is looked at before."""
