"""Policies that contracts may name, and decisions that were made by them."""

from __future__ import annotations

import json

from sqlmodel import Session, col, select

from clients.api.answers import DecisionAnswer, PolicyInfo, PolicyList
from contract_service.audit.tables import DocumentRow, StatementRow
from contract_service.auth import Caller
from contract_service.context import Context
from contract_service.contracts.service import Contracts
from contract_service.policy.tables import DecisionRow
from contract_service.problems import MissingError
from policies.bundle import Bundle
from policies.wire.decision import DecisionRecord, Reason


def policy_list(context: Context) -> PolicyList:
    """Return every policy that contracts may name, and where the log says so."""
    bundles = context.policies.bundles
    with context.database.read() as session:
        query = select(StatementRow).where(
            StatementRow.kind == "policy-bundle",
            StatementRow.issuer == context.record.issuer,
            col(StatementRow.payload).in_(list(bundles)),
        )
        entries = {row.payload: row.entry_id for row in session.exec(query)}
    ordered = sorted(bundles.values(), key=_by_version)
    return PolicyList(
        bundles=tuple(
            PolicyInfo(
                version=bundle.version,
                digest=bundle.digest,
                shipped=bundle.digest == context.policies.shipped.digest,
                entry_id=entries.get(bundle.digest),
            )
            for bundle in ordered
        )
    )


def policy_bundle(context: Context, digest: str) -> Bundle:
    """Return a policy bundle.

    Raises:
        MissingError: if no released bundle has this digest.
    """
    bundle = context.policies.bundles.get(digest)
    if bundle is None:
        raise MissingError("policy", digest)
    return bundle


def decision(
    context: Context, contracts: Contracts, caller: Caller, decision_id: str
) -> DecisionAnswer:
    """Return a decision under a contract of the caller, and where it is on the ledger.

    Raises:
        MissingError: to anybody else, as if there were none.
        UnavailableError: while the log cannot take it.
    """
    with context.database.read() as session:
        row = _visible(session, contracts, caller, decision_id)
        record = DecisionRecord.parse(session.get_one(DocumentRow, row.document).content)
    context.record.settle()
    (registered,) = context.record.registered([row.leaf_hash])
    return DecisionAnswer(
        record=record,
        registered=registered,
        reasons=_reasons(row.reasons),
        warnings=_reasons(row.warnings),
    )


def _visible(
    session: Session, contracts: Contracts, caller: Caller, decision_id: str
) -> DecisionRow:
    row = session.get(DecisionRow, decision_id)
    if row is None:
        raise MissingError("decision", decision_id)
    try:
        contracts.visible(session, caller, row.contract)
    except MissingError:
        raise MissingError("decision", decision_id) from None
    return row


def _reasons(text: str) -> tuple[Reason, ...]:
    return tuple(Reason.model_validate(item) for item in json.loads(text))


def _by_version(bundle: Bundle) -> tuple[list[int], str]:
    return [int(part) for part in bundle.version.split(".")], bundle.digest
