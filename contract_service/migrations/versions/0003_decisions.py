"""Decisions by id; what they permit names them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_ONCE = "uq_booking_decision_dataset"


def upgrade() -> None:
    """Add the table, and the decisions of contracts and bookings."""
    op.create_table(
        "decision",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("contract", sa.String(), nullable=False),
        sa.Column("document", sa.String(), nullable=False),
        sa.Column("leaf_hash", sa.String(), nullable=False),
        sa.Column("reasons", sa.String(), nullable=False),
        sa.Column("warnings", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["document"], ["document.digest"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("leaf_hash"),
    )
    op.create_index(op.f("ix_decision_contract"), "decision", ["contract"], unique=False)
    op.add_column("contract", sa.Column("decision_id", sa.String(), nullable=True))
    op.add_column("budget_booking", sa.Column("decision", sa.String(), nullable=True))
    # Of a booking of before, the decision that approved its run is the one that is known.
    op.execute(
        "UPDATE budget_booking SET decision = "
        "(SELECT decision_id FROM run WHERE run.id = budget_booking.run)"
    )
    with op.batch_alter_table("budget_booking") as table:
        table.alter_column("decision", existing_type=sa.String(), nullable=False)
        table.create_unique_constraint(_ONCE, ["decision", "dataset"])


def downgrade() -> None:
    """Drop them."""
    with op.batch_alter_table("budget_booking") as table:
        table.drop_constraint(_ONCE, type_="unique")
        table.drop_column("decision")
    with op.batch_alter_table("contract") as table:
        table.drop_column("decision_id")
    op.drop_index(op.f("ix_decision_contract"), table_name="decision")
    op.drop_table("decision")
