"""How alembic reaches the ledger: over the connection that ``Ledger.migrate`` hands it.

That connection's transaction spans all migrations (SQLite too can undo DDL), so a failed upgrade changes nothing.
A new migration: raise ``SCHEMA_VERSION`` in ``store/schema.py`` and add ``versions/NNNN_what.py``; the test that
compares the two says when they differ.
"""

from alembic import context
from sqlmodel import SQLModel

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
