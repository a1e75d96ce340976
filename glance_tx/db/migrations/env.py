"""
Run by Alembic, once for each command: `glance_tx.db.migrate` has put the connection in the configuration.
"""

from __future__ import annotations

from alembic import context

from glance_tx.db.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
