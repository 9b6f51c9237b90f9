"""``submeter loadtest`` end to end: Locust in a process of its own, against the scripted provider."""

import csv
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from harness.processes import Provider, clean_environment, free_port, running, submeter, wait_for
from submeter.scripted.invoice import total_nano_usd

ARTICLE = """
description = "the three settings of the article, faster"
runs = 5
users = 2
warm_up = 2
time_limit_s = 30
[[settings]]
input_tokens = 51
output_tokens = 1
temperature = 0
[[settings]]
input_tokens = 232
output_tokens = 1
[[settings]]
input_tokens = 228
output_tokens = 26
"""
OPEN = """
description = "arrivals"
users = 20
warm_up = 0
steps = [{rate_per_s = 30, for_s = 1}]
call_limit_s = 5
[[settings]]
input_tokens = 51
output_tokens = 4
stream = [true, false]
"""
MODELS = """
description = "two models, each with its own prices and its own latency"
runs = 5
[[settings]]
model = ["gpt-4o-mini", "gpt-4o"]
input_tokens = [51, 232]
output_tokens = [1, 26]
temperature = [0, 1]
"""
SILENCE = """
description = "nothing comes after the first token"
runs = 2
users = 2
warm_up = 0
call_limit_s = 1
[[settings]]
input_tokens = 51
output_tokens = 3
"""
REPLAY = """
description = "again"
users = 20
[replay]
speed = 2
"""
KEY = "sk-a-key-that-must-not-show"


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[Provider]:
    provider = Provider(tmp_path, {"ttft_ms": 5, "gap_ms": 1, "output_tokens": 60})
    try:
        yield provider
    finally:
        provider.close()


def scenario(directory: Path, text: str) -> str:
    path = directory / "scenario.toml"
    path.write_text(text)
    return str(path)


def loadtest(
    out: Path, text: str, target: str, *flags: str, model: str = "gpt-4o-mini", exit_code: int = 0, says: str = ""
) -> dict[str, Any]:
    arguments = ["loadtest", scenario(out.parent, text), "--target", target, "--model", model, "--out", str(out)]
    run = submeter(*arguments, "--json", *flags, OPENAI_API_KEY=KEY, timeout_s=90)
    assert run.returncode == exit_code, run.stderr
    assert run.stderr.strip().endswith(says), run.stderr
    document: dict[str, Any] = json.loads(run.stdout)
    assert document == json.loads((out / "result.json").read_text())
    assert left_running(out) == []
    return document


