"""Made-up weeks: the same from the same seed, exact to the nano-dollar, bursty, growing, and labelled."""

from collections import Counter
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from itertools import islice
from pathlib import Path

import msgspec
import numpy as np
import pytest

from submeter.core.pricebook import STANDARD, Bracket, PriceBook, PriceEntry
from submeter.core.record import CallRow
from submeter.core.resettle import resettle
from submeter.core.week import Week
from submeter.prices.load import load_snapshot
from submeter.prices.overlay import parse_overlay
from submeter.report.synthetic import (
    KINDS,
    ORIGINS,
    Kind,
    PriceChange,
    arrivals_ns,
    generate,
    write_csv,
    write_ledger,
)
from submeter.report.trace import Trace, from_ledger
from submeter.report.trace_files import from_csv
from submeter.store.ledger import Ledger

WEEK = Week.parse("2026-W46")
HOUR_NS = 3600 * 10**9


@pytest.fixture(scope="module")
def book() -> PriceBook:
    snapshot = load_snapshot()
    return PriceBook(snapshot.entries, (), snapshot.id)


@pytest.fixture(scope="module")
def rows(book: PriceBook) -> list[CallRow]:
    return list(generate([WEEK, WEEK.next()], book, calls_per_week=1500, seed=5, growth=0.2))


def test_the_same_seed_gives_the_same_rows_and_another_seed_others(book: PriceBook, rows: list[CallRow]) -> None:
    again = generate([WEEK, WEEK.next()], book, calls_per_week=1500, seed=5, growth=0.2)
    assert list(islice(again, 200)) == rows[:200]
    other = list(islice(generate([WEEK], book, calls_per_week=1500, seed=6), 200))
    assert [row.started_at_ns for row in other] != [row.started_at_ns for row in rows[:200]]


def test_every_row_is_labelled_has_a_key_of_its_own_and_is_in_order(rows: list[CallRow]) -> None:
    assert all(row.call_id.startswith("synthetic-5-") for row in rows)
    assert len({row.call_id for row in rows}) == len(rows)
    times = [(row.started_at_ns, row.call_id) for row in rows]
    assert times == sorted(times)
    assert WEEK.start_ns <= times[0][0] < times[-1][0] < WEEK.next().end_ns


def test_every_cost_is_exact_and_what_settling_the_row_again_says(book: PriceBook, rows: list[CallRow]) -> None:
    assert {row.cost_state for row in rows} == {"exact"}
    assert all(resettle(row, book, ORIGINS) == row for row in rows)
    assert all((row.cost_nano_usd or 0) > 0 for row in rows if row.cache != "hit")
    assert all(row.cost_nano_usd == 0 and (row.saved_nano_usd or 0) > 0 for row in rows if row.cache == "hit")


def test_every_team_is_there_and_the_second_week_is_busier(rows: list[CallRow]) -> None:
    apps = Counter(row.app for row in rows)
    assert set(apps) == {kind.app for kind in KINDS}
    assert sum(kind.share for kind in KINDS) == pytest.approx(1)
    first = sum(row.started_at_ns < WEEK.end_ns for row in rows)
    second = len(rows) - first
    # Poisson around 1,500 and 1,800: four standard deviations.
    assert abs(first - 1500) < 4 * 1500**0.5
    assert abs(second - 1800) < 4 * 1800**0.5


def test_a_price_change_holds_from_its_day(book: PriceBook) -> None:
    change = PriceChange("gpt-4o*", 20, date(2026, 11, 12))
    cheaper = PriceBook(book.snapshot, parse_overlay(change.prices()), book.snapshot_id)
    before = list(generate([WEEK], book, calls_per_week=400, seed=1))
    after = list(generate([WEEK], cheaper, calls_per_week=400, seed=1))
    since_ns = WEEK.start_ns + 3 * 24 * HOUR_NS
    for old, new in zip(before, after, strict=True):
        changed = old.model_requested in ("gpt-4o", "gpt-4o-mini") and old.started_at_ns >= since_ns
        assert old.costs is not None
        if changed:
            assert new.cost_nano_usd == pytest.approx(0.8 * (old.cost_nano_usd or 0), abs=2)
        else:
            assert new.cost_nano_usd == old.cost_nano_usd
    assert sum(row.cost_nano_usd or 0 for row in after) < sum(row.cost_nano_usd or 0 for row in before)


