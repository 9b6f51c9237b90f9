"""Who leads, who follows, who goes alone.

    a flight of this call is open ─▶ follow it ─▶ (it fails before the first byte of the body) ─▶ once more
    there is none                 ─▶ lead one, unless another relay does: then follow that
    another would be of no use    ─▶ go alone

After the second time a call goes alone: there are never more upstream calls than callers.
"""

from contextlib import suppress
from typing import TYPE_CHECKING

from submeter.core.cacheable import read_wishes
from submeter.core.errors import Refusal
from submeter.core.exchange import Exchange
from submeter.relay import replay
from submeter.relay.answers import call_headers
from submeter.relay.flight import Flight, FlightKey
from submeter.relay.flight_answers import FollowedAnswer
from submeter.relay.flight_shared import CLAIM_S, Feed, Publication, shared_name
from submeter.relay.forward import End
from submeter.store.cache import CacheUnavailable, SharedFlights

if TYPE_CHECKING:
    from submeter.relay.handler import HandledCall, Planned

TIMES = 2


async def send(call: "HandledCall", plan: "Planned") -> None:
    """Answer a call that the cache could not answer."""
    flights, key = call.relay.flights, _key_of(call, plan)
    for _ in range(TIMES if key is not None else 0):
        assert key is not None
        flight = flights.find(key)
        if flight is not None:
            answered = await _follow(call, plan, flight)
        elif flights.may_begin(key):
            answered = await _begin(call, plan, key)
        else:
            break
        if answered or await _found_meanwhile(call, plan):
            return
    await call.send(plan)


def _key_of(call: "HandledCall", plan: "Planned") -> FlightKey | None:
    """``None``: the cache has nothing to do with it, or its caller wants an answer that is not older than so much."""
    if plan.cache_key is None or plan.cache != "miss" or read_wishes(call.request.headers).max_age_s is not None:
        return None
    facts = plan.facts
    return FlightKey(plan.cache_key, facts.stream, facts.include_usage or bool(call.injection(plan)))


async def _begin(call: "HandledCall", plan: "Planned", key: FlightKey) -> bool:
    """Lead this relay's flight, or make it one that another relay leads. False: it has failed, and this caller has
    nothing yet."""
    cache, flight = call.relay.cache, call.relay.flights.begin(key, call.call_id)
    shared = None if cache is None else cache.shared
    if shared is not None:
        return await _begin_among_relays(call, plan, flight, shared)
    await _lead(call, plan, flight)
    return True


async def _begin_among_relays(call: "HandledCall", plan: "Planned", flight: Flight, shared: SharedFlights) -> bool:
    try:
        claim = await shared.claim(shared_name(flight.key), call.call_id, CLAIM_S)
    except CacheUnavailable:
        await _lead(call, plan, flight)
        return True
    found = None if claim.kept is None else replay.as_asked(call, plan, claim.kept)
    if found is not None:
        await _give_up(call, flight, shared if claim.won else None)
        await replay.answer(call, plan, found)
    elif claim.won:
        Publication(shared, flight)
        await _lead(call, plan, flight)
    else:
        Feed(shared, call.relay.flights, flight)
        return await _follow(call, plan, flight)
    return True


async def _give_up(call: "HandledCall", flight: Flight, shared: SharedFlights | None) -> None:
    """Nobody leads: the answer is there, also for those who have joined meanwhile. ``shared``: where we won a claim."""
    flight.fail()
    call.relay.flights.ended(flight, again=True)
    if shared is not None:
        with suppress(CacheUnavailable):
            await shared.release(shared_name(flight.key), call.call_id)


async def _lead(call: "HandledCall", plan: "Planned", flight: Flight) -> None:
    flights = call.relay.flights
    call.flight = flight
    again = True
    try:
        await call.send(plan)
        again = _was_left(call)
    except Refusal:
        again = False
        raise
    finally:
        flight.fail()
        answer = call.answer
        if answer is not None and answer.came_whole and replay.will_keep(call, plan, answer):
            flights.kept(flight)
        else:
            flights.ended(flight, again=again)


def _was_left(call: "HandledCall") -> bool:
    """Did it end only because nobody waited for it?"""
    finish = None if call.answer is None else call.answer.exchange.finish
    return finish is None or finish.outcome == "client_gone"


async def _follow(call: "HandledCall", plan: "Planned", flight: Flight) -> bool:
    """False: the flight has failed, and this caller has nothing yet."""
    plan.cache = "coalesced"
    asks = plan.facts.include_usage
    strips = flight.key.usage_chunk and not asks
    seat = flight.join(call.client.abort, needs_usage=asks)
    answer = call.answer = FollowedAnswer(
        call.client,
        seat,
        Exchange(call.start_of(plan, 1), plan.t0_ns, strip_usage=strips),
        call.relay.journal,
        our_headers=call_headers(call.call_id, plan.cache),
        chunked=call.request.version == "1.1",
        close=not call.keep_alive,
        strips=strips,
    )
    seat.send(answer)
    if call.client.closing:
        call.client_gone()
    end = await answer.ended
    if end is not End.ALONE:
        call.conclude(None, end)
        return True
    call.answer, plan.cache = None, "miss"
    return False


async def _found_meanwhile(call: "HandledCall", plan: "Planned") -> bool:
    """Has the cache been given the answer since it was asked? Then it is this caller's."""
    found = await replay.find(call, plan)
    if found is None:
        return False
    await replay.answer(call, plan, found)
    return True
