"""The ledger's tables, as SQLModel classes. ``migrations/`` creates them; a test holds the two together.

``calls`` has one row per upstream attempt and one per hit: the fields of ``core.record.CallRow`` in order, with
``klass`` named ``class`` and the two ``TokenClasses`` spread over ``part_*_tokens`` and ``part_*_nano_usd`` (the
prefix, because ``cache_write_tokens`` is the total of five classes and ``cache_write`` is one of them).
Its rows never change: what a repricing or a reconciliation says is a version of its own, in ``versioned_costs``.
Integers are 64 bits wide: clients and providers choose many of them.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from sqlalchemy import BigInteger, Index, Table, Text, false, text
from sqlmodel import Field, SQLModel

from submeter.core.record import TOKEN_CLASSES, CallRow, TokenClasses

SCHEMA_VERSION = "0003"
"""The newest migration. Readers compare it with the database instead of importing alembic, which is slow."""

Big = Annotated[int, Field(sa_type=BigInteger)]
MaybeBig = Annotated[int | None, Field(sa_type=BigInteger)]
Part = MaybeBig
"""One token class of one call: ``NULL`` in all of them where the call has no usage or no price."""
LaterFlag = Annotated[bool, Field(sa_column_kwargs={"server_default": false()})]
LaterCount = Annotated[int, Field(sa_type=BigInteger, sa_column_kwargs={"server_default": text("0")})]
"""Columns that came after the first rows, which need a value for them."""


class Call(SQLModel, table=True):
    __tablename__ = "calls"
    # The one index beside the key: reads are by time, and each further index would cost every row shipped.
    __table_args__ = (Index("ix_calls_started_at_ns", "started_at_ns"),)

    call_id: str = Field(primary_key=True)
    attempt: int = Field(primary_key=True)
    operation_id: str
    session: str | None
    trace_id: str | None
    upstream_request_id: str | None
    key_id: str | None
    team: str | None
    app: str | None
    user: str | None
    prompt: str | None
    prompt_version: str | None
    klass: str | None = Field(sa_column_kwargs={"name": "class"})
    endpoint: str
    upstream: str
    model_requested: str | None
    model_served: str | None
    stream: bool
    temperature: float | None
    n: Big
    max_output_tokens: MaybeBig
    tools: bool
    service_tier_requested: str | None
    service_tier: str | None
    started_at_ns: Big
    ttfb_ns: MaybeBig
    ttft_ns: MaybeBig
    first_content_ns: MaybeBig
    e2e_ns: MaybeBig
    max_gap_ns: MaybeBig
    overhead_ns: MaybeBig
    input_tokens: MaybeBig
    cached_input_tokens: MaybeBig
    cache_write_tokens: MaybeBig
    output_tokens: MaybeBig
    reasoning_tokens: MaybeBig
    part_input_uncached_tokens: Part
    part_cached_read_tokens: Part
    part_cache_write_tokens: Part
    part_cache_write_5m_tokens: Part
    part_cache_write_30m_tokens: Part
    part_cache_write_1h_tokens: Part
    part_cache_write_12h_tokens: Part
    part_input_audio_tokens: Part
    part_input_image_tokens: Part
    part_output_text_tokens: Part
    part_reasoning_tokens: Part
    part_output_audio_tokens: Part
    part_cached_audio_tokens: Part
    part_output_image_tokens: Part
    usage_source: str
    usage_problem: str | None
    tokenizer: str | None
    input_reported: LaterFlag
    output_tokens_low: MaybeBig
    output_bytes: LaterCount
    refers_elsewhere: LaterFlag
    refused: LaterFlag
    cost_nano_usd: MaybeBig
    cost_state: str
    cost_low_nano_usd: MaybeBig
    cost_high_nano_usd: MaybeBig
    part_input_uncached_nano_usd: Part
    part_cached_read_nano_usd: Part
    part_cache_write_nano_usd: Part
    part_cache_write_5m_nano_usd: Part
    part_cache_write_30m_nano_usd: Part
    part_cache_write_1h_nano_usd: Part
    part_cache_write_12h_nano_usd: Part
    part_input_audio_nano_usd: Part
    part_input_image_nano_usd: Part
    part_output_text_nano_usd: Part
    part_reasoning_nano_usd: Part
    part_output_audio_nano_usd: Part
    part_cached_audio_nano_usd: Part
    part_output_image_nano_usd: Part
    web_searches: MaybeBig
    fees_nano_usd: MaybeBig
    saved_nano_usd: MaybeBig
    price_snapshot: str | None
    price_model: str | None
    price_rule: str | None
    region: str | None
    provider_cost: str | None
    unbounded: bool
    clock_jumped: bool
    tokens_after_disconnect: MaybeBig
    outcome: str
    status: int | None
    finish_reason: str | None
    cache: str
    bytes_in: Big
    bytes_out: Big


class CostVersion(SQLModel, table=True):
    """A later word on what some calls cost. While none is selected, the original costs are shown."""

    __tablename__ = "cost_versions"
    # Two selected versions at once cannot be.
    __table_args__ = (
        Index(
            "ux_cost_versions_selected",
            "selected",
            unique=True,
            sqlite_where=text("selected"),
            postgresql_where=text("selected"),
        ),
    )

    version: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    """From 1; people write ``v1``."""
    kind: str
    created_at_ns: Big
    note: str
    price_snapshot: str | None
    since_ns: MaybeBig
    until_ns: MaybeBig
    calls: Big
    selected: bool


class VersionedCost(SQLModel, table=True):
    """The money of one call in one version: the columns of ``calls`` that a version may change, under their names."""

    __tablename__ = "versioned_costs"
    __table_args__ = {"sqlite_with_rowid": False}
    version: int = Field(primary_key=True)
    call_id: str = Field(primary_key=True)
    attempt: int = Field(primary_key=True)
    cost_nano_usd: MaybeBig
    cost_state: str
    cost_low_nano_usd: MaybeBig
    cost_high_nano_usd: MaybeBig
    part_input_uncached_nano_usd: Part
    part_cached_read_nano_usd: Part
    part_cache_write_nano_usd: Part
    part_cache_write_5m_nano_usd: Part
    part_cache_write_30m_nano_usd: Part
    part_cache_write_1h_nano_usd: Part
    part_cache_write_12h_nano_usd: Part
    part_input_audio_nano_usd: Part
    part_input_image_nano_usd: Part
    part_output_text_nano_usd: Part
    part_reasoning_nano_usd: Part
    part_output_audio_nano_usd: Part
    part_cached_audio_nano_usd: Part
    part_output_image_nano_usd: Part
    fees_nano_usd: MaybeBig
    saved_nano_usd: MaybeBig
    price_snapshot: str | None
    price_model: str | None
    price_rule: str | None


class CursorRow(SQLModel, table=True):
    """How far a relay's journal has been shipped; committed together with the rows it speaks of."""

    __tablename__ = "cursors"
    unit: str = Field(primary_key=True)
    """Relays of different units have the same names. Empty: from before units had names."""
    relay: str = Field(primary_key=True)
    segment: Big
    offset: Big
    lsn: Big
    given_up: str | None


