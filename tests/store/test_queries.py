"""What is read from the ledger equals what the rows say, summed and ranked again here in plain Python."""

import random
from collections import defaultdict
from collections.abc import Callable

import pytest

from store.ledger_rows import PLAIN, START_NS, make_call, make_call_id, make_random_call
from submeter.core.record import CallRow
from submeter.store import queries
from submeter.store.ledger import Ledger
from submeter.store.queries.grouping import UnknownKeyError

DAY_NS = 86_400 * 10**9

DESIGN_KEYS = """
    call_id attempt operation_id session trace_id upstream_request_id key_id team app user prompt prompt_version class
    endpoint upstream model_requested model_served stream temperature service_tier started_at ttfb_ns ttft_ns
    first_content_ns e2e_ns max_gap_ns overhead_ns input_tokens cached_input_tokens cache_write_tokens output_tokens
    reasoning_tokens usage_source cost_nano_usd cost_state cost_low_nano_usd cost_high_nano_usd saved_nano_usd
    price_snapshot outcome status finish_reason cache bytes_in bytes_out
"""

SUMS = [name for name in queries.CostLine.__struct_fields__ if name != "group"]

KEY_OF: dict[str, Callable[[CallRow], object]] = {
    "model": lambda row: row.model_requested if row.model_served is None else row.model_served,
    "class": lambda row: row.klass,
    "day": lambda row: f"2025-11-{20 + (row.started_at_ns - START_NS) // DAY_NS}",
    "stream": lambda row: "true" if row.stream else "false",
}


def key_of(key: str, row: CallRow) -> object:
    return KEY_OF[key](row) if key in KEY_OF else getattr(row, key)


def grouped(rows: list[CallRow], keys: tuple[str, ...]) -> dict[tuple[object, ...], list[CallRow]]:
    groups: dict[tuple[object, ...], list[CallRow]] = defaultdict(list)
    for row in rows:
        groups[tuple(key_of(key, row) for key in keys)].append(row)
    return groups


def expected(rows: list[CallRow]) -> dict[str, int]:
    """The sums of one group, by DESIGN's rules."""
    bought = [row for row in rows if row.cache in ("miss", "bypass")]
    hits = [row for row in rows if row.cache in ("hit", "coalesced")]

    def total(field: str, state: str | None = None) -> int:
        chosen = [row for row in bought if state is None or row.cost_state == state]
        return sum(getattr(row, field) for row in chosen if getattr(row, field) is not None)

    return {
        "calls": len(rows),
        "hits": len(hits),
        "coalesced": sum(row.cache == "coalesced" for row in rows),
        "misses": sum(row.cache == "miss" for row in rows),
        "bypassed": sum(row.cache == "bypass" for row in rows),
        **{
            f"{state}_calls": sum(row.cost_state == state for row in bought)
            for state in ("exact", "estimated", "indeterminate", "unpriced", "unmetered")
        },
        "unbounded_calls": sum(
            row.cost_state in ("estimated", "indeterminate") and (row.unbounded or row.cost_high_nano_usd is None)
            for row in bought
        ),
        **{
            field: total(field)
            for field in (
                *("input_tokens", "cached_input_tokens", "cache_write_tokens"),
                *("output_tokens", "reasoning_tokens"),
            )
        },
        "confirmed_nano_usd": total("cost_nano_usd", "exact"),
        "estimated_nano_usd": total("cost_nano_usd", "estimated"),
        "estimated_low_nano_usd": total("cost_low_nano_usd", "estimated"),
        "estimated_high_nano_usd": total("cost_high_nano_usd", "estimated"),
        "indeterminate_low_nano_usd": total("cost_low_nano_usd", "indeterminate"),
        "indeterminate_high_nano_usd": total("cost_high_nano_usd", "indeterminate"),
        "saved_nano_usd": sum(row.saved_nano_usd or 0 for row in hits),
    }


@pytest.fixture
def rows() -> list[CallRow]:
    dice = random.Random(20)
    return [make_random_call(number, dice) for number in range(3000)]


@pytest.fixture
def filled(ledger: Ledger, rows: list[CallRow]) -> Ledger:
    ledger.ship(rows, {})
    return ledger


GROUPINGS = [
    (),
    ("model",),
    ("team", "app"),
    ("day",),
    ("team", "day", "cache"),
    ("class", "stream"),
    ("cost_state", "outcome"),
    ("prompt", "prompt_version", "endpoint", "upstream"),
]


