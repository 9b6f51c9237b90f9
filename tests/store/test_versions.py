"""Versions of the costs: new money beside rows that never change, shown by every query, undone by selecting."""

import random
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from sqlalchemy import text

from store.ledger_rows import PLAIN, START_NS, make_call, make_call_id, make_random_call
from submeter.core.record import CallRow, TokenClasses
from submeter.errors import UsageError
from submeter.store import queries, schema
from submeter.store.ledger import Ledger, LedgerUnavailable
from submeter.store.versions import NewCost, add_version, select_version, stored_rows, versions

HOUR_NS = 3600 * 10**9


@pytest.fixture
def rows() -> list[CallRow]:
    dice = random.Random(7)
    return [make_random_call(number, dice) for number in range(2500)]


@pytest.fixture
def filled(ledger: Ledger, rows: list[CallRow]) -> Ledger:
    ledger.ship(rows, {})
    return ledger


def reprice(ledger: Ledger, costs: Iterator[NewCost] | list[NewCost], **changes: Any) -> str:
    said = {"kind": "reprice", "note": "", "price_snapshot": "b", "since_ns": None, "until_ns": None, "select": True}
    return add_version(ledger, costs=costs, **{**said, **changes}).id


def cost_of(row: CallRow, **changes: Any) -> NewCost:
    return msgspec.structs.replace(NewCost.of(row), **changes)


def doubled(row: CallRow) -> NewCost:
    money = ("cost_nano_usd", "cost_low_nano_usd", "cost_high_nano_usd", "saved_nano_usd")
    twice = {name: None if getattr(row, name) is None else 2 * getattr(row, name) for name in money}
    return cost_of(row, price_snapshot="b", price_rule="dated", **twice)


def table_bytes(ledger: Ledger) -> list[tuple[object, ...]]:
    with ledger.reading() as connection:
        return [tuple(row) for row in connection.execute(text("SELECT * FROM calls ORDER BY call_id"))]


def test_a_new_cost_has_the_columns_of_a_version() -> None:
    fields = [column for name in NewCost.__struct_fields__[2:] for column in schema.columns_of(name)]
    assert tuple(fields) == schema.VERSIONED_COLUMNS
    assert set(schema.VERSIONED_COLUMNS) < set(schema.CALL_COLUMNS)


def test_stored_rows_are_the_rows_that_were_shipped_oldest_first(filled: Ledger, rows: list[CallRow]) -> None:
    oldest_first = sorted(rows, key=lambda row: (row.started_at_ns, row.call_id))
    assert list(stored_rows(filled)) == oldest_first
    since_ns, until_ns = START_NS + HOUR_NS, START_NS + 30 * HOUR_NS
    inside = [row for row in oldest_first if since_ns <= row.started_at_ns < until_ns]
    assert list(stored_rows(filled, since_ns, until_ns)) == inside
    assert 0 < len(inside) < len(rows)


def test_a_row_with_every_column_comes_back(ledger: Ledger) -> None:
    integers = {name: 7 for name, kind in CallRow.__annotations__.items() if "int" in str(kind)}
    row = make_call(0, **integers, refused=True, refers_elsewhere=True, tokenizer="o200k", region="us")
    ledger.ship([row], {})
    assert list(stored_rows(ledger)) == [row]


