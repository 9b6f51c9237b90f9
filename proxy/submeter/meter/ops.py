"""START HERE: the ops plane's web app, read only: ``/`` the page, ``/api/…``, ``/metrics``, ``/healthz``, ``/readyz``.

access   who may ask                      answers    common headers, errors of fixed text
page     the page, in HTML (and assets)   api        the same in JSON
reader   the ledger, read in threads      overview, rollup, documents, wording, figures   what page and API say
"""

import asyncio
from collections.abc import AsyncIterator, Callable

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from submeter.config import Settings
from submeter.meter import api, assets
from submeter.meter.access import METRICS, Access
from submeter.meter.answers import QuietRunner, json_answer, make_middleware
from submeter.meter.health import Health
from submeter.meter.page import Page
from submeter.meter.reader import LedgerReader

__all__ = ["Health", "make_app", "make_runner"]


def make_app(
    settings: Settings,
    *,
    exposition: Callable[[str], tuple[bytes, str]],
    health: Callable[[], Health],
    note: str | None = None,
) -> web.Application:
    """The ops plane. It opens the ledger itself, for reading, once there is one.

    ``exposition`` is given the request's ``Accept``, returns the body and content type of ``/metrics`` (or refuses),
    and is called in a thread; ``health`` is called in the loop. ``note`` is a line on top of the page, such as
    "synthetic data". Serve it with ``make_runner``.
    """
    app = web.Application(middlewares=[make_middleware(Access(settings))])
    app.cleanup_ctx.append(_ledger_of(settings))
    app.add_routes(
        [
            web.get("/", _page(Page(settings, note), health)),
            web.get(METRICS, _metrics(exposition)),
            web.get("/healthz", _healthz),
            web.get("/readyz", _readyz(health)),
            web.get("/api/status", _status(health)),
            *api.ROUTES,
            web.get("/static/{name}", assets.make_handler()),
        ]
    )
    return app


def make_runner(app: web.Application) -> web.AppRunner:
    """A runner that neither answers nor logs the bytes of a malformed request."""
    return QuietRunner(app, access_log=None, handle_signals=False)


def _ledger_of(settings: Settings) -> Callable[[web.Application], AsyncIterator[None]]:
    async def context(app: web.Application) -> AsyncIterator[None]:
        reader = app[api.READER] = LedgerReader(settings.ledger_url)
        yield
        await asyncio.to_thread(reader.close)

    return context


def _page(page: Page, health: Callable[[], Health]) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        return await page.handle(request, health())

    return handle


def _metrics(exposition: Callable[[str], tuple[bytes, str]]) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        body, content_type = await asyncio.to_thread(exposition, request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})

    return handle


async def _healthz(_: web.Request) -> web.Response:
    return web.Response(text="ok\n")


def _readyz(health: Callable[[], Health]) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        """200 as long as the process serves: relays need no ledger, so a database that is down takes nothing out."""
        now = health()
        reason = now.reason or "starting"
        degraded = now.degraded or not now.ready
        if "application/json" in request.headers.get("Accept", ""):
            return json_answer({"status": "degraded" if degraded else "ok", "reason": reason if degraded else None})
        return web.Response(text=f"degraded: {reason}\n" if degraded else "ok\n")

    return handle


def _status(health: Callable[[], Health]) -> Handler:
    async def handle(_: web.Request) -> web.Response:
        """``GET /api/status``: ``{ready, degraded, reason, in_flight, lag_s, lag_bytes}``"""
        return json_answer(msgspec.to_builtins(health()))

    return handle