def start(out: Path, text: str, provider: Provider) -> subprocess.Popen[bytes]:
    arguments = ["loadtest", scenario(out.parent, text), "--target", provider.base_url, "--model", "m"]
    command = [sys.executable, "-m", "submeter.cli", *arguments, "--out", str(out)]
    return subprocess.Popen(command, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def samples_of(out: Path) -> list[dict[str, str]]:
    with (out / "samples.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def left_running(out: Path) -> list[str]:
    """Processes that name the directory."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found += [path.parent.name] if str(out).encode() in path.read_bytes() else []
    return found


def test_the_article_through_submeter(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with running(tmp_path, ttft_ms=5, gap_ms=1, output_tokens=60) as (provider, unit):
        unit.wait_ops()
        result = loadtest(out, ARTICLE, unit.base_url, "--data-dir", str(unit.data_dir), "--seed", "3")
        rows = {row["call_id"]: row for row in unit.rows()}
        invoice = provider.invoice()
    lines = [(line["setting"], line["n"], line["errors"]) for line in result["settings"]]
    assert lines == [("in=51,out=1,temperature=0", 5, 0), ("in=232,out=1", 5, 0), ("in=228,out=26", 5, 0)]
    assert [line["output_tokens"] for line in result["settings"]] == [{"min": n, "max": n} for n in (1, 1, 26)]
    assert (result["calls"], result["warm_up_calls"], result["stopped"], result["seed"]) == (15, 2, "done", 3)
    assert set(result["settings"][2]["ttft_ms"]) == {"p50", "p95", "p99"}
    assert result["settings"][0]["tpot_ms"] is None
    for name in ("a_ms", "b_ms_per_input_token", "c_ms_per_output_token"):
        assert result["fit"][name]["low"] <= result["fit"][name]["value"] <= result["fit"][name]["high"]
    assert (out / "report.html").stat().st_size > 1000
    assert result["settings"][2]["e2e_from_schedule_ms"] is None
    assert result["coordinated_omission"].startswith("not avoided")
    assert result["cost_source"] == "the ledger"
    assert Decimal(result["cost_usd"]) == total_nano_usd(invoice) / Decimal(10**9)
    assert len(invoice) == len(rows) == 17
    # Each call can be held against its row, and none was answered by the cache.
    joined = [(sample, rows[sample["call_id"]]) for sample in samples_of(out)]
    assert len(joined) == 15
    assert all(int(sample["ttft_ns"]) > row["ttft_ns"] > 0 for sample, row in joined)
    assert all(int(sample["input_tokens"]) == row["input_tokens"] for sample, row in joined)
    assert {row["cache"] for _, row in joined} == {"bypass"}
    assert {sample["request_id"] for sample, _ in joined} < {line["request_id"] for line in invoice}
    # Locust's own figures: calls alone are in its total.
    stats = csv.DictReader((out / "locust" / "stats_stats.csv").read_text().splitlines())
    counts = {(row["Type"], row["Name"]): int(row["Request Count"]) for row in stats}
    assert counts["", "Aggregated"] == sum(n for (kind, _), n in counts.items() if kind == "POST") == 17
    assert counts["TTFT", "in=228,out=26"] == counts["POST", "in=228,out=26"]
    assert (out / "locust" / "report.html").stat().st_size > 1000


def test_the_ledger_again(tmp_path: Path) -> None:
    with running(tmp_path, ttft_ms=5, gap_ms=1, output_tokens=60) as (provider, unit):
        unit.wait_ops()
        flags = ("--data-dir", str(unit.data_dir))
        loadtest(tmp_path / "first", ARTICLE, unit.base_url, *flags)
        result = loadtest(tmp_path / "again", REPLAY, unit.base_url, *flags)
        invoice = provider.invoice()
    assert (result["calls"], len(invoice)) == (17, 34)  # the warm-up's calls are in the ledger too
    assert sorted({line["output_tokens"]["max"] for line in result["settings"]}) == [1, 26]
    assert result["settings"][0]["e2e_from_schedule_ms"] is not None
    assert Decimal(result["cost_usd"]) == total_nano_usd(invoice[17:]) / Decimal(10**9)


def test_a_budget_is_kept_to_the_nano_dollar(tmp_path: Path, provider: Provider) -> None:
    out, limit = tmp_path / "out", "0.0045"
    text = ARTICLE.replace("runs = 5", "runs = 500")
    result = loadtest(out, text, provider.base_url, "--max-usd", limit)
    spent = total_nano_usd(provider.invoice())
    assert result["stopped"] == "budget"
    assert Decimal("0.002") < spent / Decimal(10**9) <= Decimal(limit)
    assert Decimal(result["cost_usd"]) == spent / Decimal(10**9)
    assert result["cost_source"] == "reported usage at the price book"
    assert any("--max-usd" in warning for warning in result["warnings"])
    written = b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file())
    assert KEY.encode() not in written


def test_an_open_loop_begins_its_calls_on_time(tmp_path: Path, provider: Provider) -> None:
    out = tmp_path / "out"
    result = loadtest(out, OPEN, provider.base_url)
    samples = samples_of(out)
    assert result["calls"] == len(samples) == len(provider.invoice()) > 10
    assert all(int(sample["scheduled_ns"]) <= int(sample["started_ns"]) for sample in samples)
    streamed, whole = result["settings"]
    assert streamed["e2e_from_schedule_ms"]["p50"] >= streamed["e2e_ms"]["p50"]
    assert (whole["setting"], whole["ttft_ms"], whole["tpot_ms"]) == ("in=51,out=4,whole", None, None)
    assert result["coordinated_omission"].startswith("avoided")
    assert result["knee"]["rate_per_s"] is result["knee_per_s"]
    assert result["steps"][0]["concurrency"] >= 1


def test_calls_that_fail_are_errors_and_say_no_latency(tmp_path: Path) -> None:
    provider = Provider(tmp_path, {"cut_after_chunks": 1, "output_tokens": 9})
    try:
        out = tmp_path / "out"
        result = loadtest(out, ARTICLE, provider.base_url, model="nobody-prices-this", exit_code=1)
    finally:
        provider.close()
    last = result["settings"][2]
    assert (last["n"], last["errors"], last["e2e_ms"]) == (5, 5, None)
    assert (result["fit"], result["cost_usd"]) == (None, None)
    assert f"{15} of 15 calls failed" in result["warnings"]
    assert sum(result["errors"].values()) == 15


def test_nobody_is_there(tmp_path: Path) -> None:
    target = f"http://127.0.0.1:{free_port()}/v1"
    step = f"nothing listens at {target}: start it, or correct --target"
    line = f"every call failed (15), all with ConnectionRefusedError: {step}"
    result = loadtest(tmp_path / "out", ARTICLE, target, "--max-usd", "0.01", exit_code=1, says=line)
    assert (result["failure"], result["errors"]) == (line, {"ConnectionRefusedError": 15})
    # None of them was sent, and so none has cost anything.
    assert (Decimal(result["cost_usd"]), result["stopped"]) == (0, "done")
    assert not any("at the most" in warning for warning in result["warnings"])


def test_models_by_temperatures(tmp_path: Path, provider: Provider) -> None:
    result = loadtest(tmp_path / "out", MODELS, provider.base_url, "--max-usd", "1")
    invoice = provider.invoice()
    assert sorted({line["model"] for line in invoice}) == ["gpt-4o", "gpt-4o-mini"]
    assert (len(result["settings"]), result["calls"]) == (16, 80)
    assert result["settings"][0]["setting"] == "in=51,out=1,model=gpt-4o-mini,temperature=0"
    assert (result["fit"], result["fit_missing"]) == (None, "several models were asked: see fits in result.json")
    assert [result["fits"][model]["fit"]["n"] for model in ("gpt-4o-mini", "gpt-4o")] == [40, 40]
    assert Decimal(result["cost_usd"]) == total_nano_usd(invoice) / Decimal(10**9)


def test_a_call_that_falls_silent_may_have_cost_its_most(tmp_path: Path) -> None:
    provider = Provider(tmp_path, {"ttft_ms": 5, "gap_ms": 5000, "output_tokens": 3})
    line = f"every call failed (2), all with TimeoutError: {provider.base_url} said nothing for call_limit_s"
    try:
        out = tmp_path / "out"
        result = loadtest(out, SILENCE, provider.base_url, exit_code=1)
    finally:
        provider.close()
    assert result["failure"].startswith(line)
    assert [(each["status"], each["error"]) for each in samples_of(out)] == [("200", "TimeoutError")] * 2
    assert all(int(each["e2e_ns"]) >= 10**9 for each in samples_of(out))
    assert Decimal(result["cost_usd"]) > 0
    assert "2 calls are in cost_usd at the most that they can have cost" in result["warnings"]


def test_a_budget_that_lets_no_call_begin(tmp_path: Path, provider: Provider) -> None:
    line = "no call was made: the first might have passed --max-usd: raise it"
    result = loadtest(tmp_path / "out", ARTICLE, provider.base_url, "--max-usd", "0.000001", exit_code=1, says=line)
    assert (Decimal(result["cost_usd"]), result["calls"], provider.invoice()) == (0, 0, [])


def test_ctrl_c_keeps_what_there_is(tmp_path: Path, provider: Provider) -> None:
    out = tmp_path / "out"
    text = ARTICLE.replace("runs = 5", "runs = 5000")
    process = start(out, text, provider)
    wait_for(lambda: len(provider.invoice()) > 20, "some calls")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1, said
    result = json.loads((out / "result.json").read_text())
    assert result["calls"] == len(samples_of(out)) > 10
    assert any("stopped by Ctrl-C" in warning for warning in result["warnings"])
    assert left_running(out) == []


def test_locust_ends_when_the_command_is_killed(tmp_path: Path, provider: Provider) -> None:
    out = tmp_path / "out"
    text = ARTICLE.replace("runs = 5", "runs = 5000")
    process = start(out, text, provider)
    wait_for(lambda: len(provider.invoice()) > 5, "some calls")
    process.kill()
    process.communicate()
    wait_for(lambda: not left_running(out), "Locust to end")
