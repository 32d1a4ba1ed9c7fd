"""A party's signature: taken in, and with the last one the contract is executed or denied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlmodel import Session

from contract_service.audit.tables import DocumentRow
from contract_service.context import Context
from contract_service.contracts.rows import locked, parties_of, signatures_of
from contract_service.contracts.state import contract_state, missing
from contract_service.contracts.tables import ContractPartyRow, ContractRow
from contract_service.judge import Judgement, keep
from contract_service.problems import ConflictError, ForbiddenError
from contract_service.rules.agreed import policy_of
from ledger.statement import Statement
from policies.facts import ContractFacts, Signed, contract_facts
from policies.wire.contract import Contract, contract_urn
from policies.wire.decision import Decision
from policies.wire.run import Executed


@dataclass(frozen=True)
class Taken:
    """A signature that is owed to the ledger, or a denial that is."""

    leaf: str
    """Leaf hash of the party's signature; empty if it was not taken in."""
    denied: Judgement | None = None
    """The decision that the contract does not hold."""


def take(context: Context, session: Session, statement: Statement, *, digest: str) -> Taken:
    """Take in a verified signature over a contract.

    The last one is judged before it is taken in: what all parties have signed is executed in the
    same transaction, and a contract that does not hold stays without it.

    Raises:
        ForbiddenError: if its issuer is no party of the contract.
        ConflictError: if the contract is expired or revoked.
    """
    row = locked(session, digest)
    parties = parties_of(session, digest)
    mine = [party for party in parties if party.did == statement.issuer]
    if not mine:
        raise ForbiddenError("not-a-party", "the statement's issuer is no party of it")
    if mine[0].signature_leaf is not None:
        return Taken(mine[0].signature_leaf)
    _check_open(row, parties, now=context.now)
    if missing(parties) != (statement.issuer,):
        return Taken(_take_in(context, session, mine, statement))
    decision, facts = _ask(context, session, row, parties, last=statement)
    leaf = _take_in(context, session, mine, statement) if decision.allow else ""
    judgement = keep(session, decision, facts, record=context.record, now=context.now)
    if not decision.allow:
        return Taken("", judgement)
    _execute(context, session, row, parties, judgement)
    return Taken(leaf)


def _take_in(
    context: Context,
    session: Session,
    mine: Sequence[ContractPartyRow],
    statement: Statement,
) -> str:
    leaf, period = context.record.owe(session, statement), statement.key_validity
    for party in mine:
        party.signature_leaf, party.signed_at = leaf, statement.issued_at
        party.key_valid_from, party.key_valid_until = period.starts_at, period.ends_at
        session.add(party)
    return leaf


def _ask(
    context: Context,
    session: Session,
    row: ContractRow,
    parties: Sequence[ContractPartyRow],
    *,
    last: Statement,
) -> tuple[Decision, ContractFacts]:
    contract = Contract.parse(session.get_one(DocumentRow, row.digest).content)
    facts = contract_facts(
        contract,
        signatures={**signatures_of(parties), last.issuer: Signed.by(last)},
        executed=False,
        revoked_by=(),
        # A contract is signed ahead of its window; whether it holds is asked of its first moment.
        now=max(context.now, row.starts_at),
    )
    return policy_of(context, session, contract).contract(facts), facts


def _execute(
    context: Context,
    session: Session,
    row: ContractRow,
    parties: Sequence[ContractPartyRow],
    judgement: Judgement,
) -> None:
    document = Executed(
        contract=row.digest,
        decision=judgement.decision_id,
        signatures=tuple(party.signature_leaf or "" for party in parties),
        executed_at=context.now,
    )
    row.decision_id = judgement.decision_id
    row.executed_leaf = context.record.state(
        session, document, subject=contract_urn(row.digest), contract=row.digest, now=context.now
    )
    session.add(row)


def _check_open(row: ContractRow, parties: Sequence[ContractPartyRow], *, now: int) -> None:
    state = contract_state(row, parties, now=now)
    if state in {"expired", "revoked"}:
        raise ConflictError(f"contract-{state}", f"the contract is {state}; it cannot be signed")
