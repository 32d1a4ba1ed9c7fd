"""The log over HTTP: what anyone may read, what parties may search, and registration (SCRAPI).

Entries hold signers, subjects and hashes; the documents behind them are for the parties.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from clients.api.answers import StatementList
from contract_service.access import Cose, Parts, Party
from contract_service.audit import entries
from contract_service.openapi import COSE, binary, cose_body

router = APIRouter(tags=["log"])
_STATEMENT = "application/scitt-statement+cose"
_RECEIPT = "application/scitt-receipt+cose"


@router.get("/log.json", responses=binary("application/json", "Trust document."))
def trust(parts: Parts) -> Response:
    """Return the certificates by which the log is trusted, under a root that is known elsewhere."""
    return Response(parts.context.log.trust_document, media_type="application/json")


@router.get("/checkpoint", responses=binary("text/plain", "C2SP signed note."))
def checkpoint(parts: Parts) -> Response:
    """Return the signed size and root of the log."""
    return Response(parts.context.log.checkpoint(), media_type="text/plain; charset=utf-8")


@router.get("/.well-known/scitt-keys", responses=binary("application/cbor", "COSE Key Set."))
def keys(parts: Parts) -> Response:
    """Return the keys that sign receipts."""
    return Response(entries.key_set(parts.context), media_type="application/cbor")


@router.get("/.well-known/scitt-keys/{kid}", responses=binary("application/cbor", "COSE Key."))
def key(parts: Parts, kid: str) -> Response:
    """Return one key that signs receipts, by its thumbprint."""
    return Response(entries.one_key(parts.context, kid), media_type="application/cbor")


@router.post(
    "/entries",
    status_code=201,
    openapi_extra=cose_body(),
    responses={201: {"description": "Receipt.", "content": {COSE: {}}}},
)
def register(parts: Parts, body: Cose) -> Response:
    """Register a party's signature statement and return its receipt."""
    registered, receipt = entries.register(parts.contracts, body)
    location = f"{parts.context.settings.origin}/entries/{registered.entry_id}"
    return Response(receipt, status_code=201, media_type=COSE, headers={"Location": location})


@router.get("/entries")
def search(
    parts: Parts,
    caller: Party,
    *,
    subject: Annotated[str | None, Query(max_length=2048)] = None,
    kind: Annotated[str | None, Query(max_length=64)] = None,
    issuer: Annotated[str | None, Query(max_length=2048)] = None,
    start: Annotated[int, Query(ge=0, le=2**53)] = 0,
) -> StatementList:
    """Search statements, oldest first, at most a thousand; the index in the last one continues."""
    return entries.find(
        parts.context,
        parts.contracts,
        caller,
        subject=subject,
        kind=kind,
        issuer=issuer,
        start=start,
    )


@router.get("/entries/{entry_id}", responses=binary(COSE, "Receipt."))
def receipt_of_entry(parts: Parts, entry_id: str) -> Response:
    """Return the receipt of an entry, as SCRAPI has it."""
    return receipt(parts, entry_id)


@router.get("/entries/{entry_id}/receipt", responses=binary(_RECEIPT, "Receipt."))
def receipt(parts: Parts, entry_id: str) -> Response:
    """Return the receipt of an entry."""
    content = parts.context.log.receipt(entries.entry_index(entry_id))
    return Response(content, media_type=_RECEIPT)


@router.get("/entries/{entry_id}/statement", responses=binary(_STATEMENT, "Statement."))
def statement(parts: Parts, entry_id: str) -> Response:
    """Return the signed statement of an entry."""
    content = parts.context.log.entry(entries.entry_index(entry_id)).encoded
    return Response(content, media_type=_STATEMENT)
