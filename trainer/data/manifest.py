"""`dataset.json`: what a prepared data set folder holds.

Counts and the preparation's parameters only: no statistic of the images stands in it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from policies.wire.base import Document, Slug, Wire, load_json
from policies.wire.tables import TableSchema
from trainer.data.errors import DataError

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
        names = [entry.patient for entry in self.patients]
        if names != sorted(set(names)):
            raise ValueError("patients are not sorted or stand twice")
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


def read_manifest(folder: Path) -> Manifest | ArraysManifest | TableManifest:
    """Read a data set folder's manifest.

    Raises:
        DataError: when the folder has none.
        policies.errors.DocumentError: when it is not valid.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise DataError(f"{folder.name}: {MANIFEST} is missing", hint="prepare the data set first")
    with path.open("rb") as file:
        data = file.read(MAX_MANIFEST_BYTES + 1)
    value = load_json(data, kind="data set", limit=MAX_MANIFEST_BYTES)
    if isinstance(value, dict) and value.get("layout") == "arrays":
        return ArraysManifest.from_json(value)
    if isinstance(value, dict) and value.get("layout") == "table":
        return TableManifest.from_json(value)
    return Manifest.from_json(value)
