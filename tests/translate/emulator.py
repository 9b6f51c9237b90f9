"""Providers that speak no OpenAI dialect, at the HTTP level as their references document them: Anthropic's
``/v1/messages`` and Gemini's ``generateContent``, ``streamGenerateContent?alt=sse`` and ``batchEmbedContents``.

It runs in a thread of the test's process. What it does instead of answering is chosen by the model's name, which ends
in ``-does-WHAT``.
"""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

Json = dict[str, Any]

SAYS = ("Grüezi, ", "wie ", "geht's?")
TEXT = "".join(SAYS)
THOUGHT = "The user greets."
TOOL = {"city": "Bern"}
MESSAGES_USAGE: Json = {
    "input_tokens": 21,
    "cache_creation_input_tokens": 300,
    "cache_read_input_tokens": 1000,
    "cache_creation": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 200},
    "output_tokens": 1,
    "service_tier": "standard",
}
OUTPUT_TOKENS = 57
GEMINI_USAGE: Json = {
    "promptTokenCount": 1200,
    "cachedContentTokenCount": 1000,
    "candidatesTokenCount": 40,
    "thoughtsTokenCount": 60,
    "totalTokenCount": 1300,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 1100}, {"modality": "AUDIO", "tokenCount": 100}],
    "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 950}, {"modality": "AUDIO", "tokenCount": 50}],
}
ERRORS = {
    "refuse": (400, "max_tokens: 99 is too many"),
    "unauthorised": (401, "no such key"),
    "overload": (529, "Overloaded"),
    "limit": (429, "slow down"),
}


