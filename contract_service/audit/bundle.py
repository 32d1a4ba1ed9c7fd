"""What an auditor and a clean room are given: all statements of a contract, and their documents."""

from __future__ import annotations

from sqlmodel import Session, select

from contract_service.audit.tables import AttachmentRow, DocumentRow
from contract_service.context import Context
from contract_service.judge import INPUT
from ledger.trust import log_subject
from policies.wire.contract import contract_urn


def contract_bundle(context: Context, session: Session, digest: str) -> bytes:
    """Return the offline bundle of a contract, everything at one checkpoint."""
    indexes = [0]
    for subject in (contract_urn(digest), log_subject(context.log.origin)):
        indexes += [entry.index for entry in context.log.entries(subject=subject)]
    query = select(DocumentRow).where(
        AttachmentRow.contract == digest, AttachmentRow.digest == DocumentRow.digest
    )
    rows = session.exec(query).all()
    documents = [row.content for row in rows if row.kind != INPUT]
    documents += [context.log.trust_document, *(each.manifest for each in context.judge.bundles)]
    inputs = {row.digest: row.content for row in rows if row.kind == INPUT}
    return context.log.bundle(indexes, documents=documents, inputs=inputs).encode()
