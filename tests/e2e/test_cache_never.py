"""What a provider may answer with status 200 and is never kept: every end that the model did not set itself, errors,
refusals, and calls of functions where the operator has not asked for them. The upstream gives canned answers."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from harness.processes import Unit
from harness.raw import ask

USAGE = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
MESSAGES_USAGE = {"input_tokens": 5, "output_tokens": 7}
TOOL_CALL = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
TEXT = {"role": "assistant", "content": "x"}


def events(*datas: Any, done: bool = True) -> bytes:
    lines = [b"data: " + json.dumps(data).encode() + b"\n\n" for data in datas]
    return b"".join(lines) + (b"data: [DONE]\n\n" if done else b"")


def named(*datas: dict[str, Any]) -> bytes:
    return b"".join(f"event: {data['type']}\ndata: {json.dumps(data)}\n\n".encode() for data in datas)


def chat(reason: str | None, message: dict[str, Any] = TEXT, **more: Any) -> bytes:
    choice = {"index": 0, "message": message, "finish_reason": reason}
    return json.dumps({"id": "c", "model": "m", "choices": [choice], "usage": USAGE, **more}).encode()


def chat_stream(reason: str | None, delta: dict[str, Any] = TEXT, *, done: bool = True) -> bytes:
    def chunk(delta: dict[str, Any], reason: str | None) -> dict[str, Any]:
        return {"id": "c", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}

    usage = {"id": "c", "model": "m", "choices": [], "usage": USAGE}
    return events(chunk(delta, None), chunk({}, reason), usage, done=done)


def messages(reason: str | None, content: list[dict[str, Any]] | None = None) -> bytes:
    blocks = [{"type": "text", "text": "x"}] if content is None else content
    whole = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": blocks, "stop_reason": reason}
    return json.dumps(whole | {"usage": MESSAGES_USAGE}).encode()


def messages_stream(reason: str | None, block: dict[str, Any] | None = None, *, stop: bool = True) -> bytes:
    whole = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": MESSAGES_USAGE}
    return named(
        {"type": "message_start", "message": whole},
        {"type": "content_block_start", "index": 0, "content_block": block or {"type": "text", "text": "x"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 7}},
        *([{"type": "message_stop"}] if stop else []),
    )


def responses(status: str, item: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    text = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "x"}]}
    usage = {"input_tokens": 5, "output_tokens": 7, "total_tokens": 12}
    return {"id": "r", "object": "response", "model": "m", "status": status, "output": [item or text]} | {
        "usage": usage,
        **more,
    }


def responses_stream(kind: str, response: dict[str, Any]) -> bytes:
    return named(
        {"type": "response.created", "response": {**response, "status": "in_progress", "output": [], "usage": None}},
        {"type": kind, "response": response},
    )


FUNCTION_CALL = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
TOOL_USE = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
CUT_SHORT = {"incomplete_details": {"reason": "max_output_tokens"}}
FAILED = {"error": {"code": "server_error", "message": "m"}}

KEPT = {
    "chat": ("chat/completions", chat("stop")),
    "chat stream": ("chat/completions", chat_stream("stop")),
    "messages": ("messages", messages("end_turn")),
    "messages, stop sequence": ("messages", messages("stop_sequence")),
    "messages stream": ("messages", messages_stream("end_turn")),
    "responses": ("responses", json.dumps(responses("completed")).encode()),
    "responses stream": ("responses", responses_stream("response.completed", responses("completed"))),
}
ENDS_OF_CHAT = ("length", "content_filter", "tool_calls", "function_call", "insufficient_system_resource", None)
ENDS_OF_MESSAGES = ("max_tokens", "refusal", "tool_use", "pause_turn", "model_context_window_exceeded", None)
NEVER = {
    **{f"chat, {reason}": ("chat/completions", chat(reason)) for reason in ENDS_OF_CHAT},
    **{f"chat stream, {reason}": ("chat/completions", chat_stream(reason)) for reason in ENDS_OF_CHAT},
    "chat, tool call": ("chat/completions", chat("stop", {**TEXT, "tool_calls": [TOOL_CALL]})),
    "chat stream, tool call": ("chat/completions", chat_stream("stop", {"tool_calls": [TOOL_CALL]})),
    "chat, error": ("chat/completions", b'{"error":{"message":"m","type":"server_error"}}'),
    "chat, error and answer": ("chat/completions", chat("stop", error={"message": "m"})),
    "chat, no usage": ("chat/completions", chat("stop", usage=None)),
    "chat stream, no [DONE]": ("chat/completions", chat_stream("stop", done=False)),
    "chat stream, error": ("chat/completions", events({"error": {"message": "m"}}) + chat_stream("stop")),
    "chat stream, bad line": ("chat/completions", b"data: {oops\n\n" + chat_stream("stop")),
    **{f"messages, {reason}": ("messages", messages(reason)) for reason in ENDS_OF_MESSAGES},
    **{f"messages stream, {reason}": ("messages", messages_stream(reason)) for reason in ENDS_OF_MESSAGES},
    "messages, tool use": ("messages", messages("end_turn", [TOOL_USE])),
    "messages stream, tool use": ("messages", messages_stream("end_turn", TOOL_USE)),
    "messages, error": ("messages", b'{"type":"error","error":{"type":"overloaded_error","message":"m"}}'),
    "messages stream, no end": ("messages", messages_stream("end_turn", stop=False)),
    "messages stream, error": (
        "messages",
        messages_stream("end_turn", stop=False) + named({"type": "error", "error": {"type": "overloaded_error"}}),
    ),
    "responses, function call": ("responses", json.dumps(responses("completed", FUNCTION_CALL)).encode()),
    "responses, incomplete": ("responses", json.dumps(responses("incomplete", **CUT_SHORT)).encode()),
    "responses, failed": ("responses", json.dumps(responses("failed", **FAILED)).encode()),
    "responses, error": ("responses", json.dumps(responses("completed", **FAILED)).encode()),
    "responses stream, function call": (
        "responses",
        responses_stream("response.completed", responses("completed", FUNCTION_CALL)),
    ),
    "responses stream, incomplete": (
        "responses",
        responses_stream("response.incomplete", responses("incomplete", **CUT_SHORT)),
    ),
    "responses stream, failed": ("responses", responses_stream("response.failed", responses("failed", **FAILED))),
    "embeddings, error": ("embeddings", b'{"error":{"message":"m"}}'),
    "embeddings, no usage": ("embeddings", b'{"object":"list","data":[]}'),
}
CANNED = KEPT | NEVER


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        _, body = CANNED[self.headers["x-canned"]]
        self.send_response(200)
        streamed = body.startswith((b"data:", b"event:"))
        self.send_header("Content-Type", "text/event-stream" if streamed else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def unit(module_dir: Path, upstream: str) -> Iterator[Unit]:
    unit = Unit(module_dir, upstream)
    yield unit
    unit.close()


def cache_says(unit: Unit, name: str) -> str | None:
    path, canned = CANNED[name]
    streamed = canned.startswith((b"data:", b"event:"))
    body = {"model": "m", "temperature": 0, "stream": streamed, "max_tokens": 9, "user": name}
    if streamed and path == "chat/completions":
        body["stream_options"] = {"include_usage": True}
    headers = {"Content-Type": "application/json", "x-canned": name}
    return ask(unit.port, "POST", f"/v1/{path}", headers, body).header("x-submeter-cache")


@pytest.mark.parametrize("name", KEPT)
def test_these_are_kept(unit: Unit, name: str) -> None:
    assert [cache_says(unit, name) for _ in range(2)] == ["miss", "hit"]


@pytest.mark.parametrize("name", NEVER)
def test_these_are_never_kept(unit: Unit, name: str) -> None:
    assert [cache_says(unit, name) for _ in range(3)] == ["miss"] * 3
