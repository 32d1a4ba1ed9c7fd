"""From what a scanner measured to numbers that a network reads, one patient at a time.

A CT has a scale of its own: its Hounsfield units are cut to windows that a person would look
through, each window a channel from 0 to 1. Other images have none: they are clipped at percentiles
and z-scored within the patient's own head. No number here comes from more than one patient.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from trainer.data.errors import DataError, VolumeRefused
from trainer.data.grid import Image
from trainer.data.volumes import MODALITIES, Mask

AIR = -1024.0
"""Hounsfield units of nothing at all; scanners write less than that outside what they saw."""
_MAX_WINDOWS = 8
_HEAD_ABOVE_AIR = 524.0
"""Half way between air and water."""
_CLIP_SIGMA = 8.0
_FOREGROUND = 0.1
"""Share of the 99th percentile above which a voxel counts as head and not as air."""


@dataclass(frozen=True)
class Window:
    """The Hounsfield units that become 0 to 1: half of `width` below and above `centre`.

    Raises:
        DataError: when a number is out of range.
    """

    centre: float
    width: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.centre) and abs(self.centre) <= 4096):
            raise DataError(f"windows: centre {self.centre} is out of range")
        if not 1 <= self.width <= 8192:
            raise DataError(f"windows: width {self.width} is out of range")

    @property
    def span(self) -> tuple[float, float]:
        """The Hounsfield units that become 0 and 1."""
        return self.centre - self.width / 2, self.centre + self.width / 2

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a window's name, or `centre:width`.

        Raises:
            DataError: when it is neither.
        """
        centre, _, width = _NAMED.get(text, text).partition(":")
        try:
            return cls(float(centre), float(width))
        except ValueError:
            hint = f"expected CENTRE:WIDTH or one of {', '.join(_NAMED)}"
            raise DataError(f"windows: {text!r} is no window", hint=hint) from None


_NAMED = {"brain": "40:80", "subdural": "80:200", "stroke": "40:40", "bone": "600:2800"}


@dataclass(frozen=True)
class Scale:
    """How the values of a patient's channels are brought to one scale.

    Raises:
        DataError: when a value is out of range, or a CT has no windows.
    """

    modalities: tuple[str, ...]
    percentiles: tuple[float, float]
    windows: tuple[Window, ...]

    def __post_init__(self) -> None:
        low, high = self.percentiles
        if not set(self.modalities) <= set(MODALITIES):
            raise DataError(f"modalities: {self.modalities} is out of range")
        if not 0 < len(set(self.modalities)) == len(self.modalities):
            raise DataError(f"modalities: {self.modalities} is out of range")
        if not 0 <= low < high <= 100:
            raise DataError(f"percentiles: {self.percentiles} is out of range")
        if "ct" in self.modalities and len(self.modalities) > 1:
            raise DataError("modalities: a CT is not mixed with other images")
        if ("ct" in self.modalities) != bool(self.windows) or len(self.windows) > _MAX_WINDOWS:
            hint = f"a CT has 1 to {_MAX_WINDOWS} windows, other images have none"
            raise DataError(f"windows: {len(self.windows)} for {self.modalities}", hint=hint)

    @property
    def channels(self) -> int:
        """How many channels a patient has afterwards."""
        return len(self.windows or self.modalities)

    def ready(self, image: Image) -> Image:
        """Return [C, ...] such that 0 is air and may be filled up with."""
        if not self.windows:
            return image
        return np.asarray(np.maximum(image, np.float32(AIR)) - np.float32(AIR))

    def head(self, ready: Image) -> Mask:
        """Return where the first channel shows a head and not air; the channel axis goes."""
        first = ready[0]
        edge = _HEAD_ABOVE_AIR if self.windows else _FOREGROUND * np.percentile(first, 99)
        return np.asarray(first > edge)

    def applied(self, patient: str, ready: Image, head: Mask) -> Image:
        """Return the scaled channels.

        Raises:
            VolumeRefused: when there is no head, or a channel has no contrast.
        """
        if not head.any():
            raise VolumeRefused(patient, "the image shows nothing but air")
        if self.windows:
            return np.stack([_through(window, ready[0]) for window in self.windows])
        result = np.zeros_like(ready)
        for channel, name in enumerate(self.modalities):
            values = ready[channel][head]
            low, high = np.percentile(values, self.percentiles)
            clipped = np.clip(values, low, high)
            deviation = float(clipped.std(dtype=np.float64))
            if not deviation > 0:
                raise VolumeRefused(patient, f"channel {name} has no contrast")
            scores = (clipped - clipped.mean(dtype=np.float64)) / deviation
            result[channel][head] = np.clip(scores, -_CLIP_SIGMA, _CLIP_SIGMA)
        return result


def _through(window: Window, above_air: Image) -> Image:
    low = np.float32(window.centre - window.width / 2 - AIR)
    return np.asarray(np.clip((above_air - low) / np.float32(window.width), 0, 1))
