"""Kept answers as the relay would have kept them, for the tests of their conversion."""

import json
from typing import Any

from submeter.core.body import EventBody, WholeBody
from submeter.core.conversion import as_stream, as_whole
from submeter.core.dialect import Answer, dialect_for
from submeter.core.kept import SCHEMA, Form, KeptAnswer
from submeter.core.record import TokenClasses

ENDPOINTS = ("chat/completions", "completions", "responses", "messages")


def reading(endpoint: str, body: bytes, form: Form) -> Answer:
    """What metering reads of it."""
    dialect = dialect_for(endpoint)
    dialect.answer.keeps = True
    reader = EventBody(dialect, strip_usage=False) if form == "stream" else WholeBody(dialect)
    reader.feed(body)
    reader.end()
    return dialect.answer


def kept(endpoint: str, body: bytes | dict[str, Any], form: Form = "whole") -> KeptAnswer:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = reading(endpoint, data, form)
    return KeptAnswer(
        schema=SCHEMA,
        form=form,
        content_type=b"text/event-stream" if form == "stream" else b"application/json; charset=utf-8",
        body=data,
        call_id="0193",
        stored_at_ns=1,
        model_served=answer.model,
        system_fingerprint=None,
        service_tier=answer.service_tier,
        finish_reason=answer.finish_reason,
        usage=TokenClasses() if answer.usage is None else answer.usage,
        web_searches=answer.web_searches,
        ttft_ns=None,
        e2e_ns=None,
        pace=(),
    )


def streamed(endpoint: str, whole: bytes | dict[str, Any], *, include_usage: bool = True) -> bytes | None:
    return as_stream(endpoint, kept(endpoint, whole), include_usage=include_usage)


def made_whole(endpoint: str, stream: bytes) -> Any:
    """As data; None where there is no faithful whole."""
    body = as_whole(endpoint, kept(endpoint, stream, "stream"))
    return None if body is None else json.loads(body)


def there_and_back(endpoint: str, whole: dict[str, Any]) -> Any:
    stream = streamed(endpoint, whole)
    assert stream is not None
    return made_whole(endpoint, stream)


def event_objects(stream: bytes) -> list[Any]:
    """The data of each event of a stream that was made here; ``[DONE]`` as a string."""
    lines = [line.removeprefix(b"data: ") for line in stream.split(b"\n") if line.startswith(b"data: ")]
    return [line.decode() if line == b"[DONE]" else json.loads(line) for line in lines]


# ---- one answer per dialect, with every part ---------------------------------------------------------------------

LOGPROBS = {"content": [{"token": "4", "logprob": -0.00015, "bytes": [52], "top_logprobs": []}], "refusal": None}
CHAT: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1763596800,
    "model": "gpt-4o-mini-2024-07-18",
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "4",
                "refusal": None,
                "annotations": [
                    {"type": "url_citation", "url_citation": {"url": "https://example.org/", "title": "T"}}
                ],
                "reasoning_content": "2 + 2 …",
                "tool_calls": [
                    {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a": 2}'}},
                    {"id": "call_2", "type": "custom", "custom": {"name": "sh", "input": "ls"}},
                ],
            },
            "logprobs": LOGPROBS,
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 12, "completion_tokens": 7, "total_tokens": 19},
    "service_tier": "default",
    "system_fingerprint": "fp_1",
    "provider": "somebody",
}
COMPLETION: dict[str, Any] = {
    "id": "cmpl-1",
    "object": "text_completion",
    "created": 1763596800,
    "model": "gpt-3.5-turbo-instruct",
    "choices": [
        {
            "text": "Once upon",
            "index": 0,
            "logprobs": {
                "tokens": ["Once", " upon"],
                "token_logprobs": [None, -0.5],
                "top_logprobs": None,
                "text_offset": [0, 4],
            },
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 4, "completion_tokens": 2, "total_tokens": 6},
}
MESSAGE: dict[str, Any] = {
    "id": "msg_01",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5-20250929",
    "content": [
        {"type": "thinking", "thinking": "Hm", "signature": "EqQB"},
        {"type": "redacted_thinking", "data": "Em8C"},
        {
            "type": "text",
            "text": "Hi",
            "citations": [
                {
                    "type": "char_location",
                    "cited_text": "H",
                    "document_index": 0,
                    "document_title": None,
                    "start_char_index": 0,
                    "end_char_index": 1,
                    "file_id": None,
                }
            ],
        },
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1, "b": [0.5, "ü"]}},
        {"type": "tool_use", "id": "toolu_2", "name": "now", "input": {}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 21,
        "cache_creation_input_tokens": 500,
        "cache_read_input_tokens": 2000,
        "cache_creation": {"ephemeral_5m_input_tokens": 300, "ephemeral_1h_input_tokens": 200},
        "output_tokens": 60,
        "output_tokens_details": {"thinking_tokens": 30},
        "service_tier": "standard",
    },
}
RESPONSE: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1763596800,
    "status": "completed",
    "completed_at": 1763596801,
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "model": "gpt-5-2025-08-07",
    "output": [
        {
            "id": "rs_1",
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": "**Adding**"}],
            "content": [{"type": "reasoning_text", "text": "2 + 2"}],
            "encrypted_content": "gAAA",
        },
        {
            "id": "msg_1",
            "type": "message",
            "status": "completed",
            "role": "assistant",
            "content": [
                {
                    "type": "output_text",
                    "text": "It is 4.",
                    "annotations": [
                        {
                            "type": "url_citation",
                            "url": "https://example.org/",
                            "title": "T",
                            "start_index": 0,
                            "end_index": 2,
                        }
                    ],
                    "logprobs": [{"token": "It", "logprob": -0.25, "bytes": [73, 116], "top_logprobs": []}],
                },
                {"type": "refusal", "refusal": "No more."},
            ],
        },
        {
            "id": "fc_1",
            "type": "function_call",
            "status": "completed",
            "arguments": '{"a":1}',
            "call_id": "call_1",
            "name": "add",
        },
        {"id": "ct_1", "type": "custom_tool_call", "status": "completed", "call_id": "c", "name": "sh", "input": "ls"},
    ],
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": "medium", "summary": "auto"},
    "service_tier": "default",
    "store": False,
    "temperature": 0.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "truncation": "disabled",
    "usage": {
        "input_tokens": 300,
        "input_tokens_details": {"cached_tokens": 128, "cache_write_tokens": 0},
        "output_tokens": 75,
        "output_tokens_details": {"reasoning_tokens": 60},
        "total_tokens": 375,
    },
}
WHOLES = {"chat/completions": CHAT, "completions": COMPLETION, "messages": MESSAGE, "responses": RESPONSE}
