"""The client goes: accounting never depends on its staying (FAULTS 40, 41)."""

import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from harness.processes import Provider, Unit, wait_for
from harness.raw import RawConnection, chat, request

ANSWER_S = 1.0  # "the upstream sees the connection closed within 1 s"


@pytest.fixture(scope="module")
def draining(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[Unit]:
    """A unit that reads on when a client has gone."""
    config = f"upstreams: {{openai: {{base_url: '{provider.base_url}', on_disconnect: drain}}}}"
    unit = Unit(tmp_path_factory.mktemp("draining"), provider, config=config)
    yield unit
    unit.close()


def leave_after(unit: Unit, chunks: int, script: str, body: dict[str, Any], path: str = "chat/completions") -> str:
    """Read so many chunks of a stream, then close; the call's id."""
    with RawConnection(unit.port) as connection:
        connection.send(request("POST", f"/v1/{path}", {"x-scripted": script}, body | {"stream": True}))
        _, _, headers = connection.read_head()
        for _ in range(chunks):
            assert connection.read_chunk()
        return dict(headers)[b"x-submeter-call-id"].decode()


def line_of(provider: Provider, row: dict[str, Any]) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        lines = [line for line in provider.invoice() if line["request_id"] == row["upstream_request_id"]]
        return lines[0] if lines else None

    return wait_for(look, "the invoice line")


@pytest.mark.parametrize("chunks", [1, 2, 20])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("chat/completions", chat()),
        ("responses", {"model": "o4-mini", "input": "x"}),
        ("messages", {"model": "claude-haiku-4-5", "max_tokens": 500, "messages": [{"role": "user", "content": "x"}]}),
    ],
)
def test_cancel_closes_the_upstream_and_bounds_the_cost(
    provider: Provider, unit: Unit, chunks: int, path: str, body: dict[str, Any]
) -> None:
    call_id = leave_after(unit, chunks, "output_tokens=400;gap_ms=10", body, path)
    left_at = time.time()
    row = unit.row(call_id)
    assert (row["outcome"], row["cost_state"]) == ("client_gone", "estimated")
    assert row["usage_source"] in ("counted", "estimated")
    line = line_of(provider, row)
    assert line["closed_by_client"]
    assert line["output_tokens"] < 400, "the provider was stopped, and billed what it had generated"
    assert line["output_tokens"] > 0 or chunks < 20
    assert datetime.fromisoformat(line["closed_at"]).timestamp() <= left_at + ANSWER_S
    assert row["cost_low_nano_usd"] <= line["cost_nano_usd"] <= row["cost_high_nano_usd"]
    assert row["cost_low_nano_usd"] <= row["cost_nano_usd"] <= row["cost_high_nano_usd"]
    assert row["tokens_after_disconnect"] is None


def test_drain_reads_on_to_the_providers_usage(provider: Provider, draining: Unit) -> None:
    call_id = leave_after(draining, 5, "output_tokens=60;gap_ms=5", chat())
    row = draining.row(call_id)
    line = line_of(provider, row)
    assert (row["outcome"], row["cost_state"], row["usage_source"]) == ("client_gone", "exact", "provider")
    assert line["complete"]
    assert row["cost_nano_usd"] == line["cost_nano_usd"]
    assert row["output_tokens"] == 60
    assert 40 < row["tokens_after_disconnect"] < 60


def test_a_client_that_leaves_after_the_finish_reason_costs_nothing_more_to_know_exactly(
    provider: Provider, unit: Unit
) -> None:
    """The finish reason was seen: reading on for the usage generates nothing, also with ``cancel``."""
    with RawConnection(unit.port) as connection:
        script = {"x-scripted": "output_tokens=3;slow_close_ms=300"}
        connection.send(request("POST", "/v1/chat/completions", script, chat(stream=True)))
        _, _, headers = connection.read_head()
        received = b""
        while b'"finish_reason":"stop"' not in received:
            received += connection.read_chunk() or b""
    row = unit.row(dict(headers)[b"x-submeter-call-id"].decode())
    assert (row["cost_state"], row["output_tokens"]) == ("exact", 3)
    assert row["cost_nano_usd"] == line_of(provider, row)["cost_nano_usd"]


def test_gone_after_the_finish_record_stays_ok(unit: Unit) -> None:
    with RawConnection(unit.port) as connection:
        connection.send(request("POST", "/v1/chat/completions", {"x-scripted": "slow_close_ms=500"}, chat(stream=True)))
        _, _, headers = connection.read_head()
        received = b""
        while not received.endswith(b"data: [DONE]\n\n"):
            received += connection.read_chunk() or b""
    row = unit.row(dict(headers)[b"x-submeter-call-id"].decode())
    assert (row["outcome"], row["cost_state"]) == ("ok", "exact")


def test_a_client_that_leaves_before_the_head(provider: Provider, unit: Unit) -> None:
    with RawConnection(unit.port) as connection:
        body = chat(user="leaves-early")
        connection.send(request("POST", "/v1/chat/completions", {"x-scripted": "hang_before_head=1"}, body))
        time.sleep(0.2)  # let it reach the provider
    rows = [row for row in unit.rows() if row["user"] == "leaves-early"]
    assert [(row["outcome"], row["cost_state"]) for row in rows] == [("client_gone", "estimated")]
    assert rows[0]["cost_low_nano_usd"] == 0 < rows[0]["cost_high_nano_usd"]


def test_a_slow_reader_pauses_the_upstream_and_memory_stays(unit: Unit, provider: Provider) -> None:
    """40 MB of answer and a client that does not read: the relay must not take it all."""
    (relay,) = unit.pids("submeter.relay")
    before = resident_bytes(relay)
    with RawConnection(unit.port) as connection:
        connection.send(request("GET", "/v1/files/f/content?bytes=40000000"))
        time.sleep(1.0)
        assert resident_bytes(relay) - before < 4_000_000
        answer = connection.read_answer()
    assert len(answer.body) == 40_000_000
    assert answer.ended


def resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096
