"""Labelled pictures in one file, each its own privacy unit."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from trainer.data.errors import DataError
from trainer.data.files import Files, Folder
from trainer.data.manifest import MANIFEST, ArraysManifest, read_manifest
from trainer.data.patients import MAX_FILE_BYTES
from trainer.data.tensors import read_tensors

_FILE = "arrays.safetensors"
_WHITE = np.float32(255)


class ArrayDataset:
    """Pictures with class numbers; unit i is picture i."""

    def __init__(self, source: Path | Files) -> None:
        """Open a data set.

        Raises:
            DataError: when a file is missing, too many, damaged or not what the manifest says.
            policies.errors.DocumentError: when the manifest is not valid.
        """
        files = Folder(source) if isinstance(source, Path) else source
        manifest = read_manifest(files)
        if not isinstance(manifest, ArraysManifest):
            raise DataError(f"{files.name}: expected arrays, got {manifest.layout}")
        present = files.names()
        if present != {_FILE, MANIFEST}:
            odd = ", ".join(sorted(present ^ {_FILE, MANIFEST})[:5])
            raise DataError(f"{files.name}: files differ from the manifest: {odd}")
        tensors = read_tensors(files.name, files.read(_FILE, limit=MAX_FILE_BYTES))
        if set(tensors) != {"image", "label"}:
            got = ", ".join(sorted(tensors))
            raise DataError(f"{files.name}: expected image and label, got {got}")
        self.manifest = manifest
        self._image, self._label = tensors["image"], tensors["label"]
        _check(files.name, self._image, self._label, manifest)

    @property
    def patients(self) -> None:
        """Records carry no names."""
        return

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Channels, height and width of a picture."""
        return self.manifest.shape

    def __len__(self) -> int:
        return self.manifest.units

    def unit(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return one picture [1, C, H, W], 0 to 1, and its class number [1]."""
        image = self._image[index][None].astype(np.float32) / _WHITE
        return image, self._label[index : index + 1].astype(np.int64)


def write_arrays(
    out: Path, *, image: NDArray[np.uint8], label: NDArray[np.uint8], classes: int
) -> ArraysManifest:
    """Write the data set folder `out`, which appears complete or not at all.

    Args:
        out: Folder to create; it MUST not exist.
        image: Pictures [n, C, H, W], 0 to 255.
        label: Class numbers [n].
        classes: How many classes there are.

    Raises:
        DataError: when `out` exists or the arrays do not fit each other.
        policies.errors.DocumentError: when a number is out of range.
    """
    if out.exists():
        raise DataError(f"{out} exists", hint="choose another folder or remove it first")
    manifest = ArraysManifest.from_json(
        {
            "version": 1,
            "layout": "arrays",
            "units": len(image),
            "shape": list(image.shape[1:]),
            "classes": classes,
        }
    )
    _check(out.name, image, label, manifest)
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = out.with_name(f".{out.name}.{secrets.token_hex(8)}")
    scratch.mkdir()
    try:
        tensors = {"image": np.ascontiguousarray(image), "label": np.ascontiguousarray(label)}
        save_file(tensors, scratch / _FILE)
        (scratch / MANIFEST).write_bytes(manifest.canonical())
        scratch.rename(out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return manifest


def _check(
    name: str,
    image: NDArray[np.generic],
    label: NDArray[np.generic],
    manifest: ArraysManifest,
) -> None:
    for part, array, expected in (
        ("image", image, (manifest.units, *manifest.shape)),
        ("label", label, (manifest.units,)),
    ):
        if array.shape != expected or array.dtype != np.uint8:
            got = f"{array.shape} {array.dtype}"
            raise DataError(f"{name}: {part} is {got}, expected {expected} uint8")
    if int(label.max()) >= manifest.classes:
        raise DataError(f"{name}: a label is {label.max()}, the classes are {manifest.classes}")
