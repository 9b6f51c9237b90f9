"""Azure's paths, background responses and batch output: the real SDKs through the relay, to the nano-dollar."""

import asyncio
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from anthropic import Anthropic
from openai import AsyncAzureOpenAI, AzureOpenAI, OpenAI

from harness.processes import Provider, Unit, submeter
from harness.raw import Answer, ask
from submeter.core.collected import derived_id

KEY = "sk-of-a-test"
VERSION = "2024-10-21"
USER: Any = [{"role": "user", "content": "What is a submeter? Grüße."}]


@pytest.fixture(scope="module")
def unit(module_dir: Path, provider: Provider) -> Iterator[Unit]:
    base_url = f"http://127.0.0.1:{provider.port}/openai"
    config = json.dumps({"upstreams": {"azure": {"base_url": base_url}}})
    unit = Unit(module_dir, provider, config=config)
    yield unit
    unit.close()


def rows_since(unit: Unit, before: int) -> list[dict[str, Any]]:
    return unit.rows()[before:]


def costs(rows: list[dict[str, Any]]) -> list[int]:
    return sorted(row["cost_nano_usd"] for row in rows if row["cost_state"] == "exact")


def invoiced(lines: list[dict[str, Any]]) -> list[int]:
    return sorted(line["cost_nano_usd"] for line in lines)


# -- Azure -------------------------------------------------------------------------------------------------------


def azure(port: int, **more: Any) -> AzureOpenAI:
    return AzureOpenAI(
        azure_endpoint=f"http://127.0.0.1:{port}", api_key=KEY, api_version=VERSION, max_retries=0, **more
    )


AZURE_CALLS: dict[str, Any] = {
    "chat": lambda c: c.chat.completions.create(model="gpt-4o-mini", messages=USER),
    "chat stream": lambda c: list(c.chat.completions.create(model="gpt-4o-mini", messages=USER, stream=True)),
    "chat stream usage": lambda c: list(
        c.chat.completions.create(
            model="gpt-4o-mini", messages=USER, stream=True, stream_options={"include_usage": True}
        )
    ),
    "responses": lambda c: c.responses.create(model="o4-mini", input="Say something."),
    "responses stream": lambda c: list(c.responses.create(model="o4-mini", input="Say something.", stream=True)),
}


def plain(answer: Any) -> Any:
    return [each.model_dump() for each in answer] if isinstance(answer, list) else answer.model_dump()


@pytest.mark.parametrize("name", AZURE_CALLS)
def test_azure_openai_sdk(provider: Provider, unit: Unit, name: str) -> None:
    with azure(provider.port) as direct, azure(unit.port) as relayed:
        expected = AZURE_CALLS[name](direct)
        before, rows_before = len(provider.invoice()), len(unit.rows())
        assert plain(AZURE_CALLS[name](relayed)) == plain(expected)
    (line,) = provider.invoice()[before:]
    (row,) = rows_since(unit, rows_before)
    assert (row["cost_nano_usd"], row["cost_state"]) == (line["cost_nano_usd"], "exact")
    assert (row["upstream"], row["endpoint"]) == ("azure", line["endpoint"])
    assert (row["input_tokens"], row["output_tokens"]) == (line["input_tokens"], line["output_tokens"])
    assert row["stream"] == ("stream" in name)


def test_azure_embeddings_at_azures_price(provider: Provider, unit: Unit) -> None:
    with azure(unit.port) as client:
        raw = client.embeddings.with_raw_response.create(
            model="text-embedding-3-small", input="x", extra_headers={"x-scripted": "input_tokens=1000"}
        )
    row = unit.row(raw.headers["x-submeter-call-id"])
    assert (row["cost_nano_usd"], row["input_tokens"]) == (1000 * 22, 1000)  # 0.022 USD per million; OpenAI's is 0.02


def test_async_azure_openai_and_a_deployment_of_the_client(provider: Provider, unit: Unit) -> None:
    async def ask_it() -> None:
        async with AsyncAzureOpenAI(
            azure_endpoint=unit.url, azure_deployment="gpt-4o", api_key=KEY, api_version=VERSION, max_retries=0
        ) as client:
            await client.chat.completions.create(model="gpt-4o", messages=USER)
            stream = await client.chat.completions.create(model="gpt-4o", messages=USER, stream=True)
            assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])

    before, rows_before = len(provider.invoice()), len(unit.rows())
    asyncio.run(ask_it())
    assert costs(rows_since(unit, rows_before)) == invoiced(provider.invoice()[before:])


