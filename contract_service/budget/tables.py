"""What runs have reserved and spent, as mechanism events."""

from __future__ import annotations

from sqlalchemy import BigInteger
from sqlmodel import Field, SQLModel, UniqueConstraint


class LockRow(SQLModel, table=True):
    """One row that is locked while bookings change; the migration puts it in."""

    __tablename__ = "budget_lock"

    id: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})


class BookingRow(SQLModel, table=True):
    """What one run costs on one data set."""

    __tablename__ = "budget_booking"
    __table_args__ = (
        UniqueConstraint("run", "dataset", name="uq_booking_run_dataset"),
        UniqueConstraint("decision", "dataset", name="uq_booking_decision_dataset"),
    )

    id: int | None = Field(default=None, primary_key=True)
    run: str = Field(index=True)
    decision: str
    """Id of the decision that allowed the run's keys; what it permits is booked once."""
    contract: str
    dataset: str
    provider: str = Field(index=True)
    digest: str = Field(index=True)
    """Of the sealed file."""
    tdc: str = Field(index=True)
    state: str
    """reserved, settled or returned."""
    micro_epsilon: int = Field(sa_type=BigInteger)
    delta_trillionths: int = Field(sa_type=BigInteger)
    event: str
    """JSON of the `dp_accounting` event."""
    booked_at: int = Field(sa_type=BigInteger)
