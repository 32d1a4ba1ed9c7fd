"""A prepared folder of slices as a set of patients."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from trainer.data.errors import DataError
from trainer.data.manifest import MANIFEST, Manifest, PatientEntry, read_manifest

Slices: TypeAlias = tuple[NDArray[np.float16], NDArray[np.uint8]]

KEEP_BYTES = 2 * 1024**3
"""A set up to this size stays in memory; a larger one is read patient by patient."""


class SliceDataset:
    """Patients of one folder; every file is read and checked once before training starts."""

    def __init__(self, folder: Path, *, keep_bytes: int = KEEP_BYTES) -> None:
        """Open a data set folder.

        Raises:
            DataError: when a file is missing, too many, damaged or not what the manifest says.
            policies.errors.DocumentError: when the manifest is not valid.
        """
        manifest = read_manifest(folder)
        if not isinstance(manifest, Manifest):
            raise DataError(f"{folder.name}: expected slices, got {manifest.layout}")
        self.manifest = manifest
        self._folder = folder
        expected = {f"{entry.patient}.safetensors" for entry in manifest.patients}
        present = {path.name for path in folder.iterdir()} - {MANIFEST}
        if expected != present:
            odd = sorted(expected ^ present)
            raise DataError(f"{folder.name}: files differ from the manifest: {', '.join(odd[:5])}")
        self._kept: list[Slices] | None = []
        total = 0
        for entry in manifest.patients:
            slices = self._read(entry)
            total += slices[0].nbytes + slices[1].nbytes
            if self._kept is not None and total <= keep_bytes:
                self._kept.append(slices)
            else:
                self._kept = None

    @property
    def patients(self) -> tuple[str, ...]:
        """Names of the patients, in the order of the units."""
        return tuple(entry.patient for entry in self.manifest.patients)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Channels, height and width of a slice."""
        return (self.manifest.channels, *self.manifest.size)

    def __len__(self) -> int:
        return len(self.manifest.patients)

    def unit(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return one patient's slices [k, C, H, W] and masks [k, 1, H, W]."""
        if self._kept is not None:
            image, mask = self._kept[index]
        else:
            image, mask = self._read(self.manifest.patients[index])
        return image.astype(np.float32), mask.astype(np.float32)

    def _read(self, entry: PatientEntry) -> Slices:
        name = f"{self._folder.name}/{entry.patient}"
        try:
            tensors = load_file(self._folder / f"{entry.patient}.safetensors")
        except (SafetensorError, OSError) as error:
            raise DataError(f"{name}: {error}") from None
        if set(tensors) != {"image", "mask"}:
            raise DataError(f"{name}: expected image and mask, got {', '.join(sorted(tensors))}")
        image, mask = tensors["image"], tensors["mask"]
        size = self.manifest.size
        for part, array, dtype, channels in (
            ("image", image, np.float16, self.manifest.channels),
            ("mask", mask, np.uint8, 1),
        ):
            expected = (entry.slices, channels, *size)
            if array.shape != expected or array.dtype != dtype:
                got = f"{array.shape} {array.dtype}"
                raise DataError(f"{name}: {part} is {got}, expected {expected} {np.dtype(dtype)}")
        if not np.isfinite(image).all() or mask.max() > 1:
            raise DataError(f"{name}: image is not finite or mask is not 0 or 1")
        return image, mask
