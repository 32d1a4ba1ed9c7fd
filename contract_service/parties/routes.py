"""Parties over HTTP."""

from __future__ import annotations

from fastapi import APIRouter

from clients.api.answers import PartyList
from contract_service.access import Parts, Party
from contract_service.openapi import PROBLEMS
from contract_service.parties.service import known_parties

router = APIRouter(prefix="/parties", tags=["parties"], responses=PROBLEMS)


@router.get("")
def parties(parts: Parts, caller: Party) -> PartyList:
    """List the parties that the caller shares a contract with."""
    return known_parties(parts.context, parts.contracts, caller)
