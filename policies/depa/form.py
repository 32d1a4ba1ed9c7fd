"""What DEPA's documents share: numbers that may be texts, and a list of what an import changed."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, ConfigDict, Field, StringConstraints

from policies.errors import DocumentError, Problem
from policies.wire.base import Wire
from policies.wire.contract import SealedFile

_NUMBER: Final = re.compile(r"\A-?\d{1,15}(\.\d{1,15})?([eE][+-]?\d{1,3})?\Z")
PLACEHOLDER: Final = re.compile(r"\$\{?[A-Za-z_][A-Za-z0-9_]*\}?")


class DepaPart(Wire):
    """A part of a document of DEPA: closed, its fields called as DEPA calls them."""

    model_config = ConfigDict(alias_generator=None)


def _number(value: object) -> object:
    if isinstance(value, str):
        if not _NUMBER.match(value):
            raise ValueError("expected a number")
        value = float(value)
        if not math.isfinite(value):
            raise ValueError("expected a finite number")
    return value


def _whole(value: object) -> object:
    value = _number(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


Number = Annotated[float, BeforeValidator(_number)]
"""A number, or a text that is one: DEPA's contracts hold numbers as texts."""
Count = Annotated[int, BeforeValidator(_whole), Field(ge=1, le=10**9)]
Text = Annotated[str, StringConstraints(max_length=1000)]
"""Any text; it is compared with what is known, or dropped, and never used."""


Kind = Literal["given", "tightened", "changed", "dropped"]


@dataclass(frozen=True)
class Change:
    """What an import did that its source does not say."""

    kind: Kind
    """Given by whoever imports, a limit made smaller, said otherwise, or left out."""
    pointer: str
    """JSON pointer to the field of DEPA's document; to its place where there is none."""
    message: str

    def __str__(self) -> str:
        return f"{self.kind} {self.pointer or '/'}: {self.message}"


@dataclass
class Notes:
    """What an import notes on its way."""

    changes: list[Change] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def change(self, kind: Kind, pointer: str, message: str) -> None:
        """Note what the result says that its source does not."""
        self.changes.append(Change(kind, pointer, message))

    def refuse(self, pointer: str, message: str, hint: str = "") -> None:
        """Note what the import is refused for."""
        self.problems.append(Problem(pointer, message, hint))

    def settle(self, document: str) -> None:
        """End the import if anything was refused.

        Raises:
            DocumentError: with everything that was.
        """
        if self.problems:
            raise DocumentError(document, self.problems)


def named(
    files: Iterable[SealedFile], *, dataset_id: str, owner: str | None, name: str
) -> Sequence[str]:
    """Return the ids of the sealed files that a data set of DEPA can mean.

    A file is meant if its id is DEPA's id or owner (its mount folder), or its name DEPA's name.
    An id wins over the owner, and the owner over the name.
    """
    files = tuple(files)
    for wanted in (dataset_id, owner):
        found = [item.id for item in files if item.id == wanted]
        if found:
            return found
    return [item.id for item in files if item.name == name]
