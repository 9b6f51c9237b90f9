"""What a claim on a flight of all relays says decides who makes the call, and nobody asks the cache a second time."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from harness.kept import ANSWER
from submeter.core.kept import KeptAnswer
from submeter.relay import flight_calls, replay
from submeter.relay.flight import FlightKey, Flights
from submeter.store.cache.flights import Claim

KEY = FlightKey("k", stream=True, usage_chunk=True)


class Relay:
    """``said``: what happened, in order. Neither the cache nor the upstream is there."""

    def __init__(self, claim: Claim) -> None:
        self.said: list[str] = []
        self.flights = Flights(4096)
        self.cache = SimpleNamespace(shared=self, get=self.get)
        self._claim = claim

    async def claim(self, *_: object) -> Claim:
        return self._claim

    async def release(self, name: str, token: str) -> bool:
        self.said.append(f"released {name} {token}")
        return True

    async def get(self, _: str) -> None:
        self.said.append("asked the cache")


@pytest.fixture
def begin(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Begins a call whose claim is answered so; what is kept can be given in the form asked for (``sayable``) or not:
    what happened."""

    def run(claim: Claim, *, sayable: bool = True) -> list[str]:
        relay = Relay(claim)

        def as_asked(_call: object, _plan: object, kept: KeptAnswer) -> KeptAnswer | None:
            return kept if sayable else None

        async def answer(_call: object, _plan: object, found: KeptAnswer) -> None:
            assert found == ANSWER
            assert relay.flights.may_begin(KEY), "nobody is kept waiting for a call that is not made"
            relay.said.append("answered")

        async def lead(*_: object) -> None:
            relay.said.append("led")

        async def follow(*_: object) -> bool:
            relay.said.append("followed")
            return True

        monkeypatch.setattr(replay, "as_asked", as_asked)
        monkeypatch.setattr(replay, "answer", answer)
        monkeypatch.setattr(flight_calls, "_lead", lead)
        monkeypatch.setattr(flight_calls, "_follow", follow)
        monkeypatch.setattr(flight_calls, "Publication", lambda *_: relay.said.append("published"))
        monkeypatch.setattr(flight_calls, "Feed", lambda *_: relay.said.append("fed"))
        call: Any = SimpleNamespace(relay=relay, call_id="c1", request=SimpleNamespace(headers=[]))
        plan: Any = SimpleNamespace(cache_key="k", cache="miss")

        assert asyncio.run(flight_calls._begin(call, plan, KEY))
        return relay.said

    return run


def test_who_wins_the_claim_leads(begin: Any) -> None:
    assert begin(Claim(won=True, kept=None)) == ["published", "led"]


def test_who_does_not_follows(begin: Any) -> None:
    assert begin(Claim(won=False, kept=None)) == ["fed", "followed"]


def test_an_answer_that_came_meanwhile_is_given_and_the_claim_let_go(begin: Any) -> None:
    assert begin(Claim(won=True, kept=ANSWER)) == ["released k:stream:usage c1", "answered"]


def test_another_relays_claim_is_left_to_it(begin: Any) -> None:
    assert begin(Claim(won=False, kept=ANSWER)) == ["answered"]


@pytest.mark.parametrize("won", [True, False])
def test_an_answer_that_cannot_be_given_as_it_was_asked_for_is_none(begin: Any, won: bool) -> None:
    said = begin(Claim(won=won, kept=ANSWER), sayable=False)
    assert said == (["published", "led"] if won else ["fed", "followed"])


def test_an_answer_found_after_a_flight_that_failed_is_given_at_its_pace_too(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[KeptAnswer] = []

    async def find(*_: object) -> KeptAnswer:
        return ANSWER

    async def answer(_call: object, _plan: object, found: KeptAnswer) -> None:
        given.append(found)

    monkeypatch.setattr(replay, "find", find)
    monkeypatch.setattr(replay, "answer", answer)
    nothing: Any = SimpleNamespace()
    assert asyncio.run(flight_calls._found_meanwhile(nothing, nothing))
    assert given == [ANSWER]
