"""FAULTS 18, 24, 25, 28, 48: what a relay's configuration and state refuse."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conformance.kit import (
    CANARY,
    MESSAGES,
    FaultUnit,
    assert_counted,
    fault_unit,
    is_fault,
    peak_bytes,
    post,
    refusal,
    row_of,
    sample,
)
from harness.processes import Provider, Unit, running, submeter, wait_for
from harness.raw import RawConnection, ask, chat, request

SLOW = {"x-scripted": "output_tokens=20;gap_ms=50"}


@pytest.fixture(scope="module")
def unit(module_dir: Path, provider: Provider) -> Iterator[FaultUnit]:
    """Only mapped models, and one call at a time."""
    yield from fault_unit(module_dir, provider, more="closed_models: true", streams=1)


@pytest.mark.parametrize("path", ["chat/completions", "messages"])
@pytest.mark.parametrize("stream", [False, True])
def test_18_models_outside_a_closed_map(unit: FaultUnit, path: str, stream: bool) -> None:
    data = post(MESSAGES | {"model": f"gpt-{CANARY}", "stream": stream}, path)
    refusal(unit, data, 404, "model_not_found", param="model", anthropic=path == "messages", kept=True)
    assert_counted(unit, "model_not_found")
    assert CANARY not in ask(unit.ops_port, "GET", "/metrics").body.decode()


@pytest.mark.parametrize("path", ["chat/completions", "messages"])
def test_24_more_calls_than_are_admitted(unit: FaultUnit, path: str) -> None:
    with RawConnection(unit.port) as busy:
        busy.send(post(chat(model="own-1", stream=True), headers=SLOW))
        busy.read_head()
        anthropic = path == "messages"
        answer = refusal(unit, post(MESSAGES | {"model": "own-1"}, path), 503, "overloaded", anthropic=anthropic)
        assert answer.header("retry-after") == "1"
        assert answer.header("x-should-retry") is None
        while busy.read_chunk():
            pass
    again = ask(unit.port, "POST", "/v1/chat/completions", {}, chat(model="own-1"))
    assert again.status == 200
    assert row_of(unit, again)["outcome"] == "ok"


def test_5_a_connection_without_a_request_is_closed_without_an_answer(tmp_path: Path) -> None:
    with running(tmp_path, config="limits: {idle_timeout_s: 0.5}") as (_, unit), RawConnection(unit.port) as fresh:
        with RawConnection(unit.port) as kept:
            kept.send(request("GET", "/healthz"))
            assert kept.read_answer().status == 200
            assert kept.read_to_end() == b""
        assert fresh.read_to_end() == b""


def test_24_more_memory_than_is_admitted(tmp_path: Path) -> None:
    """Bodies count while they arrive, and until their calls have ended."""
    with running(tmp_path, config="limits: {memory_bytes: 50000}") as (_, unit), RawConnection(unit.port) as one:
        large = post(chat(padding="a" * 30_000))
        one.send(large[:-1])
        wait_for(lambda: ask(unit.port, "GET", "/healthz").status == 200, "the relay to have read it")
        for path, size in (("chat/completions", 30_000), ("messages", 60_000)):
            refused = ask(unit.port, "POST", f"/v1/{path}", {}, chat(padding="a" * size))
            is_fault(refused, 503, "overloaded", anthropic=path == "messages")
            assert refused.header("retry-after") == "1"
        assert ask(unit.port, "POST", "/v1/chat/completions", {}, chat()).status == 200, "a small one has room"
        one.send(large[-1:])
        assert one.read_answer().status == 200
        for _ in range(5):
            assert ask(unit.port, "POST", "/v1/chat/completions", {}, chat(padding="a" * 30_000)).status == 200


def test_8_a_body_in_tiny_chunks_takes_no_more_than_twice_the_limit(tmp_path: Path) -> None:
    limit = 2_000_000
    config = f"limits: {{body_bytes: {limit}}}"
    with running(tmp_path, config=config) as (_, unit), RawConnection(unit.port) as connection:
        (relay,) = unit.pids("submeter.relay")
        before = peak_bytes(relay)
        head = post(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        connection.send(head + b"2\r\nab\r\n" * (limit // 2 + 1))
        is_fault(connection.read_answer(), 413, "request_too_large")
        assert peak_bytes(relay) - before < 2 * limit


def test_25_a_journal_that_is_full_passes_calls_and_says_so(tmp_path: Path) -> None:
    with running(tmp_path, config="journal: {quota_bytes: 1}") as (provider, unit):
        for body in (chat(), chat(stream=True), chat(temperature=0), chat(temperature=0)):
            assert ask(unit.port, "POST", "/v1/chat/completions", {}, body).status == 200
        assert unit.rows() == []
        line = 'submeter_unmetered_calls_total{reason="journal"}'
        wait_for(lambda: sample(unit, line) == 4, "the count of unmetered calls")
        assert "has reached its quota of 1 bytes" in unit.log()
        assert "calls are unmetered" in unit.log()
        assert len(provider.invoice()) == 3, "the fourth came from the cache"


@pytest.mark.parametrize("path", ["chat/completions", "messages"])
def test_25_a_journal_that_is_full_refuses_when_told_to(tmp_path: Path, path: str) -> None:
    config = "{journal: {quota_bytes: 1}, when_unmetered: refuse}"
    with running(tmp_path, config=config) as (provider, unit), RawConnection(unit.port) as connection:
        for stream in (False, True):
            connection.send(post(MESSAGES | {"stream": stream}, path))
            answer = connection.read_answer()
            is_fault(answer, 503, "ledger_unavailable", anthropic=path == "messages")
            assert answer.header("retry-after") == "5"
        assert provider.invoice() == []
        assert unit.rows() == []
        assert ask(unit.port, "GET", "/v1/models").status == 200, "what leaves no row is served"


def test_28_draining(tmp_path: Path, provider: Provider) -> None:
    unit = Unit(tmp_path, provider)
    with RawConnection(unit.port) as idle, RawConnection(unit.port) as busy, RawConnection(unit.port) as begun:
        for connection in (idle, begun):
            connection.send(request("GET", "/healthz"))
            assert connection.read_answer().status == 200
        data = post(chat())
        begun.send(data[:40])  # a call that is arriving
        busy.send(post(chat(stream=True), headers=SLOW))
        busy.read_head()
        unit.process.send_signal(signal.SIGTERM)
        assert idle.read_some() == b"", "an idle kept connection is closed at once"
        busy.send(post(chat()))  # behind the one under way
        begun.send(data[40:])
        arrived = begun.read_answer()
        assert (arrived.status, arrived.header("connection")) == (200, "close")
        assert begun.read_to_end() == b""
        while busy.read_chunk():
            pass
        queued = busy.read_answer()
        assert (queued.status, queued.header("connection")) == (200, "close")
        assert busy.read_to_end() == b""
    assert unit.process.wait(20) == 0
    unit.start()
    try:
        assert [(row["outcome"], row["cost_state"]) for row in unit.rows()] == [("ok", "exact")] * 3
    finally:
        unit.close()


def test_28_the_drain_deadline(tmp_path: Path, provider: Provider) -> None:
    """Calls that outlast it are cut and settled with bounds."""
    unit = Unit(tmp_path, provider, config="limits: {shutdown_s: 0.3}")
    with RawConnection(unit.port) as busy:
        busy.send(post(chat(stream=True), headers={"x-scripted": "output_tokens=4000;gap_ms=50"}))
        busy.read_head()
        assert busy.read_chunk()
        began = time.monotonic()
        unit.process.send_signal(signal.SIGTERM)
        while busy.read_chunk():
            pass
        assert time.monotonic() - began < 20
        assert busy.read_to_end() == b""
    assert unit.process.wait(20) == 0
    unit.start()
    try:
        (row,) = unit.rows()
        assert (row["outcome"], row["cost_state"]) == ("client_gone", "estimated")
        assert row["cost_low_nano_usd"] <= row["cost_nano_usd"] <= row["cost_high_nano_usd"]
    finally:
        unit.close()


def test_40_a_caller_that_leaves_at_once_leaves_one_row(tmp_path: Path) -> None:
    """Also while its upstream is dialled; the unit's end checks that nothing went wrong inside."""
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "a"}
    with running(tmp_path) as (_, unit):
        for _ in range(20):
            for data in (
                post(chat(stream=True), headers={"x-scripted": "stall_after_chunks=1"}),
                request("POST", "/v1/moderations", {}, b"{}"),
                request("GET", "/v1/responses", upgrade),
            ):
                with RawConnection(unit.port) as connection:
                    connection.send(data)
        rows = unit.rows()
        endpoints = [row["endpoint"] for row in rows]
        assert (endpoints.count("chat/completions"), endpoints.count("moderations")) == (20, 20)
        assert {row["outcome"] for row in rows if row["endpoint"] == "chat/completions"} == {"client_gone"}


@pytest.mark.parametrize(
    ("flags", "environment", "said"),
    [
        (("--host", "0.0.0.0"), {}, "--open"),
        (("--host", "::"), {}, "--open"),
        ((), {"SUBMETER_OPS_HOST": "0.0.0.0"}, "SUBMETER_OPS_TOKEN"),
    ],
)
def test_48_a_public_bind_must_be_meant(
    tmp_path: Path, flags: tuple[str, ...], environment: dict[str, Any], said: str
) -> None:
    run = submeter("serve", "--data-dir", str(tmp_path / "d"), *flags, **environment)
    assert run.returncode == 2
    assert run.stdout == ""
    assert said in run.stderr
    assert len(run.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "d").exists(), "refused before anything is made"
