"""What a board says = what the ledger says = what the provider has billed.

Counters are compared exactly: a board's ``increase`` over its range is extrapolated, so the counter itself is read in
its place, which has counted since this ledger was empty. Percentiles lie in the same bucket.
"""

import re
from bisect import bisect_left
from collections import Counter
from datetime import datetime
from typing import Any

import pytest

from harness.stack.boards import Query, all_values, for_postgres, for_prometheus, load, queries
from harness.stack.check import rows
from stack.conftest import Driven
from submeter.meter.families import DURATION, TTFT, Family

pytestmark = pytest.mark.timeout(300)

NANO = 10**9
INCREASE = re.compile(r"increase\((\w+(?:\{[^}]*\})?)\[[^\]]+\]\)")
Labels = tuple[str, ...]


class Figures:
    """The boards' figures, and the ledger's rows."""

    def __init__(self, driven: Driven) -> None:
        self._driven = driven
        self._boards = load(driven.stack.boards)
        self.rows = driven.stack.unit.rows("--ledger", driven.stack.ledger_url)
        self.upstream = [row for row in self.rows if row["cache"] in ("miss", "bypass")]
        self.metered = [row for row in self.rows if row["cost_state"] != "unmetered"]
        self.invoice = driven.stack.provider.invoice()

    def query(self, board: str, panel: str, ref_id: str) -> Query:
        (found,) = (
            query for query in queries(board, self._boards[board]) if (query.panel, query.ref_id) == (panel, ref_id)
        )
        return found

    def counters(self, board: str, panel: str, ref_id: str, *by: str) -> dict[Labels, float]:
        """The panel's sums, of whole counters."""
        query = self.query(board, panel, ref_id)
        text, found = INCREASE.subn(r"\1", query.text)
        assert found, query.text
        samples = self._ask(board, text)
        return {tuple(sample["metric"].get(label, "") for label in by): float(sample["value"][1]) for sample in samples}

    def counter(self, board: str, panel: str, ref_id: str) -> float:
        (value,) = self.counters(board, panel, ref_id).values()
        return value

    def sql(self, board: str, panel: str, **chosen: list[str]) -> list[tuple[Any, ...]]:
        alls = all_values(self._boards[board])
        text = for_postgres(self.query(board, panel, "A").text, self._driven.shown, chosen, alls)
        return rows(self._driven.stack, text)

    def _ask(self, board: str, text: str) -> list[dict[str, Any]]:
        asked = for_prometheus(text, self._driven.shown, {}, all_values(self._boards[board]))
        return self._driven.stack.prometheus.query(asked)

    def by_model(self, column: str, rows: list[dict[str, Any]]) -> dict[Labels, int]:
        """Sums by the price-book entry, as the label ``model`` has it."""
        sums: Counter[Labels] = Counter()
        for row in rows:
            if row[column]:
                sums[row["price_model"] or "other",] += row[column]
        return dict(sums)


@pytest.fixture(scope="module")
def figures(driven: Driven) -> Figures:
    return Figures(driven)


def nano(values: dict[Labels, float]) -> dict[Labels, int]:
    return {labels: round(value * NANO) for labels, value in values.items() if value}


def test_spend_by_model(figures: Figures) -> None:
    found = nano(figures.counters("cost", "By model", "A", "model"))
    assert found == figures.by_model("cost_nano_usd", figures.upstream)


def test_exact_spend_is_what_was_billed(figures: Figures) -> None:
    billed = {line["request_id"]: line["cost_nano_usd"] for line in figures.invoice}
    exact = [row for row in figures.upstream if row["cost_state"] == "exact" and row["cost_nano_usd"]]
    assert len(exact) > 100
    assert [row["cost_nano_usd"] for row in exact] == [billed[row["upstream_request_id"]] for row in exact]
    total = figures.counter("cost", "Last 24 hours", "A")
    estimated = sum(row["cost_nano_usd"] or 0 for row in figures.upstream if row["cost_state"] == "estimated")
    assert round(total * NANO) == sum(billed[row["upstream_request_id"]] for row in exact) + estimated


