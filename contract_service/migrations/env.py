"""How alembic reaches the service's tables; called by `contract_service.database`."""

from __future__ import annotations

from alembic import context

from contract_service.schema import METADATA

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=METADATA, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