class Emulator:
    """Use with ``with``. ``calls`` are (path, headers, body) in order; ``closed`` counts streams cut by the caller."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, str], Json]] = []
        self.closed = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> "Emulator":
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_post("/v1/messages", self._messages)
        app.router.add_post("/v1beta/models/{call}", self._gemini)
        app.router.add_route("*", "/{other:.*}", self._elsewhere)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def _note(self, request: web.Request) -> Json:
        body = await request.json()
        self.calls.append((request.path_qs, {name.lower(): value for name, value in request.headers.items()}, body))
        return body

    async def _elsewhere(self, request: web.Request) -> web.Response:
        self.calls.append((request.path_qs, {name.lower(): value for name, value in request.headers.items()}, {}))
        return web.Response(status=404)

    # -- what both do instead of answering -----------------------------------------------------------------------

    def _instead(self, request: web.Request, what: str) -> web.Response | None:
        if what in ERRORS:
            status, message = ERRORS[what]
            key = request.headers.get("x-api-key", request.headers.get("x-goog-api-key", ""))
            error = {"type": "invalid_request_error", "message": f"{message} ({key})"}
            return web.json_response({"type": "error", "error": error}, status=status, headers={"retry-after": "7"})
        if what == "redirect":
            return web.Response(status=307, headers={"Location": "/elsewhere"})
        if what == "garble":
            return web.Response(text="<html>", content_type="application/json")
        if what == "drop":
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        return None

    async def _stream(self, request: web.Request, what: str, events: list[bytes], error: bytes) -> web.StreamResponse:
        """Half of the events, then what was asked for instead of the rest."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "request-id": "req-17"})
        await response.prepare(request)
        try:
            async for event in _halting(events, what):
                await response.write(event)
            if what == "fail":
                await response.write(error)
            if what == "break":
                assert request.transport is not None
                request.transport.abort()
        except (asyncio.CancelledError, ConnectionError):
            self.closed += 1
            raise
        return response

    # -- Anthropic -----------------------------------------------------------------------------------------------

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        body = await self._note(request)
        model, _, what = body["model"].partition("-does-")
        instead = self._instead(request, what)
        if instead is not None:
            return instead
        message = {"id": "msg_1", "type": "message", "role": "assistant", "model": f"{model}-20251001"}
        if body.get("stream"):
            error = _named("error", {"error": {"type": "overloaded_error", "message": "Overloaded"}})
            return await self._stream(request, what, _messages_events(message, what), error)
        content = [
            {"type": "thinking", "thinking": THOUGHT, "signature": "c2ln"},
            {"type": "text", "text": TEXT},
            {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": TOOL},
        ]
        usage = {**MESSAGES_USAGE, "output_tokens": OUTPUT_TOKENS}
        whole = {**message, "content": content, "stop_reason": "tool_use", "stop_sequence": None, "usage": usage}
        return web.json_response(whole, headers={"request-id": "req-17"})

    # -- Gemini --------------------------------------------------------------------------------------------------

    async def _gemini(self, request: web.Request) -> web.StreamResponse:
        body = await self._note(request)
        named, _, method = request.match_info["call"].partition(":")
        model, _, what = named.partition("-does-")
        instead = self._instead(request, what)
        if instead is not None:
            return instead
        if method == "batchEmbedContents":
            return web.json_response({"embeddings": [{"values": [0.5, -0.25]} for _ in body["requests"]]})
        if method == "generateContent":
            parts = [{"text": THOUGHT, "thought": True}, {"text": TEXT}, {"functionCall": _call()}]
            return web.json_response(_candidate(model, parts, GEMINI_USAGE, "STOP"))
        events = [b"data: %b\r\n\r\n" % json.dumps(chunk).encode() for chunk in _gemini_chunks(model, what)]
        error = (
            b'data: {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}\r\n\r\n'
        )
        return await self._stream(request, what, events, error)


async def _halting(events: list[bytes], what: str) -> AsyncIterator[bytes]:
    whole = what not in ("fail", "break", "end", "hang")
    for event in events if whole else events[: len(events) // 2]:
        yield event
    if what == "hang":
        await asyncio.sleep(3600)


def _named(name: str, data: Json) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n".encode()


def _messages_events(message: Json, what: str) -> list[bytes]:
    final: Json = {"output_tokens": OUTPUT_TOKENS}
    if what == "think":
        final["output_tokens_details"] = {"thinking_tokens": 30}
    begun = {**message, "content": [], "stop_reason": None, "usage": MESSAGES_USAGE}
    blocks = [
        ({"type": "thinking", "thinking": "", "signature": ""}, [{"type": "thinking_delta", "thinking": THOUGHT}]),
        ({"type": "text", "text": ""}, [{"type": "text_delta", "text": text} for text in SAYS]),
        (
            {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}},
            [{"type": "input_json_delta", "partial_json": piece} for piece in ('{"city": ', '"Bern"}')],
        ),
    ]
    events = [_named("message_start", {"message": begun}), _named("ping", {})]
    for index, (block, deltas) in enumerate(blocks):
        events.append(_named("content_block_start", {"index": index, "content_block": block}))
        events += [_named("content_block_delta", {"index": index, "delta": delta}) for delta in deltas]
        events.append(_named("content_block_stop", {"index": index}))
    end = {"delta": {"stop_reason": "tool_use", "stop_sequence": None}, "usage": final}
    return [*events, _named("message_delta", end), _named("message_stop", {})]


def _call() -> Json:
    return {"name": "weather", "args": TOOL}


def _candidate(model: str, parts: list[Json], usage: Json | None, finish: str | None = None) -> Json:
    candidate: Json = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = finish
    answer: Json = {"candidates": [candidate], "modelVersion": model, "responseId": "resp-1"}
    return answer if usage is None else {**answer, "usageMetadata": usage}


def _gemini_chunks(model: str, what: str) -> list[Json]:
    """Usage grows from chunk to chunk; the last one's is the call's."""
    begun = {"promptTokenCount": 1200, "totalTokenCount": 1200}
    grown = {"promptTokenCount": 1200, "candidatesTokenCount": 9, "totalTokenCount": 1209}
    silent = what == "silent"
    return [
        _candidate(model, [{"text": THOUGHT, "thought": True}], None if silent else begun),
        *(_candidate(model, [{"text": text}], None if silent else grown) for text in SAYS),
        _candidate(model, [{"functionCall": _call()}], None if silent else GEMINI_USAGE, "STOP"),
    ]
