"""Contracts and who has to sign them. What a contract says is in its document alone."""

from __future__ import annotations

from sqlalchemy import BigInteger
from sqlmodel import Field, SQLModel


class ContractRow(SQLModel, table=True):
    """A contract, for lists; `state` is derived from these columns and the clock."""

    __tablename__ = "contract"

    digest: str = Field(primary_key=True)
    id: str = Field(index=True)
    title: str
    tdc: str = Field(index=True)
    starts_at: int = Field(sa_type=BigInteger)
    expires_at: int = Field(sa_type=BigInteger)
    proposed_at: int = Field(sa_type=BigInteger)
    executed_leaf: str | None = None
    """Leaf hash of the statement that all have signed."""
    decision_id: str | None = None
    """Id of the decision that allowed it to be executed."""
    revoked_by: str | None = None


class ContractPartyRow(SQLModel, table=True):
    """One party of a contract."""

    __tablename__ = "contract_party"

    contract: str = Field(primary_key=True, foreign_key="contract.digest")
    position: int = Field(primary_key=True)
    """Place among the contract's parties."""
    role: str
    did: str = Field(index=True)
    name: str
    signature_leaf: str | None = None
    """Leaf hash of its signature statement."""
    signed_at: int | None = Field(default=None, sa_type=BigInteger)
    key_valid_from: int | None = Field(default=None, sa_type=BigInteger)
    key_valid_until: int | None = Field(default=None, sa_type=BigInteger)
    """When the certificates of the key that signed are valid."""


class ContractDatasetRow(SQLModel, table=True):
    """A data set of a contract, to find budgets by."""

    __tablename__ = "contract_dataset"

    contract: str = Field(primary_key=True, foreign_key="contract.digest")
    dataset: str = Field(primary_key=True)
    digest: str = Field(index=True)
    provider: str
