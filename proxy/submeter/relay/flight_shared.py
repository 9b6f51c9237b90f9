"""Flights across relays, through Redis: the relay that has the claim leads and publishes, the others' flights read it.

What goes over is a sequence of ``Part``s. The claim is kept up as long as the flight goes on, and a moment longer,
until the cache has the answer. Where Redis fails, each relay has its own flight.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import msgspec

from submeter.relay.flight import LINGER_S, Flight, FlightKey, Flights, ResponseHead
from submeter.store.cache import CacheUnavailable, SharedFlights
from submeter.store.cache.flights import GoneBy
from submeter.tasks import spawn

CLAIM_S = 5.0
"""How long others wait for a relay that has died."""
EXTEND_S = 1.5
HEARD_S = 3.0
"""How long a relay that follows is taken to be there, since it last said so."""
PART_BYTES = 64 * 1024
"""Once it has so much a part is full: Redis lets a flight's beginning go part by part."""


class Part(msgspec.Struct, frozen=True, array_like=True):
    """What came since the last one. The last part of all may say that the flight has failed."""

    head: tuple[int, bytes, list[tuple[bytes, bytes]]] | None
    body: bytes
    failed: bool = False


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Part)


def shared_name(key: FlightKey) -> str:
    return f"{key.cache_key}:{'stream' if key.stream else 'whole'}:{'usage' if key.usage_chunk else 'plain'}"


class Publication:
    """This relay leads: its flight, told to the others. ``token`` is the leading call's id."""

    def __init__(self, shared: SharedFlights, flight: Flight) -> None:
        self._shared = shared
        self._flight = flight
        self._name = shared_name(flight.key)
        self._token = flight.leader_id
        self._news = asyncio.Event()
        self._headed = False
        self._at = 0
        self._nobody_listens = False
        self._given_up = False
        flight.listener = self._news.set
        flight.elsewhere = self
        spawn(self._run(), "flight publication")

    def may_listen(self, otherwise: Callable[[], None]) -> bool:
        if not self._nobody_listens:
            spawn(self._find_out(otherwise), "flight listeners")
        return not self._nobody_listens

    async def _find_out(self, otherwise: Callable[[], None]) -> None:
        while not (self._nobody_listens or self._flight.over):
            if not await self._is_heard():
                break
            await asyncio.sleep(EXTEND_S)
        self._nobody_listens = True
        if not (self._flight.over or self._flight.shared):
            otherwise()
        self._nobody_listens = self._given_up

    async def _is_heard(self) -> bool:
        try:
            return await self._shared.is_heard(self._name)
        except CacheUnavailable:
            return False

    async def _run(self) -> None:
        try:
            await self._publish()
        except CacheUnavailable:
            self._given_up = self._nobody_listens = True  # the others see that the claim has gone
        with suppress(CacheUnavailable):
            await self._shared.release(self._name, self._token)

    async def _publish(self) -> None:
        loop, flight = asyncio.get_running_loop(), self._flight
        extended, number, last = loop.time(), 0, False
        while not last:
            if self._at == flight.next:
                await self._wait()
            if loop.time() - extended >= EXTEND_S:
                if not await self._shared.extend(self._name, self._token, CLAIM_S):
                    return
                extended = loop.time()
            part = self._next()
            last = self._all_said
            if part is not None:
                number += 1
                await self._shared.publish(self._name, self._token, number, _encode(part), last=last)
        if flight.landed:
            await asyncio.sleep(LINGER_S)

    async def _wait(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), EXTEND_S)
        self._news.clear()

    def _next(self) -> Part | None:
        """What is new, as much of it as one part has; ``None``: nothing. Raises ``CacheUnavailable``: some of it is
        held no longer, or it is not what the others have asked for."""
        flight, head = self._flight, None
        if self._at < flight.first or shared_name(flight.key) != self._name:
            raise CacheUnavailable
        if flight.head is not None and not self._headed:
            self._headed = True
            head = (flight.head.status, flight.head.reason, list(flight.head.headers))
        body = self._unsaid()
        if head is None and not body and not flight.over:
            return None
        return Part(head, body, failed=flight.failed and self._all_said)

    def _unsaid(self) -> bytes:
        flight, body = self._flight, bytearray()
        while self._at < flight.next and len(body) < PART_BYTES:
            body += flight.piece(self._at)
            self._at += 1
        return bytes(body)

    @property
    def _all_said(self) -> bool:
        return self._flight.over and self._at == self._flight.next


class Feed:
    """Another relay leads: what it publishes is this relay's flight. Leads for it as ``flight.Leader``."""

    def __init__(self, shared: SharedFlights, flights: Flights, flight: Flight) -> None:
        self._shared = shared
        self._flights = flights
        self._flight = flight
        self._name = shared_name(flight.key)
        self._wanted = True
        self._said_at = 0.0
        flight.leader = self
        spawn(self._run(), "flight feed")

    def joined(self) -> None:
        self._wanted = True

    def left(self) -> None:
        self._wanted = False

    async def _run(self) -> None:
        flight, again = self._flight, True
        try:
            await self._follow()
        except GoneBy:
            again = False  # an answer that is too large to be kept: whoever comes now gets it from the upstream itself
        except (CacheUnavailable, msgspec.DecodeError):
            pass
        finally:
            flight.fail()
            if flight.landed:
                self._flights.kept(flight)
            else:
                self._flights.ended(flight, again=again)

    async def _follow(self) -> None:
        """To its end, or until its leader has lost the claim and has said nothing more before."""
        flight, after = self._flight, 0
        token = holder = await self._listen()
        while token is not None and self._wanted and not flight.over:
            flight.leader_id = token
            entries = await self._shared.follow(self._name, token, after, wait=holder == token)
            for entry in entries:
                after = entry.seq
                self._take(_decoder.decode(entry.data), last=entry.last)
            if not entries and holder != token:
                return
            if not entries or asyncio.get_running_loop().time() - self._said_at >= HEARD_S / 3:
                holder = await self._listen()

    async def _listen(self) -> str | None:
        self._said_at = asyncio.get_running_loop().time()
        return await self._shared.listen(self._name, HEARD_S)

    def _take(self, part: Part, *, last: bool) -> None:
        flight = self._flight
        if part.head is not None:
            flight.head = ResponseHead(*part.head)
        if part.failed:
            flight.fail()
        else:
            flight.publish([part.body] if part.body else [], landed=last)
