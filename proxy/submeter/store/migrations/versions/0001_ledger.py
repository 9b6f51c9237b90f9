"""The first schema: calls, cursors, label sets, price snapshots, counters, quarantine; and the view call_costs.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "calls",
        sa.Column("call_id", sa.String(), primary_key=True),
        sa.Column("attempt", sa.Integer(), primary_key=True),
        sa.Column("operation_id", sa.String(), nullable=False),
        sa.Column("session", sa.String()),
        sa.Column("trace_id", sa.String()),
        sa.Column("upstream_request_id", sa.String()),
        sa.Column("key_id", sa.String()),
        sa.Column("team", sa.String()),
        sa.Column("app", sa.String()),
        sa.Column("user", sa.String()),
        sa.Column("prompt", sa.String()),
        sa.Column("prompt_version", sa.String()),
        sa.Column("class", sa.String()),
        sa.Column("endpoint", sa.String(), nullable=False),
        sa.Column("upstream", sa.String(), nullable=False),
        sa.Column("model_requested", sa.String()),
        sa.Column("model_served", sa.String()),
        sa.Column("stream", sa.Boolean(), nullable=False),
        sa.Column("temperature", sa.Float()),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("max_output_tokens", sa.BigInteger()),
        sa.Column("tools", sa.Boolean(), nullable=False),
        sa.Column("service_tier", sa.String()),
        sa.Column("started_at_ns", sa.BigInteger(), nullable=False),
        sa.Column("ttfb_ns", sa.BigInteger()),
        sa.Column("ttft_ns", sa.BigInteger()),
        sa.Column("first_content_ns", sa.BigInteger()),
        sa.Column("e2e_ns", sa.BigInteger()),
        sa.Column("max_gap_ns", sa.BigInteger()),
        sa.Column("overhead_ns", sa.BigInteger()),
        sa.Column("input_tokens", sa.BigInteger()),
        sa.Column("cached_input_tokens", sa.BigInteger()),
        sa.Column("cache_write_tokens", sa.BigInteger()),
        sa.Column("output_tokens", sa.BigInteger()),
        sa.Column("reasoning_tokens", sa.BigInteger()),
        sa.Column("part_input_uncached_tokens", sa.BigInteger()),
        sa.Column("part_cached_read_tokens", sa.BigInteger()),
        sa.Column("part_cache_write_tokens", sa.BigInteger()),
        sa.Column("part_cache_write_5m_tokens", sa.BigInteger()),
        sa.Column("part_cache_write_30m_tokens", sa.BigInteger()),
        sa.Column("part_cache_write_1h_tokens", sa.BigInteger()),
        sa.Column("part_cache_write_12h_tokens", sa.BigInteger()),
        sa.Column("part_input_audio_tokens", sa.BigInteger()),
        sa.Column("part_input_image_tokens", sa.BigInteger()),
        sa.Column("part_output_text_tokens", sa.BigInteger()),
        sa.Column("part_reasoning_tokens", sa.BigInteger()),
        sa.Column("part_output_audio_tokens", sa.BigInteger()),
        sa.Column("usage_source", sa.String(), nullable=False),
        sa.Column("usage_problem", sa.String()),
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
        sa.Column("saved_nano_usd", sa.BigInteger()),
        sa.Column("price_snapshot", sa.String()),
        sa.Column("price_model", sa.String()),
        sa.Column("provider_cost", sa.String()),
        sa.Column("unbounded", sa.Boolean(), nullable=False),
        sa.Column("clock_jumped", sa.Boolean(), nullable=False),
        sa.Column("tokens_after_disconnect", sa.BigInteger()),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("status", sa.Integer()),
        sa.Column("finish_reason", sa.String()),
        sa.Column("cache", sa.String(), nullable=False),
        sa.Column("bytes_in", sa.BigInteger(), nullable=False),
        sa.Column("bytes_out", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_calls_started_at_ns", "calls", ["started_at_ns"])
    op.create_table(
        "cursors",
        sa.Column("relay", sa.String(), primary_key=True),
        sa.Column("segment", sa.BigInteger(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("lsn", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "label_values",
        sa.Column("label", sa.String(), primary_key=True),
        sa.Column("value", sa.String(), primary_key=True),
    )
    op.create_table(
        "price_snapshots",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("imported_at", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
    )
    op.create_table(
        "counter_state",
        sa.Column("name", sa.String(), primary_key=True),
        sa.Column("labels", sa.String(), primary_key=True),
        sa.Column("value", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "quarantine",
        sa.Column("call_id", sa.String(), primary_key=True),
        sa.Column("attempt", sa.Integer(), primary_key=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
    )
    op.execute(_call_costs(op.get_bind().dialect.name))


def _call_costs(dialect: str) -> str:
    """Dollars for people and Grafana: exact decimals on Postgres; on SQLite, which has none, the nearest double.

    Sums that must be exact are made of the integer columns.
    """
    if dialect == "postgresql":
        started_at = "to_timestamp(started_at_ns / 1e9)"
        usd = "CAST({column} AS numeric) * 0.000000001"
    else:
        started_at = "strftime('%Y-%m-%dT%H:%M:%SZ', started_at_ns / 1000000000, 'unixepoch')"
        usd = "{column} / 1e9"
    dollars = ",\n  ".join(
        f"{usd.format(column=f'{name}_nano_usd')} AS {name}_usd"
        for name in ("cost", "cost_low", "cost_high", "saved")
    )
    return f"""
CREATE VIEW call_costs AS SELECT
  call_id, attempt, {started_at} AS started_at, key_id, team, app, "user", session, prompt, prompt_version, class,
  endpoint, upstream, COALESCE(model_served, model_requested) AS model,
  input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens,
  {dollars},
  cost_nano_usd, cost_state, price_snapshot, outcome, cache
FROM calls
"""