class LabelValue(SQLModel, table=True):
    """The bounded metric label sets: which values had a series of their own before a restart."""

    __tablename__ = "label_values"
    label: str = Field(primary_key=True)
    value: str = Field(primary_key=True)


class PriceSnapshot(SQLModel, table=True):
    """Where the prices came from that ``calls.price_snapshot`` names."""

    __tablename__ = "price_snapshots"
    id: str = Field(primary_key=True)
    source: str
    imported_at: str
    sha256: str


class CounterState(SQLModel, table=True):
    """Counters that survive a restart of the meter; committed together with the rows they count."""

    __tablename__ = "counter_state"
    unit: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    labels: str = Field(primary_key=True)
    """A JSON object in label order."""
    value: Big


class Quarantine(SQLModel, table=True):
    """Rows that the database refused, whole, so that their cost is kept and they can be shipped again."""

    __tablename__ = "quarantine"
    call_id: str = Field(primary_key=True)
    attempt: int = Field(primary_key=True)
    reason: str
    """The class of the database's error; never its text, which may quote the row."""
    payload: str = Field(sa_type=Text)


def _table(name: str) -> Table:
    return SQLModel.metadata.tables[name]


calls = _table("calls")
cost_versions = _table("cost_versions")
versioned_costs = _table("versioned_costs")
cursors = _table("cursors")
label_values = _table("label_values")
price_snapshots = _table("price_snapshots")
counter_state = _table("counter_state")
quarantine = _table("quarantine")

TOKEN_COLUMNS: tuple[str, ...] = tuple(f"part_{name}_tokens" for name in TOKEN_CLASSES)
MONEY_COLUMNS: tuple[str, ...] = tuple(f"part_{name}_nano_usd" for name in TOKEN_CLASSES)

VERSIONED_COLUMNS: tuple[str, ...] = tuple(column.name for column in versioned_costs.columns if not column.primary_key)
"""Those of ``calls`` that a version of the costs may say anew."""


def columns_of(field: str) -> tuple[str, ...]:
    """The columns of ``calls`` that hold one field of ``CallRow``."""
    if field == "tokens":
        return TOKEN_COLUMNS
    if field == "costs":
        return MONEY_COLUMNS
    return ("class",) if field == "klass" else (field,)


CALL_COLUMNS: tuple[str, ...] = tuple(column for field in CallRow.__struct_fields__ for column in columns_of(field))

_NO_PARTS: tuple[None, ...] = (None,) * len(TOKEN_CLASSES)


def part_values(parts: TokenClasses | None) -> tuple[int | None, ...]:
    return _NO_PARTS if parts is None else msgspec.structs.astuple(parts)


_AT_TOKENS = CallRow.__struct_fields__.index("tokens")
_AT_COSTS = CallRow.__struct_fields__.index("costs")


def call_values(row: CallRow) -> tuple[object, ...]:
    """The row as one flat tuple in the order of ``CALL_COLUMNS``: what the database driver takes as it is."""
    fields = msgspec.structs.astuple(row)
    return (
        *fields[:_AT_TOKENS],
        *part_values(row.tokens),
        *fields[_AT_TOKENS + 1 : _AT_COSTS],
        *part_values(row.costs),
        *fields[_AT_COSTS + 1 :],
    )


_PARTS = len(TOKEN_CLASSES)
_TOKENS = slice(_AT_TOKENS, _AT_TOKENS + _PARTS)
_COSTS = slice(_AT_COSTS + _PARTS - 1, _AT_COSTS + 2 * _PARTS - 1)


def call_row(values: Sequence[Any]) -> CallRow:
    """The row that ``call_values`` was made of."""
    fields = (
        *values[: _TOKENS.start],
        _parts(values[_TOKENS]),
        *values[_TOKENS.stop : _COSTS.start],
        _parts(values[_COSTS]),
        *values[_COSTS.stop :],
    )
    return CallRow(**dict(zip(CallRow.__struct_fields__, fields, strict=True)))


def _parts(values: Sequence[Any]) -> TokenClasses | None:
    return None if values[0] is None else TokenClasses(*values)
