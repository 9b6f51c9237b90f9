"""/metrics from rows alone: the budget of series, exemplars, changes of models, and what is kept of it."""

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text
from prometheus_client.samples import Sample

from harness.prometheus import program
from store.ledger_rows import make_call
from submeter.core.record import CallRow, Tally, TokenClasses
from submeter.meter.families import (
    COUNTERS,
    HISTOGRAMS,
    LABELLED_GAUGES,
    MODEL_CHANGES,
    OTHER_SERIES,
    SERIES_LIMIT,
    SERVED_NAMES,
    TPOT,
    TTFT,
    Family,
    State,
    gauges,
)
from submeter.meter.labels import LIMIT, LabelSets
from submeter.meter.metrics import Metrics
from submeter.meter.series import MOST_KEPT
from submeter.meter.served import MOST_NAMES, MOST_PAIRS, MOST_UNPRICED_PAIRS

ASKS_FOR_OPENMETRICS = (  # word for word what Prometheus 2.42 sends
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
SECONDS = ("time_to_first_token", "time_per_output_token", "inference_duration", "submeter_overhead")


def metrics_of(*rows: CallRow, **more: Any) -> Metrics:
    metrics = Metrics(LabelSets({}, []), **more)
    for row in rows:
        metrics.settled(row)
    return metrics


def samples(metrics: Metrics) -> list[Sample]:
    return [sample for family in read_text(metrics.exposition()[0].decode()) for sample in family.samples]


def total(metrics: Metrics, name: str, **labels: str) -> float:
    found = [s.value for s in samples(metrics) if s.name == name and labels.items() <= s.labels.items()]
    return sum(found)


def openmetrics(metrics: Metrics) -> Iterator[Sample]:
    for family in read_openmetrics(metrics.exposition(ASKS_FOR_OPENMETRICS)[0].decode()):
        yield from family.samples


# ---- the budget ---------------------------------------------------------------------------------------------------


def test_all_families_together_fit_the_budget() -> None:
    most = sum(family.most_lines for family in (*COUNTERS, *HISTOGRAMS))
    most += sum(family.most for family in LABELLED_GAUGES)
    at_most = most + len(gauges(State(), 0, 1, "1")) + len(("submeter_series",))
    assert at_most <= SERIES_LIMIT


@pytest.mark.parametrize("family", [*COUNTERS, *HISTOGRAMS], ids=lambda family: family.name)
def test_a_family_has_no_more_lines_than_it_says(family: Family) -> None:
    metrics = metrics_of()
    for number in range(family.most + 10):
        labels = tuple(f"{label}{number}" for label in family.labels)
        if family.buckets:
            metrics._series.observe(family, labels, 1)
        else:
            metrics._series.add(family, labels)
    name = family.shown
    lines = [s for s in samples(metrics) if s.name == name or (family.buckets and s.name.startswith(f"{name}_"))]
    assert len(lines) == family.most_lines
    if family.labels:
        beyond = total(metrics, "submeter_other_series_total", metric=family.shown)
        assert beyond == (0 if family.begins else family.most + 10 - (family.most - 1))


hostile = st.text(max_size=70) | st.sampled_from(
    ['a"b', "x\n# HELP y", "{}", "\\", "other", "", "\x00", "\ud7ff", "le"]
)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(*[hostile] * 6, st.booleans()), min_size=1, max_size=40))
def test_whatever_clients_say_both_formats_hold_together(calls: list[tuple[Any, ...]]) -> None:
    metrics = metrics_of()
    for number, (team, app, prompt, version, requested, served, priced) in enumerate(calls):
        said = {"team": team, "app": app, "prompt": prompt, "prompt_version": version}
        models = {"model_requested": requested, "model_served": served}
        if not priced:
            models |= {"price_model": None, "cost_state": "unpriced", "cost_nano_usd": None, "costs": None}
        metrics.settled(make_call(number, **said, **models))
    text = samples(metrics)
    again = [sample for sample in openmetrics(metrics) if not sample.name.endswith("_created")]
    assert len(text) == len(again) <= SERIES_LIMIT
    assert total(metrics, "submeter_series") == len(text)
    assert total(metrics, "submeter_calls_total") == len(calls)
    assert total(metrics, "submeter_unpriced_calls_total") == sum(not priced for *_, priced in calls)
    assert all("\n" not in value for sample in text for value in sample.labels.values())


