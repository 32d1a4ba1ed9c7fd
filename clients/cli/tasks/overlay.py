"""A picture of what was found in a scan: the slices with the most of it, marked in red."""

from __future__ import annotations

import struct
import zlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trainer.data.grid import Image
from trainer.metrics.masks import Mask

Pixels = NDArray[np.uint8]

_SLICES: Final = 8
_COLUMNS: Final = 4
_SIDE: Final = 224
"""Pixels of the longer side of a slice."""
_GAP: Final = 4
_RED: Final = np.array([255, 40, 40], dtype=np.float32)
_BLEND: Final = 0.5


def draw_overlay(
    image: Image,
    found: Mask,
    *,
    spacing: tuple[float, float, float],
    greys: tuple[float, float] | None = None,
) -> bytes:
    """Return a PNG of axial slices, front at the top, the patient's left on the left.

    Args:
        image: One channel `[X, Y, Z]`, upright.
        found: What is marked, of the same shape.
        spacing: Millimetres between voxels.
        greys: Values from black to white; without them those of the image, but for its extremes.
    """
    low, high = greys or map(float, np.percentile(image, (1, 99)))
    grey: Image = np.clip((image - low) / max(high - low, 1e-6), 0, 1) * np.float32(255)
    slices = [_slice(grey[:, :, z], found[:, :, z], spacing) for z in _levels(found)]
    height, width = slices[0].shape[:2]
    rows = -(-len(slices) // _COLUMNS)
    columns = min(_COLUMNS, len(slices))
    sheet = np.zeros((rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP, 3), np.uint8)
    for place, drawn in enumerate(slices):
        top, left = place // _COLUMNS * (height + _GAP), place % _COLUMNS * (width + _GAP)
        sheet[top : top + height, left : left + width] = drawn
    return png(sheet)


def png(pixels: Pixels) -> bytes:
    """Return the PNG file of `[height, width, 3]` pixels."""
    height, width, _ = pixels.shape
    lines = np.zeros((height, 1 + 3 * width), dtype=np.uint8)
    lines[:, 1:] = pixels.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes())), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _levels(found: Mask) -> list[int]:
    """Return which slices to draw, in order: evenly of those with something, or of all."""
    area = found.sum(axis=(0, 1))
    places = np.flatnonzero(area) if area.any() else np.arange(len(area))
    chosen = np.linspace(0, len(places) - 1, min(_SLICES, len(places))).round().astype(int)
    return [int(place) for place in places[chosen]]


def _slice(grey: Image, found: Mask, spacing: tuple[float, float, float]) -> Pixels:
    """Return one slice as pixels, its proportions those of the body."""
    wide, deep = grey.shape[0] * spacing[0], grey.shape[1] * spacing[1]
    scale = _SIDE / max(wide, deep)
    width, height = max(1, round(wide * scale)), max(1, round(deep * scale))
    x = np.arange(width) * grey.shape[0] // width
    y = grey.shape[1] - 1 - np.arange(height) * grey.shape[1] // height
    pixels = np.repeat(grey[x][:, y].T[:, :, None], 3, axis=2)
    marked = found[x][:, y].T
    pixels[marked] = (1 - _BLEND) * pixels[marked] + _BLEND * _RED
    return np.asarray(pixels, dtype=np.uint8)
