"""A prepared folder of slices as a set of patients."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.data.errors import DataError
from trainer.data.files import Files, Folder
from trainer.data.manifest import Manifest, PatientEntry, read_manifest
from trainer.data.patients import KEEP_BYTES, PatientFiles, Shape
from trainer.data.widen import widened


class SliceDataset:
    """Patients of one folder; every file is read and checked once before training starts."""

    def __init__(self, source: Path | Files, *, keep_bytes: int = KEEP_BYTES) -> None:
        """Open a data set.

        Raises:
            DataError: when a file is missing, too many, damaged or not what the manifest says.
            policies.errors.DocumentError: when the manifest is not valid.
        """
        files = Folder(source) if isinstance(source, Path) else source
        manifest = read_manifest(files)
        if not isinstance(manifest, Manifest):
            raise DataError(f"{files.name}: expected slices, got {manifest.layout}")
        self.manifest = manifest
        self._files = PatientFiles(
            files, manifest.patients, shapes=self._shapes, keep_bytes=keep_bytes
        )

    @property
    def patients(self) -> tuple[str, ...]:
        """Names of the patients, in the order of the units."""
        return self._files.patients

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Channels, height and width of a slice."""
        return (self.manifest.channels, *self.manifest.size)

    def __len__(self) -> int:
        return len(self._files)

    def unit(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return one patient's slices [k, C, H, W] and masks [k, 1, H, W]."""
        image, mask = self._files.scan(index)
        return widened(image), widened(mask)

    def _shapes(self, entry: PatientEntry) -> tuple[Shape, Shape]:
        size = self.manifest.size
        return (entry.slices, self.manifest.channels, *size), (entry.slices, 1, *size)
