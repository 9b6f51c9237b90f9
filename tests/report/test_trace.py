"""The ledger's rows as columns: the same figures, on each engine, in whatever version is selected."""

import random
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from store.ledger_rows import make_call, make_random_call
from submeter.core.record import TOKEN_CLASSES, CallRow, TokenClasses
from submeter.core.week import Week
from submeter.core.when import DAY_NS
from submeter.report.trace import COLUMNS, COST_STATES, Trace, daily, default_week, from_ledger, gather
from submeter.store import queries, schema
from submeter.store.ledger import Ledger
from submeter.store.versions import NewCost, add_version

WEEK = Week.parse("2025-W47")
"""The week of ``ledger_rows.START_NS``, a Thursday."""
HOUR_NS = DAY_NS // 24


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    sqlite = f"sqlite:///{tmp_path}/ledger.sqlite3"
    with Ledger.open(request.getfixturevalue("postgres_url") if request.param == "postgresql" else sqlite) as opened:
        opened.migrate()
        yield opened


def _ship(ledger: Ledger, rows: Sequence[CallRow]) -> None:
    assert ledger.ship(rows, {}).inserted == len(rows)


def _gathered(*rows: CallRow) -> Trace:
    """As the ledger would hand them over."""
    values = [dict(zip(schema.CALL_COLUMNS, schema.call_values(row), strict=True)) for row in rows]
    return gather([{name: [each[name] for each in values] for name in COLUMNS}])


def _at(hours: float, number: int = 0, **changes: Any) -> CallRow:
    return make_call(number, started_at_ns=WEEK.start_ns + round(hours * HOUR_NS), **changes)


def test_every_column_of_a_plain_call_is_there() -> None:
    trace = _gathered(make_call(team=None))
    row = make_call()
    assert len(trace) == 1
    assert (trace.started_at_ns[0], trace.ttft_ns[0], trace.e2e_ns[0]) == (row.started_at_ns, 1e8, 1e9)
    assert (trace.input_tokens[0], trace.cached_input_tokens[0], trace.output_tokens[0]) == (1000, 200, 10)
    assert trace.tokens[0].tolist() == list(msgspec.structs.astuple(row.tokens))
    assert trace.tokens[0].sum() == 1010
    cost = 730 * 2500 + 200 * 1250 + 70 * 2500 + 10 * 10_000
    assert (trace.cost_nano_usd[0], trace.cost_low_nano_usd[0], trace.cost_high_nano_usd[0]) == (cost, cost, cost)
    assert COST_STATES[trace.cost_state[0]] == "exact"
    assert (trace.counted[0], trace.upstream_call[0], trace.answered[0], trace.streamed[0]) == (True,) * 4
    assert (trace.unbounded[0], trace.synthetic[0]) == (False, False)
    words = {name: texts[trace.codes[name][0]] for name, texts in trace.names.items()}
    assert words == {
        "model": "gpt-4o-2024-08-06",
        "team": None,
        "app": "web",
        "prompt": "greet",
        "prompt_version": "v1",
        "price_model": "gpt-4o",
        "upstream": "openai",
        "service_tier": "default",
        "region": None,
        "session": None,
        "endpoint": "chat/completions",
        "klass": "interactive",
    }


def test_the_model_is_the_one_asked_for_where_none_was_served() -> None:
    trace = _gathered(make_call(model_served=None), make_call(1), make_call(2, model_served=None, model_requested=None))
    assert [trace.names["model"][code] for code in trace.codes["model"]] == ["gpt-4o", "gpt-4o-2024-08-06", None]


@pytest.mark.parametrize("cache", ["hit", "coalesced"])
def test_a_cache_row_is_no_call_upstream_and_costs_nothing(cache: str) -> None:
    trace = _gathered(make_call(cache=cache, cost_nano_usd=5, saved_nano_usd=5))
    assert (trace.upstream_call[0], trace.answered[0], trace.counted[0]) == (False, False, True)
    assert (trace.cost_nano_usd[0], trace.cost_high_nano_usd[0]) == (0, 0)


