"""What all documents share: closed, strict, frozen, and signed by their canonical bytes.

Every party signs, and every verifier hashes, the RFC 8785 form of a document.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Self

import rfc8785
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    StringConstraints,
    ValidationError,
)
from pydantic.alias_generators import to_camel

from policies.errors import DocumentError, Problem

MAX_DOCUMENT_BYTES = 256 * 1024
_MAX_DEPTH = 32

Digest = Annotated[str, StringConstraints(pattern=r"\Asha256:[0-9a-f]{64}\z")]
"""Digest of canonical bytes, or of a file."""
Did = Annotated[str, StringConstraints(pattern=r"\Adid:(x509|web|jwk):[\x21-\x7e]{1,2000}\z")]
RunId = Annotated[str, StringConstraints(pattern=r"\Arun-[a-z2-7]{26}\z")]
Hex32 = Annotated[str, StringConstraints(pattern=r"\A[0-9a-f]{64}\z")]
Hex48 = Annotated[str, StringConstraints(pattern=r"\A[0-9a-f]{96}\z")]
Name = Annotated[str, StringConstraints(pattern=r"\A[^\x00-\x1f\x7f]{1,200}\z")]
"""Text for people: one line, no control characters."""
Version = Annotated[str, StringConstraints(pattern=r"\A\d{1,6}\.\d{1,6}\.\d{1,6}\z")]
"""Version of a policy bundle."""
Slug = Annotated[str, StringConstraints(pattern=r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,126}\z")]

_TIME = re.compile(r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z\Z")


def _parse_time(value: object) -> object:
    if isinstance(value, str):
        if not _TIME.match(value):
            raise ValueError("expected a UTC time such as 2026-01-31T00:00:00Z")
        return datetime.fromisoformat(value)
    return value


def _utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("expected a time with a time zone")
    return value.astimezone(UTC)


UtcTime = Annotated[datetime, BeforeValidator(_parse_time), AfterValidator(_utc)]
"""An instant; RFC 3339 with `Z` on the wire."""


def sha256(data: bytes) -> str:
    """Return the digest string of `data`: `sha256:` and 64 hexadecimal digits."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"duplicate key {key!r}")
        result[key] = value
    return result


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(_depth, value), default=0)
    return 0


def load_json(data: bytes, *, kind: str, limit: int = MAX_DOCUMENT_BYTES) -> Any:
    """Parse JSON strictly: UTF-8, no duplicate keys, no NaN, bounded size and depth.

    Raises:
        DocumentError: with what is wrong and where.
    """
    if len(data) > limit:
        raise DocumentError(kind, [Problem("", f"is {len(data)} bytes, the limit is {limit}")])
    try:
        value = json.loads(
            data.decode("utf-8"), object_pairs_hook=_no_duplicates, parse_constant=_refuse_constant
        )
        if _depth(value) > _MAX_DEPTH:
            raise ValueError(f"is nested deeper than {_MAX_DEPTH} levels")
    except (ValueError, RecursionError) as error:
        reason = "is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise DocumentError(kind, [Problem("", f"is not valid JSON: {reason}")]) from None
    return value


def canonical_json(value: Any) -> bytes:
    """Return the RFC 8785 form of a JSON value."""
    return rfc8785.dumps(value)


class Wire(BaseModel):
    """A part of a document: closed, strict and frozen."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        alias_generator=to_camel,
        populate_by_name=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
        ser_json_inf_nan="null",
    )

    def to_json(self) -> dict[str, Any]:
        """Return the document as a JSON object, fields in wire names, absent ones left out."""
        value: dict[str, Any] = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        return value


class Document(Wire):
    """A whole document: it has a kind, is read from bytes, and is signed by its digest."""

    kind: ClassVar[str] = "document"
    """What the document is called in messages and statement content types."""

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a document from the bytes of its JSON.

        Raises:
            DocumentError: naming every field that is missing, unknown or wrong.
        """
        return cls.from_json(load_json(data, kind=cls.kind))

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Read a document from a parsed JSON value.

        Raises:
            DocumentError: naming every field that is missing, unknown or wrong.
        """
        try:
            data = json.dumps(value, allow_nan=False)
            return cls.model_validate_json(data, by_name=False, by_alias=True)
        except (ValidationError, ValueError) as error:
            raise DocumentError(cls.kind, _problems(error)) from None

    def canonical(self) -> bytes:
        """Return the bytes that are signed and hashed (RFC 8785)."""
        return canonical_json(self.to_json())

    def digest(self) -> str:
        """Return the digest of the canonical bytes."""
        return sha256(self.canonical())


def _problems(error: Exception) -> list[Problem]:
    if not isinstance(error, ValidationError):
        return [Problem("", str(error))]
    problems = []
    for item in error.errors(include_url=False, include_input=False, include_context=False):
        # Tags of discriminated unions stand in the location but not in the document.
        parts = [str(part) for part in item["loc"]]
        pointer = "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)
        message = {"extra_forbidden": "unknown field", "missing": "is missing"}.get(
            item["type"], item["msg"].removeprefix("Value error, ")
        )
        problems.append(Problem(pointer, message))
    return problems


def without_tags(problem: Problem, value: Any) -> Problem:
    """Return a problem without the union tags in its pointer, so that it resolves in `value`."""
    parts = problem.pointer.split("/")[1:]
    kept: list[str] = []
    for number, part in enumerate(parts):
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict):
            if name in value:
                value = value[name]
            elif number < len(parts) - 1 or problem.message != "is missing":
                continue
        elif isinstance(value, list):
            if not (name.isdigit() and int(name) < len(value)):
                continue
            value = value[int(name)]
        else:
            continue
        kept.append(part)
    return Problem("".join("/" + part for part in kept), problem.message, problem.hint)
