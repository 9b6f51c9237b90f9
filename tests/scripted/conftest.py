"""Async tests run on asyncio, each with a provider of its own in the same event loop."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from scripted.harness import Provider, provider
from submeter.scripted.invoice import Bill


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Provider]:
    async with provider(tmp_path) as running:
        yield running


@pytest.fixture
def arrived(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Set when the provider has begun to work on a request: only then does leaving mean anything."""
    event, begin = asyncio.Event(), Bill.__init__

    def begin_and_tell(bill: Bill, *arguments: Any) -> None:
        begin(bill, *arguments)
        event.set()

    monkeypatch.setattr(Bill, "__init__", begin_and_tell)
    return event
