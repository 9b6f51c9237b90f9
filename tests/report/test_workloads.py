"""Workloads: each call in exactly one, no nano-dollar lost, and what a fleet would have to serve of them."""

from decimal import Decimal

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from report.tiny_traces import WEEK, Row, trace_of
from submeter.core.record import TokenClasses
from submeter.core.whatif import Change, changed
from submeter.report.alternatives import Alternatives, Match, WorkloadChoice
from submeter.report.trace import Trace, gather
from submeter.report.workloads import EVERYTHING_ELSE, Demand, demand, scaled, workloads


def _row(app: str | None, cost: int, model: str | None = "gpt-4o", **more: object) -> Row:
    return msgspec.structs.replace(Row(), app=app, model_served=model, cost_nano_usd=cost, **more)


def _config(*matches: Match) -> Alternatives:
    choices = [WorkloadChoice(name=f"w{number}", match=match) for number, match in enumerate(matches)]
    return Alternatives(workloads=tuple(choices))


def _figures(trace: Trace, config: Alternatives | None = None, alone: int = 20) -> list[tuple[str, int, int]]:
    return [(each.name, len(each.trace), each.cost_nano_usd) for each in workloads(trace, config, alone)]


def test_without_configuration_app_prompt_and_model_tell_workloads_apart() -> None:
    trace = trace_of([_row("web", 5), _row("web", 7), _row("web", 20, "gpt-4o-mini"), _row(None, 1, None)])
    assert _figures(trace) == [
        ("web / (no prompt) / gpt-4o-mini", 1, 20),
        ("web / (no prompt) / gpt-4o", 2, 12),
        ("(no app) / (no prompt) / (no model)", 1, 1),
    ]
    assert {each.choice for each in workloads(trace)} == {None}


def test_the_first_match_takes_a_call_and_what_nothing_matches_is_told_apart_as_ever() -> None:
    trace = trace_of([_row("web", 1), _row("web", 2, "o4-mini"), _row("batch", 4), _row("other", 8, "claude")])
    config = _config(Match(app="web", model="gpt*"), Match(app="web"), Match(model="gpt*"), Match(app="nobody"))
    assert _figures(trace, config) == [
        ("other / (no prompt) / claude", 1, 8),
        ("w2", 1, 4),
        ("w1", 1, 2),
        ("w0", 1, 1),
        ("w3", 0, 0),
    ]
    chosen = {each.name: each.choice for each in workloads(trace, config)}
    assert chosen["w1"] == config.workloads[1]


def test_what_a_narrowed_match_leaves_over_does_not_take_the_workloads_name() -> None:
    """``report init`` names workloads as they would be called without it; people then narrow the match."""
    trace = trace_of([_row("web", 3), _row("web", 4, region="eu")])
    name = "web / (no prompt) / gpt-4o"
    config = Alternatives(workloads=(WorkloadChoice(name=name, match=Match(app="nobody")),))
    assert _figures(trace, config) == [(f"{name} (not matched)", 2, 7), (name, 0, 0)]


def test_a_match_on_what_has_no_name_needs_a_star() -> None:
    trace = trace_of([_row(None, 1), _row("web", 2)])
    assert _figures(trace, _config(Match(app="?*"))) == [("w0", 1, 2), ("(no app) / (no prompt) / gpt-4o", 1, 1)]
    assert _figures(trace, _config(Match())) == [("w0", 2, 3)]


def test_the_dearest_stand_alone_and_the_rest_is_one_at_the_end() -> None:
    trace = trace_of([_row(f"app{number}", number) for number in range(10)])
    assert _figures(trace, alone=3) == [
        ("app9 / (no prompt) / gpt-4o", 1, 9),
        ("app8 / (no prompt) / gpt-4o", 1, 8),
        ("app7 / (no prompt) / gpt-4o", 1, 7),
        (EVERYTHING_ELSE, 7, 1 + 2 + 3 + 4 + 5 + 6),
    ]
    assert len(_figures(trace, alone=10)) == 10
    assert _figures(trace, _config(Match(app="app0")), alone=1)[-2:] == [("w0", 1, 0), (EVERYTHING_ELSE, 8, 36)]