@pytest.mark.parametrize("keys", GROUPINGS)
def test_every_sum_of_every_group_is_right_and_the_groups_add_up(
    filled: Ledger, rows: list[CallRow], keys: tuple[str, ...]
) -> None:
    lines = queries.cost_by(filled, keys)
    found = {tuple(line.group.values()): {name: getattr(line, name) for name in SUMS} for line in lines}
    assert found == {group: expected(members) for group, members in grouped(rows, keys).items()}
    total = queries.summary(filled)
    assert {name: sum(getattr(line, name) for line in lines) for name in SUMS} == {
        name: getattr(total, name) for name in SUMS
    }
    assert list(lines[0].group) == list(keys)


def test_the_counts_by_state_and_the_hits_make_up_the_calls(filled: Ledger) -> None:
    for line in queries.cost_by(filled, ("team", "model")):
        assert line.calls == (
            line.hits
            + line.exact_calls
            + line.estimated_calls
            + line.indeterminate_calls
            + line.unpriced_calls
            + line.unmetered_calls
        )


def test_a_period_counts_calls_begun_in_it(filled: Ledger, rows: list[CallRow]) -> None:
    since_ns, until_ns = START_NS + DAY_NS, START_NS + 3 * DAY_NS
    inside = [row for row in rows if since_ns <= row.started_at_ns < until_ns]
    assert 0 < len(inside) < len(rows)
    assert queries.summary(filled, since_ns, until_ns).calls == len(inside)
    assert [line.group["day"] for line in queries.cost_by(filled, ("day",), since_ns, until_ns)] == [
        "2025-11-21",
        "2025-11-22",
    ]


def test_a_period_begins_with_its_first_and_ends_before_its_last_nanosecond(ledger: Ledger) -> None:
    ledger.ship([make_call(0)], {})
    assert queries.summary(ledger, START_NS, START_NS + 1).calls == 1
    assert queries.summary(ledger, START_NS + 1, None).calls == 0
    assert queries.summary(ledger, None, START_NS).calls == 0


def test_money_of_billions_of_dollars_stays_exact(ledger: Ledger) -> None:
    ledger.ship([make_call(number, cost_nano_usd=3 * 10**18 + number) for number in range(3)], {})
    assert queries.summary(ledger).confirmed_nano_usd == 3 * 3 * 10**18 + 0 + 1 + 2


def test_nothing_sums_to_zeros_and_has_no_lines(ledger: Ledger) -> None:
    total = queries.summary(ledger)
    assert {getattr(total, name) for name in SUMS} == {0}
    assert queries.cost_by(ledger, ("model",)) == []
    assert queries.latency_by(ledger, ("model",)) == []
    assert queries.series(ledger, 0, DAY_NS) == []
    assert list(queries.calls(ledger)) == []
    assert queries.call(ledger, "unknown") == []


def test_lines_come_dearest_first_but_days_in_order(filled: Ledger) -> None:
    costs = [line.cost_nano_usd for line in queries.cost_by(filled, ("team", "app"))]
    assert costs == sorted(costs, reverse=True)
    days = [line.group["day"] for line in queries.cost_by(filled, ("team", "day"))]
    assert days == sorted(days)


def test_an_unknown_or_repeated_key_is_named_with_the_nearest_right_one(ledger: Ledger) -> None:
    with pytest.raises(UnknownKeyError, match="'prompt_verson': did you mean prompt_version"):
        queries.cost_by(ledger, ("team", "prompt_verson"))
    with pytest.raises(UnknownKeyError, match="'team' twice"):
        queries.latency_by(ledger, ("team", "team"))


def test_every_key_groups(filled: Ledger) -> None:
    for key in queries.GROUP_KEYS:
        lines = queries.cost_by(filled, (key,))
        assert sum(line.calls for line in lines) == 3000
        assert all(value is None or isinstance(value, str) for line in lines for value in line.group.values())


def rank(values: list[int], percent: int) -> int:
    """Nearest rank, written another way: walk up until enough values lie at or below."""
    ordered = sorted(values)
    return next(value for count, value in enumerate(ordered, 1) if count * 100 >= percent * len(ordered))


def test_percentiles_are_exact_in_every_group(filled: Ledger, rows: list[CallRow]) -> None:
    eligible = [row for row in rows if row.outcome == "ok" and row.cache in ("miss", "bypass")]
    lines = {tuple(line.group.values()): line for line in queries.latency_by(filled, ("team", "stream"))}
    groups = grouped(eligible, ("team", "stream"))
    assert lines.keys() == groups.keys()
    for group, members in groups.items():
        line = lines[group]
        assert line.n == len(members)
        for figure, field in (
            (line.ttft, "ttft_ns"),
            (line.e2e, "e2e_ns"),
            (line.overhead, "overhead_ns"),
        ):
            values = [getattr(row, field) for row in members if getattr(row, field) is not None]
            assert figure is not None
            assert figure.n == len(values)
            assert [figure.p50_ns, figure.p95_ns, figure.p99_ns] == [rank(values, p) for p in (50, 95, 99)]
        tpots = [
            round((row.e2e_ns - row.ttft_ns) / (row.output_tokens - 1))
            for row in members
            if row.stream and row.output_tokens is not None and row.output_tokens > 1
        ]
        assert (line.tpot is None) == (not tpots)
        if line.tpot is not None:
            assert (line.tpot.n, line.tpot.p50_ns) == (len(tpots), rank(tpots, 50))


