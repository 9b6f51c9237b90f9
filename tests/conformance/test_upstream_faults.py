"""FAULTS 29-39: the provider cannot be reached, refuses, breaks off, or says nonsense."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conformance.kit import MESSAGES, FaultUnit, assert_kept, fault_unit, is_fault, peak_bytes, post, row_of
from harness.processes import Provider
from harness.raw import Answer, RawConnection, ask, chat

BODIES: dict[str, dict[str, Any]] = {
    "chat/completions": chat(),
    "completions": {"model": "gpt-3.5-turbo-instruct", "prompt": "Once"},
    "responses": {"model": "gpt-4o-mini", "input": "Say something."},
    "messages": MESSAGES,
}
PATHS = list(BODIES)
STREAM: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
UNREACHABLE = ["closed-port-m", "no-name-m", "no-tls-m"]
TIMEOUT_S = 8.0


@pytest.fixture(scope="module")
def unit(module_dir: Path, provider: Provider) -> Iterator[FaultUnit]:
    yield from fault_unit(module_dir, provider)


def streamed(path: str) -> dict[str, Any]:
    return BODIES[path] | (STREAM if path in ("chat/completions", "completions") else {"stream": True})


def both(
    provider: Provider, unit: FaultUnit, path: str, body: dict[str, Any], script: str
) -> tuple[Answer, Answer, dict[str, Any]]:
    """(straight from the provider, through the relay, the row)."""
    headers = {"x-scripted": script}
    direct = ask(provider.port, "POST", f"/v1/{path}", headers, body)
    relayed = ask(unit.port, "POST", f"/v1/{path}", headers, body)
    return direct, relayed, row_of(unit, relayed)


def fault_of(
    unit: FaultUnit, path: str, script: str, status: int, code: str, *, retry: bool, **more: Any
) -> dict[str, Any]:
    """The call gets this fault, the connection stays, and there is a row: this one."""
    with RawConnection(unit.port, TIMEOUT_S) as connection:
        connection.send(post(BODIES[path] | more, path, {"x-scripted": script}))
        answer = connection.read_answer()
        is_fault(answer, status, code, anthropic=path == "messages", retry=retry)
        assert_kept(connection, answer)
    return row_of(unit, answer)


@pytest.mark.parametrize("model", UNREACHABLE)
@pytest.mark.parametrize("path", ["chat/completions", "messages"])
def test_29_name_connection_or_tls_fails(unit: FaultUnit, path: str, model: str) -> None:
    row = fault_of(unit, path, "", 502, "upstream_unreachable", retry=True, model=model)
    assert (row["outcome"], row["status"], row["cost_nano_usd"]) == ("upstream_error", 502, 0)
    assert row["upstream"] == model.removesuffix("-m")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ["chat/completions", "messages"])
def test_29a_lost_before_the_head(unit: FaultUnit, path: str, stream: bool) -> None:
    script = "reset_before_head=1"
    row = fault_of(unit, path, script, 502, "upstream_incomplete", retry=False, stream=stream)
    assert (row["outcome"], row["cost_state"]) == ("indeterminate", "indeterminate")
    assert row["cost_nano_usd"] is None
    assert row["cost_low_nano_usd"] == 0 < row["cost_high_nano_usd"]


@pytest.mark.parametrize("path", ["chat/completions", "messages"])
def test_30_redirects_are_not_followed(unit: FaultUnit, provider: Provider, path: str) -> None:
    row = fault_of(unit, path, "redirect=1", 502, "upstream_blocked", retry=False)
    assert (row["outcome"], row["status"], row["cost_nano_usd"]) == ("upstream_error", 307, 0)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 529])
@pytest.mark.parametrize("path", ["chat/completions", "messages"])
def test_31_refusals_byte_for_byte(provider: Provider, unit: FaultUnit, path: str, status: int) -> None:
    direct, relayed, row = both(provider, unit, path, streamed(path), f"status={status}")
    assert (relayed.status, relayed.reason, relayed.body) == (status, direct.reason, direct.body)
    assert relayed.comparable_headers() == direct.comparable_headers()
    assert (row["outcome"], row["status"], row["cost_nano_usd"]) == ("upstream_error", status, 0)


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("path", ["chat/completions", "messages"])
def test_31_the_configured_key_is_refused(unit: FaultUnit, path: str, status: int) -> None:
    """The caller's key is good: it must not hear that it is not."""
    row = fault_of(unit, path, f"status={status}", 502, "upstream_auth_failed", retry=False, model="own-model")
    assert (row["outcome"], row["status"], row["upstream"]) == ("upstream_error", status, "own-key")