@pytest.mark.parametrize(
    ("changes", "answered"),
    [
        ({"refused": True, "status": 400}, False),
        ({"outcome": "upstream_error"}, False),
        ({"tokens": None, "input_tokens": None, "output_tokens": None}, False),
        ({"outcome": "client_gone"}, True),
        ({"outcome": "upstream_incomplete"}, True),
    ],
)
def test_what_brought_no_answer_is_no_demand(changes: dict[str, Any], answered: bool) -> None:
    assert _gathered(make_call(**changes)).answered[0] == answered


def test_an_indeterminate_call_has_bounds_and_no_tokens() -> None:
    """Its input is known, its output is not: it is not counted, and no token of it is."""
    row = make_call(
        tokens=TokenClasses(input_uncached=7),
        input_tokens=7,
        output_tokens=None,
        cost_nano_usd=None,
        cost_state="indeterminate",
        cost_low_nano_usd=3,
        cost_high_nano_usd=9,
        outcome="indeterminate",
    )
    trace = _gathered(row)
    assert (trace.counted[0], trace.input_tokens[0], trace.tokens.sum()) == (False, 0, 0)
    assert (trace.cost_nano_usd[0], trace.cost_low_nano_usd[0], trace.cost_high_nano_usd[0]) == (0, 3, 9)
    assert not trace.unbounded[0]


def test_a_bound_that_is_not_known_is_said_not_guessed() -> None:
    row = make_call(cost_state="estimated", cost_nano_usd=5, cost_low_nano_usd=2, cost_high_nano_usd=None)
    trace = _gathered(row)
    assert (trace.cost_low_nano_usd[0], trace.cost_high_nano_usd[0], trace.unbounded[0]) == (2, 5, True)


def test_an_unpriced_call_has_tokens_and_no_figure() -> None:
    trace = _gathered(make_call(cost_nano_usd=None, costs=None, cost_state="unpriced"))
    assert (COST_STATES[trace.cost_state[0]], trace.cost_nano_usd[0], trace.input_tokens[0]) == ("unpriced", 0, 1000)


def test_what_was_generated_is_known_by_its_id() -> None:
    assert _gathered(make_call(), make_call(call_id="synthetic-1-0")).synthetic.tolist() == [False, True]


def test_missing_durations_are_not_a_number_rather_than_zero() -> None:
    trace = _gathered(make_call(ttft_ns=None, e2e_ns=None))
    assert np.isnan(trace.ttft_ns[0])
    assert np.isnan(trace.e2e_ns[0])


def test_a_trace_of_nothing_has_all_columns_and_no_rows() -> None:
    trace = gather([])
    assert (len(trace), trace.tokens.shape, trace.cost_nano_usd.dtype) == (0, (0, len(TOKEN_CLASSES)), np.int64)
    assert (daily(trace, WEEK), default_week(trace, WEEK.start_ns)) == ((), None)


def test_rows_out_of_order_are_sorted_by_time_with_all_their_columns() -> None:
    trace = _gathered(_at(5, app="late"), _at(1, 1, app="early"))
    assert [trace.names["app"][code] for code in trace.codes["app"]] == ["early", "late"]


def test_a_week_is_cut_out_at_its_edges() -> None:
    trace = _gathered(_at(-1e-9), _at(0, 1), _at(168 - 1e-9, 2), _at(168, 3))
    assert trace.week(WEEK).started_at_ns.tolist() == trace.started_at_ns[1:3].tolist()
    assert trace.where(trace.started_at_ns > WEEK.start_ns).started_at_ns.tolist() == trace.started_at_ns[2:].tolist()


