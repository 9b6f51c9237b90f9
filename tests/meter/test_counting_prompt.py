"""Which texts of a request are its input, and which requests cannot be counted."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from submeter.core.counting import Question
from submeter.core.record import Counted
from submeter.core.routes import METERED
from submeter.meter.counting.count import count
from submeter.meter.counting.prompt import Prompt, read_prompt
from submeter.meter.counting.tokenizer import Tokenizer, load

TEXT = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]


def read(endpoint: str, **body: Any) -> Prompt | None:
    return read_prompt(endpoint, json.dumps({"model": "m"} | body).encode())


@pytest.mark.parametrize(
    ("endpoint", "body", "expected"),
    [
        (
            "chat/completions",
            {"messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": TEXT, "name": "Ann"}]},
            Prompt(["system", "be brief", "user", "a", "b", "Ann"], 2 * 3 + 1 + 3),
        ),
        ("chat/completions", {"messages": [], "tools": [], "response_format": {"type": "text"}}, Prompt([], 3)),
        (
            "messages",
            {"system": TEXT, "messages": [{"role": "user", "content": "x"}], "max_tokens": 5},
            Prompt(["system", "a", "b", "user", "x"], 2 * 3 + 3),
        ),
        ("responses", {"instructions": "i", "input": "x"}, Prompt(["system", "i", "user", "x"], 2 * 3 + 3)),
        (
            "responses",
            {"input": [{"role": "user", "content": [{"type": "input_text", "text": "x"}]}]},
            Prompt(["user", "x"], 3 + 3),
        ),
        ("completions", {"prompt": "x"}, Prompt(["x"], 0)),
        ("completions", {"prompt": ["x", "y"]}, Prompt(["x", "y"], 0)),
        ("embeddings", {"input": [1, 2, 3]}, Prompt([], 3)),
        ("embeddings", {"input": [[1, 2, 3], [4]]}, Prompt([], 4)),
    ],
)
def test_what_is_counted(endpoint: str, body: dict[str, Any], expected: Prompt) -> None:
    assert read(endpoint, **body) == expected


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        ("chat/completions", {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}),
        ("chat/completions", {"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}),
        ("chat/completions", {"messages": [{"role": "tool", "content": "x"}]}),
        ("chat/completions", {"messages": [{"role": "assistant", "tool_calls": [{"id": "x"}]}]}),
        ("chat/completions", {"messages": [], "tools": [{"type": "function"}]}),
        ("chat/completions", {"messages": [], "functions": [{}]}),
        ("chat/completions", {"messages": [], "response_format": {"type": "json_schema"}}),
        ("chat/completions", {"messages": "x"}),
        ("chat/completions", {}),
        ("messages", {"messages": [{"role": "user", "content": [{"type": "document"}]}]}),
        ("messages", {"messages": [], "tools": [{"name": "f"}]}),
        ("responses", {"input": [{"type": "function_call_output", "output": "x"}]}),
        ("responses", {"input": "x", "previous_response_id": "resp_1"}),
        ("responses", {"input": "x", "text": {"format": {"type": "json_schema"}}}),
        ("completions", {}),
        ("embeddings", {"input": None}),
        ("images/generations", {"prompt": "x"}),
    ],
)
def test_what_is_not(endpoint: str, body: dict[str, Any]) -> None:
    assert read(endpoint, **body) is None


@given(st.sampled_from(sorted(METERED)), st.binary(max_size=60))
def test_any_bytes_are_taken(endpoint: str, body: bytes) -> None:
    read_prompt(endpoint, body)


def test_nesting_without_end_is_taken_too() -> None:
    assert read_prompt("chat/completions", b'{"messages":[],"tools":' + b"[" * 100_000) is None


# -- a whole question --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def o200k() -> Tokenizer:
    return load("o200k_base")


def ask(tokenizer: Tokenizer, *, own: bool = True, **fields: Any) -> Counted:
    body = json.dumps({"messages": [{"role": "user", "content": "Say something."}]}).encode()
    question = {"endpoint": "chat/completions", "model": "gpt-4o", "body": body, "content": b"the meter", "other": b""}
    return count(Question(**question | {"plain": True} | fields), tokenizer, own=own, deadline_s=float("inf"))


def test_counts_of_a_plain_call(o200k: Tokenizer) -> None:
    """OpenAI bills "Say something." alone in a message as 3 + 1 (role) + 3 + 3 tokens."""
    assert ask(o200k) == Counted("o200k_base", True, 3 + 1 + 3 + 3, 2)
    assert ask(o200k, other=b"reads each") == Counted("o200k_base", True, 10, 4)


@pytest.mark.parametrize(
    ("fields", "inputs", "output"),
    [
        ({"own": False}, 10, 2),
        ({"plain": False}, 10, 2),
        ({"body": None}, None, 2),
        ({"body": b"{}"}, None, 2),
        ({"content": None, "other": None}, 10, None),
        ({"content": b"\\ud800"}, 10, None),
        ({"content": b"\xff"}, 10, None),
    ],
)
def test_what_is_not_all_counted_is_an_estimate(
    o200k: Tokenizer, fields: dict[str, Any], inputs: int | None, output: int | None
) -> None:
    assert ask(o200k, **fields) == Counted("o200k_base", False, inputs, output)


def test_embeddings_have_no_output(o200k: Tokenizer) -> None:
    fields = {"endpoint": "embeddings", "body": b'{"input":["the meter"]}', "content": None, "other": None}
    assert ask(o200k, **fields) == Counted("o200k_base", True, 2, None)


def test_text_that_looks_like_a_special_token_is_text(o200k: Tokenizer) -> None:
    assert ask(o200k, content=b"<|endoftext|>") == Counted("o200k_base", True, 10, 7)
