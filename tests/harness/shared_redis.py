"""Relays that share a server: it, the provider behind them, and they themselves. ``tests/e2e/conftest.py`` registers
the fixtures."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.processes import Provider, Unit, wait_for
from harness.valkey import Valkey


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    """The test may do anything to it."""
    with Valkey(tmp_path) as server:
        yield server


@pytest.fixture
def fresh_provider(tmp_path: Path) -> Iterator[Provider]:
    """Ids differ from call to call: equal bytes can only come from the cache. Its invoice is of this test alone."""
    provider = Provider(tmp_path)
    yield provider
    provider.close()


@contextmanager
def sharing(
    directory: Path, provider: Provider, redis_url: str, *, relays: int = 1, config: str = "{}"
) -> Iterator[Unit]:
    """A unit of so many relays before one Redis, once all of them serve."""
    unit = Unit(directory, provider, "--redis", redis_url, "--workers", str(relays), config=config)
    try:
        wait_for(lambda: unit.log().count("relay ready") == relays, f"{relays} relays")
        yield unit
    finally:
        unit.close()
