"""Alembic's entry: runs the steps on the connection that `migrate` hands in, inside its transaction."""

from alembic import context

from trunkline.calls.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata)
context.run_migrations()
