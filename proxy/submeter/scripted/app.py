"""START HERE: the server. A billed POST is ``_answer``, top to bottom; the other paths are in ``unbilled``."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from submeter.report.engine import NeverFits
from submeter.scripted import azure, jobs
from submeter.scripted.answer import Answer, Order, plan
from submeter.scripted.batches import FILES, Batches
from submeter.scripted.batching import Batching
from submeter.scripted.body import reset
from submeter.scripted.chat import CHAT
from submeter.scripted.completions import COMPLETIONS
from submeter.scripted.dialect import Dialect, Refusal, encode
from submeter.scripted.embeddings import EMBEDDINGS
from submeter.scripted.invoice import Bill, Invoice
from submeter.scripted.jobs import JOBS, Jobs
from submeter.scripted.latency import first_token_ms
from submeter.scripted.log import Instant, Log, timed
from submeter.scripted.messages import MESSAGES
from submeter.scripted.pace import Device, pacing
from submeter.scripted.responses import RESPONSES
from submeter.scripted.script import Script, ScriptError, check_batched, parse
from submeter.scripted.send import Sending, send, until_client_leaves
from submeter.scripted.unbilled import ROUTES

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

DIALECTS = (CHAT, COMPLETIONS, EMBEDDINGS, RESPONSES, MESSAGES)
MAX_BODY_BYTES = 1 << 30
SHUTDOWN_S = 0.5
"""How long answers under way may go on once the server is told to stop."""
_STOPPING = web.AppKey("stopping", asyncio.Event)


@dataclass(frozen=True)
class Provider:
    """What all calls to one server have in common."""

    invoice: Invoice
    defaults: Script
    device: Device | None
    log: Log | None

    def script(self, request: web.Request) -> Script:
        """What this call shall do. Raises ``Refusal`` for what is no script."""
        try:
            script = parse(self.defaults, request.headers.get("x-scripted", ""))
            script = parse(script, request.query.get("scripted", ""))
            if self.device is not None:
                check_batched(script)
        except ScriptError as error:
            raise Refusal(400, str(error)) from None
        return script

    def check(self, answer: Answer) -> None:
        """Raise ``Refusal`` for an answer that the device could never hold, as a server does beyond its context."""
        if self.device is None or answer.order.background:
            return
        try:
            self.device.check(answer)
        except NeverFits as error:
            raise Refusal(400, f"batching: {error}") from None


def make_app(
    invoice: Invoice, defaults: Script | None = None, *, batching: Batching | None = None, log: Log | None = None
) -> web.Application:
    """The provider as an aiohttp application. ``defaults`` are what a call does unless it says otherwise.

    With ``batching`` all calls share one device; ``defaults`` that say when tokens come raise ``ScriptError`` then.

    Run it with ``handler_cancellation=True``, as ``serve`` does: otherwise it hears late that a client has gone.
    """
    app = web.Application(client_max_size=MAX_BODY_BYTES)
    script = Script() if defaults is None else defaults
    if batching is not None:
        check_batched(script)
    provider = Provider(invoice, script, None if batching is None else Device(batching), log)
    for dialect in DIALECTS:
        for path in (f"/v1/{dialect.endpoint}", *azure.paths(dialect)):
            app.router.add_post(path, _billed(dialect, provider))
    app.router.add_post("/messages", _billed(MESSAGES, provider))
    app.add_routes(jobs.ROUTES)
    app.add_routes(Batches(invoice, script, {dialect.endpoint: dialect for dialect in DIALECTS}).routes())
    app.add_routes(ROUTES)
    app[_STOPPING], app[JOBS], app[FILES] = asyncio.Event(), Jobs(), {}
    app.cleanup_ctx.append(jobs.settling)
    app.on_shutdown.append(_stop)
    return app


@asynccontextmanager
async def serve(
    invoice: Invoice,
    defaults: Script | None = None,
    *,
    batching: Batching | None = None,
    log: Log | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
) -> AsyncIterator[str]:
    """Run the provider in this event loop (port 0: a free one) and yield its base URL, ``http://HOST:PORT/v1``."""
    app = make_app(invoice, defaults, batching=batching, log=log)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, backlog=1024).start()
        bound_port = runner.addresses[0][1]
        yield f"http://{f'[{host}]' if ':' in host else host}:{bound_port}/v1"
    finally:
        await runner.cleanup()


def _billed(dialect: Dialect, provider: Provider) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        bill = Bill(provider.invoice, f"req_{uuid.uuid4().hex}", dialect.endpoint)
        try:
            return await _answer(request, dialect, bill, provider)
        finally:
            # Writes a line only if the answer did not end by itself: the client has gone, or the server stops.
            # Where a write finds the socket closed, that comes before the transport is taken away.
            closed = request.transport is None or request.transport.is_closing()
            gone = closed and not request.app[_STOPPING].is_set()
            if not bill.outlives_client:
                await bill.settle(complete=False, closed_by_client=gone)

    return handle


async def _stop(app: web.Application) -> None:
    app[_STOPPING].set()


async def _answer(request: web.Request, dialect: Dialect, bill: Bill, provider: Provider) -> web.StreamResponse:
    body = await request.read()
    received = Instant.now()
    try:
        script = provider.script(request)
        order = dialect.read(azure.as_asked(request, body))
        answer = plan(order, script)
        bill.describe(answer.model, order.service_tier, stream=order.stream)
        _refuse(order, script)
        provider.check(answer)
    except Refusal as refusal:
        return await _error(dialect, bill, refusal)
    if script.hang_before_head or script.reset_before_head:
        bill.tokens = answer.tokens.prompt
        return await _no_head(request, bill, script)
    if order.store:
        request.app[JOBS].keep(answer, bill)
    if order.background and not order.stream:
        return jobs.queued(answer, bill)
    headers = dialect.headers(bill.request_id, first_token_ms(answer))
    with (
        timed(provider.log, bill.request_id, received) as timing,
        pacing(answer, provider.device, received.monotonic_ns) as pace,
    ):
        return await send(Sending(request, dialect, answer, bill, headers, pace, timing))


def _refuse(order: Order, script: Script) -> None:
    """Raise what the script wants instead of an answer."""
    if script.status is not None:
        raise Refusal(script.status, "Scripted error.")
    if script.redirect:
        raise Refusal(307, "Scripted redirect.", {"Location": "/v1/redirected"})
    if script.reject_stream_options and order.stream_options:
        raise Refusal(400, "Unrecognized request argument supplied: stream_options")


async def _error(dialect: Dialect, bill: Bill, refusal: Refusal) -> web.Response:
    bill.status = refusal.status
    await bill.settle(complete=True)
    return web.Response(
        status=refusal.status,
        body=encode(dialect.error(refusal.status, str(refusal))),
        content_type="application/json",
        headers={**dialect.headers(bill.request_id, 0), **refusal.headers},
    )


async def _no_head(request: web.Request, bill: Bill, script: Script) -> web.StreamResponse:
    """The request has arrived and its input is billed, but no answer comes."""
    if script.hang_before_head:
        await until_client_leaves()
    await bill.settle(complete=False)
    reset(request)
    return web.Response(status=500)  # for aiohttp: nobody is there to read it
