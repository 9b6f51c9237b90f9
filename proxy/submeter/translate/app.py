"""START HERE: the translator's web app, and a call's way through it.

    /NAME/v1/chat/completions ─ token ─ upstream NAME ─ members that may go on ─ litellm ─ OpenAI's shape, usage exact

Only relays call it, each with the token that `submeter serve` made; the path names the upstream whose settings apply,
so that nothing in a request chooses provider, host or key.
"""

import hmac
from contextlib import aclosing
from typing import Protocol

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from submeter.config import Translation, Upstream
from submeter.core.errors import INVALID_KEY, UNKNOWN_URL, Refusal
from submeter.core.headers import credential
from submeter.translate.engine import Answered, Trip
from submeter.translate.failure import Failure, of_fault, read_failure, stream_error
from submeter.translate.request import Call, read_chat, read_embeddings
from submeter.translate.stream import Stream

DONE = b"data: [DONE]\n\n"


class Engine(Protocol):
    def models(self, provider: str) -> list[str]: ...
    async def chat(self, upstream: Upstream, call: Call, trip: Trip) -> Answered: ...
    async def stream(self, upstream: Upstream, call: Call, trip: Trip) -> Stream: ...
    async def embeddings(self, upstream: Upstream, call: Call, trip: Trip) -> Answered: ...


def make_app(translation: Translation, engine: Engine) -> web.Application:
    """Serve it with ``handler_cancellation``: a relay that leaves ends the provider's answer."""
    translator = Translator(translation, engine)
    app = web.Application(middlewares=[translator.guard], client_max_size=0)  # the relay has its own limit
    app.add_routes(
        [
            web.get("/healthz", _healthz),
            web.get("/{upstream}/v1/models", translator.models),
            web.post("/{upstream}/v1/chat/completions", translator.chat),
            web.post("/{upstream}/v1/embeddings", translator.embeddings),
        ]
    )
    return app


class Translator:
    def __init__(self, translation: Translation, engine: Engine) -> None:
        self._token = translation.token.reveal().encode()
        self._upstreams = translation.upstreams
        self._engine = engine

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            if request.path != "/healthz" and not self._is_relay(request):
                raise Refusal(INVALID_KEY)
            return await handler(request)
        except Refusal as refusal:
            return _error(of_fault(refusal.fault, refusal.param))
        except web.HTTPException:
            return _error(of_fault(UNKNOWN_URL))

    def _is_relay(self, request: web.Request) -> bool:
        """The relay puts the token where the caller's key was, whatever header that is."""
        return hmac.compare_digest(credential(request.raw_headers) or b"", self._token)

    def _upstream(self, request: web.Request) -> tuple[Upstream, str]:
        """(the upstream that the path names, its provider)."""
        upstream = self._upstreams.get(request.match_info["upstream"])
        if upstream is None or upstream.translate is None:
            raise Refusal(UNKNOWN_URL)
        return upstream, upstream.translate

    async def models(self, request: web.Request) -> web.Response:
        _, provider = self._upstream(request)
        models = [
            {"id": name, "object": "model", "created": 0, "owned_by": provider}
            for name in self._engine.models(provider)
        ]
        return _json(200, {"object": "list", "data": models})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        upstream, provider = self._upstream(request)
        call, trip = read_chat(await request.read(), provider), Trip()
        try:
            if not call.stream:
                return _answer(await self._engine.chat(upstream, call, trip))
            stream = await self._engine.stream(upstream, call, trip)
        except Exception as error:  # noqa: BLE001 - litellm raises whatever its providers' code does; all is read
            return _failed(request, upstream, error, trip)
        async with aclosing(stream):
            return await _send(request, stream, include_usage=call.include_usage)

    async def embeddings(self, request: web.Request) -> web.StreamResponse:
        upstream, provider = self._upstream(request)
        call, trip = read_embeddings(await request.read(), provider), Trip()
        try:
            return _answer(await self._engine.embeddings(upstream, call, trip))
        except Exception as error:  # noqa: BLE001 - as above
            return _failed(request, upstream, error, trip)


async def _send(request: web.Request, stream: Stream, *, include_usage: bool) -> web.StreamResponse:
    """Each chunk as it comes; the usage last, where it was asked for and the provider said it."""
    response = web.StreamResponse(headers=_headers("text/event-stream; charset=utf-8", stream.request_id))
    await response.prepare(request)
    try:
        async for chunk in stream:
            await response.write(_event(chunk))
        usage = stream.usage_chunk()
    except ConnectionError:
        raise  # the relay has left
    except Exception as error:  # noqa: BLE001 - as above
        said = stream_error(error)
        if said is None:
            return _cut(request, response)
        await response.write(_event(said))
    else:
        if usage is not None and include_usage:
            await response.write(_event(usage))
        await response.write(DONE)
    await response.write_eof()
    return response


def _failed(request: web.Request, upstream: Upstream, error: Exception, trip: Trip) -> web.StreamResponse:
    failure = read_failure(error, upstream.api_key, answered=trip.answered)
    return _cut(request, web.Response()) if failure is None else _error(failure)


def _cut(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """End the connection as a provider would that went away."""
    if request.transport is not None:
        request.transport.abort()
    return response


def _answer(answered: Answered) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(answered.body), headers=_headers("application/json", answered.request_id)
    )


def _error(failure: Failure) -> web.Response:
    return _json(failure.status, failure.body, failure.headers)


def _json(status: int, body: object, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(
        status=status, body=msgspec.json.encode(body), headers={"Content-Type": "application/json", **(headers or {})}
    )


def _headers(content_type: str, request_id: str | None) -> dict[str, str]:
    named = {} if request_id is None else {"x-request-id": request_id}
    return {"Content-Type": content_type, **named}


def _event(data: object) -> bytes:
    return b"data: " + msgspec.json.encode(data) + b"\n\n"


async def _healthz(_: web.Request) -> web.Response:
    return web.Response(text="ok\n")
