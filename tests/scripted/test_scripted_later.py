"""Answers that come later, and Azure's paths: what the provider does and bills, without a relay."""

import json

import aiohttp
import pytest

from scripted.harness import BODIES, CHAT, MESSAGES, Answer, Provider

pytestmark = pytest.mark.anyio

JOB = {**BODIES["responses"], "background": True}


async def get(server: Provider, path: str) -> Answer:
    root = server.url.removesuffix("/v1")
    async with aiohttp.ClientSession() as session, session.get(root + path) as response:
        return Answer(response.status, dict(response.headers), [await response.read()])


async def test_a_job_is_billed_once_when_it_is_done(server: Provider) -> None:
    queued = (await server.post("/v1/responses", JOB, "background_ms=50")).json
    assert (queued["status"], queued["background"], queued["usage"], queued["output"]) == ("queued", True, None, [])
    assert server.lines() == []
    path = f"/v1/responses/{queued['id']}"
    while (told := (await get(server, path)).json)["status"] == "in_progress":
        assert told["usage"] is None
    stream = await get(server, path + "?stream=true")
    assert stream.events[-1]["response"] == told
    (line,) = server.lines()
    assert (line["complete"], line["reported"], line["endpoint"]) == (True, True, "responses")
    assert line["output_tokens"] == told["usage"]["output_tokens"] == 16


async def test_a_job_that_streams_goes_on_when_its_client_leaves(server: Provider) -> None:
    async with server.request("/v1/responses", {**JOB, "stream": True}, "gap_ms=20;background_ms=30") as reader:
        while not (text := await reader.readline()).startswith(b"data: "):
            pass
    response_id = json.loads(text[6:])["response"]["id"]
    while (told := (await get(server, f"/v1/responses/{response_id}")).json)["status"] == "in_progress":
        assert server.lines() == []
    (line,) = server.lines()
    assert (line["output_tokens"], line["closed_by_client"]) == (told["usage"]["output_tokens"], False)


async def test_a_cancelled_job_costs_nothing(server: Provider) -> None:
    queued = (await server.post("/v1/responses", JOB, "background_ms=60000")).json
    cancelled = (await server.post(f"/v1/responses/{queued['id']}/cancel", {})).json
    assert (cancelled["status"], cancelled["usage"]) == ("cancelled", None)
    (line,) = server.lines()
    assert (line["cost_nano_usd"], line["complete"]) == (0, False)
    assert (await get(server, "/v1/responses/resp_unknown")).status == 404


async def test_only_what_is_to_be_stored_is(server: Provider) -> None:
    stored = (await server.post("/v1/responses", {**BODIES["responses"], "store": True})).json
    plain = (await server.post("/v1/responses", BODIES["responses"])).json
    assert (await get(server, f"/v1/responses/{stored['id']}")).json == stored
    assert (await get(server, f"/v1/responses/{plain['id']}")).status == 404
    assert len(server.lines()) == 2


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/openai/deployments/gpt-4o/chat/completions?api-version=x", 200),
        ("/openai/deployments/gpt-4o/chat/completions", 404),
        ("/openai/v1/chat/completions", 200),
        ("/openai/chat/completions?api-version=x", 404),
    ],
)
async def test_azures_paths(server: Provider, path: str, status: int) -> None:
    answer = await server.post(path, CHAT)
    assert answer.status == status
    if status == 200:
        model = "gpt-4o" if "deployments" in path else CHAT["model"]
        assert (answer.json["model"], server.lines()[0]["model"]) == (model, model)


async def test_a_batch_has_an_invoice_line_per_answer(server: Provider) -> None:
    form = aiohttp.FormData()
    form.add_field("purpose", "batch")
    lines = [{"custom_id": str(at), "url": "/v1/chat/completions", "body": body} for at, body in enumerate((CHAT, {}))]
    form.add_field("file", "\n".join(map(json.dumps, lines)).encode(), filename="in.jsonl")
    async with aiohttp.ClientSession() as session, session.post(f"{server.url}/files", data=form) as response:
        file_id = (await response.json())["id"]
    batch = (await server.post("/v1/batches", {"input_file_id": file_id})).json
    assert (await get(server, f"/v1/batches/{batch['id']}")).json == batch
    output = (await get(server, f"/v1/files/{batch['output_file_id']}/content")).json
    failed = (await get(server, f"/v1/files/{batch['error_file_id']}/content")).json
    assert (output["custom_id"], output["response"]["status_code"]) == ("0", 200)
    assert (failed["custom_id"], failed["response"]["status_code"]) == ("1", 400)
    (line,) = server.lines()
    assert (line["service_tier"], line["request_id"]) == ("batch", output["response"]["request_id"])
    # gpt-4o-mini in a batch: 0.075 and 0.30 USD per million
    assert line["cost_nano_usd"] == line["input_tokens"] * 75 + line["output_tokens"] * 300
    assert (await server.post("/v1/batches", {"input_file_id": "file-unknown"})).status == 400


async def test_a_message_batch(server: Provider) -> None:
    asked = {"requests": [{"custom_id": "a", "params": MESSAGES}, {"custom_id": "b", "params": {}}]}
    batch = (await server.post("/v1/messages/batches", asked)).json
    results = (await get(server, f"/v1/messages/batches/{batch['id']}/results")).body.splitlines()
    good, bad = map(json.loads, results)
    assert (good["result"]["type"], bad["result"]["type"]) == ("succeeded", "errored")
    assert good["result"]["message"]["usage"]["service_tier"] == "batch"
    assert [line["service_tier"] for line in server.lines()] == ["batch"]
