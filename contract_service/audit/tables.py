"""Statements that were or will be registered, and the documents that they are about."""

from __future__ import annotations

from sqlalchemy import BigInteger
from sqlmodel import Field, SQLModel


class StatementRow(SQLModel, table=True):
    """A statement; owed to the ledger until it has an entry id."""

    __tablename__ = "statement"

    position: int | None = Field(default=None, primary_key=True)
    """Order in which statements are registered."""
    leaf_hash: str = Field(unique=True)
    kind: str = Field(index=True)
    subject: str = Field(index=True)
    issuer: str = Field(index=True)
    payload: str
    """Digest of the document."""
    issued_at: int = Field(sa_type=BigInteger)
    encoded: bytes
    entry_id: str | None = Field(default=None, index=True)
    receipt: bytes | None = None
    refused: str | None = None
    """Why the ledger will never take it; its issuer's certificate may have expired meanwhile."""


class DocumentRow(SQLModel, table=True):
    """A document, the text of a token or the input of a decision, by its digest."""

    __tablename__ = "document"

    digest: str = Field(primary_key=True)
    kind: str
    content: bytes


class AttachmentRow(SQLModel, table=True):
    """A document that belongs to a contract's bundle."""

    __tablename__ = "attachment"

    contract: str = Field(primary_key=True)
    digest: str = Field(primary_key=True, foreign_key="document.digest")
