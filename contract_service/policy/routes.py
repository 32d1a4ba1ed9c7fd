"""Policies and decisions over HTTP: policies are for everybody, decisions for those they bind."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Header, Response

from clients.api.answers import DecisionAnswer, PolicyAnswer, PolicyList, PolicyQuestion
from contract_service.access import Json, Parts, Party
from contract_service.openapi import PROBLEMS, binary, json_body
from contract_service.policy import service
from contract_service.policy.checking import dry_run

router = APIRouter(tags=["policy"], responses=PROBLEMS)
_GZIP: Final = "application/gzip"
_FOR_EVER: Final = "public, max-age=31536000, immutable"


@router.get("/policy/bundles")
def bundles(parts: Parts) -> PolicyList:
    """List the policies that contracts may name."""
    return service.policy_list(parts.context)


@router.get(
    "/policy/bundles/{digest}",
    responses=binary(_GZIP, "Archive that an OPA server loads.")
    | {304: {"description": "The caller has it."}},
)
def bundle(
    parts: Parts,
    digest: str,
    if_none_match: Annotated[str | None, Header(max_length=2048)] = None,
) -> Response:
    """Return a policy as an archive; its digest says what is in it, for ever."""
    found = service.policy_bundle(parts.context, digest)
    headers = {"ETag": f'"{found.digest}"', "Cache-Control": _FOR_EVER}
    if _has(if_none_match or "", headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(found.pack(), media_type=_GZIP, headers=headers)


@router.post("/policy/check", openapi_extra=json_body(PolicyQuestion))
def check(parts: Parts, caller: Party, body: Json) -> PolicyAnswer:
    """Say what the policy would decide; nothing is recorded, booked or permitted."""
    return dry_run(parts.context, parts.contracts, caller, body)


@router.get("/decisions/{decision_id}")
def decision(parts: Parts, caller: Party, decision_id: str) -> DecisionAnswer:
    """Return a decision with every reason, and its place on the ledger."""
    return service.decision(parts.context, parts.contracts, caller, decision_id)


def _has(header: str, tag: str) -> bool:
    """Tell whether an If-None-Match header names this tag (RFC 9110, 13.1.2)."""
    return any(part.strip().removeprefix("W/") in {tag, "*"} for part in header.split(","))