def test_a_trace_of_nothing_has_the_configured_workloads_only() -> None:
    assert _figures(gather([])) == []
    assert _figures(gather([]), _config(Match())) == [("w0", 0, 0)]


_APPS = st.sampled_from(["a", "b", "c", None])


@settings(max_examples=60)
@given(
    st.lists(st.tuples(_APPS, st.sampled_from(["x", "y", None]), st.integers(0, 10**12)), max_size=40),
    st.lists(st.builds(Match, app=st.sampled_from(["a", "*", "[ab]"]), model=st.sampled_from(["x", "*"])), max_size=3),
    st.integers(0, 4),
)
def test_every_call_is_in_one_workload_and_the_money_adds_up_to_the_nano_dollar(
    calls: list[tuple[str | None, str | None, int]], matches: list[Match], alone: int
) -> None:
    trace = trace_of([_row(app, cost, model) for app, model, cost in calls])
    found = workloads(trace, _config(*matches), alone)
    assert sum(len(each.trace) for each in found) == len(calls)
    assert sum(each.cost_nano_usd for each in found) == sum(cost for _, _, cost in calls)
    assert len({each.name for each in found}) == len(found)
    assert len(found) <= len(matches) + alone + 1
    for each in found:
        if each.choice is not None:
            names = {(each.trace.names["app"][code]) for code in each.trace.codes["app"]}
            assert all(each.choice.match.fits(app=name) for name in names)


def test_demand_is_what_was_answered_upstream_since_the_weeks_start() -> None:
    rows = [
        Row(at_h=0),
        Row(at_h=1.5, cache="hit"),
        Row(at_h=24, tokens=TokenClasses(input_uncached=3, cached_read=4, output_text=5, reasoning=6)),
        Row(at_h=30, refused=True),
        Row(at_h=40, tokens=None),
        Row(at_h=167.5),
    ]
    found = demand(trace_of(rows), WEEK)
    assert found.arrival_s.tolist() == [0.0, 86_400.0, 167.5 * 3600]
    assert found.input_tokens.tolist() == [1000, 7, 1000]
    assert found.output_tokens.tolist() == [100, 11, 100]
    assert found.days.tolist() == [0, 1, 6]


def _demand(*counts: int) -> Demand:
    tokens = np.array(counts, dtype=np.int64)
    return Demand(np.zeros(len(counts)), tokens, tokens, np.zeros(len(counts), dtype=np.int32))


def test_scaling_rounds_half_to_even() -> None:
    """25 × 1.06 = 26.5 and 75 × 1.06 = 79.5, which a float takes for a little more, and for a little less."""
    found = scaled(_demand(0, 25, 75, 1), Decimal("1.06"), Decimal("0.5"))
    assert found.input_tokens.tolist() == [0, 26, 80, 1]
    assert found.output_tokens.tolist() == [0, 13, 40, 1]


@given(
    st.integers(0, 10**7),
    st.decimals("0.01", "10", places=4),
    st.decimals("0.01", "10", places=4),
)
def test_scaling_is_that_of_whatif(count: int, tokenizer_ratio: Decimal, length_ratio: Decimal) -> None:
    tokens = TokenClasses(input_uncached=count, output_text=count)
    expected = changed(tokens, Change(tokenizer_ratio=tokenizer_ratio, length_ratio=length_ratio))
    found = scaled(_demand(count), tokenizer_ratio, length_ratio)
    assert found.input_tokens.tolist() == [expected.input_total]
    assert found.output_tokens.tolist() == [expected.output_total]


@pytest.mark.parametrize("ratio", ["1", "1.0"])
def test_a_ratio_of_one_changes_nothing(ratio: str) -> None:
    found = scaled(_demand(1, 2), Decimal(ratio), Decimal(ratio))
    assert (found.input_tokens.tolist(), found.output_tokens.tolist()) == ([1, 2], [1, 2])