@pytest.mark.parametrize("status", [400, 404, 429, 500])
def test_31_with_a_configured_key_too(provider: Provider, unit: FaultUnit, status: int) -> None:
    body = chat(model="own-model")
    direct, relayed, _ = both(provider, unit, "chat/completions", body, f"status={status}")
    assert (relayed.status, relayed.body) == (status, direct.body)


@pytest.mark.parametrize("path", ["chat/completions", "messages"])
def test_32_no_first_byte(unit: FaultUnit, path: str) -> None:
    row = fault_of(unit, path, "hang_before_head=1", 504, "upstream_timeout", retry=False)
    assert (row["outcome"], row["cost_state"], row["cost_nano_usd"]) == ("timeout", "indeterminate", None)
    assert row["cost_low_nano_usd"] == 0 < row["cost_high_nano_usd"]


def last_event(body: bytes) -> tuple[bytes, dict[str, Any]]:
    """(the lines before the data, the data) of a stream's last event."""
    event = body.removesuffix(b"\n\n").rpartition(b"\n\n")[2]
    names, _, data = event.rpartition(b"data: ")
    return names, json.loads(data)


@pytest.mark.parametrize("how", ["stall", "cut", "reset", "end"])
@pytest.mark.parametrize("path", PATHS)
def test_33_a_stream_that_breaks_off(provider: Provider, unit: FaultUnit, path: str, how: str) -> None:
    script = f"{how}_after_chunks=3;output_tokens=9;gap_ms=5"
    whole = ask(provider.port, "POST", f"/v1/{path}", {"x-scripted": "output_tokens=9"}, streamed(path))
    answer = ask(unit.port, "POST", f"/v1/{path}", {"x-scripted": script}, streamed(path))
    names, error = last_event(answer.body)
    delivered = answer.body[: answer.body.rindex(names + b"data: ")].rstrip(b"\n")
    assert whole.body.startswith(delivered)
    if how != "reset":  # a reset may take the last bytes with it
        assert len(delivered) > len(whole.body) // 9
    assert names == (b"event: error\n" if path in ("responses", "messages") else b"")
    assert error["error"]["code"] == "upstream_incomplete"
    if path in ("responses", "messages"):
        assert error["type"] == "error"
    assert not answer.ended, "no last chunk: a clean end would hide it"
    row = row_of(unit, answer)
    assert row["outcome"] == ("timeout" if how == "stall" else "upstream_incomplete")
    assert (row["status"], row["cost_state"]) == (200, "estimated")
    assert row["usage_source"] in ("counted", "estimated")
    assert row["cost_low_nano_usd"] <= row["cost_nano_usd"] <= row["cost_high_nano_usd"]
    line = next(line for line in provider.invoice() if line["request_id"] == row["upstream_request_id"])
    assert row["cost_low_nano_usd"] <= line["cost_nano_usd"] <= row["cost_high_nano_usd"]


def test_33_an_open_event_is_ended_first(unit: FaultUnit) -> None:
    """Cut in the middle of an event: the error is an event of its own all the same."""
    script = "chunk_bytes=50;cut_after_chunks=3"
    answer = ask(unit.port, "POST", "/v1/chat/completions", {"x-scripted": script}, streamed("chat/completions"))
    assert last_event(answer.body)[1]["error"]["code"] == "upstream_incomplete"
    assert not answer.ended


def test_33_a_stream_of_known_length_is_only_cut(provider: Provider, unit: FaultUnit) -> None:
    """There is no room for an event: the length was promised."""
    script = {"x-scripted": "content_length=1;cut_after_chunks=3"}
    answer = ask(unit.port, "POST", "/v1/chat/completions", script, streamed("chat/completions"))
    assert b"upstream_incomplete" not in answer.body
    assert not answer.ended
    assert row_of(unit, answer)["outcome"] == "upstream_incomplete"


@pytest.mark.parametrize("path", ["chat/completions", "messages", "responses"])
def test_33a_a_whole_answer_that_breaks_off(provider: Provider, unit: FaultUnit, path: str) -> None:
    direct, relayed, row = both(provider, unit, path, BODIES[path], "whole_cut=1")
    assert len(relayed.body) > 50
    assert (relayed.body, relayed.ended) == (direct.body, False)
    assert (row["outcome"], row["status"], row["cost_state"]) == ("upstream_incomplete", 200, "estimated")


@pytest.mark.parametrize("path", PATHS)
def test_34_an_error_inside_a_stream(provider: Provider, unit: FaultUnit, path: str) -> None:
    direct, relayed, row = both(provider, unit, path, streamed(path), "error_after_chunks=3")
    assert (relayed.body, relayed.ended) == (direct.body, True)
    assert (row["outcome"], row["status"]) == ("upstream_error", 200)


