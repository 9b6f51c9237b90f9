"""The two countings that share no code agree: what the metering core reads and prices is what the invoice says."""

import time
from pathlib import Path

import pytest

from scripted.harness import BODIES, Answer, Provider
from submeter.core.cost import price_call
from submeter.core.dialect import Answer as Seen
from submeter.core.dialect import dialect_for
from submeter.core.sse import SseScanner, event_fields
from submeter.prices.load import load_book

pytestmark = pytest.mark.anyio

MODELS = {
    "chat/completions": ["gpt-4o-mini", "gpt-4o", "gpt-4.1-mini", "o4-mini", "gpt-3.5-turbo"],
    "completions": ["gpt-3.5-turbo-instruct"],
    "embeddings": ["text-embedding-3-small", "text-embedding-3-large"],
    "responses": ["gpt-4o-mini", "o4-mini"],
    "messages": ["claude-haiku-4-5", "claude-sonnet-4-5"],
}
HONEST = [
    "",
    "reasoning_tokens=5",
    "reasoning_tokens=5;reasoning=hidden;tokens_per_chunk=3",
    "input_tokens=1000;cached_tokens=900",
    "cache_write_tokens=7;cached_tokens=3",
    "cache_write_5m_tokens=9;cache_write_1h_tokens=11;cached_tokens=40",
    "usage=finish_chunk",
    "usage=repeated;cache_write_5m_tokens=2",
    "usage=cumulative;reasoning_tokens=3;cache_write_1h_tokens=5",
    "usage=decreasing;cache_write_5m_tokens=2",
    "usage=zero",
    "line_end=crlf",
    "line_end=cr;comments=1",
    "text=unicode",
    "malformed=no_blank_line",
    "done=0",
]
DISHONEST = ["usage=none", "usage=null", "usage=negative", "usage=nan", "usage=float", "usage=string", "usage=huge"]


@pytest.mark.parametrize("script", HONEST)
@pytest.mark.parametrize("endpoint", BODIES)
async def test_to_the_nano_dollar(server: Provider, tmp_path: Path, endpoint: str, script: str) -> None:
    book = load_book([], tmp_path)
    for model in MODELS[endpoint]:
        for stream in (True, False):
            seen = read(endpoint, await ask(server, endpoint, script, model=model, stream=stream))
            line = server.lines()[-1]
            assert line["reported"]
            assert seen.usage is not None
            assert (seen.usage.input_total, seen.usage.output_total) == (line["input_tokens"], line["output_tokens"])
            vendor = "anthropic" if endpoint == "messages" else "openai"
            entry = book.find(seen.model or "", vendor, time.time_ns())
            assert entry is not None
            cost = price_call(seen.usage, entry, seen.service_tier)
            assert cost is not None
            assert cost.total == line["cost_nano_usd"]


@pytest.mark.parametrize("tier", ["flex", "priority"])
@pytest.mark.parametrize("endpoint", ["chat/completions", "responses"])
async def test_tiers_to_the_nano_dollar(server: Provider, tmp_path: Path, endpoint: str, tier: str) -> None:
    book = load_book([], tmp_path)
    for model in MODELS[endpoint]:
        answer = await ask(server, endpoint, "cached_tokens=3", model=model, stream=True, service_tier=tier)
        seen = read(endpoint, answer)
        entry = book.find(model, "openai", time.time_ns())
        assert seen.usage is not None
        assert entry is not None
        cost = price_call(seen.usage, entry, seen.service_tier)
        assert cost is not None
        assert cost.total == server.lines()[-1]["cost_nano_usd"]


@pytest.mark.parametrize("script", DISHONEST)
@pytest.mark.parametrize("endpoint", BODIES)
async def test_what_is_not_told_or_not_true_is_not_believed(server: Provider, endpoint: str, script: str) -> None:
    for stream in (True, False):
        seen = read(endpoint, await ask(server, endpoint, script, stream=stream))
        assert seen.usage is None
        assert server.lines()[-1]["reported"] is False


async def ask(server: Provider, endpoint: str, script: str, **members: object) -> Answer:
    body = {**BODIES[endpoint], **members}
    if members["stream"] and endpoint in ("chat/completions", "completions"):
        body["stream_options"] = {"include_usage": True}
    return await server.post(f"/v1/{endpoint}", body, script)


def read(endpoint: str, answer: Answer) -> Seen:
    dialect = dialect_for(endpoint)
    if answer.headers["content-type"].startswith("application/json"):
        dialect.read_whole(answer.body)
        return dialect.answer
    scanner = SseScanner()
    for event in [*scanner.feed(answer.body), scanner.tail]:
        dialect.read_event(*event_fields(event))
    return dialect.answer
