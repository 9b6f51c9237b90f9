"""A local server that speaks the documented pages of both admin APIs, with as many troubles as it is given."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from threading import Thread
from typing import Any

from aiohttp import web

from submeter.core import when

Trouble = Callable[[], web.StreamResponse]


class AdminApi:
    """Serves buckets of each path, ``per_page`` at a time; ``troubles`` are answered first, one each."""

    def __init__(self, buckets: dict[str, list[dict[str, Any]]], per_page: int = 2) -> None:
        self.buckets = buckets
        self.per_page = per_page
        self.troubles: list[Trouble] = []
        self.requests: list[web.BaseRequest] = []
        self.waits_s: list[float] = []

    async def sleep(self, wait_s: float) -> None:
        self.waits_s.append(wait_s)
        await asyncio.sleep(0)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests.append(request)
        if self.troubles:
            return self.troubles.pop(0)()
        if "admin" not in {request.headers.get("authorization", "")[7:], request.headers.get("x-api-key")}:
            return web.json_response({"error": {"message": "no such key: secret-in-the-body"}}, status=401)
        return web.json_response(self._page(request))

    def _page(self, request: web.BaseRequest) -> dict[str, Any]:
        wanted = [bucket for bucket in self.buckets[request.path] if self._is_within(request, bucket)]
        start = int(request.query.get("page", "page_0")[5:])
        end = start + self.per_page
        more = end < len(wanted)
        next_page = f"page_{end}" if more else None
        return {"object": "page", "data": wanted[start:end], "has_more": more, "next_page": next_page}

    def _is_within(self, request: web.BaseRequest, bucket: dict[str, Any]) -> bool:
        """OpenAI's Unix seconds and Anthropic's RFC 3339 alike; the end is exclusive."""
        if "start_time" in bucket:
            return int(request.query["start_time"]) <= bucket["start_time"] < int(request.query["end_time"])
        at = when.parse_moment(bucket["starting_at"])
        return when.parse_moment(request.query["starting_at"]) <= at < when.parse_moment(request.query["ending_at"])

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        """The base URL, up to /v1."""
        runner = web.ServerRunner(web.Server(self.answer))
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            host, port = runner.addresses[0][:2]
            yield f"http://{host}:{port}/v1"
        finally:
            await runner.cleanup()


@contextmanager
def in_thread(api: AdminApi) -> Iterator[str]:
    """The base URL, for what runs a loop of its own."""
    started: Future[str] = Future()
    ended = asyncio.Event()

    async def main() -> None:
        async with api.serve() as base_url:
            started.set_result(base_url)
            await ended.wait()

    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_until_complete, args=(main(),))
    thread.start()
    try:
        yield started.result(10)
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()


def run(api: AdminApi, ask: Callable[[str], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        async with api.serve() as base_url:
            return await ask(base_url)

    return asyncio.run(main())