def test_the_ledger_gives_the_weeks_rows_and_their_sums(ledger: Ledger) -> None:
    dice = random.Random(7)
    rows = [make_random_call(number, dice) for number in range(400)]
    _ship(ledger, rows)
    trace = from_ledger(ledger, WEEK)
    total = queries.summary(ledger, WEEK.start_ns, WEEK.end_ns)
    assert len(trace) == total.calls == sum(WEEK.start_ns <= row.started_at_ns < WEEK.end_ns for row in rows)
    assert 0 < len(trace) < 400
    assert trace.cost_nano_usd.sum() == total.cost_nano_usd
    assert (~trace.upstream_call).sum() == total.hits
    indeterminate = trace.cost_state == COST_STATES.index("indeterminate")
    assert trace.cost_low_nano_usd[indeterminate & trace.upstream_call].sum() == total.indeterminate_low_nano_usd
    estimated = trace.cost_state == COST_STATES.index("estimated")
    assert trace.cost_low_nano_usd[estimated & trace.upstream_call].sum() == total.estimated_low_nano_usd
    order = sorted((row.started_at_ns, row.call_id, row.attempt) for row in rows)
    within = [at for at, _, _ in order if WEEK.start_ns <= at < WEEK.end_ns]
    assert trace.started_at_ns.tolist() == within


def test_the_ledger_gives_what_gathering_the_rows_gives(ledger: Ledger) -> None:
    rows = [make_random_call(number, random.Random(number)) for number in range(50)]
    _ship(ledger, rows)
    ordered = sorted(rows, key=lambda row: (row.started_at_ns, row.call_id, row.attempt))
    expected, found = _gathered(*ordered).week(WEEK), from_ledger(ledger, WEEK)
    for name in ("tokens", "cost_high_nano_usd", "ttft_ns", "answered", "unbounded", "fees_nano_usd"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
    for name, places in found.codes.items():
        texts = [found.names[name][place] for place in places]
        assert texts == [expected.names[name][place] for place in expected.codes[name]]


def test_the_selected_versions_costs_are_those_of_the_trace(ledger: Ledger) -> None:
    _ship(ledger, [_at(1, 1), _at(2, 2)])
    new = msgspec.structs.replace(NewCost.of(_at(2, 2)), cost_nano_usd=77)
    add_version(ledger, "reprice", "", None, None, None, [new], select=True)
    assert from_ledger(ledger, WEEK).cost_nano_usd.tolist() == [_at(1, 1).cost_nano_usd, 77]


def test_daily_sums_of_the_weeks_before_are_the_same_from_a_trace_and_from_the_ledger(ledger: Ledger) -> None:
    hours = (-24 * 7 * 13, -24 * 7 * 12, -1, 0, 1, 167, 168)
    rows = [_at(hour, number, cost_nano_usd=1 << number) for number, hour in enumerate(hours)]
    _ship(ledger, rows)
    days = daily(ledger, WEEK)
    assert days == daily(_gathered(*rows), WEEK)
    assert days == (
        (date(2025, 8, 25), 1, 2),
        (date(2025, 11, 16), 1, 4),
        (date(2025, 11, 17), 2, 8 + 16),
        (date(2025, 11, 23), 1, 32),
    )
    assert daily(ledger, WEEK, weeks=1) == days[2:]


def test_the_week_asked_for_by_nobody_is_the_last_complete_one_with_calls(ledger: Ledger) -> None:
    assert default_week(ledger, WEEK.end_ns) is None
    rows = [_at(1, 1), _at(169, 2)]
    _ship(ledger, rows)
    for source in (ledger, _gathered(*rows)):
        assert default_week(source, WEEK.end_ns) == WEEK
        assert default_week(source, WEEK.end_ns + 5 * DAY_NS) == WEEK
        assert default_week(source, WEEK.next(2).start_ns) == WEEK.next()
        assert default_week(source, WEEK.start_ns) == WEEK.next()
        assert default_week(source, WEEK.next(9).start_ns) == WEEK.next()
