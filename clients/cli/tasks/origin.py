"""Where a fetched model comes from, in a file beside it: what whoever uses it has to know."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from clients.cli.errors import Refused
from clients.cli.files import file_digest, read_bytes
from policies.wire.base import Digest, Document, RunId, Wire
from policies.wire.pipeline import Pipeline
from trainer.models.factory import BaseModel, read_base_model


class Preparation(Wire):
    """How scans become samples of the model."""

    layout: Literal["slices", "volumes"]
    recipe: dict[str, Any]
    """As in the manifest of a prepared folder."""


class Origin(Document):
    """What is known of a model that was fetched."""

    kind: ClassVar[str] = "origin"

    version: Literal[1] = 1
    run: RunId
    contract: Digest
    report: Digest
    """Of the signed run report."""
    sealed: Digest
    """Of the sealed model that the report names."""
    file: Digest
    """Of the opened file."""
    pipeline: Pipeline
    preparation: Preparation | None = None
    """Of the test data that it was measured on; absent if it was not."""


def origin_path(model: Path) -> Path:
    """Return where a model folder's origin stands: beside it, so that the folder stays a model."""
    return model.with_name(f"{model.name}-origin.json")


def model_digest(folder: Path) -> str:
    """Return the digest of the one model file of a folder.

    Raises:
        ModelRefused: if the folder holds anything else.
    """
    return file_digest(folder / read_base_model(folder).name)


def read_origin(model: Path) -> tuple[Origin, BaseModel]:
    """Read a fetched model and its origin.

    Raises:
        NotFoundError: when one of them is not there.
        DocumentError: when the origin is damaged.
        ModelRefused: when the folder does not hold one model file.
        Refused: when the model is another one.
    """
    path = origin_path(model)
    origin = Origin.parse(read_bytes(path, what="origin of the model"))
    base = read_base_model(model)
    if (got := file_digest(model / base.name)) != origin.file:
        raise Refused(
            f"{model / base.name}: expected {origin.file}, got {got}",
            hint=f"{path.name} belongs to another model: fetch it again",
        )
    return origin, base
