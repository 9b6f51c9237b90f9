"""The suggested alternatives.yaml: it loads as it is, and matches what it was made of."""

import dataclasses
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from report.tiny_traces import WEEK, Row, trace_of
from submeter.core.pricebook import STANDARD, Bracket, PriceBook, PriceEntry
from submeter.core.record import TokenClasses
from submeter.report.alternatives import Alternatives, check, load
from submeter.report.suggest import BATCH, size, suggest
from submeter.report.trace import COLUMNS, Trace, gather
from submeter.report.workloads import workloads

HOST = PriceEntry(
    model="meta-llama/Llama-3.3-70B-Instruct",
    provider="deepinfra",
    tiers={STANDARD: (Bracket(0, {"input_uncached": Decimal("0.23"), "output_text": Decimal("0.4")}),)},
)
BOOK = PriceBook((HOST,))


def _row(app: str | None, model: str = "gpt-4o", cost: int = 5_000_000_000, at_h: float = 0.0) -> Row:
    return msgspec.structs.replace(Row(), app=app, model_served=model, cost_nano_usd=cost, at_h=at_h)


def _streamed(calls: int) -> Trace:
    """TTFT 10, 20, … ms; 5 ms a token after it."""
    ttft = [10_000_000 * (number + 1) for number in range(calls)]
    columns: dict[str, object] = {
        "started_at_ns": [WEEK.start_ns + number for number in range(calls)],
        "ttft_ns": ttft,
        "e2e_ns": [at + 100 * 5_000_000 for at in ttft],
        "input_tokens": [7] * calls,
        "output_tokens": [101] * calls,
        "stream": [True] * calls,
        "cache": ["miss"] * calls,
        "cost_state": ["unpriced"] * calls,
        "model_served": ["gpt-4o"] * calls,
    }
    return gather([{name: columns.get(name, [None] * calls) for name in COLUMNS}])  # type: ignore[dict-item]


def _loaded(tmp_path: Path, text: str) -> Alternatives:
    path = tmp_path / "alternatives.yaml"
    path.write_text(text, encoding="utf-8")
    found = load(path)
    check(found, path.name)
    return found


def test_it_loads_back_and_leaves_to_a_person_what_only_a_person_knows(tmp_path: Path) -> None:
    trace = trace_of([_row("web"), _row("batch", "gpt-4o-mini", 7_000_000_000), _row(None, "claude-opus-4-5", 1)])
    text = suggest(workloads(trace), WEEK, BOOK)
    found = _loaded(tmp_path, text)
    assert found.engineer_usd_per_week is None
    assert "# must be set:" in text
    assert "\n# engineer_usd_per_week: 1500\n" in text
    assert [each.name for each in found.workloads] == [
        "batch / (no prompt) / gpt-4o-mini",
        "web / (no prompt) / gpt-4o",
        "(no app) / (no prompt) / claude-opus-4-5",
    ]
    assert [each.equivalents[0].model for each in found.workloads] == ["gpt-oss-20b", "llama-3.3-70b", "deepseek-v3"]
    assert all(each.equivalents[0].quality is None for each in found.workloads)
    assert "# seen: 1 calls, $7.00, 1,000 tokens in and 100 out on average" in text


def test_taking_the_comments_away_gives_a_whole_configuration(tmp_path: Path) -> None:
    text = suggest(workloads(trace_of([_row("web")])), WEEK, BOOK)
    for commented in ("engineer_usd_per_week", "gpu_usd_per_hour", "quality", "buy"):
        assert f"# {commented}: " in text
        text = text.replace(f"# {commented}: ", f"{commented}: ")
    found = _loaded(tmp_path, text)
    assert found.engineer_usd_per_week == 1500
    assert found.workloads[0].buy[0].model == "gpt-4o"
    assert found.workloads[0].equivalents[0].quality is not None


def test_hosts_come_from_the_price_book_and_gpus_from_the_catalog(tmp_path: Path) -> None:
    text = suggest(workloads(trace_of([_row("web")])), WEEK, BOOK)
    equivalent = _loaded(tmp_path, text).workloads[0].equivalents[0]
    assert [(each.host, each.model) for each in equivalent.rent] == [("deepinfra", HOST.model)]
    assert "# $0.23 in, $0.4 out per million" in text
    # 70.55 GB of fp8 weights leave nothing of one H100's 72 GB.
    assert [(each.gpu, each.tensor_parallel, each.precision) for each in equivalent.build] == [("h100_sxm", 2, "fp8")]


def test_the_suggested_matches_take_the_calls_they_were_made_of(tmp_path: Path) -> None:
    trace = trace_of([_row("web"), _row("w*b"), _row(None), _row("[x]")])
    found = _loaded(tmp_path, suggest(workloads(trace), WEEK, BOOK))
    again = workloads(trace, found)
    assert [(each.name, len(each.trace)) for each in again] == [(each.name, 1) for each in workloads(trace)]
    assert all(each.choice is not None for each in again)


def test_the_objective_is_the_p95_that_was_seen_rounded_up(tmp_path: Path) -> None:
    """Of 10, 20 … 1000 ms, the 95th percentile is 950.5: 960 in two digits."""
    found = _loaded(tmp_path, suggest(workloads(_streamed(100)), WEEK, BOOK))
    objective = found.workloads[0].objective
    assert objective is not None
    assert (objective.ttft_p95_ms, objective.tpot_p95_ms) == (Decimal(960), Decimal("5.0"))
    assert found.objective_of(found.workloads[0]) == objective


def test_calls_of_class_batch_may_take_their_time(tmp_path: Path) -> None:
    trace = _streamed(100)
    batch = dataclasses.replace(trace, names={**trace.names, "klass": ("batch",)})
    assert _loaded(tmp_path, suggest(workloads(batch), WEEK, BOOK)).workloads[0].objective == BATCH


@pytest.mark.parametrize("calls", [0, 19])
def test_too_few_answers_suggest_no_objective(tmp_path: Path, calls: int) -> None:
    found = _loaded(tmp_path, suggest(workloads(_streamed(calls)), WEEK, BOOK))
    assert [each.objective for each in found.workloads] == [None] * bool(calls)


def test_what_a_fleet_cannot_serve_is_not_suggested(tmp_path: Path) -> None:
    """Embeddings have no output, and what is no single app, prompt and model could not be matched."""
    embeddings = msgspec.structs.replace(_row("vectors"), tokens=TokenClasses(input_uncached=5))
    trace = trace_of([embeddings, _row("a", cost=3), _row("b", cost=2), _row("c", cost=1)])
    found = _loaded(tmp_path, suggest(workloads(trace, alone=2), WEEK, BOOK))
    assert [each.match.app for each in found.workloads] == ["a"]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gpt-4o-mini", "small"),
        ("o3-mini", "small"),
        ("gemini-2.5-pro", "large"),
        ("claude-haiku-4-5", "small"),
        ("gpt-4o-2024-08-06", "middle"),
        ("claude-sonnet-4-5", "middle"),
        ("o3", "large"),
        ("Claude-Opus-4-5", "large"),
        (None, "middle"),
    ],
)
def test_sizes_go_by_the_name(model: str | None, expected: str) -> None:
    assert size(model) == expected


@settings(max_examples=40)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=90), max_size=3, unique=True))
def test_any_name_loads_back_and_is_matched(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    trace = trace_of([_row(name) for name in names])
    found = _loaded(tmp_path_factory.getbasetemp(), suggest(workloads(trace), WEEK, BOOK))
    assert len(found.workloads) == len(names)
    assert sum(len(each.trace) for each in workloads(trace, found) if each.choice is not None) == len(names)
