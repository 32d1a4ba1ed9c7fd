"""Policies that this service judges by, and the record of every judgement."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlmodel import Session

from contract_service.audit.record import Record
from policies.audit import SALT_BYTES
from policies.bundle import Bundle
from policies.decide import Policy
from policies.engine import PolicyEngine
from policies.errors import PolicyError
from policies.facts import AttestationFacts, ContractFacts
from policies.record import record as make_record
from policies.wire.contract import contract_urn
from policies.wire.decision import Decision

INPUT: Final = "decision-input"
"""Kind of the salt and the facts that a decision was made from."""


@dataclass(frozen=True)
class Judgement:
    """A decision that is owed to the ledger."""

    decision: Decision
    decision_id: str
    leaf: str
    """Leaf hash of its statement."""


class Judge:
    """The policies that contracts may name."""

    def __init__(self, bundles: Sequence[Bundle], engine: PolicyEngine) -> None:
        self._policies: Mapping[str, Policy] = {
            bundle.digest: Policy(bundle, engine) for bundle in bundles
        }

    @property
    def bundles(self) -> tuple[Bundle, ...]:
        """Return all policy bundles."""
        return tuple(policy.bundle for policy in self._policies.values())

    @property
    def digests(self) -> tuple[str, ...]:
        """Return the digests of all policy bundles."""
        return tuple(self._policies)

    def policy(self, digest: str) -> Policy:
        """Return the policy of a contract.

        Raises:
            PolicyError: if this service does not have it, which denies.
        """
        if digest not in self._policies:
            raise PolicyError(
                f"policy bundle: expected one of {list(self._policies)}, got {digest}",
                hint="the contract names a policy that this service no longer has",
            )
        return self._policies[digest]


def keep(
    session: Session,
    decision: Decision,
    facts: ContractFacts | AttestationFacts,
    *,
    record: Record,
    now: int,
    pipeline: str,
    run: str,
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
    return Judgement(decision, decision_id, leaf)


def new_id(prefix: str) -> str:
    """Return a fresh id: the prefix, a dash and 26 characters of base32 in lower case."""
    text = base64.b32encode(secrets.token_bytes(16)).decode().rstrip("=").lower()
    return f"{prefix}-{text}"
