"""Pointers into our pipeline as pointers into the configuration of DEPA that it came from."""

from __future__ import annotations

import re
from typing import Final

_FIELDS: Final = {
    "dataset": "dataset_config",
    "loss": "loss_config",
    "model": "model_config",
    "steps": "total_epochs",
}
_FIELD: Final = 4
"""Place of a field of the training stage: after the root, pipeline, its number and config."""
_OWN_NAMES: Final = frozenset({"layers", "submodules", "components", "variables"})
_CAPITAL: Final = re.compile(r"(?<=[a-z0-9])[A-Z]")


def depa_pointer(pointer: str) -> str:
    """Return where DEPA says what our pipeline says at a pointer."""
    parts = pointer.split("/")
    said = []
    for index, part in enumerate(parts):
        if index and parts[index - 1] in _OWN_NAMES:
            said.append(part)
        elif index == _FIELD and part in _FIELDS:
            said.append(_FIELDS[part])
        else:
            snake = _CAPITAL.sub(lambda found: "_" + found.group().lower(), part)
            said.append("input" if snake == "inputs" else snake)
    return "/".join(said)
