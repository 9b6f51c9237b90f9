"""/metrics after traffic that is known to the token: every figure has its exact value."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.processes import Provider, Unit, submeter, wait_for
from harness.raw import RawConnection, ask, chat, request
from harness.scraping import Samples, scrape, total, value
from submeter import __version__

MOST_SAMPLES = 2000
NANO = 10**9
# gpt-4o-mini, USD per million tokens: 0.15 input, 0.075 cached input, 0.60 output; in nano-USD per token:
INPUT, CACHED, OUTPUT = 150, 75, 600


def settled(unit: Unit, calls: int) -> Samples:
    """The samples once so many calls are counted; rows come in the same pass."""
    wait_for(lambda: total(scrape(unit), "submeter_calls_total") >= calls, f"{calls} calls in the metrics")
    samples = scrape(unit)
    assert total(samples, "submeter_calls_total") == calls
    return samples


# ---- one fixed traffic ------------------------------------------------------------------------------------------

TEAM = {"x-submeter-team": "search", "x-submeter-app": "web", "x-submeter-prompt": "greet"}
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def fixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Provider, Unit]]:
    directory = tmp_path_factory.mktemp("fixed")
    provider = Provider(directory)
    unit = Unit(directory, provider)
    unit.wait_ops()

    def call(script: str, *, headers: dict[str, str] | None = None, **more: Any) -> int:
        sent = TEAM | {"x-scripted": script} | (headers or {})
        return ask(unit.port, "POST", CHAT, sent, chat(**more)).status

    # 3 streams with 10 output tokens, 7 of 20 input tokens from the provider's cache
    for _ in range(3):
        assert call("input_tokens=20;cached_tokens=7;output_tokens=10", stream=True) == 200
    # a whole answer with reasoning
    assert call("input_tokens=30;output_tokens=5;reasoning_tokens=4") == 200
    # a miss and two hits
    for _ in range(3):
        assert call("input_tokens=100;output_tokens=8", temperature=0) == 200
    # an error of the provider's
    assert call("status=429") == 429
    # a model that nobody has a price for, twice
    for _ in range(2):
        assert call("input_tokens=9;output_tokens=3", model="nobody-knows-1") == 200
    # what leaves no row: two listings, one upload's cousin, and three refusals
    assert ask(unit.port, "GET", "/v1/models").status == 200
    assert ask(unit.port, "GET", "/v1/models/gpt-4o").status == 200
    assert ask(unit.port, "GET", "/v1/nowhere").status == 404
    for _ in range(3):
        assert ask(unit.port, "POST", CHAT, {"Content-Type": "application/json"}, b"{").status == 400
    assert ask(unit.port, "GET", "/nowhere").status == 404
    # a POST that is passed through
    assert ask(unit.port, "POST", "/v1/moderations", {}, {"input": "x"}).status == 200
    yield provider, unit
    unit.close()
    provider.close()


CALLS = 11  # 3 + 1 + 3 + 1 + 2 and the moderation


def test_calls(fixed: tuple[Provider, Unit]) -> None:
    samples = settled(fixed[1], CALLS)

    def calls(
        model: str, outcome: str = "ok", cache: str = "bypass", endpoint: str = "chat/completions"
    ) -> float | None:
        return value(samples, "submeter_calls_total", model=model, endpoint=endpoint, outcome=outcome, cache=cache)

    assert calls("gpt-4o-mini") == 4
    assert calls("gpt-4o-mini", cache="miss") == 1
    assert calls("gpt-4o-mini", cache="hit") == 2
    assert calls("other") == 2
    assert total(samples, "submeter_calls_total", outcome="upstream_error") == 1
    assert total(samples, "submeter_calls_total", endpoint="unmetered") == 1


def test_tokens_by_class(fixed: tuple[Provider, Unit]) -> None:
    samples = settled(fixed[1], CALLS)

    def tokens(klass: str, model: str = "gpt-4o-mini") -> float | None:
        return value(samples, "submeter_tokens_total", model=model, klass=klass)

    assert tokens("input_uncached") == 3 * (20 - 7) + 30 + 100, "hits count no tokens"
    assert tokens("cached_read") == 3 * 7
    assert tokens("output_text") == 3 * 10 + 5 + 8
    assert tokens("reasoning") == 4
    assert tokens("input_uncached", "other") == 2 * 9
    assert tokens("output_text", "other") == 2 * 3
    assert total(samples, "submeter_tokens_total") == 3 * 30 + 39 + 108 + 2 * 12


def test_usage_as_totals_and_sizes(fixed: tuple[Provider, Unit]) -> None:
    samples = settled(fixed[1], CALLS)

    def usage(name: str, model: str = "gpt-4o-mini") -> float | None:
        return value(samples, f"gen_ai_client_inference_usage_{name}_total", model=model)

    assert usage("input_tokens") == 3 * 20 + 30 + 100
    assert usage("output_tokens") == 3 * 10 + (5 + 4) + 8
    assert (usage("cache_read_input_tokens"), usage("reasoning_output_tokens")) == (3 * 7, 4)
    assert (usage("input_tokens", "other"), usage("cache_write_input_tokens")) == (2 * 9, 0)

    def inputs(le: str) -> float | None:
        name = "gen_ai_client_inference_operation_input_tokens_bucket"
        return value(samples, name, endpoint="chat/completions", le=le)

    # 2 calls of 9 tokens, 3 of 20, one of 30, one of 100
    assert [inputs(le) for le in ("4.0", "16.0", "64.0", "256.0", "+Inf")] == [0, 2, 6, 7, 7]


def test_what_went_upstream(fixed: tuple[Provider, Unit]) -> None:
    samples = settled(fixed[1], CALLS)
    name, upstream = "submeter_upstream_calls_total", "openai"
    assert value(samples, name, upstream=upstream, outcome="ok", status="2xx") == CALLS - 2 - 1, "no hit, no error"
    assert value(samples, name, upstream=upstream, outcome="upstream_error", status="429") == 1
    assert total(samples, name) == CALLS - 2
    assert value(samples, "submeter_indeterminate_calls_total", upstream=upstream) == 0
    assert total(samples, "submeter_model_changes_total") == 0
    assert total(samples, "submeter_other_values_total", label="model") == 2


def test_the_meter_on_itself(fixed: tuple[Provider, Unit]) -> None:
    unit = fixed[1]
    wait_for(lambda: value(scrape(unit), "submeter_ledger_rows_total") == CALLS, "all rows to be shipped")
    samples = scrape(unit)
    assert value(samples, "submeter_ledger_failures_total") == 0
    assert value(samples, "submeter_workers") == value(samples, "submeter_relays") == 1
    assert value(samples, "submeter_build_info", version=__version__) == 1
    assert value(samples, "submeter_series") == len(samples) < value(samples, "submeter_series_limit") == MOST_SAMPLES


def test_cost_is_the_invoice(fixed: tuple[Provider, Unit]) -> None:
    provider, unit = fixed
    samples = settled(unit, CALLS)
    streams = 3 * ((20 - 7) * INPUT + 7 * CACHED + 10 * OUTPUT)
    whole = 30 * INPUT + (5 + 4) * OUTPUT
    miss = 100 * INPUT + 8 * OUTPUT
    labels = {"model": "gpt-4o-mini", "team": "search", "app": "web", "state": "exact"}
    assert value(samples, "submeter_cost_usd_total", **labels) == (streams + whole + miss) / NANO
    invoice = sum(line["cost_nano_usd"] for line in provider.invoice() if line["price_known"])
    assert round(total(samples, "submeter_cost_usd_total") * NANO) == invoice
    assert round(total(samples, "submeter_prompt_cost_usd_total", prompt="greet") * NANO) == invoice
    assert value(samples, "submeter_saved_usd_total", model="gpt-4o-mini") == 2 * miss / NANO


def test_durations_are_counted_for_calls_that_have_them(fixed: tuple[Provider, Unit]) -> None:
    samples = settled(fixed[1], CALLS)

    def count(name: str, stream: bool, model: str = "gpt-4o-mini") -> float | None:
        labels = {"model": model, "endpoint": "chat/completions", "stream": "true" if stream else "false"}
        return value(samples, f"{name}_count", **labels)

    assert count("gen_ai_server_time_to_first_token_seconds", stream=True) == 3
    assert count("gen_ai_server_time_per_output_token_seconds", stream=True) == 3
    assert count("gen_ai_server_time_per_output_token_seconds", stream=False) is None
    assert count("gen_ai_client_inference_duration_seconds", stream=True) == 3
    assert count("gen_ai_client_inference_duration_seconds", stream=False) == 2, "a whole answer and the miss; no hit"
    assert count("submeter_overhead_seconds", stream=True) == 3
    assert count("submeter_overhead_seconds", stream=False) == 2
    for name in ("gen_ai_client_inference_duration_seconds", "submeter_overhead_seconds"):
        labels = {"model": "gpt-4o-mini", "endpoint": "chat/completions", "stream": "true"}
        assert value(samples, f"{name}_bucket", **labels, le="+Inf") == 3
        spent = value(samples, f"{name}_sum", **labels)
        assert spent is not None
        assert spent > 0


def test_refused_and_passed(fixed: tuple[Provider, Unit]) -> None:
    unit = fixed[1]
    expected = {
        ("submeter_refused_calls_total", "code", "invalid_json"): 3,
        ("submeter_refused_calls_total", "code", "unknown_url"): 1,
        ("submeter_passed_requests_total", "path", "models"): 2,
        ("submeter_passed_requests_total", "path", "other"): 1,
        ("submeter_unmetered_calls_total", "reason", "path"): 1,
    }

    def found() -> dict[tuple[str, str, str], float | None]:
        samples = scrape(unit)
        return {key: value(samples, key[0], **{key[1]: key[2]}) for key in expected}

    wait_for(lambda: found() == expected, "the relay's tallies", deadline_s=5.0)
    assert total(scrape(unit), "submeter_refused_calls_total") == 4


def test_gauges_at_rest(fixed: tuple[Provider, Unit]) -> None:
    samples = settled(fixed[1], CALLS)
    assert value(samples, "submeter_calls_in_flight") == 0
    assert value(samples, "submeter_relays") == 1
    assert value(samples, "submeter_database_up") == 1
    wait_for(lambda: value(scrape(fixed[1]), "submeter_journal_lag_bytes") == 0, "the journal to be read")
    wait_for(lambda: value(scrape(fixed[1]), "submeter_journal_lag_seconds") == 0, "the journal to be shipped")
    age_s = value(samples, "submeter_price_snapshot_age_seconds")
    assert age_s is not None
    assert age_s > 0


def test_an_unknown_model_has_no_cost_and_everybody_says_so(fixed: tuple[Provider, Unit]) -> None:
    unit = fixed[1]
    samples = settled(unit, CALLS)
    rows = [row for row in unit.rows() if row["model_requested"] == "nobody-knows-1"]
    assert [(row["cost_nano_usd"], row["cost_state"], row["input_tokens"]) for row in rows] == [
        (None, "unpriced", 9)
    ] * 2
    assert value(samples, "submeter_unpriced_calls_total", upstream="openai") == 2
    run = submeter(
        *("doctor", "--json", "--data-dir", str(unit.data_dir), "--upstream", fixed[0].base_url),
        *("--port", str(unit.port), "--ops-port", str(unit.ops_port)),
    )
    findings = [finding for finding in json.loads(run.stdout)["findings"] if "nobody-knows-1" in finding["text"]]
    assert len(findings) == 1
    assert findings[0]["state"] != "ok"
    assert findings[0]["mend"]


def test_the_page_and_the_metrics_agree(fixed: tuple[Provider, Unit]) -> None:
    unit = fixed[1]
    samples = settled(unit, CALLS)
    run = submeter("cost", "--json", "--data-dir", str(unit.data_dir))
    totals = json.loads(run.stdout)["total"]
    api = ask(unit.ops_port, "GET", "/api/summary").json()["total"]
    cost = round(total(samples, "submeter_cost_usd_total") * NANO)
    assert totals["confirmed_nano_usd"] == api["confirmed_nano_usd"] == cost
    assert totals["saved_nano_usd"] == round(total(samples, "submeter_saved_usd_total") * NANO)


# ---- bounds -------------------------------------------------------------------------------------------------------


def test_in_flight_and_lag_while_calls_run(tmp_path: Path, provider: Provider) -> None:
    unit = Unit(tmp_path, provider)
    unit.wait_ops()
    try:
        with RawConnection(unit.port) as one, RawConnection(unit.port) as two:
            for connection in (one, two):
                script = {"x-scripted": "output_tokens=2;stall_after_chunks=1"}
                connection.send(request("POST", CHAT, script, chat(stream=True)))
                connection.read_head()
            wait_for(lambda: value(scrape(unit), "submeter_calls_in_flight") == 2, "two calls in flight")
            assert ask(unit.ops_port, "GET", "/api/status").json()["in_flight"] == 2
        samples = settled(unit, 2)
        wait_for(lambda: value(scrape(unit), "submeter_calls_in_flight") == 0, "no call in flight")
        assert total(samples, "submeter_calls_total", outcome="client_gone") == 2
    finally:
        unit.close()


def test_clients_cannot_grow_the_number_of_series(tmp_path: Path, provider: Provider) -> None:
    junk = 300
    unit = Unit(tmp_path, provider)
    unit.wait_ops()
    try:
        with RawConnection(unit.port) as connection:
            for number in range(junk):
                names = ("team", "app", "prompt", "prompt-version", "user", "session")
                headers = {f"x-submeter-{name}": f"{name}-{number}" for name in names}
                body = chat(model=f"junk-{number}" if number % 2 else "gpt-4o-mini", stream=number % 3 == 0)
                if number % 10 == 0:
                    body["model"] = 'a"b\\c\n{}=,'
                connection.send(request("POST", f"{CHAT}?n={number}", headers, body))
                assert connection.read_answer().status == 200
            for number in range(junk):
                connection.send(request("GET", f"/v1/path-{number}/x"))
                assert connection.read_answer().status == 404
            for number in range(20):
                connection.send(request("POST", f"/v1/junk-{number}", {}, {"x": number}))
                assert connection.read_answer().status == 404
        samples = settled(unit, junk + 20)
        assert len(samples) <= MOST_SAMPLES
        for label in ("team", "app", "prompt", "prompt_version"):
            shown = {dict(labels)[label] for _, labels in samples if label in dict(labels)}
            assert len(shown) <= 51
            assert "other" in shown
        models = {dict(labels)["model"] for _, labels in samples if "model" in dict(labels)}
        assert models == {"gpt-4o-mini", "other"}
        assert value(samples, "submeter_labels_capped") == 4
        rows = unit.rows()
        assert len({row["team"] for row in rows}) == junk + 1, "the ledger holds every value (and none for the POSTs)"
        before_restart = {key: count for key, count in samples.items() if key[0].endswith("_total")}
        assert value(samples, "submeter_other_values_total", label="team") > 0
        assert value(samples, "submeter_series") == len(samples)
        assert value(samples, "submeter_series_limit") == MOST_SAMPLES
        unit.stop()
        unit.start()
        wait_for(lambda: unit.log().count("meter ready") == 2, "the next meter")
        after_restart = scrape(unit)
        assert all(after_restart[key] >= count for key, count in before_restart.items())
        ask(unit.port, "POST", CHAT, {"x-submeter-team": "team-2", "x-submeter-app": "app-2"}, chat())
        ask(unit.port, "POST", CHAT, {"x-submeter-team": "a-new-team", "x-submeter-app": "app-2"}, chat())
        samples = settled(unit, junk + 20 + 2)
        teams = {dict(labels)["team"] for name, labels in samples if name == "submeter_cost_usd_total"}
        assert "a-new-team" not in teams
        assert {"team-2", "other"} <= teams
    finally:
        unit.close()
