"""Calls without usage, through the real processes: counted by the meter, or bounded when it cannot."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.processes import Provider, Unit, running, wait_for
from harness.raw import Answer, RawConnection, ask, chat, request
from submeter.core.record import Counted, Finish
from submeter.journal.reader import JournalReader

CANARY = "CANARY-5b1e-prompt"
SILENT = "usage=none"


@pytest.fixture(scope="module")
def silent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Provider, Unit]]:
    """A provider that reports no usage unless told to, a unit that does not ask for it, and a warm tokenizer."""
    directory = tmp_path_factory.mktemp("silent")
    provider = Provider(directory, {"usage": "none"})
    url = provider.base_url
    config = (
        f"upstreams: {{openai: {{base_url: '{url}', inject_usage: never}}, other: {{base_url: '{url}', "
        "inject_usage: never, provider: groq, accepts_caller_key: true}}\nmodels: {'llama-*': other}\n"
    )
    unit = Unit(directory, provider, config=config)
    unit.wait_ops()
    warm(unit)
    yield provider, unit
    unit.close()
    provider.close()


def warm(unit: Unit) -> None:
    """The first question loads the tokenizer, and gets no counts."""
    wait_for(lambda: finish_of(unit, call(unit)).counted, "counts")


def call(unit: Unit, script: str = "", body: dict[str, Any] | None = None, path: str = "chat/completions") -> Answer:
    answer = ask(unit.port, "POST", f"/v1/{path}", {"x-scripted": script}, body or chat(stream=True))
    assert answer.status == 200
    return answer


def finish_of(unit: Unit, answer: Answer) -> Finish:
    """What the journal holds by now: whoever saw the end of an answer finds its FINISH there."""
    reader = JournalReader(unit.data_dir / "journal" / "relay-0")
    try:
        found = [
            entry.record
            for entry in reader.read(100_000)
            if isinstance(entry.record, Finish) and entry.record.call_id == answer.call_id
        ]
    finally:
        reader.close()
    assert len(found) == 1, "no FINISH, although the whole answer was seen"
    return found[0]


def line_of(provider: Provider, row: dict[str, Any]) -> dict[str, Any]:
    (line,) = [line for line in provider.invoice() if line["request_id"] == row["upstream_request_id"]]
    return line


def assert_bounded(provider: Provider, row: dict[str, Any]) -> dict[str, Any]:
    line = line_of(provider, row)
    assert row["cost_state"] == "estimated"
    assert row["cost_low_nano_usd"] <= line["cost_nano_usd"] <= row["cost_high_nano_usd"]
    assert row["cost_low_nano_usd"] <= row["cost_nano_usd"] <= row["cost_high_nano_usd"]
    return line


@pytest.mark.parametrize("stream", [True, False])
def test_the_models_own_tokenizer_counts(silent: tuple[Provider, Unit], stream: bool) -> None:
    provider, unit = silent
    answer = call(unit, "output_tokens=50", chat(stream=stream))
    # "Say something." in one message: 3 + 1 for the role + 3 words' tokens + 3 for the reply.
    assert finish_of(unit, answer).counted == Counted("o200k_base", True, 10, 50)
    row = unit.row(answer.call_id)
    assert (row["usage_source"], row["input_tokens"], row["output_tokens"]) == ("counted", 10, 50)
    assert assert_bounded(provider, row)["output_tokens"] == 50


def test_another_models_count_is_an_estimate(silent: tuple[Provider, Unit]) -> None:
    _, unit = silent
    answer = call(unit, "output_tokens=20", chat(stream=True, model="llama-3.3-70b-versatile"))
    assert finish_of(unit, answer).counted == Counted("o200k_base", False, 10, 20)
    row = unit.row(answer.call_id)
    assert (row["usage_source"], row["output_tokens"]) == ("estimated", 20)


def test_a_stream_cut_by_the_provider_is_counted_as_far_as_it_came(silent: tuple[Provider, Unit]) -> None:
    provider, unit = silent
    answer = call(unit, "output_tokens=50;cut_after_chunks=12")
    assert not answer.ended
    row = unit.row(answer.call_id)
    assert (row["outcome"], row["usage_source"], row["output_tokens"]) == ("upstream_incomplete", "counted", 12)
    assert_bounded(provider, row)


def test_a_caller_that_goes_is_counted(silent: tuple[Provider, Unit]) -> None:
    _, unit = silent
    with RawConnection(unit.port) as connection:
        script = {"x-scripted": "output_tokens=400;gap_ms=10"}
        connection.send(request("POST", "/v1/chat/completions", script, chat(stream=True)))
        _, _, headers = connection.read_head()
        for _ in range(10):
            assert connection.read_chunk()
    row = unit.row(dict(headers)[b"x-submeter-call-id"].decode())
    assert (row["outcome"], row["usage_source"]) == ("client_gone", "counted")
    assert 8 <= row["output_tokens"] < 400


def test_reported_usage_is_not_counted(silent: tuple[Provider, Unit]) -> None:
    _, unit = silent
    answer = call(unit, "usage=normal", chat())
    assert finish_of(unit, answer).counted is None
    assert unit.row(answer.call_id)["cost_state"] == "exact"


def test_prompts_are_nowhere_on_disk(silent: tuple[Provider, Unit]) -> None:
    _, unit = silent
    answer = call(unit, "", chat(stream=True, messages=[{"role": "user", "content": CANARY}]))
    assert finish_of(unit, answer).counted is not None
    unit.row(answer.call_id)
    for path in unit.data_dir.rglob("*"):
        if path.is_file():
            assert CANARY.encode() not in path.read_bytes(), path
    assert CANARY not in unit.log()


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_a_meter_that_hangs_or_dies_delays_no_call_for_long(tmp_path: Path, number: signal.Signals) -> None:
    config = "upstreams: {openai: {base_url: '%s', inject_usage: never}}"
    provider = Provider(tmp_path, {"usage": "none"})
    unit = Unit(tmp_path, provider, config=config % provider.base_url)
    try:
        unit.wait_ops()
        warm(unit)
        (meter,) = unit.pids("submeter.meter")
        with RawConnection(unit.port) as connection:
            script = {"x-scripted": "output_tokens=30;gap_ms=20"}
            connection.send(request("POST", "/v1/chat/completions", script, chat(stream=True)))
            connection.read_until(b'"content":')
            os.kill(meter, number)
            rest = connection.read_until(b"0\r\n\r\n")
        assert b"[DONE]" in rest, "the call ends although nobody counts"
        again = call(unit, "output_tokens=5")
        if number == signal.SIGSTOP:
            assert finish_of(unit, again).counted is None
            os.kill(meter, signal.SIGCONT)
        for row in unit.rows()[-2:]:
            assert row["outcome"] == "ok"
            assert_bounded(provider, row)
        wait_for(lambda: finish_of(unit, call(unit)).counted, "counts of the meter that is there now")
    finally:
        unit.close()
        provider.close()


def test_without_a_socket_calls_are_bounded(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    with running(deep, config="{}", usage="none") as (provider, unit):
        answer = call(unit, "output_tokens=10")
        row = unit.row(answer.call_id)
        assert row["usage_source"] == "estimated"
        assert_bounded(provider, row)
        assert "choose a shorter --data-dir" in unit.log()
