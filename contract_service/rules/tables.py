"""Rules of data providers, which contracts name by digest; their text is a document."""

from __future__ import annotations

from sqlalchemy import BigInteger
from sqlmodel import Field, SQLModel


class RulesRow(SQLModel, table=True):
    """One module of rules."""

    __tablename__ = "party_rules"

    digest: str = Field(primary_key=True, foreign_key="document.digest")
    name: str
    """Last part of its package's name."""
    uploaded_by: str = Field(index=True)
    uploaded_at: int = Field(sa_type=BigInteger)
