"""One file a patient, with an image and a mask: read, checked, and kept as far as there is room."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from trainer.data.errors import DataError
from trainer.data.files import Files
from trainer.data.manifest import MANIFEST
from trainer.data.tensors import read_tensors

Scan: TypeAlias = tuple[NDArray[np.float16], NDArray[np.uint8]]
Shape: TypeAlias = tuple[int, ...]

KEEP_BYTES = 256 * 1024**2
"""A set up to this size stays in memory; a larger one is read patient by patient."""
MAX_FILE_BYTES = 4 * 1024**3


class Entry(Protocol):
    """A patient of a manifest."""

    @property
    def patient(self) -> str:
        """The patient's name."""
        ...


EntryT = TypeVar("EntryT", bound=Entry)


class PatientFiles(Generic[EntryT]):
    """The patients of one data set; every file is read and checked once before training starts."""

    def __init__(
        self,
        files: Files,
        entries: Sequence[EntryT],
        *,
        shapes: Callable[[EntryT], tuple[Shape, Shape]],
        keep_bytes: int,
    ) -> None:
        """Read every file.

        Args:
            files: Where they are.
            entries: The patients that the manifest names.
            shapes: Says which shapes a patient's image and mask must have.
            keep_bytes: Up to which size the whole set stays in memory.

        Raises:
            DataError: when a file is missing, too many, damaged or not what the manifest says.
        """
        self._files, self._entries, self._shapes = files, entries, shapes
        expected = {f"{entry.patient}.safetensors" for entry in entries}
        present = files.names() - {MANIFEST}
        if expected != present:
            odd = sorted(expected ^ present)
            raise DataError(f"{files.name}: files differ from the manifest: {', '.join(odd[:5])}")
        self._kept: list[Scan] | None = []
        total = 0
        for entry in entries:
            scan = self._read(entry)
            total += scan[0].nbytes + scan[1].nbytes
            if self._kept is not None and total <= keep_bytes:
                self._kept.append(scan)
            else:
                self._kept = None

    @property
    def patients(self) -> tuple[str, ...]:
        """Names of the patients, in order."""
        return tuple(entry.patient for entry in self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def scan(self, index: int) -> Scan:
        """Return one patient's image and mask."""
        return self._read(self._entries[index]) if self._kept is None else self._kept[index]

    def _read(self, entry: EntryT) -> Scan:
        name = f"{self._files.name}/{entry.patient}"
        data = self._files.read(f"{entry.patient}.safetensors", limit=MAX_FILE_BYTES)
        tensors = read_tensors(name, data)
        if set(tensors) != {"image", "mask"}:
            raise DataError(f"{name}: expected image and mask, got {', '.join(sorted(tensors))}")
        image, mask = tensors["image"], tensors["mask"]
        of_image, of_mask = self._shapes(entry)
        for part, array, dtype, expected in (
            ("image", image, np.float16, of_image),
            ("mask", mask, np.uint8, of_mask),
        ):
            if array.shape != expected or array.dtype != dtype:
                got = f"{array.shape} {array.dtype}"
                raise DataError(f"{name}: {part} is {got}, expected {expected} {np.dtype(dtype)}")
        if not _is_finite(image) or mask.max() > 1:
            raise DataError(f"{name}: image is not finite or mask is not 0 or 1")
        return image, mask


def _is_finite(image: NDArray[np.float16]) -> bool:
    """Return whether no number is an infinity or none at all, by its bits.

    Those have the largest exponent, so that as whole numbers they are the largest ones: of the
    positive numbers when they are read with a sign, of the negative ones without.
    """
    infinity, negative = 0x7C00, 0xFC00
    return bool(image.view(np.int16).max() < infinity and image.view(np.uint16).max() < negative)
