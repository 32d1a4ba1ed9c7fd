"""Texts of a document that do not belong in it: what is left to fill in, and ways out of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

_PLACEHOLDER: Final = re.compile(r"\$\{?[A-Za-z_][A-Za-z0-9_]*\}?|<[A-Z_ ]+>")
_FOREIGN: Final = re.compile(
    r"""
      \s*[A-Za-z][A-Za-z0-9+.-]*://.*     # a URL
    | \s*(?:[/\\~]|[A-Za-z]:[/\\]).*      # a path from the root, of a user, on a share or a drive
    | (?:.*[/\\])?\.\.(?:[/\\].*)?        # a path that climbs
    | \s*(?:cuda|cpu|gpu|hip|mps|tpu|xla|xpu)(?::[0-9]+)?\s*
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)


def texts(value: object, at: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text of a JSON value with its pointer; names of members are not among them."""
    if isinstance(value, dict):
        for key, item in value.items():
            escaped = key.replace("~", "~0").replace("/", "~1")
            yield from texts(item, f"{at}/{escaped}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from texts(item, f"{at}/{index}")
    elif isinstance(value, str):
        yield at, value


def placeholders(value: object) -> Iterator[tuple[str, str]]:
    """Yield the pointer of every text that is not filled in, and the placeholder in it."""
    for at, text in texts(value):
        if found := _PLACEHOLDER.search(text):
            yield at, found.group()


def foreign_texts(value: object) -> Iterator[str]:
    """Yield the pointer of every text that is a path, a URL or the name of a device."""
    for at, text in texts(value):
        if _FOREIGN.fullmatch(text):
            yield at
