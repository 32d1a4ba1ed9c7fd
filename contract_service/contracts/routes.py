"""Contracts over HTTP."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from clients.api.answers import (
    ContractList,
    ContractRegistered,
    ContractState,
    ContractStatus,
    RevocationRequest,
)
from contract_service.access import Cose, Json, Parts, Party
from contract_service.audit.bundle import Reader, contract_bundle
from contract_service.openapi import PROBLEMS, binary, cose_body, json_body
from policies.wire.contract import Contract

router = APIRouter(prefix="/contracts", tags=["contracts"], responses=PROBLEMS)


@router.post("", status_code=201, openapi_extra=json_body(Contract))
def propose(parts: Parts, caller: Party, body: Json) -> ContractRegistered:
    """Propose a contract; only its consumer may."""
    return parts.contracts.propose(caller, body)


@router.get("")
def search(
    parts: Parts,
    caller: Party,
    party: Annotated[str | None, Query(max_length=2048)] = None,
    state: ContractState | None = None,
) -> ContractList:
    """List the contracts that the caller is a party of."""
    return parts.contracts.search(caller, party=party, state=state)


@router.get("/{digest}")
def status(parts: Parts, caller: Party, digest: str) -> ContractStatus:
    """Say how far a contract is, and who is missing."""
    return parts.contracts.status(caller, digest)


@router.get("/{digest}/document", responses=binary("application/json", "Canonical bytes."))
def document(parts: Parts, caller: Party, digest: str) -> Response:
    """Return the contract itself."""
    content = parts.contracts.document(caller, digest)
    return Response(content, media_type="application/json")


@router.post("/{digest}/signatures", status_code=201, openapi_extra=cose_body())
def sign(parts: Parts, caller: Party, digest: str, body: Cose) -> ContractRegistered:
    """Register a party's signature statement."""
    return parts.contracts.sign(body, digest=digest, caller=caller)


@router.post("/{digest}/revocations", status_code=201, openapi_extra=json_body(RevocationRequest))
def revoke(parts: Parts, caller: Party, digest: str, body: Json) -> ContractRegistered:
    """Register a party's revocation."""
    return parts.contracts.revoke(caller, digest, body)


@router.get("/{digest}/bundle", responses=binary("application/json", "Offline bundle."))
def bundle(parts: Parts, caller: Party, digest: str) -> Response:
    """Return everything that proves what happened under a contract."""
    with parts.context.database.read() as session:
        parts.contracts.visible(session, caller, digest)
        content = contract_bundle(parts.context, session, digest, reader=Reader.PARTY)
    return Response(content, media_type="application/json")
