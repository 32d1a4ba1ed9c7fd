"""Pipelines as commands read them: a file, or a folder of parts to put together."""

from __future__ import annotations

import json
from pathlib import Path

from clients.cli.errors import NotFoundError, UsageError
from clients.cli.files import read_bytes
from policies.depa.pipeline import is_depa_pipeline
from policies.wire.base import load_json
from policies.wire.pipeline import PARTS, Pipeline, consolidate

_SUFFIX = "_config.json"


def read_pipeline(path: Path, *, contract: str, name: str) -> Pipeline:
    """Return the pipeline in a file, or put it together from a folder of parts.

    Raises:
        NotFoundError: when there is neither.
        UsageError: when it is a configuration of DEPA's, which has to be imported.
        DocumentError: naming every part and field that is wrong.
    """
    if not path.is_dir():
        data = read_bytes(path, what="pipeline")
        if is_depa_pipeline(load_json(data, kind=Pipeline.kind)):
            raise UsageError(
                f"{path} is a configuration of DEPA-Training", hint=f"depa run import {path} ..."
            )
        return Pipeline.parse(data)
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


def pretty(pipeline: Pipeline) -> bytes:
    """Return a pipeline's JSON as people read it."""
    return json.dumps(pipeline.to_json(), indent=2, sort_keys=True).encode() + b"\n"
