"""Alembic's entry for the history of messages. The connection, and its transaction, are the caller's."""

from alembic import context

from push_core.sql import tables
from push_core.sql.migrate import version_table

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=tables.MESSAGES,
    version_table=version_table("messages"),
)
context.run_migrations()
