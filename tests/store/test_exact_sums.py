"""The sum of a million rows is the sum of its groups, whatever they are grouped by, to the nano-dollar.

Money is chosen so large that a double could not hold the sums: one float on the way, and the figures differ.
"""

import random
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from sqlalchemy import BigInteger, Column, MetaData, String, Table, cast, insert, literal, select, text

from store.ledger_rows import START_NS, make_call
from submeter.core.record import CallRow
from submeter.store import queries, schema
from submeter.store.bulk import bulk_insert
from submeter.store.ledger import Ledger

CALLS = 1_000_000
BATCH = 50_000
KINDS = 500
"""Combinations of what calls are grouped by; each call is of one, and has tokens and money of its own."""
FIGURES = {
    "input_tokens": 17,
    "output_tokens": 12,
    "cost_nano_usd": 42,
    "cost_low_nano_usd": 20,
    "cost_high_nano_usd": 42,
    "saved_nano_usd": 42,
}
"""Drawn for each call, with so many random bits: up to 4,398 dollars, and sums far beyond a double's 2^53."""
USED = {*FIGURES, *queries.GROUP_KEYS, "model_served"}
"""Columns that the sums depend on; the others stay empty, where they may."""
HOUR_NS = 3600 * 10**9

GROUPINGS = [
    ("model", "team", "app", "user", "key_id"),
    ("class", "session", "prompt", "prompt_version", "hour"),
    ("endpoint", "upstream", "model_requested", "service_tier", "stream"),
    ("cache", "outcome", "finish_reason", "status", "cost_state", "usage_source", "price_snapshot"),
    ("day",),
    (),
]
"""Every key, in few readings of the million; sums by fewer keys are sums of these."""

SUMMED = {
    "input_tokens": ("input_tokens", None),
    "output_tokens": ("output_tokens", None),
    "confirmed_nano_usd": ("cost_nano_usd", "exact"),
    "estimated_nano_usd": ("cost_nano_usd", "estimated"),
    "estimated_low_nano_usd": ("cost_low_nano_usd", "estimated"),
    "estimated_high_nano_usd": ("cost_high_nano_usd", "estimated"),
    "indeterminate_low_nano_usd": ("cost_low_nano_usd", "indeterminate"),
    "indeterminate_high_nano_usd": ("cost_high_nano_usd", "indeterminate"),
}
"""Figure of a line → column, and the cost state of the calls that it counts; of those that went upstream."""


def test_the_groupings_use_every_key() -> None:
    assert {key for keys in GROUPINGS for key in keys} == set(queries.GROUP_KEYS)


@pytest.mark.timeout(300)  # half a minute of work on both engines; a busy machine may take several
def test_a_million_rows_add_up_by_any_grouping(ledger: Ledger) -> None:
    dice = random.Random(20)
    kinds = [make_kind(number, dice) for number in range(KINDS)]
    sums = fill(ledger, kinds)
    for keys in GROUPINGS:
        lines = queries.cost_by(ledger, keys)
        found = {tuple(line.group.values()): [line.calls, *figures(line)] for line in lines}
        assert found == expected(kinds, sums, keys), keys
        assert sum(line.calls for line in lines) == CALLS
        assert all(type(figure) is int for line in lines for figure in figures(line))
        assert sum(line.confirmed_nano_usd for line in lines) > 2**58


def figures(line: queries.CostLine) -> list[int]:
    return [*(getattr(line, name) for name in SUMMED), line.saved_nano_usd]


def make_kind(number: int, dice: random.Random) -> CallRow:
    def one_of(*values: str) -> str | None:
        return dice.choice([*values, None])

    return make_call(
        number,
        team=one_of("search", "ads", "ops"),
        app=one_of("web", "batch"),
        user=one_of(*(f"user-{n}" for n in range(20))),
        key_id=one_of("k1", "k2", "k3"),
        session=one_of(*(f"s{n}" for n in range(10))),
        prompt=one_of("greet", "sum"),
        prompt_version=one_of(*(f"v{n}" for n in range(10))),
        klass=one_of("interactive", "batch"),
        endpoint=dice.choice(["chat/completions", "messages", "responses"]),
        upstream=dice.choice(["openai", "anthropic"]),
        model_requested=one_of("gpt-4o", "claude-x"),
        model_served=one_of("gpt-4o-2024-08-06", "claude-x-1"),
        service_tier=one_of("default", "flex"),
        stream=dice.random() < 0.5,
        started_at_ns=START_NS + dice.randrange(60) * HOUR_NS,
        usage_source=dice.choice(["provider", "counted", "estimated", "none"]),
        price_snapshot=one_of("a", "b"),
        cost_state=dice.choice(["exact", "exact", "estimated", "indeterminate", "unpriced", "unmetered"]),
        cache=dice.choice(["miss", "miss", "bypass", "hit", "coalesced"]),
        outcome=dice.choice(["ok", "timeout", "client_gone"]),
        finish_reason=one_of("stop", "length"),
        status=dice.choice([200, 429, None]),
    )


