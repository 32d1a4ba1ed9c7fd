"""Providers' own rules: taken in once they are sound, and kept for the contracts that name them."""

from __future__ import annotations

from typing import Final

from sqlmodel import Session, func, select

from clients.api.answers import RulesTaken
from contract_service.audit.tables import AttachmentRow, DocumentRow
from contract_service.auth import Caller
from contract_service.context import Context
from contract_service.contracts.service import Contracts
from contract_service.database import insert_once
from contract_service.problems import ConflictError, MissingError
from contract_service.rules.tables import RulesRow
from policies.lint.party import checked_module
from policies.party import Module

KIND: Final = "party-rules"
"""Kind of the text of a module."""


def take(context: Context, caller: Caller, body: bytes) -> RulesTaken:
    """Take in a module; the same text is the same module, whoever brings it.

    Raises:
        DocumentError: naming everything that is wrong with it.
        ConflictError: if the caller has brought too many.
    """
    module = checked_module(body)
    row = RulesRow(
        digest=module.digest,
        name=module.name,
        uploaded_by=caller.did,
        uploaded_at=context.now,
    )
    with context.database.write() as session:
        if session.get(RulesRow, module.digest) is None:
            _check_room(session, caller, limit=context.settings.rules_limit)
            insert_once(session, DocumentRow(digest=module.digest, kind=KIND, content=body))
            insert_once(session, row)
    return _taken(module)


def text(context: Context, contracts: Contracts, caller: Caller, digest: str) -> bytes:
    """Return the text of a module, to who brought it and to parties of contracts that name it.

    Raises:
        MissingError: to anybody else, as if there were none.
    """
    with context.database.read() as session:
        row = session.get(RulesRow, digest)
        if row is None or not _is_visible(session, contracts, caller, row):
            raise MissingError("rules", digest)
        return session.get_one(DocumentRow, digest).content


def _is_visible(session: Session, contracts: Contracts, caller: Caller, row: RulesRow) -> bool:
    if row.uploaded_by == caller.did:
        return True
    naming = select(AttachmentRow.contract).where(AttachmentRow.digest == row.digest)
    return bool(contracts.visible_to(session, caller) & set(session.exec(naming).all()))


def _check_room(session: Session, caller: Caller, *, limit: int) -> None:
    query = select(func.count()).select_from(RulesRow).where(RulesRow.uploaded_by == caller.did)
    count = session.exec(query).one()
    if count >= limit:
        raise ConflictError(
            "too-many-rules",
            f"this party has uploaded {count} modules of rules, the limit is {limit}",
        )


def _taken(module: Module) -> RulesTaken:
    return RulesTaken(digest=module.digest, name=module.name, codes=tuple(sorted(module.codes)))
