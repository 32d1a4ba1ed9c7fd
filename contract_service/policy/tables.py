"""Decisions by id; what they say to everybody is in the document of their record."""

from __future__ import annotations

from sqlmodel import Field, SQLModel


class DecisionRow(SQLModel, table=True):
    """A decision."""

    __tablename__ = "decision"

    id: str = Field(primary_key=True)
    contract: str = Field(index=True)
    document: str = Field(foreign_key="document.digest")
    """Digest of its record."""
    leaf_hash: str = Field(unique=True)
    """Leaf hash of the statement about its record."""
    reasons: str
    """JSON of its reasons in words, which may name values of the input."""
    warnings: str
    """JSON of its warnings in words."""