def test_every_query_shows_the_selected_version_and_the_original_on_request(
    filled: Ledger, rows: list[CallRow]
) -> None:
    before = queries.cost_by(filled, ("team", "model"))
    originals = table_bytes(filled)
    reprice(filled, (doubled(row) for row in stored_rows(filled)))

    money = [name for name in queries.CostLine.__struct_fields__ if name.endswith("_nano_usd")]
    after = {tuple(line.group.values()): line for line in queries.cost_by(filled, ("team", "model"))}
    for line in before:
        for name in money:
            assert getattr(after[tuple(line.group.values())], name) == 2 * getattr(line, name), name
    assert queries.cost_by(filled, ("team", "model"), version="original") == before
    assert queries.cost_by(filled, ("team", "model"), version="v1") == list(after.values())

    (line,) = queries.call(filled, rows[0].call_id)
    assert (line["price_rule"], line["price_snapshot"]) == ("dated", "b")
    listed = {line["call_id"]: line["cost_nano_usd"] for line in queries.calls(filled)}
    assert listed == {row.call_id: doubled(row).cost_nano_usd for row in rows}
    assert {line["price_rule"] for line in queries.calls(filled, last=3)} == {"dated"}
    points = queries.series(filled, START_NS, 24 * HOUR_NS)
    assert sum(point.cost_nano_usd for point in points) == queries.summary(filled).cost_nano_usd
    (group,) = queries.latency_by(filled, ("price_snapshot",))
    assert group.group == {"price_snapshot": "b"}
    assert table_bytes(filled) == originals

    select_version(filled, None)
    assert queries.cost_by(filled, ("team", "model")) == before
    assert queries.series(filled, START_NS, 24 * HOUR_NS) != points


def test_null_is_a_versions_word_too(ledger: Ledger) -> None:
    ledger.ship([PLAIN], {})
    nothing = cost_of(PLAIN, cost_nano_usd=None, cost_state="unpriced", costs=None, price_model=None)
    reprice(ledger, [nothing])
    (row,) = stored_rows(ledger)
    assert (row.cost_nano_usd, row.cost_state, row.costs, row.price_model) == (None, "unpriced", None, None)
    assert row.tokens == PLAIN.tokens
    assert queries.summary(ledger).unpriced_calls == 1
    assert list(stored_rows(ledger, version="original")) == [PLAIN]


def test_the_view_follows_the_selected_version(ledger: Ledger) -> None:
    ledger.ship([PLAIN, make_call(1)], {})
    reprice(ledger, [cost_of(PLAIN, cost_nano_usd=None, cost_state="unpriced", price_rule="none")])
    view = text("SELECT cost_nano_usd, cost_state, price_rule, cost_version FROM call_costs ORDER BY call_id")
    original = (PLAIN.cost_nano_usd, "exact", "undated", None)
    with ledger.reading() as connection:
        assert [tuple(row) for row in connection.execute(view)] == [(None, "unpriced", "none", 1), original]
    select_version(ledger, None)
    with ledger.reading() as connection:
        assert [tuple(row) for row in connection.execute(view)] == [original, original]


def test_a_version_carries_over_what_it_says_nothing_of(ledger: Ledger) -> None:
    ledger.ship([make_call(number) for number in range(4)], {})
    first = [cost_of(make_call(number), cost_nano_usd=100 + number) for number in range(3)]
    second = [cost_of(make_call(number), cost_nano_usd=200 + number) for number in (1, 3)]
    reprice(ledger, first)
    reprice(ledger, second, kind="reconcile", note="invoice of November", price_snapshot=None)
    assert costs(ledger) == [100, 201, 102, 203]
    assert costs(ledger, "v1") == [100, 101, 102, PLAIN.cost_nano_usd]
    assert [(each.id, each.kind, each.calls, each.selected) for each in versions(ledger)] == [
        ("v1", "reprice", 3, False),
        ("v2", "reconcile", 4, True),
    ]
    select_version(ledger, "original")
    reprice(ledger, second, since_ns=5, until_ns=9)
    (third,) = [each for each in versions(ledger) if each.selected]
    assert (third.id, third.calls, third.note, third.since_ns, third.until_ns) == ("v3", 2, "", 5, 9)
    assert costs(ledger) == [PLAIN.cost_nano_usd, 201, PLAIN.cost_nano_usd, 203]


def costs(ledger: Ledger, version: str | None = None) -> list[int | None]:
    return [row.cost_nano_usd for row in stored_rows(ledger, version=version)]


