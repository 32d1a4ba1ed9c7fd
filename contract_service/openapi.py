"""What OpenAPI says about bodies that are read as bytes, and about problems."""

from __future__ import annotations

from typing import Any, Final

from contract_service.problems import PROBLEM_JSON
from policies.wire.base import Wire

COSE: Final = "application/cose"


def json_body(model: type[Wire]) -> dict[str, Any]:
    """Return the description of a body that is one of our documents."""
    schema = model.model_json_schema(by_alias=True, ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    return _body("application/json", schema)


def cose_body() -> dict[str, Any]:
    """Return the description of a body that is a COSE_Sign1 statement."""
    return _body(COSE, {"type": "string", "format": "binary"})


def text_body(description: str) -> dict[str, Any]:
    """Return the description of a body that is text."""
    return _body("text/plain", {"type": "string", "description": description})


def binary(media_type: str, description: str) -> dict[int | str, dict[str, Any]]:
    """Return the description of an answer that is not JSON of ours."""
    return {200: {"description": description, "content": {media_type: {}}}}


PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    status: {
        "description": text,
        "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for status, text in (
        (401, "The caller did not prove who it is."),
        (403, "The caller may not, or a policy denies."),
        (404, "There is no such thing that the caller may see."),
        (409, "The state does not allow it."),
        (422, "The document is refused; every wrong field is named."),
    )
}
PROBLEM_SCHEMA: Final[dict[str, Any]] = {
    "title": "Problem",
    "description": "RFC 9457",
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance", "request_id"],
    "properties": {
        "type": {"type": "string", "description": "urn:depa:problem: and a stable slug"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "request_id": {"type": "string"},
        "hint": {"type": "string"},
        "decision_id": {"type": "string"},
        "reasons": {"type": "array", "items": {"type": "object"}},
        "problems": {"type": "array", "items": {"type": "object"}},
    },
}


def _body(media_type: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {media_type: {"schema": schema}}}}