def test_what_is_shown_as_other_is_counted() -> None:
    metrics = metrics_of(*(make_call(number, team=f"team{number}") for number in range(LIMIT + 7)))
    assert total(metrics, "submeter_other_values_total", label="team") == 7
    nobody_knows = {"price_model": None, "cost_state": "unpriced", "cost_nano_usd": None}
    metrics = metrics_of(
        make_call(0, prompt="two words"), make_call(1, **nobody_knows), make_call(2, team="other", price_model=None)
    )
    assert total(metrics, "submeter_other_values_total", label="prompt") == 1
    assert total(metrics, "submeter_other_values_total", label="model") == 1
    assert total(metrics, "submeter_other_values_total", label="team") == 0, "a team that is called so"


def test_what_alerts_watch_begins_at_zero() -> None:
    metrics = metrics_of(upstreams=["openai", "own"])
    found = {(s.name, *s.labels.values()): s.value for s in samples(metrics) if s.name.endswith("_total")}
    expected = {
        *(("submeter_unpriced_calls_total", name) for name in ("openai", "own")),
        *(("submeter_indeterminate_calls_total", name) for name in ("openai", "own")),
        *(("submeter_indeterminate_usd_total", bound) for bound in ("low", "high")),
        *(("submeter_unmetered_calls_total", reason) for reason in ("path", "journal")),
        *(("submeter_cache_events_total", event) for event in ("hits", "rejected", "breaker_open")),
        *(("submeter_other_values_total", label) for label in ("team", "model", "model_requested")),
        ("submeter_other_series_total", "submeter_cost_usd_total"),
        ("submeter_other_series_total", TTFT.name),
        *((f"submeter_{name}_total",) for name in ("ledger_rows", "ledger_failures", "journal_damage")),
        ("submeter_quarantined_rows_total",),
    }
    assert expected <= set(found)
    assert set(found.values()) == {0}


# ---- what a row counts for ----------------------------------------------------------------------------------------


def test_the_usage_counters_are_totals_and_their_parts() -> None:
    usage = TokenClasses(input_uncached=700, cached_read=200, cache_write_1h=100, output_text=30, reasoning=12)
    sums = {"input_tokens": 1000, "cached_input_tokens": 200, "cache_write_tokens": 100}
    row = make_call(0, tokens=usage, **sums, output_tokens=42, reasoning_tokens=12)
    metrics = metrics_of(row, row)

    def usage_of(name: str) -> float:
        return total(metrics, f"gen_ai_client_inference_usage_{name}_total", model="gpt-4o")

    assert usage_of("input_tokens") == 2 * 1000
    assert usage_of("output_tokens") == 2 * 42
    assert usage_of("cache_read_input_tokens") == 2 * 200
    assert usage_of("cache_write_input_tokens") == 2 * 100
    assert usage_of("reasoning_output_tokens") == 2 * 12
    assert total(metrics, "submeter_tokens_total") == 2 * (1000 + 42)
    size = "gen_ai_client_inference_operation_input_tokens"
    buckets = {s.labels["le"]: s.value for s in samples(metrics) if s.name == f"{size}_bucket"}
    assert [buckets["256.0"], buckets["1024.0"], buckets["67108864.0"], buckets["+Inf"]] == [0, 2, 2, 2]
    assert total(metrics, f"{size}_sum") == 2000


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ({"status": 200}, "2xx"),
        ({"status": 429, "outcome": "upstream_error"}, "429"),
        ({"status": 404, "outcome": "upstream_error"}, "4xx"),
        ({"status": 503, "outcome": "upstream_error"}, "5xx"),
        ({"status": 502, "outcome": "upstream_error", "ttfb_ns": None}, "none"),  # the relay's own
        ({"status": None, "outcome": "indeterminate", "ttfb_ns": None}, "none"),
        ({"status": 200, "ttfb_ns": None}, "2xx"),  # an answer that was fetched has no durations
    ],
)
def test_how_the_upstream_answered(said: dict[str, Any], shown: str) -> None:
    labels = {"upstream": "openai", "outcome": said.get("outcome", "ok"), "status": shown}
    assert total(metrics_of(make_call(0, **said)), "submeter_upstream_calls_total", **labels) == 1


