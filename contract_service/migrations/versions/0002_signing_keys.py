"""When the key of each signature was valid, read from the statements that are there."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from ledger.statement import verify_statement

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_PARTY = sa.table(
    "contract_party",
    sa.column("contract", sa.String()),
    sa.column("position", sa.Integer()),
    sa.column("signature_leaf", sa.String()),
    sa.column("key_valid_from", sa.BigInteger()),
    sa.column("key_valid_until", sa.BigInteger()),
)
_STATEMENT = sa.table(
    "statement", sa.column("leaf_hash", sa.String()), sa.column("encoded", sa.LargeBinary())
)


def upgrade() -> None:
    """Add the period and fill it in for those who have signed."""
    op.add_column("contract_party", sa.Column("key_valid_from", sa.BigInteger(), nullable=True))
    op.add_column("contract_party", sa.Column("key_valid_until", sa.BigInteger(), nullable=True))
    connection = op.get_bind()
    signed = sa.select(_PARTY.c.contract, _PARTY.c.position, _STATEMENT.c.encoded).join(
        _STATEMENT, _STATEMENT.c.leaf_hash == _PARTY.c.signature_leaf
    )
    for contract, position, encoded in connection.execute(signed).all():
        period = verify_statement(encoded).key_validity
        connection.execute(
            sa.update(_PARTY)
            .where(_PARTY.c.contract == contract, _PARTY.c.position == position)
            .values(key_valid_from=period.starts_at, key_valid_until=period.ends_at)
        )


def downgrade() -> None:
    """Drop the period."""
    op.drop_column("contract_party", "key_valid_until")
    op.drop_column("contract_party", "key_valid_from")