def test_spend_by_team_and_app(figures: Figures) -> None:
    expected: Counter[Labels] = Counter()
    for row in figures.upstream:
        expected[row["team"] or "", row["app"] or ""] += row["cost_nano_usd"] or 0
    found = nano(figures.counters("cost", "By team and app", "A", "team", "app"))
    assert found == {labels: cost for labels, cost in expected.items() if cost}


@pytest.mark.parametrize(("ref_id", "column"), [("D", "input_tokens"), ("E", "output_tokens")])
def test_tokens_by_model(figures: Figures, ref_id: str, column: str) -> None:
    found = figures.counters("cost", "By model", ref_id, "model")
    expected = figures.by_model(column, [row for row in figures.upstream if row["cost_state"] != "unmetered"])
    assert {labels: value for labels, value in found.items() if value} == expected


def test_calls_by_model(figures: Figures) -> None:
    expected = Counter((row["price_model"] or "other",) for row in figures.metered)
    assert figures.counters("cost", "By model", "C", "model") == expected


def test_saved_by_model(figures: Figures) -> None:
    found = nano(figures.counters("cost", "By model", "G", "model"))
    assert found == figures.by_model("saved_nano_usd", figures.rows)


def test_hit_rates(figures: Figures) -> None:
    said = Counter(row["cache"] for row in figures.metered)
    spared = said["hit"] + said["coalesced"]
    assert figures.counter("cost", "Cache hit rate", "A") == pytest.approx(spared / (spared + said["miss"]))
    assert figures.counter("cost", "Cache hit rate", "B") == pytest.approx(spared / said.total())


def test_what_is_in_no_sum(figures: Figures) -> None:
    lost = [row for row in figures.rows if row["cost_state"] == "indeterminate"]
    high = sum(row["cost_high_nano_usd"] for row in lost)
    assert round(figures.counter("cost", "Money of unknown end", "A") * NANO) == high > 0
    unmetered = sum(row["cost_state"] == "unmetered" for row in figures.rows)
    assert figures.counter("cost", "Calls not metered", "A") == unmetered > 0


def test_failures_by_upstream(figures: Figures) -> None:
    expected = Counter(
        (row["upstream"],)
        for row in figures.upstream
        if row["outcome"].startswith(("upstream_", "timeout"))
        and row["cost_state"] != "unmetered"
        and not (400 <= (row["status"] or 0) < 500 and row["status"] != 429)
    )
    assert figures.counters("latency", "Health of providers", "B", "upstream") == expected


@pytest.mark.parametrize(
    ("panel", "family", "column", "share"),
    [
        ("TTFT, median", TTFT, "ttft_ns", 0.5),
        ("TTFT, p95", TTFT, "ttft_ns", 0.95),
        ("End to end, p95", DURATION, "e2e_ns", 0.95),
    ],
)
def test_percentiles_lie_in_the_ledgers_bucket(
    figures: Figures, panel: str, family: Family, column: str, share: float
) -> None:
    seen = sorted(
        row[column] / NANO for row in figures.upstream if row[column] is not None and row["cost_state"] != "unmetered"
    )
    true = seen[max(0, -(-len(seen) * round(share * 100) // 100) - 1)]
    at = bisect_left(family.buckets, true)
    low = 0.0 if at == 0 else family.buckets[at - 1]
    assert low <= figures.counter("latency", panel, "A") <= family.buckets[at]


def test_the_ledgers_own_sums(figures: Figures, driven: Driven) -> None:
    """A board that reads Postgres shows the calls of its range."""
    begin_ns, end_ns = driven.shown.begin_s * NANO, driven.shown.end_s * NANO
    prompt = "classify"
    spent = sum(
        row["cost_nano_usd"] or 0
        for row in figures.upstream
        if row["prompt"] == prompt and begin_ns <= started_ns(row) <= end_ns
    )
    ((found,),) = figures.sql("prompts", "Spend", prompt=[prompt])
    assert round(float(found) * NANO) == spent > 0


def started_ns(row: dict[str, Any]) -> int:
    """Of RFC 3339 with nanoseconds."""
    whole, _, fraction = row["started_at"].removesuffix("Z").partition(".")
    return int(datetime.fromisoformat(f"{whole}+00:00").timestamp()) * NANO + int(fraction.ljust(9, "0"))
