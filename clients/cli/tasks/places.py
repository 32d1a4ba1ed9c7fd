"""Where in the files that somebody wrote a JSON pointer of the policy leads to."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from policies.wire.contract import Contract
from policies.wire.pipeline import Pipeline

_BLANK = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()
_STAGE = re.compile(r"/pipeline/(\d{1,4})/config(/.*)?")


@dataclass(frozen=True)
class Places:
    """The files that were judged; a document without one has no places."""

    contract: Path | None = None
    pipeline: Path | None = None
    parts: Mapping[str, Path] = field(default_factory=dict)
    """Files of the parts that the pipeline was put together from."""
    stages: tuple[str, ...] = ()
    """Names of the pipeline's stages."""

    @classmethod
    def of(
        cls, which: str, contract: Contract, *, config: Path | None, pipeline: Pipeline | None
    ) -> Places:
        """Return the places of what a command was given.

        Args:
            which: File or digest of the contract.
            contract: The contract.
            config: File of the pipeline, or folder of its parts.
            pipeline: The pipeline, if there is one.
        """
        own = None if which == contract.digest() else Path(which)
        if config is None or pipeline is None:
            return cls(contract=own)
        stages = tuple(stage.name for stage in pipeline.pipeline)
        if not config.is_dir():
            return cls(contract=own, pipeline=config, stages=stages)
        parts = {path.name.removesuffix("_config.json"): path for path in config.glob("*.json")}
        return cls(contract=own, parts=parts, stages=stages)

    def find(self, pointer: str) -> str | None:
        """Return `file:line` of a reason's pointer, None if it leads into no file."""
        # Reasons about the contract of a pipeline stand under /contract.
        if self.stages and not pointer.startswith("/contract/"):
            found = self._in_pipeline(pointer)
        else:
            inner = pointer.removeprefix("/contract") if self.stages else pointer
            found = None if self.contract is None else (self.contract, inner)
        if found is None:
            return None
        path, inner = found
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return None
        return f"{path}:{line_of(text, inner)}"

    def _in_pipeline(self, pointer: str) -> tuple[Path, str] | None:
        if self.pipeline is not None:
            return self.pipeline, pointer
        stage = _STAGE.fullmatch(pointer)
        if stage is None or int(stage[1]) >= len(self.stages):
            return None
        inner = stage[2] or ""
        if self.stages[int(stage[1])] == "DirectoryJoin":
            return (self.parts["join"], inner) if "join" in self.parts else None
        wanted = inner.split("/")[1] if inner else ""
        for part, path in sorted(self.parts.items()):
            if part != "join" and wanted in _fields(path):
                return path, inner
        return None


def line_of(text: str, pointer: str) -> int:
    """Return the line of the value that a pointer leads to, or of what is nearest to it.

    Args:
        text: A JSON document.
        pointer: RFC 6901.
    """
    at = _skip(text, 0)
    try:
        for part in pointer.split("/")[1:]:
            found = _member(text, at, part.replace("~1", "/").replace("~0", "~"))
            if found is None:
                break
            at = found
    except (ValueError, IndexError):
        # What is no JSON has been refused before; its first line is near enough.
        return 1
    return text.count("\n", 0, at) + 1


def _member(text: str, at: int, name: str) -> int | None:
    if text[at] not in "{[":
        return None
    keyed, index, at = text[at] == "{", 0, _skip(text, at + 1)
    while text[at] not in "}]":
        key, start = str(index), at
        if keyed:
            key, at = _DECODER.raw_decode(text, at)
            start = at = _skip(text, _skip(text, at) + 1)
        if key == name:
            return start
        _, at = _DECODER.raw_decode(text, at)
        at = _skip(text, at)
        at = _skip(text, at + 1) if text[at] == "," else at
        index += 1
    return None


def _skip(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    return found.end() if found else at


def _fields(path: Path) -> set[str]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return set()
    return set(value) if isinstance(value, dict) else set()
