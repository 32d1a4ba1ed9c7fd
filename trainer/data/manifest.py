"""`dataset.json`: what a prepared data set folder holds.

Counts and the preparation's parameters only: no statistic of the images stands in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from policies.wire.base import Document, Slug, Wire, load_json
from policies.wire.tables import TableSchema
from trainer.data.errors import DataError
from trainer.data.files import Files, Folder

MANIFEST = "dataset.json"
MAX_MANIFEST_BYTES = 32 * 1024**2


class PatientEntry(Wire):
    """One patient, one privacy unit."""

    patient: Slug
    slices: int = Field(ge=1, le=16384)


class Manifest(Document):
    """A folder of slices, one file a patient."""

    kind: ClassVar[str] = "data set"
    version: Literal[1] = 1
    layout: Literal["slices"] = "slices"
    patients: tuple[PatientEntry, ...] = Field(min_length=1, max_length=100_000)
    """Sorted by name."""
    channels: int = Field(ge=1, le=16)
    size: tuple[int, int]
    """Height and width in pixels."""
    recipe: dict[str, Any]
    """How the slices were made."""

    @model_validator(mode="after")
    def _sorted_and_unique(self) -> Self:
        _check_names(self.patients)
        return self


def _check_names(patients: Sequence[PatientEntry | VolumeEntry]) -> None:
    names = [entry.patient for entry in patients]
    if names != sorted(set(names)):
        raise ValueError("patients are not sorted or stand twice")


Length = Annotated[int, Field(ge=1, le=1024)]
Millimetres = Annotated[float, Field(ge=0.1, le=50)]


class VolumeEntry(Wire):
    """One patient with one volume, one privacy unit."""

    patient: Slug
    shape: tuple[Length, Length, Length]
    """Depth, height and width in voxels."""


class VolumesManifest(Document):
    """A folder of volumes, one file a patient."""

    kind: ClassVar[str] = "data set"
    version: Literal[1] = 1
    layout: Literal["volumes"] = "volumes"
    patients: tuple[VolumeEntry, ...] = Field(min_length=1, max_length=100_000)
    """Sorted by name."""
    channels: int = Field(ge=1, le=16)
    spacing: tuple[Millimetres, Millimetres, Millimetres]
    """Millimetres between voxels along depth, height and width."""
    recipe: dict[str, Any]
    """How the volumes were made."""

    @model_validator(mode="after")
    def _sorted_and_unique(self) -> Self:
        _check_names(self.patients)
        return self


class ArraysManifest(Document):
    """A folder with one file of labelled pictures, each its own privacy unit."""

    kind: ClassVar[str] = "data set"
    version: Literal[1] = 1
    layout: Literal["arrays"] = "arrays"
    units: int = Field(ge=1, le=10_000_000)
    shape: tuple[int, int, int]
    """Channels, height and width of a picture."""
    classes: int = Field(ge=2, le=100_000)


class TableManifest(Document):
    """A folder with one table; all rows with one key are a privacy unit."""

    kind: ClassVar[str] = "data set"
    version: Literal[1] = 1
    layout: Literal["table"] = "table"
    units: int = Field(ge=1, le=100_000_000)
    table: TableSchema


AnyManifest: TypeAlias = Manifest | VolumesManifest | ArraysManifest | TableManifest
_LAYOUTS: dict[str, type[AnyManifest]] = {
    "volumes": VolumesManifest,
    "arrays": ArraysManifest,
    "table": TableManifest,
}


def read_manifest(source: Path | Files) -> AnyManifest:
    """Read the manifest of a data set folder, or of files that are one.

    Raises:
        DataError: when there is none.
        policies.errors.DocumentError: when it is not valid.
    """
    files = Folder(source) if isinstance(source, Path) else source
    if MANIFEST not in files.names():
        raise DataError(f"{files.name}: {MANIFEST} is missing", hint="prepare the data set first")
    data = bytes(files.read(MANIFEST, limit=MAX_MANIFEST_BYTES))
    value = load_json(data, kind="data set", limit=MAX_MANIFEST_BYTES)
    layout = value.get("layout") if isinstance(value, dict) else None
    return _LAYOUTS.get(str(layout), Manifest).from_json(value)
