"""Who may call a route, as FastAPI dependencies; what they may see is decided in the services."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlmodel import select

from contract_service.auth import Caller, authenticate
from contract_service.context import Context
from contract_service.contracts.service import Contracts
from contract_service.problems import ForbiddenError, MediaTypeError, UnauthenticatedError
from contract_service.runs.service import CAPABILITY, Runs, capability_hash
from contract_service.runs.tables import RunRow

_BEARER = HTTPBearer(
    auto_error=False,
    description="A party's own JWT (ES256 with x5c, for one request), or a run's capability.",
)


@dataclass(frozen=True)
class Room:
    """A clean room that holds the capability of one run."""

    run: str
    contract: str


@dataclass(frozen=True)
class Services:
    """The parts of the service that routes call."""

    context: Context
    contracts: Contracts
    runs: Runs


def services(request: Request) -> Services:
    """Return the parts of the service."""
    found: Services = request.app.state.services
    return found


Parts = Annotated[Services, Depends(services)]
Bearer = Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]


def caller(request: Request, parts: Parts, bearer: Bearer) -> Caller:
    """Return the party that calls.

    Raises:
        UnauthenticatedError: if it does not prove who it is.
        ForbiddenError: if it is a clean room.
    """
    token = _token(bearer)
    if token.startswith(CAPABILITY):
        raise ForbiddenError("party-needed", "this is for parties, not for clean rooms")
    found = authenticate(
        token,
        database=parts.context.database,
        audience=parts.context.settings.origin,
        now=parts.context.now,
    )
    request.scope["depa.caller"] = found.did
    return found


def room(request: Request, run: str, parts: Parts, bearer: Bearer) -> Room:
    """Return the clean room that calls for its own run.

    Raises:
        UnauthenticatedError: if the capability is not one, or over.
        ForbiddenError: if it is of another run, or a party calls.
    """
    found = _room(parts, _token(bearer))
    if found.run != run:
        raise ForbiddenError("other-run", "this capability is for another run")
    request.scope["depa.caller"] = found.run
    return found


def caller_or_room(request: Request, run: str, parts: Parts, bearer: Bearer) -> Caller | Room:
    """Return the party or the clean room that calls."""
    if _token(bearer).startswith(CAPABILITY):
        return room(request, run, parts, bearer)
    return caller(request, parts, bearer)


def body_of(media_type: str) -> Callable[[Request], Awaitable[bytes]]:
    """Return a dependency that reads a body of this media type, whole."""

    async def read(request: Request) -> bytes:
        got = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if got != media_type:
            raise MediaTypeError("media-type", f"expected {media_type}, got {got[:80] or 'none'}")
        return await request.body()

    return read


def _room(parts: Services, token: str) -> Room:
    if not token.startswith(CAPABILITY):
        raise ForbiddenError("room-needed", "this is for clean rooms, not for parties")
    with parts.context.database.read() as session:
        query = select(RunRow).where(RunRow.access_hash == capability_hash(token))
        row = session.exec(query).first()
    if row is None or row.access_until is None or parts.context.now >= row.access_until:
        raise UnauthenticatedError("capability-unknown", "this capability is not one, or is over")
    return Room(run=row.id, contract=row.contract)


def _token(bearer: HTTPAuthorizationCredentials | None) -> str:
    if bearer is None or not bearer.credentials:
        raise UnauthenticatedError("token-missing", "a bearer token is needed")
    return bearer.credentials


Party = Annotated[Caller, Depends(caller)]
CleanRoom = Annotated[Room, Depends(room)]
PartyOrRoom = Annotated[Caller | Room, Depends(caller_or_room)]
Json = Annotated[bytes, Depends(body_of("application/json"))]
Cose = Annotated[bytes, Depends(body_of("application/cose"))]