PLAIN = Kind(
    team="t",
    app="a",
    prompt="p",
    model="m",
    served="m",
    share=1,
    night=1.0,
    weekend=1.0,
    drift=0.0,
    jitter=1e6,
    input_tokens=100,
    output_tokens=10,
)
"""A constant rate: an ordinary Poisson process."""


def _arrivals(kind: Kind, calls: int = 40_000) -> Sequence[int]:
    return arrivals_ns(kind, calls, np.random.default_rng(11)).tolist()


def _spread_of_gaps(kind: Kind) -> float:
    """The coefficient of variation of the gaps between calls: 1 for Poisson arrivals."""
    gaps = np.diff(_arrivals(kind))
    return float(gaps.std() / gaps.mean())


def test_without_drift_and_jitter_arrivals_are_poissons() -> None:
    assert _spread_of_gaps(PLAIN) == pytest.approx(1, abs=0.03)


def test_drift_and_jitter_each_make_the_gaps_heavy_tailed() -> None:
    assert _spread_of_gaps(msgspec.structs.replace(PLAIN, jitter=0.05)) > 1.3
    assert _spread_of_gaps(msgspec.structs.replace(PLAIN, drift=1.0)) > 1.3


def test_rates_have_the_days_and_the_weeks_shape() -> None:
    kind = msgspec.structs.replace(PLAIN, night=0.1, peak_hour=12.0, width_h=2.0, weekend=0.5)
    hours = np.array(_arrivals(kind)) // HOUR_NS
    by_hour = np.bincount(hours, minlength=168)
    noon, midnight = by_hour[12:120:24].sum() + by_hour[11:120:24].sum(), by_hour[0:120:24].sum() * 2
    assert 0.08 < midnight / noon < 0.14
    saturday, friday = by_hour[120:144].sum(), by_hour[96:120].sum()
    assert saturday / friday == pytest.approx(0.5, abs=0.04)


def test_lengths_are_log_normal_around_their_medians() -> None:
    entry = PriceEntry(
        model="m",
        provider="openai",
        tiers={STANDARD: (Bracket(0, {"input_uncached": Decimal(1), "output_text": Decimal(2)}),)},
    )
    kind = msgspec.structs.replace(PLAIN, input_tokens=1000, input_spread=0.5)
    found = list(generate([WEEK], PriceBook((entry,)), calls_per_week=4000, seed=2, kinds=[kind]))
    logs = np.log([row.input_tokens for row in found])
    assert np.exp(np.median(logs)) == pytest.approx(1000, rel=0.04)
    assert logs.std() == pytest.approx(0.5, abs=0.02)
    row = found[0]
    assert row.input_tokens is not None
    assert row.output_tokens is not None
    assert row.cost_nano_usd == row.input_tokens * 1000 + row.output_tokens * 2000


def test_the_csv_and_the_ledger_hold_the_same_trace_and_say_that_it_is_synthetic(
    rows: list[CallRow], tmp_path: Path
) -> None:
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.sqlite3") as ledger:
        ledger.migrate()
        assert write_ledger(ledger, rows) == len(rows)
        from_sql = from_ledger(ledger, WEEK)
    assert write_csv(tmp_path / "calls.csv", rows) == len(rows)
    from_file = from_csv(tmp_path / "calls.csv").week(WEEK)
    assert from_sql.synthetic.all()
    assert 0 < len(from_sql) == len(from_file)
    for name in Trace.__slots__:
        if name not in ("codes", "names"):
            np.testing.assert_array_equal(getattr(from_sql, name), getattr(from_file, name), err_msg=name)
    assert from_sql.names == from_file.names


def test_the_same_seed_writes_the_same_bytes(book: PriceBook, tmp_path: Path) -> None:
    for name in ("one.csv", "two.csv"):
        write_csv(tmp_path / name, generate([WEEK], book, calls_per_week=100, seed=9))
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()
