"""Async tests run on asyncio, in the event loop of the app that they ask."""

import time

import pytest

from store.ledger_rows import START_NS

NOW_NS = START_NS + 12 * 3600 * 10**9
"""Noon of a Thursday, UTC."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def now_ns(monkeypatch: pytest.MonkeyPatch) -> int:
    """The wall clock stands still at ``NOW_NS``."""
    monkeypatch.setattr(time, "time_ns", lambda: NOW_NS)
    return NOW_NS