def test_attempts_have_costs_of_their_own_and_later_calls_the_original(ledger: Ledger) -> None:
    again = make_call(0, attempt=2)
    ledger.ship([PLAIN, again], {})
    reprice(ledger, [cost_of(again, cost_nano_usd=5)])
    ledger.ship([make_call(1)], {})
    assert costs(ledger) == [PLAIN.cost_nano_usd, 5, PLAIN.cost_nano_usd]


def test_a_version_need_not_be_selected(ledger: Ledger) -> None:
    ledger.ship([PLAIN], {})
    assert reprice(ledger, [cost_of(PLAIN, cost_nano_usd=5)], select=False) == "v1"
    assert not versions(ledger)[0].selected
    assert costs(ledger) == [PLAIN.cost_nano_usd]
    select_version(ledger, "v1")
    assert costs(ledger) == [5]


def test_versions_are_in_the_order_in_which_they_were_added(ledger: Ledger) -> None:
    assert [reprice(ledger, []) for _ in range(11)] == [f"v{number}" for number in range(1, 12)]
    assert [each.id for each in versions(ledger)] == [f"v{number}" for number in range(1, 12)]
    assert sum(each.selected for each in versions(ledger)) == 1


@pytest.mark.parametrize("version", ["v3", "v0", "1", "v01", "", "ORIGINAL", "v²", "v99999999999999999999"])
def test_an_unknown_version_names_those_there_are(ledger: Ledger, version: str) -> None:
    reprice(ledger, [])
    reprice(ledger, [])
    for read in (select_version, lambda opened, name: queries.summary(opened, version=name)):
        with pytest.raises(UsageError, match=r"no version '.*' of the costs: there are original, v1, v2$"):
            read(ledger, version)
    assert [each.id for each in versions(ledger) if each.selected] == ["v2"]


def test_a_call_that_comes_twice_leaves_no_version(ledger: Ledger) -> None:
    ledger.ship([PLAIN], {})
    with pytest.raises(ValueError, match="1 of 2 new costs are for a call that has one already"):
        reprice(ledger, [cost_of(PLAIN, cost_nano_usd=1), cost_of(PLAIN, cost_nano_usd=2)])
    assert versions(ledger) == []
    assert costs(ledger) == [PLAIN.cost_nano_usd]


def test_a_computation_that_fails_leaves_no_version(filled: Ledger) -> None:
    def fail() -> Iterator[NewCost]:
        yield from (doubled(row) for row in list(stored_rows(filled))[:1500])
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        reprice(filled, fail())
    assert versions(filled) == []


def test_shipping_waits_for_no_computation(ledger: Ledger, ledger_url: str) -> None:
    ledger.ship([PLAIN], {})

    def slowly() -> Iterator[NewCost]:
        for row in stored_rows(ledger):
            with Ledger.open(ledger_url) as meter:
                assert meter.ship([make_call(1)], {}).inserted == 1
            yield cost_of(row, cost_nano_usd=5)

    reprice(ledger, slowly())
    assert costs(ledger) == [5, PLAIN.cost_nano_usd]


def test_readers_cannot_add_or_select(ledger: Ledger, ledger_url: str) -> None:
    with Ledger.open(ledger_url, read_only=True) as reader:
        with pytest.raises(LedgerUnavailable):
            reprice(reader, [])
        with pytest.raises(LedgerUnavailable):
            select_version(reader, None)
    assert versions(ledger) == []


def test_parts_and_fees_are_versioned_with_the_total(ledger: Ledger) -> None:
    ledger.ship([PLAIN], {})
    parts = TokenClasses(input_uncached=1, cached_audio=2, output_image=3)
    reprice(ledger, [cost_of(PLAIN, costs=parts, fees_nano_usd=4, cost_nano_usd=1 + 2 + 3 + 4)])
    (call,) = queries.call(ledger, make_call_id(0))
    assert sum(call["costs_nano_usd"].values()) + call["fees_nano_usd"] == call["cost_nano_usd"] == 10
