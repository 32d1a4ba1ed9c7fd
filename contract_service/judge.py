"""The record of every judgement: one for each decision, in the transaction of what it permits.

The ledger gets codes, places and digests; the reasons in words and what the decision was made from
stay with the service, for the parties of the contract and its auditors.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlmodel import Session, select

from contract_service.audit.record import Record
from contract_service.metrics import DECISIONS
from contract_service.policy.tables import DecisionRow
from policies.audit import SALT_BYTES
from policies.facts import AttestationFacts, ContractFacts
from policies.record import record as make_record
from policies.wire.contract import contract_urn
from policies.wire.decision import Decision, Reason

INPUT: Final = "decision-input"
"""Kind of the salt and the facts that a decision was made from."""


@dataclass(frozen=True)
class Judgement:
    """A decision that is owed to the ledger."""

    decision: Decision
    decision_id: str
    leaf: str
    """Leaf hash of its statement."""


def keep(
    session: Session,
    decision: Decision,
    facts: ContractFacts | AttestationFacts,
    *,
    record: Record,
    now: int,
    pipeline: str | None = None,
    run: str | None = None,
) -> Judgement:
    """Owe the ledger a decision and keep what it was made from, in the caller's transaction."""
    contract, decision_id = facts.contract.digest, new_id("dec")
    salt = secrets.token_bytes(SALT_BYTES)
    document = make_record(
        decision,
        facts,
        salt=salt,
        decision_id=decision_id,
        decided_at=now,
        pipeline=pipeline,
        run=run,
    )
    # What an auditor needs to make the decision again: the digest of these bytes is in the record.
    record.attach(session, salt + facts.canonical(), kind=INPUT, contract=contract)
    leaf = record.state(
        session, document, subject=contract_urn(contract), contract=contract, now=now
    )
    session.add(
        DecisionRow(
            id=decision_id,
            contract=contract,
            document=document.digest(),
            leaf_hash=leaf,
            reasons=_text(decision.reasons),
            warnings=_text(decision.warnings),
        )
    )
    outcome = "allow" if decision.allow else "deny"
    DECISIONS.labels(entrypoint=decision.entrypoint, outcome=outcome).inc()
    return Judgement(decision, decision_id, leaf)


def decision_of(session: Session, *, leaf: str) -> str:
    """Return the id of the decision whose statement has this leaf hash."""
    return session.exec(select(DecisionRow.id).where(DecisionRow.leaf_hash == leaf)).one()


def new_id(prefix: str) -> str:
    """Return a fresh id: the prefix, a dash and 26 characters of base32 in lower case."""
    text = base64.b32encode(secrets.token_bytes(16)).decode().rstrip("=").lower()
    return f"{prefix}-{text}"


def _text(reasons: Sequence[Reason]) -> str:
    return json.dumps([reason.to_json() for reason in reasons])
