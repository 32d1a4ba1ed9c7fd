"""Providers' own rules over HTTP."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Response

from clients.api.answers import RulesTaken
from contract_service.access import Parts, Party, body_of
from contract_service.openapi import PROBLEMS, binary, text_body
from contract_service.rules import service

REGO: Final = "text/plain"
router = APIRouter(prefix="/policy/modules", tags=["policy"], responses=PROBLEMS)
_Rego = Annotated[bytes, Depends(body_of(REGO))]


@router.post("", status_code=201, openapi_extra=text_body("Rego module `depa.party.<name>`."))
def take(parts: Parts, caller: Party, body: _Rego) -> RulesTaken:
    """Take in a provider's rules, if nothing is wrong with them."""
    return service.take(parts.context, caller, body)


@router.get("/{digest}", responses=binary(REGO, "Rego module."))
def text(parts: Parts, caller: Party, digest: str) -> Response:
    """Return the text of rules that the caller brought, or that bind a contract of its own."""
    content = service.text(parts.context, parts.contracts, caller, digest)
    return Response(content, media_type=f"{REGO}; charset=utf-8")
