"""Budgets over HTTP."""

from __future__ import annotations

from fastapi import APIRouter
from sqlmodel import select

from clients.api.answers import BudgetList
from contract_service.access import Parts, Party
from contract_service.budget import service as budgets
from contract_service.contracts.tables import ContractDatasetRow
from contract_service.openapi import PROBLEMS
from contract_service.problems import MissingError
from contract_service.runs.agreement import contract_of

router = APIRouter(prefix="/datasets", tags=["budgets"], responses=PROBLEMS)


@router.get("/{digest}/budget")
def budget(parts: Parts, caller: Party, digest: str) -> BudgetList:
    """Say what has been spent of a data set, under each contract of the caller that lends it."""
    with parts.context.database.read() as session:
        mine = parts.contracts.visible_to(session, caller)
        query = select(ContractDatasetRow.contract).where(ContractDatasetRow.digest == digest)
        lending = sorted(mine & set(session.exec(query).all()))
        if not lending:
            raise MissingError("dataset", digest)
        contracts = [contract_of(session, item) for item in lending]
        return budgets.status(session, contracts, digest)