def test_hits_did_not_go_upstream() -> None:
    metrics = metrics_of(make_call(0, cache="hit", saved_nano_usd=7), make_call(1, cache="coalesced"))
    assert total(metrics, "submeter_calls_total") == 2
    assert total(metrics, "submeter_upstream_calls_total") == 0


def test_calls_without_a_known_end() -> None:
    bounds = {"cost_low_nano_usd": 1_000_000_000, "cost_high_nano_usd": 3_000_000_000}
    row = make_call(0, cost_state="indeterminate", cost_nano_usd=None, costs=None, outcome="indeterminate", **bounds)
    metrics = metrics_of(row, row)
    assert total(metrics, "submeter_indeterminate_calls_total", upstream="openai") == 2
    assert total(metrics, "submeter_indeterminate_usd_total", bound="high") == 6


# ---- changes of models --------------------------------------------------------------------------------------------


def served(number: int, name: str | None, requested: str = "gpt-4o", **more: Any) -> CallRow:
    return make_call(number, model_requested=requested, model_served=name, **more)


def test_a_served_name_that_was_not_met_before_is_a_change() -> None:
    metrics = metrics_of(served(0, "gpt-4o-05"), served(1, "gpt-4o-05"))
    assert total(metrics, "submeter_model_changes_total") == 0, "the first one is what there is to compare with"
    metrics.settled(served(2, None))
    metrics.settled(served(3, "gpt-4o-08"))
    metrics.settled(served(4, "gpt-4o-05"))
    metrics.settled(served(5, "gpt-4o-08"))
    assert total(metrics, "submeter_model_changes_total", model="gpt-4o") == 1
    metrics.settled(served(6, "gpt-4o-08", upstream="other-one"))
    metrics.settled(served(7, "gpt-4o-08", requested="gpt-4o-latest"))
    assert total(metrics, "submeter_model_changes_total") == 1, "each pair has names of its own"


def test_a_router_is_not_reported_for_ever() -> None:
    metrics = metrics_of(*(served(number, f"any-{number}", "router") for number in range(50)))
    assert total(metrics, "submeter_model_changes_total", model="router") == MOST_NAMES - 1


def test_junk_models_leave_room_for_those_with_a_price() -> None:
    junk = {"price_model": None, "cost_state": "unpriced", "cost_nano_usd": None}
    metrics = metrics_of(*(served(number, "x", f"junk-{number}", **junk) for number in range(MOST_PAIRS + 100)))
    assert len(list(metrics._series.of(SERVED_NAMES))) == MOST_UNPRICED_PAIRS
    metrics.settled(served(0, "gpt-4o-05"))
    metrics.settled(served(1, "gpt-4o-08"))
    assert total(metrics, "submeter_model_changes_total", model="gpt-4o") == 1
    assert SERVED_NAMES.most > MOST_PAIRS * MOST_NAMES


# ---- formats ------------------------------------------------------------------------------------------------------


def test_the_format_is_the_one_that_is_asked_for() -> None:
    metrics = metrics_of(make_call(0))
    for accept in ("", "*/*", "text/plain", "text/html"):
        body, content_type = metrics.exposition(accept)
        assert content_type.startswith("text/plain; version=0.0.4; charset=utf-8")
        assert b"# {" not in body, "exemplars are not of this format"
        assert b"# EOF" not in body
    body, content_type = metrics.exposition(ASKS_FOR_OPENMETRICS)
    assert content_type.startswith("application/openmetrics-text; version=1.0.0; charset=utf-8")
    assert body.endswith(b"# EOF\n")


def test_exemplars_name_the_latest_call_of_a_bucket() -> None:
    first, second = make_call(1, ttft_ns=90_000_000), make_call(2, ttft_ns=95_000_000)
    metrics = metrics_of(first, second)
    found = {s.name: s.exemplar for s in openmetrics(metrics) if s.exemplar is not None}
    at_s = (second.started_at_ns + 1_000_000_000) / 1e9
    for name, exemplar in found.items():
        assert exemplar.labels == {"call_id": second.call_id}, name
        assert float(exemplar.timestamp) == pytest.approx(at_s, abs=1e-5)
    assert found["gen_ai_server_time_to_first_token_seconds_bucket"].value == 0.095
    assert found["submeter_cost_usd_total"].value == 0.00235
    assert len(found) == 5
    assert {name for name in found if not any(part in name for part in SECONDS)} == {"submeter_cost_usd_total"}


