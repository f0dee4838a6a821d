"""Alembic's entry point: run the revisions on the connection of `storefleet.database.migrate`."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"], transaction_per_migration=True
)
with context.begin_transaction():
    context.run_migrations()