ODD_STREAMS = [
    "malformed=bad_json", "malformed=bad_utf8", "malformed=no_blank_line", "line_end=crlf;malformed=bad_json",
    "line_end=cr;malformed=no_blank_line", "comments=1;line_end=cr", "chunk_bytes=1;line_end=crlf;output_tokens=3",
]  # fmt: skip


@pytest.mark.parametrize("script", ODD_STREAMS)
@pytest.mark.parametrize("path", PATHS)
def test_35_malformed_events_pass_unchanged(provider: Provider, unit: FaultUnit, path: str, script: str) -> None:
    direct, relayed, row = both(provider, unit, path, streamed(path), script)
    assert relayed.ended
    assert relayed.body == direct.body
    assert (row["outcome"], row["status"]) == ("ok", 200)
    assert row["usage_source"] in ("provider", "counted", "estimated")


@pytest.mark.parametrize("injected", [False, True])
def test_35_a_line_of_10_mb_is_not_held(provider: Provider, unit: FaultUnit, injected: bool) -> None:
    (relay,) = unit.pids("submeter.relay")
    before = peak_bytes(relay)
    body = chat(stream=True) if injected else streamed("chat/completions")
    script = {"x-scripted": "malformed=huge_line"}
    answer = ask(unit.port, "POST", "/v1/chat/completions", script, body)
    assert answer.ended
    assert len(answer.body) > 10_000_000
    assert peak_bytes(relay) - before < 6_000_000
    assert row_of(unit, answer)["outcome"] == "ok"


NONSENSE = ["negative", "nan", "float", "string", "huge", "inconsistent", "none", "null"]


@pytest.mark.parametrize("usage", NONSENSE)
@pytest.mark.parametrize("path", PATHS)
def test_36_usage_that_is_nonsense_in_a_stream(provider: Provider, unit: FaultUnit, path: str, usage: str) -> None:
    direct, relayed, row = both(provider, unit, path, streamed(path), f"usage={usage}")
    assert (relayed.status, relayed.body) == (200, direct.body)
    assert_estimated(row)


@pytest.mark.parametrize("usage", NONSENSE)
@pytest.mark.parametrize("path", PATHS)
def test_36_usage_that_is_nonsense_in_a_whole_answer(
    provider: Provider, unit: FaultUnit, path: str, usage: str
) -> None:
    direct, relayed, row = both(provider, unit, path, BODIES[path], f"usage={usage}")
    assert (relayed.status, relayed.body) == (200, direct.body)
    assert_estimated(row)


def assert_estimated(row: dict[str, Any]) -> None:
    assert (row["outcome"], row["cost_state"]) == ("ok", "estimated")
    assert row["usage_source"] in ("counted", "estimated")
    assert 0 < row["output_tokens"] < 1000
    assert row["cost_low_nano_usd"] <= row["cost_nano_usd"] <= row["cost_high_nano_usd"]


@pytest.mark.parametrize("usage", ["repeated", "cumulative", "decreasing", "finish_chunk"])
@pytest.mark.parametrize("path", PATHS)
def test_37_the_last_complete_usage_wins(provider: Provider, unit: FaultUnit, path: str, usage: str) -> None:
    direct, relayed, row = both(provider, unit, path, streamed(path), f"usage={usage};output_tokens=12")
    assert relayed.body == direct.body
    line = next(line for line in provider.invoice() if line["request_id"] == row["upstream_request_id"])
    assert (row["usage_source"], row["cost_state"], row["output_tokens"]) == ("provider", "exact", 12)
    assert row["cost_nano_usd"] == line["cost_nano_usd"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", PATHS)
def test_38_usage_of_zero_stays_zero(provider: Provider, unit: FaultUnit, path: str, stream: bool) -> None:
    body = streamed(path) if stream else BODIES[path]
    _, _, row = both(provider, unit, path, body, "usage=zero")
    assert (row["usage_source"], row["cost_state"]) == ("provider", "exact")
    assert (row["input_tokens"], row["output_tokens"], row["cost_nano_usd"]) == (0, 0, 0)


@pytest.mark.parametrize("script", ["not_json=1", "malformed=bad_json"])
@pytest.mark.parametrize("path", PATHS)
def test_39_a_body_that_is_not_json(provider: Provider, unit: FaultUnit, path: str, script: str) -> None:
    direct, relayed, row = both(provider, unit, path, BODIES[path], script)
    assert (relayed.status, relayed.body) == (200, direct.body)
    assert relayed.comparable_headers() == direct.comparable_headers()
    assert row["usage_source"] in ("none", "estimated")
    assert row["cost_state"] == "estimated"
