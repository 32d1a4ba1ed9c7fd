"""The providers' rules that a contract names: there when it is proposed, and asked ever after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sqlmodel import Session, col, select

from contract_service.audit.tables import AttachmentRow, DocumentRow
from contract_service.context import Context
from contract_service.database import insert_once
from contract_service.rules.tables import RulesRow
from policies.decide import Policy
from policies.errors import DocumentError, Problem
from policies.wire.contract import Contract


def attach_rules(session: Session, contract: Contract) -> None:
    """Keep the rules that a contract names for its bundle.

    Raises:
        DocumentError: naming those that this service does not have.
    """
    problems = list(_absent(session, contract))
    if problems:
        raise DocumentError(Contract.kind, problems)
    digest = contract.digest()
    for rule in contract.policy.party_rules or ():
        insert_once(session, AttachmentRow(contract=digest, digest=rule.digest))


def policy_of(context: Context, session: Session, contract: Contract) -> Policy:
    """Return the policy that judges a contract, with the rules that its providers add."""
    rules = _rules_of(session, contract)
    return context.policies.of(contract.policy.digest).with_rules(rules)


def _rules_of(session: Session, contract: Contract) -> Mapping[str, bytes]:
    digests = [rule.digest for rule in contract.policy.party_rules or ()]
    if not digests:
        return {}
    query = select(DocumentRow).where(col(DocumentRow.digest).in_(digests))
    return {row.digest: row.content for row in session.exec(query)}


def _absent(session: Session, contract: Contract) -> Iterator[Problem]:
    for index, rule in enumerate(contract.policy.party_rules or ()):
        at = f"/policy/partyRules/{index}"
        known = session.get(RulesRow, rule.digest)
        if known is None:
            hint = "upload them first; depa contract propose does so if it has their text"
            yield Problem(f"{at}/digest", "names rules that this service does not have", hint)
        elif known.name != rule.name:
            yield Problem(f"{at}/name", f"is not {known.name}, as these rules are called")
