"""Rules that data providers bring, by the digest of their text."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "party_rules",
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("uploaded_by", sa.String(), nullable=False),
        sa.Column("uploaded_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["digest"], ["document.digest"]),
        sa.PrimaryKeyConstraint("digest"),
    )
    op.create_index(
        op.f("ix_party_rules_uploaded_by"), "party_rules", ["uploaded_by"], unique=False
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_index(op.f("ix_party_rules_uploaded_by"), table_name="party_rules")
    op.drop_table("party_rules")