def test_the_v1_api_and_attribution_by_url(provider: Provider, unit: Unit) -> None:
    before = len(provider.invoice())
    with OpenAI(base_url=f"{unit.url}/by/search/bot/openai/v1", api_key=KEY, max_retries=0) as client:
        raw = client.chat.completions.with_raw_response.create(model="gpt-4o-mini", messages=USER)
    row = unit.row(raw.headers["x-submeter-call-id"])
    assert (row["team"], row["app"], row["upstream"]) == ("search", "bot", "azure")
    assert row["cost_nano_usd"] == provider.invoice()[before]["cost_nano_usd"]


def test_bytes_and_a_body_without_model(provider: Provider, unit: Unit) -> None:
    path = f"/openai/deployments/gpt-4o-mini/chat/completions?api-version={VERSION}"
    headers = {"api-key": KEY, "x-scripted": "model_served=gpt-4o-mini-2024-07-18"}
    for body in ({"messages": USER}, {"messages": USER, "stream": True, "stream_options": {"include_usage": True}}):
        direct = ask(provider.port, "POST", path, headers, body)
        relayed = ask(unit.port, "POST", path, headers, body)
        assert (relayed.status, relayed.body) == (200, direct.body)
        row = unit.row(relayed.call_id)
        assert (row["model_requested"], row["model_served"]) == ("gpt-4o-mini", "gpt-4o-mini-2024-07-18")
        assert row["cost_nano_usd"] == row["input_tokens"] * 150 + row["output_tokens"] * 600


def test_two_deployments_share_no_cached_answer(unit: Unit) -> None:
    def asked(deployment: str) -> Answer:
        path = f"/openai/deployments/{deployment}/chat/completions?api-version={VERSION}"
        return ask(unit.port, "POST", path, {"api-key": "k-cache"}, {"messages": USER, "temperature": 0})

    assert [asked(name).header("x-submeter-cache") for name in ("gpt-4o", "gpt-4o", "gpt-4o-mini")] == [
        "miss",
        "hit",
        "miss",
    ]


def test_other_azure_paths_pass_and_without_azure_none_is_known(provider: Provider, unit: Unit, tmp_path: Path) -> None:
    path = f"/openai/deployments/d/images/generations?api-version={VERSION}"
    direct, relayed = (ask(port, "POST", path, {"api-key": KEY}, {}) for port in (provider.port, unit.port))
    assert (relayed.status, relayed.body) == (direct.status, direct.body)
    row = unit.row(relayed.call_id)
    assert (row["endpoint"], row["cost_state"]) == ("images/generations", "unmetered")
    other = Unit(tmp_path, provider)
    try:
        refused = ask(other.port, "POST", path, {"api-key": KEY}, {})
        assert (refused.status, refused.json()["error"]["code"]) == (404, "unknown_url")
    finally:
        other.close()


# -- background responses ----------------------------------------------------------------------------------------


def test_a_background_response_is_one_row_however_often_it_is_fetched(provider: Provider, unit: Unit) -> None:
    before, rows_before = len(provider.invoice()), len(unit.rows())
    with OpenAI(base_url=unit.base_url, api_key=KEY, max_retries=0) as client:
        slow = {"x-scripted": "background_ms=300;reasoning_tokens=5", "x-submeter-team": "jobs"}
        job = client.responses.create(model="o4-mini", input="Later, please.", background=True, extra_headers=slow)
        assert job.status == "queued"
        raw = client.responses.with_raw_response.retrieve(job.id)
        call_id = raw.headers["x-submeter-call-id"]
        assert call_id == derived_id("openai", job.id)
        team = {"x-submeter-team": "jobs"}
        while (done := client.responses.retrieve(job.id, extra_headers=team)).status != "completed":
            pass
        list(client.responses.retrieve(job.id, stream=True))
        client.responses.retrieve(job.id)
    assert done.usage is not None
    (line,) = provider.invoice()[before:]
    posted, fetched = rows_since(unit, rows_before)
    assert (posted["cost_state"], posted["cost_nano_usd"], posted["endpoint"]) == ("unmetered", None, "responses")
    assert (fetched["call_id"], fetched["cost_state"], fetched["endpoint"]) == (call_id, "exact", "responses")
    assert fetched["cost_nano_usd"] == line["cost_nano_usd"]
    assert (fetched["team"], fetched["model_served"], fetched["reasoning_tokens"]) == ("jobs", "o4-mini", 5)


