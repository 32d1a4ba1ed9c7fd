"""Runs over HTTP: the consumer's side and the clean room's."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from clients.api.answers import (
    NonceAnswer,
    Released,
    ReleaseRequest,
    ReportAccepted,
    ReportRequest,
    RunAccess,
    RunList,
    RunStatus,
)
from contract_service.access import CleanRoom, Json, Parts, Party, PartyOrRoom, Room
from contract_service.audit.bundle import Reader, contract_bundle
from contract_service.keybroker.release import release as release_keys
from contract_service.openapi import PROBLEMS, binary, json_body
from contract_service.runs.report import accept_report
from policies.wire.pipeline import Pipeline
from policies.wire.run import Progress, RunState

router = APIRouter(prefix="/runs", tags=["runs"], responses=PROBLEMS)


@router.post("", status_code=201, openapi_extra=json_body(Pipeline))
def submit(parts: Parts, caller: Party, body: Json) -> RunStatus:
    """Submit a pipeline: it is approved, or denied with every reason."""
    return parts.runs.submit(caller, body)


@router.get("")
def search(
    parts: Parts,
    caller: Party,
    contract: Annotated[str | None, Query(max_length=80)] = None,
    state: RunState | None = None,
) -> RunList:
    """List the runs under the caller's contracts."""
    return parts.runs.search(caller, contract=contract, state=state)


@router.get("/{run}")
def status(parts: Parts, caller: PartyOrRoom, run: str) -> RunStatus:
    """Say how far a run is."""
    if isinstance(caller, Room):
        return parts.runs.own_status(caller.run)
    return parts.runs.status(caller, run)


@router.get("/{run}/bundle", responses=binary("application/json", "Offline bundle."))
def bundle(parts: Parts, caller: PartyOrRoom, run: str) -> Response:
    """Return the bundle of the run's contract."""
    with parts.context.database.read() as session:
        if isinstance(caller, Room):
            contract, reader = caller.contract, Reader.ROOM
        else:
            contract, reader = parts.runs.visible(session, caller, run).contract, Reader.PARTY
        content = contract_bundle(parts.context, session, contract, reader=reader)
    return Response(content, media_type="application/json")


@router.post("/{run}/access", status_code=201)
def access(parts: Parts, caller: Party, run: str) -> RunAccess:
    """Give the consumer the capability that its clean room needs; an earlier one ends."""
    return parts.runs.access(caller, run)


@router.post("/{run}/nonce", status_code=201)
def nonce(parts: Parts, caller: CleanRoom) -> NonceAnswer:
    """Give the clean room a challenge."""
    return parts.runs.nonce(caller.run)


@router.post("/{run}/release", openapi_extra=json_body(ReleaseRequest))
def release(parts: Parts, caller: CleanRoom, body: Json) -> Released:
    """Release the keys, wrapped to the attested clean room."""
    return release_keys(parts.context, caller.run, body)


@router.post("/{run}/progress", openapi_extra=json_body(Progress))
def tell(parts: Parts, caller: CleanRoom, body: Json) -> RunStatus:
    """Tell how far training is."""
    return parts.runs.progress(caller.run, body)


@router.get("/{run}/progress")
def progress(parts: Parts, caller: PartyOrRoom, run: str) -> RunStatus:
    """Say how far training is; the same as the run's status."""
    return status(parts, caller, run)


@router.post("/{run}/report", status_code=201, openapi_extra=json_body(ReportRequest))
def report(parts: Parts, caller: CleanRoom, body: Json) -> ReportAccepted:
    """Report what the clean room did; the budget is settled by it."""
    return accept_report(parts.context, caller.run, body)


@router.post("/{run}/abandon")
def abandon(parts: Parts, caller: Party, run: str) -> RunStatus:
    """Give up a run."""
    return parts.runs.abandon(caller, run)
