"""The contract of a run and what has been agreed under it, as the policies see it."""

from __future__ import annotations

from sqlmodel import Session

from contract_service.audit.tables import DocumentRow
from contract_service.contracts.rows import parties_of, signatures_of
from contract_service.contracts.tables import ContractRow
from contract_service.runs.tables import RunRow
from policies.facts import ContractFacts, contract_facts
from policies.wire.contract import Contract
from policies.wire.pipeline import Pipeline
from policies.wire.run import Approval


def contract_of(session: Session, digest: str) -> Contract:
    """Return the document of a contract that was taken in."""
    return Contract.parse(session.get_one(DocumentRow, digest).content)


def pipeline_of(session: Session, digest: str) -> Pipeline:
    """Return the document of a pipeline that was judged."""
    return Pipeline.parse(session.get_one(DocumentRow, digest).content)


def approval_of(session: Session, run: RunRow) -> Approval | None:
    """Return the approval of a run, if it has one."""
    if run.approval is None:
        return None
    return Approval.parse(session.get_one(DocumentRow, run.approval).content)


def agreement_of(session: Session, contract: Contract, *, now: int) -> ContractFacts:
    """Return the facts about a contract: its terms, who has signed, and what happened since."""
    digest = contract.digest()
    row = session.get_one(ContractRow, digest)
    return contract_facts(
        contract,
        signatures=signatures_of(parties_of(session, digest)),
        executed=row.executed_leaf is not None,
        revoked_by=() if row.revoked_by is None else (row.revoked_by,),
        now=now,
    )