def test_a_job_that_streams_is_metered_once_too(provider: Provider, unit: Unit) -> None:
    before, rows_before = len(provider.invoice()), len(unit.rows())
    with OpenAI(base_url=unit.base_url, api_key=KEY, max_retries=0) as client:
        stream = client.responses.create(model="o4-mini", input="Stream it.", background=True, stream=True)
        *_, last = stream
        assert last.type == "response.completed"
        client.responses.retrieve(last.response.id)
    (line,) = provider.invoice()[before:]
    rows = rows_since(unit, rows_before)
    assert sorted(row["cost_state"] for row in rows) == ["exact", "unmetered"]
    assert costs(rows) == [line["cost_nano_usd"]]


def test_a_stored_response_is_not_metered_again(provider: Provider, unit: Unit) -> None:
    before, rows_before = len(provider.invoice()), len(unit.rows())
    with OpenAI(base_url=unit.base_url, api_key=KEY, max_retries=0) as client:
        answer = client.responses.create(model="o4-mini", input="Keep this.", store=True)
        assert client.responses.retrieve(answer.id).usage == answer.usage
    assert costs(rows_since(unit, rows_before)) == invoiced(provider.invoice()[before:])
    assert len(rows_since(unit, rows_before)) == 1


def test_a_cancelled_job_costs_what_it_brings(provider: Provider, unit: Unit) -> None:
    rows_before = len(unit.rows())
    with OpenAI(base_url=unit.base_url, api_key=KEY, max_retries=0) as client:
        slow = {"x-scripted": "background_ms=60000"}
        job = client.responses.create(model="o4-mini", input="Never mind.", background=True, extra_headers=slow)
        assert client.responses.cancel(job.id).status == "cancelled"
        assert client.responses.retrieve(job.id).status == "cancelled"
    endpoints = [(row["endpoint"], row["cost_state"]) for row in rows_since(unit, rows_before)]
    assert endpoints == [("responses", "unmetered"), (f"responses/{job.id}/cancel", "unmetered")]


def test_bytes_of_fetched_answers(provider: Provider, unit: Unit) -> None:
    made = ask(provider.port, "POST", "/v1/responses", {}, {"model": "o4-mini", "input": "B", "background": True})
    path = f"/v1/responses/{made.json()['id']}"
    for query in ("", "?stream=true"):
        direct, relayed = (ask(port, "GET", path + query, {}) for port in (provider.port, unit.port))
        assert (relayed.status, relayed.body) == (200, direct.body)
        assert relayed.comparable_headers() == direct.comparable_headers()


# -- batches -----------------------------------------------------------------------------------------------------


def test_openais_batch_output_at_batch_price(provider: Provider, unit: Unit) -> None:
    bodies = [
        ("/v1/chat/completions", {"model": "gpt-4o-mini", "messages": USER}),
        ("/v1/responses", {"model": "o4-mini", "input": "Say something."}),
        ("/v1/embeddings", {"model": "text-embedding-3-small", "input": "x"}),
        ("/v1/chat/completions", {"model": "gpt-4o-mini"}),  # refused: no messages
    ]
    lines = [
        {"custom_id": f"t-{at}", "method": "POST", "url": url, "body": body} for at, (url, body) in enumerate(bodies)
    ]
    before, rows_before = len(provider.invoice()), len(unit.rows())
    with OpenAI(base_url=unit.base_url, api_key=KEY, max_retries=0) as client:
        data = "\n".join(map(json.dumps, lines)).encode()
        given = client.files.create(file=("in.jsonl", io.BytesIO(data)), purpose="batch")
        batch = client.batches.create(input_file_id=given.id, endpoint="/v1/chat/completions", completion_window="24h")
        assert batch.output_file_id is not None
        assert batch.error_file_id is not None
        client.files.content(given.id)
        content = client.files.content(batch.output_file_id, extra_headers={"x-submeter-app": "nightly"}).content
        client.files.content(batch.output_file_id)
        client.files.content(batch.error_file_id)
    assert content == ask(provider.port, "GET", f"/v1/files/{batch.output_file_id}/content", {}).body
    rows = rows_since(unit, rows_before)
    passed, found = [row for row in rows if row["cost_state"] == "unmetered"], [row for row in rows if row["app"]]
    assert sorted(row["endpoint"] for row in passed) == ["batches", "files"]
    assert len(rows) == len(passed) + len(found) == 5
    assert costs(found) == invoiced(provider.invoice()[before:])
    assert sorted(row["endpoint"] for row in found) == ["chat/completions", "embeddings", "responses"]
    assert {row["service_tier"] for row in found} == {"batch"}
    assert len({row["operation_id"] for row in found}) == 1
    for row in found:
        assert row["call_id"] == derived_id("openai", id_of(content, row["upstream_request_id"]))
    (chat,) = [row for row in found if row["endpoint"] == "chat/completions"]
    assert chat["cost_nano_usd"] == chat["input_tokens"] * 75 + chat["output_tokens"] * 300  # half of 0.15 and 0.60