def test_a_series_is_the_summary_of_each_bucket(filled: Ledger) -> None:
    bucket_ns = 6 * 3600 * 10**9
    points = queries.series(filled, START_NS, bucket_ns)
    assert len(points) == 5 * 4
    for point in points:
        whole = queries.summary(filled, point.start_ns, point.start_ns + bucket_ns)
        assert (point.calls, point.hits) == (whole.calls, whole.hits)
        assert (point.cost_nano_usd, point.saved_nano_usd) == (whole.cost_nano_usd, whole.saved_nano_usd)
        (line,) = queries.latency_by(filled, (), point.start_ns, point.start_ns + bucket_ns)
        assert (point.ttft, point.e2e) == (line.ttft, line.e2e)
    assert [point.start_ns for point in points] == sorted(point.start_ns for point in points)


def test_a_call_in_json_has_designs_keys_in_designs_order(ledger: Ledger) -> None:
    ledger.ship([PLAIN], {})
    (line,) = queries.calls(ledger)
    promised = DESIGN_KEYS.split()
    assert list(line)[: len(promised)] == promised
    assert tuple(line) == queries.CALL_KEYS
    scalars = set(CallRow.__struct_fields__) - {"tokens", "costs", "klass", "started_at_ns"}
    assert set(line) == scalars | {"class", "started_at"}
    assert line["started_at"] == "2025-11-20T00:00:00.000000000Z"
    assert line["class"] == "interactive"
    assert {name: line[name] for name in scalars} == {name: getattr(PLAIN, name) for name in scalars}
    assert (line["stream"], line["tools"]) == (True, False)


def test_calls_come_oldest_first_and_last_means_the_newest(ledger: Ledger) -> None:
    numbers = list(range(50))
    random.Random(3).shuffle(numbers)
    ledger.ship([make_call(number) for number in numbers], {})
    ids = [make_call_id(number) for number in range(50)]
    assert [line["call_id"] for line in queries.calls(ledger)] == ids
    assert [line["call_id"] for line in queries.calls(ledger, last=7)] == ids[-7:]
    assert [line["call_id"] for line in queries.calls(ledger, last=500)] == ids
    assert [line["call_id"] for line in queries.calls(ledger, since_ns=START_NS + 45_000)] == ids[45:]
    assert [line["call_id"] for line in queries.calls(ledger, 2, START_NS + 45_000)] == ids[48:]


def test_calls_begun_at_one_instant_have_an_order(ledger: Ledger) -> None:
    ledger.ship([make_call(n, started_at_ns=START_NS, attempt=a) for n in (3, 1, 2) for a in (2, 1)], {})
    found = [(line["call_id"], line["attempt"]) for line in queries.calls(ledger)]
    assert found == [(make_call_id(n), a) for n in (1, 2, 3) for a in (1, 2)]
    assert [(line["call_id"], line["attempt"]) for line in queries.calls(ledger, last=4)] == found[2:]


def test_reading_can_stop_in_the_middle(filled: Ledger) -> None:
    lines = queries.calls(filled)
    assert next(lines)["attempt"] == 1
    lines.close()
    filled.ship([make_call(9999)], {})


def test_one_call_in_full_has_every_attempt_and_every_class(ledger: Ledger) -> None:
    bare = make_call(0, attempt=2, tokens=None, costs=None, cost_nano_usd=None, cost_state="unpriced")
    ledger.ship([bare, PLAIN, make_call(1)], {})
    first, second = queries.call(ledger, PLAIN.call_id)
    assert (first["attempt"], second["attempt"]) == (1, 2)
    assert first["tokens"] == {
        "input_uncached": 730,
        "cached_read": 200,
        "cache_write": 40,
        "cache_write_5m": 0,
        "cache_write_30m": 0,
        "cache_write_1h": 30,
        "cache_write_12h": 0,
        "input_audio": 0,
        "input_image": 0,
        "output_text": 6,
        "reasoning": 4,
        "output_audio": 0,
        "cached_audio": 0,
        "output_image": 0,
    }
    assert sum(first["costs_nano_usd"].values()) == first["cost_nano_usd"] == PLAIN.cost_nano_usd
    assert (second["tokens"], second["costs_nano_usd"]) == (None, None)
