"""Runs, their nonces and how far they are."""

from __future__ import annotations

from sqlalchemy import BigInteger
from sqlmodel import Field, SQLModel


class RunRow(SQLModel, table=True):
    """A run."""

    __tablename__ = "run"

    id: str = Field(primary_key=True)
    name: str
    contract: str = Field(index=True, foreign_key="contract.digest")
    pipeline: str
    tdc: str = Field(index=True)
    state: str = Field(index=True)
    decision_id: str
    reasons: str = "[]"
    """JSON of the reasons that it was denied for."""
    submitted_at: int = Field(sa_type=BigInteger)
    changed_at: int = Field(sa_type=BigInteger)
    expires_at: int | None = Field(default=None, sa_type=BigInteger)
    """Until when the approval may be used."""
    approval: str | None = None
    """Digest of the approval document."""
    access_hash: str | None = Field(default=None, index=True)
    """SHA-256 of the clean room's capability."""
    access_until: int | None = Field(default=None, sa_type=BigInteger)
    token: str | None = None
    """Digest of the attestation token that the release began with."""
    report_key: str | None = None
    """did:jwk that has to sign the run report; attested."""
    host_data: str | None = None
    measurement: str | None = None
    vault_asked_at: int | None = Field(default=None, sa_type=BigInteger)
    """Set before any vault is asked; a reservation is never returned after."""
    deadline: int | None = Field(default=None, sa_type=BigInteger)
    progress: str | None = None
    """JSON of the last progress that the clean room told."""
    release_leaves: str | None = None
    """JSON of the leaf hashes of decision, booking and release."""
    refusals: int = 0
    """Releases that were refused."""
    report_leaf: str | None = None
    """Leaf hash of the run report's statement."""
    spent: str | None = None
    """JSON of what the report says was spent."""
    model: str | None = None
    model_url: str | None = None
    message: str | None = None


class NonceRow(SQLModel, table=True):
    """A challenge that was given to a clean room."""

    __tablename__ = "nonce"

    digest: str = Field(primary_key=True)
    """SHA-256 of the nonce's text."""
    run: str = Field(index=True, foreign_key="run.id")
    expires_at: int = Field(sa_type=BigInteger)
    token: str | None = None
    """Digest of the token that used it up."""
