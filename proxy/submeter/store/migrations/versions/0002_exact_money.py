"""What a row needs to be settled again, two token classes, fees; versions of costs, which call_costs follows.

Revision ID: 0002
Revises: 0001
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DROP VIEW call_costs")
    for column in _new_columns():
        op.add_column("calls", column)
    op.execute(_FILL)
    op.create_table(
        "cost_versions",
        sa.Column("version", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("created_at_ns", sa.BigInteger(), nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("price_snapshot", sa.String()),
        sa.Column("since_ns", sa.BigInteger()),
        sa.Column("until_ns", sa.BigInteger()),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.Column("selected", sa.Boolean(), nullable=False),
    )
    op.create_index(
        "ux_cost_versions_selected",
        "cost_versions",
        ["selected"],
        unique=True,
        sqlite_where=sa.text("selected"),
        postgresql_where=sa.text("selected"),
    )
    op.create_table(
        "versioned_costs",
        sa.Column("version", sa.Integer(), primary_key=True),
        sa.Column("call_id", sa.String(), primary_key=True),
        sa.Column("attempt", sa.Integer(), primary_key=True),
        sa.Column("cost_nano_usd", sa.BigInteger()),
        sa.Column("cost_state", sa.String(), nullable=False),
        sa.Column("cost_low_nano_usd", sa.BigInteger()),
        sa.Column("cost_high_nano_usd", sa.BigInteger()),
        sa.Column("part_input_uncached_nano_usd", sa.BigInteger()),
        sa.Column("part_cached_read_nano_usd", sa.BigInteger()),
        sa.Column("part_cache_write_nano_usd", sa.BigInteger()),
        sa.Column("part_cache_write_5m_nano_usd", sa.BigInteger()),
        sa.Column("part_cache_write_30m_nano_usd", sa.BigInteger()),
        sa.Column("part_cache_write_1h_nano_usd", sa.BigInteger()),
        sa.Column("part_cache_write_12h_nano_usd", sa.BigInteger()),
        sa.Column("part_input_audio_nano_usd", sa.BigInteger()),
        sa.Column("part_input_image_nano_usd", sa.BigInteger()),
        sa.Column("part_output_text_nano_usd", sa.BigInteger()),
        sa.Column("part_reasoning_nano_usd", sa.BigInteger()),
        sa.Column("part_output_audio_nano_usd", sa.BigInteger()),
        sa.Column("part_cached_audio_nano_usd", sa.BigInteger()),
        sa.Column("part_output_image_nano_usd", sa.BigInteger()),
        sa.Column("fees_nano_usd", sa.BigInteger()),
        sa.Column("saved_nano_usd", sa.BigInteger()),
        sa.Column("price_snapshot", sa.String()),
        sa.Column("price_model", sa.String()),
        sa.Column("price_rule", sa.String()),
        sqlite_with_rowid=False,
    )
    op.execute(_call_costs(op.get_bind().dialect.name))


def _new_columns() -> list[sa.Column[Any]]:
    """Defaults only where rows that are there could not do without: adding a column then rewrites no row."""
    return [
        sa.Column("service_tier_requested", sa.String()),
        sa.Column("part_cached_audio_tokens", sa.BigInteger()),
        sa.Column("part_output_image_tokens", sa.BigInteger()),
        sa.Column("tokenizer", sa.String()),
        sa.Column("input_reported", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("output_tokens_low", sa.BigInteger()),
        sa.Column("output_bytes", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        sa.Column("refers_elsewhere", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("refused", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("part_cached_audio_nano_usd", sa.BigInteger()),
        sa.Column("part_output_image_nano_usd", sa.BigInteger()),
        sa.Column("web_searches", sa.BigInteger()),
        sa.Column("fees_nano_usd", sa.BigInteger()),
        sa.Column("price_rule", sa.String()),
        sa.Column("region", sa.String()),
    ]


# A call that has classes has all of them: the two new ones are 0 where the others are known.
_FILL = """
UPDATE calls SET
  input_reported = (usage_source = 'provider'),
  part_cached_audio_tokens = CASE WHEN part_input_uncached_tokens IS NOT NULL THEN 0 END,
  part_output_image_tokens = CASE WHEN part_input_uncached_tokens IS NOT NULL THEN 0 END,
  part_cached_audio_nano_usd = CASE WHEN part_input_uncached_nano_usd IS NOT NULL THEN 0 END,
  part_output_image_nano_usd = CASE WHEN part_input_uncached_nano_usd IS NOT NULL THEN 0 END
"""


def _call_costs(dialect: str) -> str:
    """Dollars of the selected version, for people and Grafana: exact decimals on Postgres; on SQLite, which has
    none, the nearest double. Sums that must be exact are made of the integer columns.
    """
    if dialect == "postgresql":
        started_at = "to_timestamp(started_at_ns / 1e9)"
        usd = "CAST({column} AS numeric) * 0.000000001"
    else:
        started_at = "strftime('%Y-%m-%dT%H:%M:%SZ', started_at_ns / 1000000000, 'unixepoch')"
        usd = "{column} / 1e9"
    money = {name: _money(f"{name}_nano_usd") for name in ("cost", "cost_low", "cost_high", "saved")}
    dollars = ",\n  ".join(f"{usd.format(column=column)} AS {name}_usd" for name, column in money.items())
    return f"""
CREATE VIEW call_costs AS SELECT
  c.call_id, c.attempt, {started_at} AS started_at, key_id, team, app, "user", session, prompt, prompt_version, class,
  endpoint, upstream, COALESCE(model_served, model_requested) AS model,
  input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens,
  {dollars},
  {money["cost"]} AS cost_nano_usd, {_money("cost_state")} AS cost_state,
  {_money("price_snapshot")} AS price_snapshot, outcome, cache,
  {_money("price_rule")} AS price_rule, v.version AS cost_version
FROM calls c LEFT JOIN versioned_costs v
  ON v.version = (SELECT version FROM cost_versions WHERE selected) AND v.call_id = c.call_id AND v.attempt = c.attempt
"""


def _money(column: str) -> str:
    """The version's word, NULL included, where it has one on the call."""
    return f"(CASE WHEN v.version IS NULL THEN c.{column} ELSE v.{column} END)"