def test_promtool_has_nothing_to_say() -> None:
    metrics = metrics_of(*(make_call(number, team=f"t{number}", model_served=f"m{number}") for number in range(3)))
    metrics.tally(Tally("refused", "invalid_json", 1))
    metrics.state = State(price_snapshot_age_s=1.0)
    run = subprocess.run(
        [program("promtool"), "check", "metrics"], input=metrics.exposition()[0], capture_output=True, check=False
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, b"", b"")


# ---- kept ---------------------------------------------------------------------------------------------------------


def shown(metrics: Metrics) -> dict[tuple[Any, ...], float]:
    return {(s.name, *sorted(s.labels.items())): s.value for s in samples(metrics)}


def test_everything_comes_back() -> None:
    rows = [make_call(number, team=f"t{number % 3}", ttft_ns=number * 7_000_000) for number in range(40)]
    metrics = metrics_of(*rows, served(40, "gpt-4o-new"))
    metrics.tally(Tally("refused", "invalid_json", 5))
    kept = metrics.changes(shipping=41)
    metrics.committed(41)
    assert metrics.changes() == {}
    assert not metrics.has_changed
    restored = metrics_of(kept=kept)
    assert shown(restored) == shown(metrics)
    assert restored.changes() == {}, "nothing is written again"
    for each in (metrics, restored):
        each.settled(served(41, "gpt-4o-new"))
        each.settled(served(42, "gpt-4o-newer"))
    assert shown(restored) == shown(metrics)
    assert restored.changes() == metrics.changes()


def test_only_what_changed_is_written_and_until_it_is() -> None:
    metrics = metrics_of(make_call(0))
    metrics.changes()
    metrics.committed()
    metrics.tally(Tally("refused", "invalid_json", 2))
    key = ("submeter_refused_calls", (("code", "invalid_json"),))
    assert metrics.changes() == {key: 2}
    metrics.tally(Tally("refused", "invalid_json", 1))
    assert metrics.changes() == {key: 3}, "the database was down: again, with what came since"
    metrics.committed()
    assert metrics.changes() == {}


def test_rows_are_shown_as_shipped_only_once_they_are() -> None:
    metrics = metrics_of()
    assert metrics.changes(shipping=5)[("submeter_ledger_rows", ())] == 5
    assert total(metrics, "submeter_ledger_rows_total") == 0
    assert metrics.changes(shipping=8)[("submeter_ledger_rows", ())] == 8, "it has failed, and three more came"
    metrics.committed(8)
    assert total(metrics, "submeter_ledger_rows_total") == 8
    assert metrics.changes() == {}


def test_what_another_version_kept_does_no_harm() -> None:
    pairs = (("model", "m"), ("endpoint", "e"), ("stream", "true"), ("le", "0.05"))
    kept = {
        ("no_such_metric", ()): 3,
        ("submeter_calls", (("model", "m"),)): 4,
        (TPOT.name, pairs): 5,
        (TPOT._replace(buckets=(0.05, 1.0)).kept_as, pairs): 6,
        (TPOT.kept_as, pairs): 7,
    }
    metrics = metrics_of(kept=kept)
    assert total(metrics, "submeter_calls_total") == 0
    assert total(metrics, f"{TPOT.name}_count") == 7
    assert metrics.changes() == {}


def test_absurd_numbers_do_not_stop_the_shipping() -> None:
    metrics = metrics_of(*(make_call(number, cost_nano_usd=2**62) for number in range(4)))
    assert max(metrics.changes().values()) == MOST_KEPT


def test_what_is_kept_is_bounded_too() -> None:
    names = [f"{number}" * 20 for number in range(300)]
    metrics = metrics_of(*(served(number, f"{name}-x", f"{name}\x00é") for number, name in enumerate(names)))
    for _, labels in metrics.changes():
        assert all(len(value) <= 64 and value.isascii() and "\x00" not in value for _, value in labels)
    assert OTHER_SERIES.most_lines + MODEL_CHANGES.most_lines < 100
