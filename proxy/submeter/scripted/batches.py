"""Batches, answered at once: OpenAI's (a file in, a file out; also under Azure's paths) and Anthropic's.

Every line that can be answered has an invoice line of its own, at the price of the tier ``batch``.
"""

import uuid
from collections.abc import Mapping
from dataclasses import replace

import msgspec
from aiohttp import web

from submeter.scripted import usage
from submeter.scripted.answer import Json, plan
from submeter.scripted.dialect import Dialect, Refusal, encode, openai_error, read_json
from submeter.scripted.invoice import Bill, Invoice
from submeter.scripted.messages import MESSAGES
from submeter.scripted.script import Script

FILES: web.AppKey[dict[str, bytes]] = web.AppKey("files", dict)
"""What was uploaded for a batch, and what came of it."""
_CREATED = 1_700_000_000


class InputLine(msgspec.Struct):
    custom_id: str
    url: str
    body: msgspec.Raw


class BatchRequest(msgspec.Struct):
    input_file_id: str


class MessageLine(msgspec.Struct):
    custom_id: str
    params: msgspec.Raw


class MessageBatchRequest(msgspec.Struct):
    requests: list[MessageLine]


class Batches:
    """Handlers of both dialects' paths."""

    def __init__(self, invoice: Invoice, script: Script, dialects: Mapping[str, Dialect]) -> None:
        self._invoice = invoice
        self._script = script
        self._dialects = dialects
        self._made: dict[str, Json] = {}
        self._results: dict[str, bytes] = {}

    def routes(self) -> list[web.RouteDef]:
        openai = [
            route
            for prefix in ("/v1", "/openai", "/openai/v1")
            for route in (
                web.post(f"{prefix}/batches", self.create),
                web.get(f"{prefix}/batches/{{batch_id}}", self.find),
            )
        ]
        return [
            *openai,
            web.post("/v1/messages/batches", self.create_messages),
            web.get("/v1/messages/batches/{batch_id}", self.find),
            web.get("/v1/messages/batches/{batch_id}/results", self.results),
        ]

    async def create(self, request: web.Request) -> web.Response:
        try:
            asked = read_json(await request.read(), BatchRequest)
            lines = [read_json(line, InputLine) for line in _file(request, asked.input_file_id).splitlines()]
        except Refusal as refusal:
            return _json(openai_error(refusal.status, str(refusal)), refusal.status)
        output: list[Json] = []
        errors: list[Json] = []
        for line in lines:
            status, told, request_id = await self._answer(self._dialect(line.url), bytes(line.body))
            answer = {"status_code": status, "request_id": request_id, "body": told}
            named = {} if request.path.startswith("/openai") else {"id": f"batch_req_{uuid.uuid4().hex}"}
            written: Json = {**named, "custom_id": line.custom_id, "response": answer, "error": None}
            (output if status == 200 else errors).append(written)
        batch: Json = {
            "id": f"batch_{uuid.uuid4().hex}",
            "object": "batch",
            "endpoint": lines[0].url if lines else None,
            "input_file_id": asked.input_file_id,
            "status": "completed",
            "created_at": _CREATED,
            "output_file_id": _keep(request, output),
            "error_file_id": _keep(request, errors),
        }
        return _json(self._keep(batch))

    async def create_messages(self, request: web.Request) -> web.Response:
        try:
            asked = read_json(await request.read(), MessageBatchRequest)
        except Refusal as refusal:
            return _json(MESSAGES.error(refusal.status, str(refusal)), refusal.status)
        lines: list[Json] = []
        for line in asked.requests:
            status, told, _ = await self._answer(MESSAGES, bytes(line.params))
            result = {"type": "succeeded", "message": told} if status == 200 else {"type": "errored", "error": told}
            lines.append({"custom_id": line.custom_id, "result": result})
        batch_id = f"msgbatch_{uuid.uuid4().hex}"
        self._results[batch_id] = _jsonl(lines)
        url = f"{request.url.origin()}/v1/messages/batches/{batch_id}/results"
        ended: Json = {"id": batch_id, "type": "message_batch", "processing_status": "ended", "results_url": url}
        return _json(self._keep(ended))

    async def find(self, request: web.Request) -> web.Response:
        batch = self._made.get(request.match_info["batch_id"])
        return _json(openai_error(404, "No such batch."), 404) if batch is None else _json(batch)

    async def results(self, request: web.Request) -> web.Response:
        results = self._results.get(request.match_info["batch_id"])
        if results is None:
            return _json(MESSAGES.error(404, "No such batch."), 404)
        return web.Response(body=results, content_type="application/x-jsonl")

    async def _answer(self, dialect: Dialect, body: bytes) -> tuple[int, Json, str]:
        """(status, body, request id) of one line, which is billed here."""
        bill = Bill(self._invoice, f"req_{uuid.uuid4().hex}", dialect.endpoint)
        try:
            order = replace(dialect.read(body), service_tier="batch", stream=False)
        except Refusal as refusal:
            return refusal.status, dialect.error(refusal.status, str(refusal)), bill.request_id
        answer = plan(order, self._script)
        bill.describe(answer.model, "batch", stream=False)
        bill.tokens, bill.status, bill.reported = answer.tokens, 200, self._script.usage in usage.HONEST
        await bill.settle(complete=True)
        told = dialect.whole(answer)
        block = told.get("usage")
        if isinstance(block, dict) and "service_tier" in block:
            block["service_tier"] = "batch"
        return 200, told, bill.request_id

    def _dialect(self, url: str) -> Dialect:
        return self._dialects[url.removeprefix("/v1/")]

    def _keep(self, batch: Json) -> Json:
        self._made[str(batch["id"])] = batch
        return batch


def _file(request: web.Request, file_id: str) -> bytes:
    found = request.app[FILES].get(file_id)
    if found is None:
        raise Refusal(400, "There is no such file with purpose batch.")
    return found


def _keep(request: web.Request, lines: list[Json]) -> str | None:
    """The id of a new file; ``None`` where there is nothing to write."""
    if not lines:
        return None
    file_id = f"file-{uuid.uuid4().hex[:24]}"
    request.app[FILES][file_id] = _jsonl(lines)
    return file_id


def _jsonl(lines: list[Json]) -> bytes:
    return b"".join(encode(line) + b"\n" for line in lines)


def _json(body: Json, status: int = 200) -> web.Response:
    return web.Response(body=encode(body), status=status, content_type="application/json")
