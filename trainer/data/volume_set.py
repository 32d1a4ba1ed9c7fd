"""A prepared folder of volumes as a set of patients."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.data.errors import DataError
from trainer.data.files import Files, Folder
from trainer.data.manifest import VolumeEntry, VolumesManifest, read_manifest
from trainer.data.patients import KEEP_BYTES, PatientFiles, Shape
from trainer.data.widen import widened


class VolumeDataset:
    """Patients with one volume each, of any size; training cuts patches out of them."""

    def __init__(self, source: Path | Files, *, keep_bytes: int = KEEP_BYTES) -> None:
        """Open a data set.

        Raises:
            DataError: when a file is missing, too many, damaged or not what the manifest says.
            policies.errors.DocumentError: when the manifest is not valid.
        """
        files = Folder(source) if isinstance(source, Path) else source
        manifest = read_manifest(files)
        if not isinstance(manifest, VolumesManifest):
            raise DataError(f"{files.name}: expected volumes, got {manifest.layout}")
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
        """Channels; the other sides differ from patient to patient."""
        return (self.manifest.channels,)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres between voxels along depth, height and width."""
        return self.manifest.spacing

    def __len__(self) -> int:
        return len(self._files)

    def unit(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return one patient's volume [1, C, D, H, W] and mask [1, 1, D, H, W]."""
        image, mask = self._files.scan(index)
        return widened(image[None]), widened(mask[None])

    def _shapes(self, entry: VolumeEntry) -> tuple[Shape, Shape]:
        return (self.manifest.channels, *entry.shape), (1, *entry.shape)
