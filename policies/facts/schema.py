"""JSON Schemas of what the rules of each entrypoint see as `input`: its facts, and who judges.

They describe facts as they are written, so no member is ever null: what is absent is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from policies.facts.attestation import AttestationFacts
from policies.facts.contract import ContractFacts
from policies.facts.release import ReleaseFacts
from policies.facts.training import TrainingFacts
from policies.wire.base import Document, Wire
from policies.wire.decision import Entrypoint

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
FACTS: Final[Mapping[Entrypoint, type[Document]]] = MappingProxyType(
    {
        "contract": ContractFacts,
        "training": TrainingFacts,
        "attestation": AttestationFacts,
        "release": ReleaseFacts,
    }
)
"""What each entrypoint judges."""
Path = tuple[str, ...]
"""A place in `input`: members of objects by name, members of arrays as `ANY`."""
ANY: Final = "*"
_NULL: Final = {"type": "null"}
_REFERENCE: Final = "#/$defs/"


class Judging(Wire):
    """The bundle that the rules come from, as whoever loaded it computed it."""

    digest: str
    version: str


class PreparedReason(Wire):
    """A reason as a rule writes it."""

    code: str
    path: str
    msg: str


class Tightest(Wire):
    """What is within the limits of every data set."""

    micro_epsilon: int
    delta_trillionths: int
    total_micro_epsilon: int
    overall_micro_epsilon: int
    max_grad_norm_micro: int
    max_steps: int
    max_epochs: int
    max_sampling_billionths: int
    max_samples_per_unit: int
    min_noise_micro: int
    unit: tuple[str, ...]
    """Every unit that some limit names."""
    adjacency: tuple[str, ...]
    """Every adjacency that some limit names."""
    most_units: int
    """Those of the largest data set."""
    sum_units: int
    join: bool
    """Whether all data sets may be joined."""


class Prepared(Wire):
    """What `depa.agreed` says about the terms, which an engine may hand on from before.

    It is no fact: whoever makes facts leaves it out.
    """

    complete: bool
    deny: tuple[PreparedReason, ...]
    warn: tuple[PreparedReason, ...]
    tables: bool
    tightest: Tightest | None = None
    """Absent where something is wrong with the terms."""


_WITH_TERMS: Final = frozenset({"contract", "training", "release"})
"""Entrypoints that judge the terms of a contract as a whole."""


def input_schema(entrypoint: Entrypoint) -> dict[str, Any]:
    """Return the schema of an entrypoint's `input`, in the dialect of 2020-12."""
    made = FACTS[entrypoint].model_json_schema(by_alias=True)
    extra: dict[str, type[Wire]] = {"bundle": Judging}
    if entrypoint in _WITH_TERMS:
        extra["prepared"] = Prepared
    for model in extra.values():
        added = model.model_json_schema(by_alias=True)
        made["$defs"] |= added.pop("$defs", {})
        made["$defs"][model.__name__] = added
    definitions = {name: _written(item) for name, item in sorted(made.pop("$defs").items())}
    facts = _written(made)
    return {
        "$schema": DIALECT,
        "$id": f"urn:depa:input:{entrypoint}",
        "title": f"Input of depa.{entrypoint}",
        **facts,
        "properties": {
            **{name: {"$ref": _REFERENCE + model.__name__} for name, model in extra.items()},
            **facts["properties"],
        },
        "required": ["bundle", *facts["required"]],
        "$defs": definitions,
    }


def provider_schema() -> dict[str, Any]:
    """Return the schema of what a provider's rules see: any entrypoint's facts, and `question`."""
    definitions: dict[str, Any] = {}
    questions = []
    for entrypoint in FACTS:
        asked = input_schema(entrypoint)
        definitions |= asked.pop("$defs")
        # An engine prepares the bundle's rules alone.
        asked["properties"].pop("prepared", None)
        question = {"question": {"const": entrypoint}}
        asked["properties"] = question | asked["properties"]
        asked["required"] = ["question", *asked["required"]]
        questions.append({key: value for key, value in asked.items() if not key.startswith("$")})
    for model in (Prepared, PreparedReason, Tightest):
        definitions.pop(model.__name__, None)
    return {
        "$schema": DIALECT,
        "$id": "urn:depa:input:party",
        "title": "Input of depa.party",
        "anyOf": questions,
        "$defs": dict(sorted(definitions.items())),
    }


def places(schema: Mapping[str, Any]) -> Mapping[Path, frozenset[str]]:
    """Return every place that a value may have in an `input`, with what may stand below it."""
    found: dict[Path, frozenset[str]] = {}
    waiting: list[tuple[Path, Mapping[str, Any]]] = [((), schema)]
    while waiting:
        path, item = waiting.pop()
        below = [pair for choice in _choices(schema, item) for pair in _below(choice)]
        found[path] = found.get(path, frozenset()) | {part for part, _ in below}
        waiting += [((*path, part), each) for part, each in below]
    return MappingProxyType(found)


def _choices(schema: Mapping[str, Any], item: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if "$ref" in item:
        return _choices(schema, schema["$defs"][item["$ref"].removeprefix(_REFERENCE)])
    if "anyOf" in item:
        return [choice for each in item["anyOf"] for choice in _choices(schema, each)]
    return [item]


def _below(item: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return [(ANY, item["items"])] if "items" in item else list(item.get("properties", {}).items())


def _written(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Drop what only Python means by a schema: titles of its own making, and nulls."""
    properties = schema.get("properties", {})
    nullable = {name for name, item in properties.items() if _NULL in item.get("anyOf", ())}
    kept = {key: value for key, value in schema.items() if key not in {"title", "default"}}
    if "anyOf" in schema:
        choices = [_written(item) for item in schema["anyOf"] if item != _NULL]
        if len(choices) == 1:
            return choices[0]
        kept["anyOf"] = choices
    if "items" in schema:
        kept["items"] = _written(schema["items"])
    if properties:
        kept["properties"] = {name: _written(item) for name, item in properties.items()}
        kept["required"] = [n for n in schema.get("required", ()) if n not in nullable]
    return kept