def id_of(content: bytes, request_id: str) -> str:
    (found,) = [
        each["id"] for each in map(json.loads, content.splitlines()) if each["response"]["request_id"] == request_id
    ]
    return str(found)


def test_azures_batch_output(provider: Provider, unit: Unit) -> None:
    before, rows_before = len(provider.invoice()), len(unit.rows())
    one = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions"}
    data = json.dumps({**one, "body": {"model": "gpt-4o-mini", "messages": USER}}).encode()
    with azure(unit.port) as client:
        given = client.files.create(file=("in.jsonl", io.BytesIO(data)), purpose="batch")
        batch = client.batches.create(input_file_id=given.id, endpoint="/v1/chat/completions", completion_window="24h")
        assert batch.output_file_id is not None
        client.files.content(batch.output_file_id)
        client.files.content(batch.output_file_id)
    exact = [row for row in rows_since(unit, rows_before) if row["cost_state"] == "exact"]
    assert costs(exact) == invoiced(provider.invoice()[before:])
    assert [row["upstream"] for row in exact] == ["azure"]


def test_anthropics_batch_results(provider: Provider, unit: Unit) -> None:
    params: Any = {"model": "claude-haiku-4-5", "max_tokens": 64, "messages": [{"role": "user", "content": "Hello"}]}
    before, rows_before = len(provider.invoice()), len(unit.rows())
    with Anthropic(base_url=unit.url, api_key=KEY, max_retries=0) as client:
        batch = client.messages.batches.create(
            requests=[{"custom_id": "a", "params": params}, {"custom_id": "b", "params": {**params, "messages": 7}}]
        )
        for _ in range(2):
            path = f"/v1/messages/batches/{batch.id}/results"
            assert len(ask(unit.port, "GET", path, {}).body.splitlines()) == 2
    (line,) = provider.invoice()[before:]
    posted, row = rows_since(unit, rows_before)
    assert (posted["endpoint"], posted["cost_state"]) == ("messages/batches", "unmetered")
    assert (row["endpoint"], row["service_tier"], row["cost_state"]) == ("messages", "batch", "exact")
    assert row["cost_nano_usd"] == line["cost_nano_usd"] == line["input_tokens"] * 500 + line["output_tokens"] * 2500


def test_an_ordinary_file_passes_as_it_is(provider: Provider, unit: Unit) -> None:
    path = "/v1/files/file-x/content?bytes=3000001"
    rows_before = len(unit.rows())
    assert ask(unit.port, "GET", path, {}).body == ask(provider.port, "GET", path, {}).body
    assert rows_since(unit, rows_before) == []


# -- what is not metered is said ---------------------------------------------------------------------------------


def test_the_coverage_of_cost_names_what_is_unmetered(unit: Unit) -> None:
    def total() -> dict[str, Any]:
        unit.rows()
        run = submeter("cost", "--json", "--data-dir", str(unit.data_dir))
        assert run.returncode == 0, run.stderr
        found: dict[str, Any] = json.loads(run.stdout)["total"]
        return found

    before = total()
    paths = ("images/generations", "moderations", "audio/speech", "fine_tuning/jobs", "batches", "realtime/sessions")
    for path in paths:
        ask(unit.port, "POST", f"/v1/{path}", {}, {})
    after = total()
    assert after["unmetered_calls"] - before["unmetered_calls"] == len(paths)
    assert after["calls"] - before["calls"] == len(paths)
    assert after["confirmed_nano_usd"] == before["confirmed_nano_usd"]


def test_metrics_count_a_fetched_answer_once(unit: Unit) -> None:
    unit.rows()
    lines = ask(unit.ops_port, "GET", "/metrics", {}).body.decode().splitlines()
    cost = sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("submeter_cost_usd_total"))
    told = sum(row["cost_nano_usd"] or 0 for row in unit.rows())
    assert round(cost * 10**9) == told
