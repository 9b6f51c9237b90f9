"""What became of the relays' questions to the cache is seen on /metrics, forged values too."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from e2e.cache_calls import cached, call, question
from harness.processes import Provider, Unit, wait_for
from harness.scraping import scrape, value
from harness.valkey import Valkey
from submeter.store.cache.names import ANSWERS


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    valkey = Valkey(tmp_path)
    yield valkey
    valkey.close()


def events(unit: Unit) -> dict[str, float]:
    samples = scrape(unit)
    names = ("hits", "misses", "rejected", "errors")
    return {event: value(samples, "submeter_cache_events_total", event=event) or 0 for event in names}


def test_forged_values_are_misses_that_are_counted(tmp_path: Path, provider: Provider, valkey: Valkey) -> None:
    unit = Unit(tmp_path, provider, "--redis", valkey.url)
    try:
        unit.wait_ops()
        body = question()
        assert cached(call(unit, body)) == "miss"
        with Redis(port=valkey.port) as server:
            (key,) = wait_for(lambda: server.keys(ANSWERS), "the answer to be kept")
            server.set(key, server.get(key)[:-1] + b"!", keepttl=True)
        assert cached(call(unit, body)) in ("miss", "coalesced"), "the flight that has just landed has it"
        wait_for(lambda: cached(call(unit, body)) == "hit", "the answer that was kept anew")
        wait_for(lambda: events(unit)["hits"] >= 1, "the relay's counts to be journalled")
        counted = events(unit)
        assert counted["rejected"] >= 1
        assert counted["misses"] >= counted["rejected"] + 1
        assert counted["errors"] == 0
    finally:
        unit.close()
