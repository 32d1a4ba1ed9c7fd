"""What an auditor and a clean room are given: all statements of a contract, and their documents."""

from __future__ import annotations

from enum import Enum

from sqlmodel import Session, select

from contract_service.audit.tables import AttachmentRow, DocumentRow
from contract_service.context import Context
from contract_service.judge import INPUT
from ledger.trust import log_subject
from policies.wire.contract import contract_urn


class Reader(Enum):
    """Who a bundle is for."""

    PARTY = "a party or an auditor, who may make decisions again"
    ROOM = "a clean room, which has no use for what decisions were made from"


def contract_bundle(context: Context, session: Session, digest: str, *, reader: Reader) -> bytes:
    """Return the offline bundle of a contract, everything at one checkpoint."""
    indexes = [0]
    for subject in (contract_urn(digest), log_subject(context.log.origin)):
        indexes += [entry.index for entry in context.log.entries(subject=subject)]
    query = select(DocumentRow).where(
        AttachmentRow.contract == digest, AttachmentRow.digest == DocumentRow.digest
    )
    rows = session.exec(query).all()
    documents = [row.content for row in rows if row.kind != INPUT]
    documents.append(context.log.trust_document)
    documents += [each.manifest for each in context.policies.bundles.values()]
    shown = rows if reader is Reader.PARTY else ()
    inputs = {row.digest: row.content for row in shown if row.kind == INPUT}
    return context.log.bundle(indexes, documents=documents, inputs=inputs).encode()
