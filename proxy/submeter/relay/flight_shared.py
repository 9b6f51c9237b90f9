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
from submeter.tasks import spawn

CLAIM_S = 5.0
"""How long others wait for a relay that has died."""
EXTEND_S = 1.5
HEARD_S = 3.0
"""How long a relay that follows is taken to be there, since it last said so."""
LISTENERS = "listeners"
NO_TIME_S = 0.001


class Part(msgspec.Struct, frozen=True, array_like=True):
    """What came since the last one. The last part of all may say that the flight has failed."""

    head: tuple[int, bytes, list[tuple[bytes, bytes]]] | None
    body: bytes
    failed: bool = False


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Part)


def shared_name(key: FlightKey) -> str:
    return f"{key.cache_key}:{'stream' if key.stream else 'whole'}:{'usage' if key.usage_chunk else 'plain'}"


def heard_name(name: str) -> str:
    """Taken while a relay follows the flight of this name."""
    return f"{name}:heard"


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
        heard = True
        while heard and not (self._nobody_listens or self._flight.over):
            try:
                heard = not await self._shared.claim(heard_name(self._name), self._token, NO_TIME_S)
            except CacheUnavailable:
                heard = False
            if heard:
                await asyncio.sleep(EXTEND_S)
        self._nobody_listens = True
        if not (self._flight.over or self._flight.shared):
            otherwise()
        self._nobody_listens = self._given_up

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
            await self._wait()
            if loop.time() - extended >= EXTEND_S:
                if not await self._shared.extend(self._name, self._token, CLAIM_S):
                    return
                extended = loop.time()
            part, last = self._next(), flight.over
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
        """All that is new; ``None``: nothing. Raises ``CacheUnavailable``: some of it is held no longer, or it is not
        what the others have asked for."""
        flight, head = self._flight, None
        if self._at < flight.first or shared_name(flight.key) != self._name:
            raise CacheUnavailable
        if flight.head is not None and not self._headed:
            self._headed = True
            head = (flight.head.status, flight.head.reason, list(flight.head.headers))
        pieces = [flight.piece(number) for number in range(self._at, flight.next)]
        self._at = flight.next
        if head is None and not pieces and not flight.over:
            return None
        return Part(head, b"".join(pieces), failed=flight.failed)


class Feed:
    """Another relay leads: what it publishes is this relay's flight. Leads for it as ``flight.Leader``."""

    def __init__(self, shared: SharedFlights, flights: Flights, flight: Flight) -> None:
        self._shared = shared
        self._flights = flights
        self._flight = flight
        self._name = shared_name(flight.key)
        self._own_token = flight.leader_id
        self._wanted = True
        self._said_at = -HEARD_S
        flight.leader = self
        spawn(self._run(), "flight feed")

    def joined(self) -> None:
        self._wanted = True

    def left(self) -> None:
        self._wanted = False

    async def _run(self) -> None:
        flight = self._flight
        try:
            await self._follow()
        except (CacheUnavailable, msgspec.DecodeError):
            pass
        finally:
            flight.fail()
            if flight.landed:
                self._flights.kept(flight)
            else:
                self._flights.ended(flight, again=True)

    async def _follow(self) -> None:
        flight, after, token = self._flight, 0, None
        while self._wanted and not flight.over:
            await self._say_that_we_listen()
            entries = await self._shared.follow(self._name, after, token=token)
            for entry in entries:
                after, token = entry.seq, entry.token
                flight.leader_id = token
                self._take(_decoder.decode(entry.data), last=entry.last)
            if not entries and await self._is_gone():
                return

    async def _say_that_we_listen(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._said_at < HEARD_S / 3:
            return
        self._said_at = now
        name = heard_name(self._name)
        if not await self._shared.extend(name, LISTENERS, HEARD_S):
            await self._shared.claim(name, LISTENERS, HEARD_S)

    def _take(self, part: Part, *, last: bool) -> None:
        flight = self._flight
        if part.head is not None:
            flight.head = ResponseHead(*part.head)
        if part.failed:
            flight.fail()
        else:
            flight.publish([part.body] if part.body else [], landed=last)

    async def _is_gone(self) -> bool:
        """Has the leader lost its claim? It is free for whoever leads next."""
        gone = await self._shared.claim(self._name, self._own_token, CLAIM_S)
        if gone:
            await self._shared.release(self._name, self._own_token)
        return gone