Sums = list[list[int]]
"""Of each kind: how many calls, then the sum of each of ``FIGURES``."""


def fill(ledger: Ledger, kinds: list[CallRow]) -> Sums:
    """A million calls: the kinds are shipped, figures drawn and loaded beside them, and the two joined in SQL."""
    ledger.ship(kinds, {})
    drawn = Table("drawn", MetaData(), *(Column(name, BigInteger) for name in ("number", "kind", *FIGURES)))
    sums = [[0] * (1 + len(FIGURES)) for _ in kinds]
    with ledger.writing() as connection:
        drawn.create(connection)
        load = bulk_insert(connection.engine, drawn, list(drawn.columns.keys()))
        draws = draw(sums)
        for _ in range(CALLS // BATCH):
            load(connection, [next(draws) for _ in range(BATCH)])
        connection.execute(text("CREATE TABLE kinds AS SELECT * FROM calls"))
        connection.execute(text("DELETE FROM calls"))
        kind = Table("kinds", MetaData(), *(Column(each.name, each.type) for each in schema.calls.columns))
        names = [each.name for each in schema.calls.columns if each.name in USED or not each.nullable]
        columns = [drawn.c[name] if name in FIGURES else kind.c[name] for name in names[2:]]
        its_kind = literal("op-").concat(cast(drawn.c.kind, String))
        joined = select(kind.c.call_id, drawn.c.number, *columns).where(kind.c.operation_id == its_kind)
        connection.execute(insert(schema.calls).from_select(names, joined))
    return sums


def draw(sums: Sums) -> Iterator[tuple[int, ...]]:
    """(number, kind, figures …) of each call, added up in plain integers on the way."""
    bits, widths = random.Random(21).getrandbits, list(FIGURES.values())
    for number in range(1, CALLS + 1):
        kind = bits(16) % KINDS
        values = [bits(width) for width in widths]
        mine = sums[kind]
        for index, value in enumerate(values, 1):
            mine[index] += value
        mine[0] += 1
        yield (number, kind, *values)


def expected(kinds: list[CallRow], sums: Sums, keys: tuple[str, ...]) -> dict[tuple[str | None, ...], list[int]]:
    groups: dict[tuple[str | None, ...], list[int]] = defaultdict(lambda: [0] * (len(SUMMED) + 2))
    for kind, mine in zip(kinds, sums, strict=True):
        group = groups[tuple(value_of(kind, key) for key in keys)]
        for index, figure in enumerate([mine[0], *counted(kind, mine)]):
            group[index] += figure
    return groups


def counted(kind: CallRow, mine: list[int]) -> list[int]:
    """What a line of this kind's calls alone would say, by the rules of DESIGN."""
    bought = kind.cache in ("miss", "bypass")
    by_name = dict(zip(FIGURES, mine[1:], strict=True))
    spent = [by_name[column] if bought and state in (None, kind.cost_state) else 0 for column, state in SUMMED.values()]
    return [*spent, 0 if bought else by_name["saved_nano_usd"]]


def value_of(kind: CallRow, key: str) -> str | None:
    started_at = datetime.fromtimestamp(kind.started_at_ns // 10**9, UTC)
    value = {
        "model": kind.model_requested if kind.model_served is None else kind.model_served,
        "class": kind.klass,
        "stream": str(kind.stream).lower(),
        "day": f"{started_at:%Y-%m-%d}",
        "hour": f"{started_at:%Y-%m-%dT%H:00Z}",
    }.get(key, getattr(kind, key, None))
    return None if value is None else str(value)
