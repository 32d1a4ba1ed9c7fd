"""Pipelines as commands read them: a file, or a folder of parts to put together."""

from __future__ import annotations

from pathlib import Path

from clients.cli.errors import NotFoundError
from clients.cli.files import read_bytes
from policies.wire.pipeline import PARTS, Pipeline, consolidate

_SUFFIX = "_config.json"


def read_pipeline(path: Path, *, contract: str, name: str) -> Pipeline:
    """Return the pipeline in a file, or put it together from a folder of parts.

    Raises:
        NotFoundError: when there is neither.
        DocumentError: naming every part and field that is wrong.
    """
    if not path.is_dir():
        return Pipeline.parse(read_bytes(path, what="pipeline"))
    parts = {
        part: read_bytes(path / f"{part}{_SUFFIX}", what=f"{part} part")
        for part in PARTS
        if (path / f"{part}{_SUFFIX}").exists()
    }
    if not parts:
        raise NotFoundError(
            f"{path} holds no parts of a pipeline", hint=f"they are called model{_SUFFIX} and so on"
        )
    return consolidate(parts, contract=contract, name=name)
