"""The ops plane in a test: settings on a temporary ledger, calls in it, a client or a served address."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from submeter.config import Secret, Settings
from submeter.core.record import CallRow
from submeter.meter.ops import Health, make_app, make_runner
from submeter.store.ledger import Ledger

HEALTHY = Health(ready=True, degraded=False, reason=None, in_flight=3, lag_s=0.25, lag_bytes=412)
EXPOSITION = b"submeter_calls_total 4\n"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def make_settings(directory: Path, **changes: Any) -> Settings:
    return Settings(data_dir=directory, **changes)


def token(text: str) -> Secret:
    return Secret(text)


def record(settings: Settings, rows: Iterable[CallRow]) -> None:
    """What the meter does: ship settled rows."""
    with Ledger.open(settings.ledger_url) as ledger:
        ledger.migrate()
        ledger.ship(list(rows), {})


def app_of(settings: Settings, health: Health = HEALTHY) -> web.Application:
    return make_app(settings, exposition=lambda _: (EXPOSITION, CONTENT_TYPE), health=lambda: health)


@asynccontextmanager
async def client_of(settings: Settings, health: Health = HEALTHY) -> AsyncIterator[TestClient[web.Request, Any]]:
    async with TestClient(TestServer(app_of(settings, health))) as client:
        yield client


@asynccontextmanager
async def served(app: web.Application) -> AsyncIterator[int]:
    """As the meter serves it; yields the port."""
    runner = make_runner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
