"""Cursors and counters belong to a unit, as several units share a ledger; who was given up is kept with the cursor.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    old = sa.table("cursors", *map(sa.column, ("relay", "segment", "offset", "lsn")))
    kept = [dict(row) for row in op.get_bind().execute(sa.select(old)).mappings()]
    op.drop_table("cursors")
    cursors = op.create_table(
        "cursors",
        sa.Column("unit", sa.String(), primary_key=True),
        sa.Column("relay", sa.String(), primary_key=True),
        sa.Column("segment", sa.BigInteger(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("lsn", sa.BigInteger(), nullable=False),
        sa.Column("given_up", sa.String()),
    )
    # Whose they are is for the meters to find out, by the calls in their journals: ``Ledger.adopt_cursors``.
    op.bulk_insert(cursors, [{"unit": "", "given_up": None, **cursor} for cursor in kept])
    op.drop_table("counter_state")  # nobody has written it yet
    op.create_table(
        "counter_state",
        sa.Column("unit", sa.String(), primary_key=True),
        sa.Column("name", sa.String(), primary_key=True),
        sa.Column("labels", sa.String(), primary_key=True),
        sa.Column("value", sa.BigInteger(), nullable=False),
    )
