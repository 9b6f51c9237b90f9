"""Responses that can be asked for again: background jobs, whose answer comes later, and those with ``store: true``.

A job takes ``background_ms``. It is billed whether or not anybody asks for its answer: when it is first asked for
after that time, or at the end of this server.
"""

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from submeter.scripted import usage
from submeter.scripted.answer import Answer, Json
from submeter.scripted.dialect import encode, openai_error, openai_headers
from submeter.scripted.invoice import Bill
from submeter.scripted.prices import Tokens
from submeter.scripted.responses import events, response_id, unfinished, whole
from submeter.scripted.wire import event_bytes


class Job:
    """One response that is kept."""

    def __init__(self, answer: Answer, bill: Bill) -> None:
        self.answer = answer
        self.bill = bill
        self.cancelled = False
        self._done_at = asyncio.get_running_loop().time() + answer.script.background_ms / 1000

    @property
    def done(self) -> bool:
        return not self.answer.order.background or asyncio.get_running_loop().time() >= self._done_at

    async def settle(self) -> None:
        """Bill the whole answer, once. One that was answered at once has been billed there."""
        script = self.answer.script
        self.bill.status = 200
        self.bill.tokens = Tokens() if self.cancelled or script.usage == "zero" else self.answer.tokens
        self.bill.reported = script.usage in usage.HONEST and not self.cancelled
        await self.bill.settle(complete=not self.cancelled)


class Jobs:
    """All that are kept, by response id."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}

    def keep(self, answer: Answer, bill: Bill) -> None:
        bill.outlives_client = answer.order.background
        self._jobs[response_id(answer)] = Job(answer, bill)

    def find(self, request: web.Request) -> Job | None:
        return self._jobs.get(request.match_info["response_id"])

    async def settle_all(self) -> None:
        for job in self._jobs.values():
            await job.settle()


JOBS = web.AppKey("jobs", Jobs)


async def settling(app: web.Application) -> AsyncIterator[None]:
    """aiohttp's cleanup context: what nobody asked for is billed all the same."""
    yield
    await app[JOBS].settle_all()


def queued(answer: Answer, bill: Bill) -> web.Response:
    """The answer to the POST of a job that does not stream."""
    return _json(unfinished(answer, "queued"), bill)


async def fetch(request: web.Request) -> web.StreamResponse:
    job = request.app[JOBS].find(request)
    if job is None:
        return unknown_response()
    if job.cancelled:
        return _json(unfinished(job.answer, "cancelled"), job.bill)
    if not job.done:
        return _json(unfinished(job.answer, "in_progress"), job.bill)
    await job.settle()
    if request.query.get("stream") == "true":
        return await _replay(request, job)
    return _json(whole(job.answer), job.bill)


async def cancel(request: web.Request) -> web.StreamResponse:
    await request.read()
    job = request.app[JOBS].find(request)
    if job is None:
        return unknown_response()
    job.cancelled = not job.done
    await job.settle()
    return _json(unfinished(job.answer, "cancelled") if job.cancelled else whole(job.answer), job.bill)


def unknown_response() -> web.Response:
    return web.Response(
        status=404, body=encode(openai_error(404, "Response not found.")), content_type="application/json"
    )


async def _replay(request: web.Request, job: Job) -> web.StreamResponse:
    """The stream from its first event on, without waits."""
    response = web.StreamResponse(headers=openai_headers(job.bill.request_id, 0))
    response.content_type = "text/event-stream"
    await response.prepare(request)
    for event in events(job.answer):
        await response.write(event_bytes(event, job.answer.script))
    await response.write_eof()
    return response


def _json(body: Json, bill: Bill) -> web.Response:
    headers = openai_headers(bill.request_id, 0)
    return web.Response(body=encode(body), content_type="application/json", headers=headers)


ROUTES = [web.get(f"{prefix}/responses/{{response_id}}", fetch) for prefix in ("/v1", "/openai", "/openai/v1")] + [
    web.post(f"{prefix}/responses/{{response_id}}/cancel", cancel) for prefix in ("/v1", "/openai", "/openai/v1")
]
