"""Who has been seen, and which tokens were used."""

from __future__ import annotations

from sqlalchemy import BigInteger
from sqlmodel import Field, SQLModel


class PartyRow(SQLModel, table=True):
    """A party that has identified itself with its certificate chain."""

    __tablename__ = "party"

    did: str = Field(primary_key=True)
    name: str
    """Organisation or common name of the leaf certificate."""
    first_seen_at: int = Field(sa_type=BigInteger)
    last_seen_at: int = Field(sa_type=BigInteger)


class UsedTokenRow(SQLModel, table=True):
    """The id of a token that was presented; its second use is refused."""

    __tablename__ = "used_token"

    digest: str = Field(primary_key=True)
    """SHA-256 of issuer and `jti`."""
    expires_at: int = Field(index=True, sa_type=BigInteger)
