"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "budget_booking",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run", sa.String(), nullable=False),
        sa.Column("contract", sa.String(), nullable=False),
        sa.Column("dataset", sa.String(), nullable=False),
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("tdc", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("micro_epsilon", sa.BigInteger(), nullable=False),
        sa.Column("delta_trillionths", sa.BigInteger(), nullable=False),
        sa.Column("event", sa.String(), nullable=False),
        sa.Column("booked_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("run", "dataset", name="uq_booking_run_dataset"),
    )
    op.create_index(op.f("ix_budget_booking_digest"), "budget_booking", ["digest"], unique=False)
    op.create_index(
        op.f("ix_budget_booking_provider"), "budget_booking", ["provider"], unique=False
    )
    op.create_index(op.f("ix_budget_booking_run"), "budget_booking", ["run"], unique=False)
    op.create_index(op.f("ix_budget_booking_tdc"), "budget_booking", ["tdc"], unique=False)
    op.create_table(
        "budget_lock",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "contract",
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("tdc", sa.String(), nullable=False),
        sa.Column("starts_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("proposed_at", sa.BigInteger(), nullable=False),
        sa.Column("executed_leaf", sa.String(), nullable=True),
        sa.Column("revoked_by", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("digest"),
    )
    op.create_index(op.f("ix_contract_id"), "contract", ["id"], unique=False)
    op.create_index(op.f("ix_contract_tdc"), "contract", ["tdc"], unique=False)
    op.create_table(
        "document",
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("digest"),
    )
    op.create_table(
        "party",
        sa.Column("did", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("first_seen_at", sa.BigInteger(), nullable=False),
        sa.Column("last_seen_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("did"),
    )
    op.create_table(
        "statement",
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("leaf_hash", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("issuer", sa.String(), nullable=False),
        sa.Column("payload", sa.String(), nullable=False),
        sa.Column("issued_at", sa.BigInteger(), nullable=False),
        sa.Column("encoded", sa.LargeBinary(), nullable=False),
        sa.Column("entry_id", sa.String(), nullable=True),
        sa.Column("receipt", sa.LargeBinary(), nullable=True),
        sa.Column("refused", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("position"),
        sa.UniqueConstraint("leaf_hash"),
    )
    op.create_index(op.f("ix_statement_entry_id"), "statement", ["entry_id"], unique=False)
    op.create_index(op.f("ix_statement_issuer"), "statement", ["issuer"], unique=False)
    op.create_index(op.f("ix_statement_kind"), "statement", ["kind"], unique=False)
    op.create_index(op.f("ix_statement_subject"), "statement", ["subject"], unique=False)
    op.create_table(
        "used_token",
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest"),
    )
    op.create_index(op.f("ix_used_token_expires_at"), "used_token", ["expires_at"], unique=False)
    op.create_table(
        "attachment",
        sa.Column("contract", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["digest"],
            ["document.digest"],
        ),
        sa.PrimaryKeyConstraint("contract", "digest"),
    )
    op.create_table(
        "contract_dataset",
        sa.Column("contract", sa.String(), nullable=False),
        sa.Column("dataset", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("provider", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["contract"],
            ["contract.digest"],
        ),
        sa.PrimaryKeyConstraint("contract", "dataset"),
    )
    op.create_index(
        op.f("ix_contract_dataset_digest"), "contract_dataset", ["digest"], unique=False
    )
    op.create_table(
        "contract_party",
        sa.Column("contract", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("did", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("signature_leaf", sa.String(), nullable=True),
        sa.Column("signed_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["contract"],
            ["contract.digest"],
        ),
        sa.PrimaryKeyConstraint("contract", "position"),
    )
    op.create_index(op.f("ix_contract_party_did"), "contract_party", ["did"], unique=False)
    op.create_table(
        "run",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("contract", sa.String(), nullable=False),
        sa.Column("pipeline", sa.String(), nullable=False),
        sa.Column("tdc", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("decision_id", sa.String(), nullable=False),
        sa.Column("reasons", sa.String(), nullable=False),
        sa.Column("submitted_at", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("approval", sa.String(), nullable=True),
        sa.Column("access_hash", sa.String(), nullable=True),
        sa.Column("access_until", sa.BigInteger(), nullable=True),
        sa.Column("token", sa.String(), nullable=True),
        sa.Column("report_key", sa.String(), nullable=True),
        sa.Column("host_data", sa.String(), nullable=True),
        sa.Column("measurement", sa.String(), nullable=True),
        sa.Column("vault_asked_at", sa.BigInteger(), nullable=True),
        sa.Column("deadline", sa.BigInteger(), nullable=True),
        sa.Column("progress", sa.String(), nullable=True),
        sa.Column("release_leaves", sa.String(), nullable=True),
        sa.Column("refusals", sa.Integer(), nullable=False),
        sa.Column("report_leaf", sa.String(), nullable=True),
        sa.Column("spent", sa.String(), nullable=True),
        sa.Column("model", sa.String(), nullable=True),
        sa.Column("model_url", sa.String(), nullable=True),
        sa.Column("message", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ["contract"],
            ["contract.digest"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_run_access_hash"), "run", ["access_hash"], unique=False)
    op.create_index(op.f("ix_run_contract"), "run", ["contract"], unique=False)
    op.create_index(op.f("ix_run_state"), "run", ["state"], unique=False)
    op.create_index(op.f("ix_run_tdc"), "run", ["tdc"], unique=False)
    op.create_table(
        "nonce",
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("run", sa.String(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("token", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ["run"],
            ["run.id"],
        ),
        sa.PrimaryKeyConstraint("digest"),
    )
    op.create_index(op.f("ix_nonce_run"), "nonce", ["run"], unique=False)
    op.bulk_insert(sa.table("budget_lock", sa.column("id", sa.Integer)), [{"id": 1}])


def downgrade() -> None:
    """Drop every table."""
    op.drop_index(op.f("ix_nonce_run"), table_name="nonce")
    op.drop_table("nonce")
    op.drop_index(op.f("ix_run_tdc"), table_name="run")
    op.drop_index(op.f("ix_run_state"), table_name="run")
    op.drop_index(op.f("ix_run_contract"), table_name="run")
    op.drop_index(op.f("ix_run_access_hash"), table_name="run")
    op.drop_table("run")
    op.drop_index(op.f("ix_contract_party_did"), table_name="contract_party")
    op.drop_table("contract_party")
    op.drop_index(op.f("ix_contract_dataset_digest"), table_name="contract_dataset")
    op.drop_table("contract_dataset")
    op.drop_table("attachment")
    op.drop_index(op.f("ix_used_token_expires_at"), table_name="used_token")
    op.drop_table("used_token")
    op.drop_index(op.f("ix_statement_subject"), table_name="statement")
    op.drop_index(op.f("ix_statement_kind"), table_name="statement")
    op.drop_index(op.f("ix_statement_issuer"), table_name="statement")
    op.drop_index(op.f("ix_statement_entry_id"), table_name="statement")
    op.drop_table("statement")
    op.drop_table("party")
    op.drop_table("document")
    op.drop_index(op.f("ix_contract_tdc"), table_name="contract")
    op.drop_index(op.f("ix_contract_id"), table_name="contract")
    op.drop_table("contract")
    op.drop_table("budget_lock")
    op.drop_index(op.f("ix_budget_booking_tdc"), table_name="budget_booking")
    op.drop_index(op.f("ix_budget_booking_run"), table_name="budget_booking")
    op.drop_index(op.f("ix_budget_booking_provider"), table_name="budget_booking")
    op.drop_index(op.f("ix_budget_booking_digest"), table_name="budget_booking")
    op.drop_table("budget_booking")
