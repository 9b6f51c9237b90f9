"""Identical calls of one tenant at one time are one upstream call: a flight.

The leader's answer (``flight_answers.LeadingAnswer``) publishes what arrives; everyone else has a ``Seat``, from which
their own answer reads it, at its own speed. The flight holds the body as received, the last ``max_bytes`` of it: while
that is all of it, newcomers are let in; later on, a reader that is further behind is cut. A flight that has landed is
found for a moment longer, until the cache has the answer.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from submeter.core.headers import Headers

LINGER_S = 1.0
SOLITARY_S = 5.0
MAX_SOLITARY = 1024
READ_BYTES = 64 * 1024


class FlightKey(NamedTuple):
    """What calls must have in common to share one upstream call."""

    cache_key: str
    stream: bool
    usage_chunk: bool
    """The upstream is asked for the chunk with the usage, by the caller or by the relay."""


class ResponseHead(NamedTuple):
    status: int
    reason: bytes
    headers: Headers


class Leader(Protocol):
    """Who reads the upstream."""

    def joined(self) -> None:
        """The first follower is here: the leader's own caller sets the pace no longer."""

    def left(self) -> None:
        """The last follower has gone."""


class Elsewhere(Protocol):
    """Those who follow in other relays."""

    def may_listen(self, otherwise: Callable[[], None]) -> bool:
        """False: nobody does. True: it is being found out, and ``otherwise`` is called once nobody does."""


class Reader(Protocol):
    """A follower's answer: read as if it came from an upstream of its own."""

    def read_begins(self) -> None: ...
    def head(self, status: int, reason: bytes, headers: Headers) -> None: ...
    def data(self, data: bytes) -> None: ...
    def end(self) -> None: ...
    def read_done(self) -> None: ...
    def lost(self, *, timeout: bool) -> None: ...


class Flight:
    """One upstream call, its answer as far as it has come, and who reads it."""

    def __init__(self, key: FlightKey, leader_id: str, max_bytes: int) -> None:
        self.key = key
        self.leader_id = leader_id
        """The call that pays."""
        self.leader: Leader | None = None
        self.listener: Callable[[], None] | None = None
        """Is called whenever there is news, and does not count as a follower."""
        self.elsewhere: Elsewhere | None = None
        self.head: ResponseHead | None = None
        self.landed = False
        self.failed = False
        self.first = 0
        """The number of the first piece that is still held."""
        self._shut = False
        self._max_bytes = max_bytes
        self._bytes = 0
        self._pieces: list[bytes] = []
        self._seats: dict[Seat, None] = {}

    @property
    def open(self) -> bool:
        """May another caller join?"""
        return not (self._shut or self.failed) and self.first == 0

    @property
    def shared(self) -> bool:
        return bool(self._seats)

    def wanted(self, otherwise: Callable[[], None]) -> bool:
        """Does anybody follow? ``otherwise`` is called where only time tells that nobody does."""
        return self.shared or (self.elsewhere is not None and self.elsewhere.may_listen(otherwise))

    @property
    def over(self) -> bool:
        return self.landed or self.failed

    @property
    def next(self) -> int:
        """The number of the piece that comes next."""
        return self.first + len(self._pieces)

    def piece(self, number: int) -> bytes:
        return self._pieces[number - self.first]

    # -- the leader's side -----------------------------------------------------------------------------------

    def publish(self, pieces: Sequence[bytes], *, landed: bool = False) -> None:
        """What one read has brought; ``landed``: the answer is whole."""
        if self.over:
            return
        self._pieces += pieces
        self._bytes += sum(map(len, pieces))
        self.landed = landed
        self._tell()
        self._let_go()

    def shut(self) -> None:
        """Nobody joins any more: it is about to fail, or to be left."""
        self._shut = True

    def fail(self) -> None:
        """Nothing more will come. A flight that has landed is not moved by it."""
        if not self.over:
            self.failed = True
            self._tell()

    def without_usage(self) -> None:
        """The upstream refuses to send the usage chunk: who has asked for it must ask for itself."""
        for seat in tuple(self._seats):
            if seat.needs_usage:
                seat.lose()

    # -- the followers' side ---------------------------------------------------------------------------------

    def join(self, cut: Callable[[], None], *, needs_usage: bool) -> "Seat":
        """``cut``: ends the caller's connection, for when it is too slow."""
        seat = Seat(self, cut, needs_usage=needs_usage)
        self._seats[seat] = None
        if len(self._seats) == 1 and self.leader is not None:
            self.leader.joined()
        return seat

    def leave(self, seat: "Seat") -> None:
        if seat not in self._seats:
            return
        del self._seats[seat]
        if not self._seats and self.leader is not None:
            self.leader.left()

    # -- inside ----------------------------------------------------------------------------------------------

    def _tell(self) -> None:
        if self.listener is not None:
            self.listener()
        for seat in tuple(self._seats):
            seat.read()

    def _let_go(self) -> None:
        """Hold no more than the last ``max_bytes``; who has not read what goes is cut."""
        if self._bytes <= self._max_bytes:
            return
        gone = 0
        while self._bytes > self._max_bytes:
            self._bytes -= len(self._pieces[gone])
            gone += 1
        del self._pieces[:gone]
        self.first += gone
        for seat in tuple(self._seats):
            seat.keep_up()


class Seat:
    """One follower's place in a flight; to its answer it is the upstream connection."""

    def __init__(self, flight: Flight, cut: Callable[[], None], *, needs_usage: bool) -> None:
        self.needs_usage = needs_usage
        self.flight = flight
        self._cut = cut
        self._answer: Reader | None = None
        self._at = 0
        self._headed = False
        self._paused = False
        self._ending = False

    def send(self, answer: Reader) -> None:
        """Begin to read; what is there already comes at once."""
        self._answer = answer
        self.read()

    def read(self) -> None:
        """Hand on what is new, as long as the caller takes it."""
        while self._answer is not None and not self._paused and self._has_news:
            self._hand_on(self._answer)

    def lose(self) -> None:
        """The flight goes on without this one."""
        answer = self._answer
        self.close()
        if answer is not None:
            answer.lost(timeout=False)

    def keep_up(self) -> None:
        if self._at < self.flight.first:
            self.close()
            self._cut()

    # -- as an upstream connection ---------------------------------------------------------------------------

    def pause(self, paused: bool) -> None:
        resumed = self._paused and not paused
        self._paused = paused
        if resumed:
            self.read()

    def write(self, data: bytes) -> None:
        raise AssertionError("a follower sends nothing")

    def release(self) -> None:
        self.close()

    def close(self) -> None:
        self._answer = None
        self.flight.leave(self)

    # -- inside ----------------------------------------------------------------------------------------------

    @property
    def _has_news(self) -> bool:
        flight = self.flight
        unread_head = flight.head is not None and not self._headed
        return unread_head or self._at < flight.next or (flight.over and not self._ending)

    def _hand_on(self, answer: Reader) -> None:
        """One read's worth."""
        flight = self.flight
        answer.read_begins()
        if flight.head is not None and not self._headed:
            self._headed = True
            answer.head(*flight.head)
        size = 0
        while self._at < flight.next and size < READ_BYTES:
            piece = flight.piece(self._at)
            self._at += 1
            size += len(piece)
            answer.data(piece)
        self._ending = flight.over and self._at == flight.next
        if self._ending and flight.failed:
            self.lose()
            return
        if self._ending:
            answer.end()
        answer.read_done()


class Flights:
    """The flights of one relay. ``max_bytes``: what a flight holds of its body, and the cache keeps of an answer."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._flying: dict[FlightKey, Flight] = {}
        self._solitary: dict[FlightKey, float] = {}
        """Calls whose answer could not be kept, and until when each of them goes alone."""

    def find(self, key: FlightKey) -> Flight | None:
        """The flight to join."""
        flight = self._flying.get(key)
        return flight if flight is not None and flight.open else None

    def may_begin(self, key: FlightKey) -> bool:
        """Would another flight be of use?"""
        now = asyncio.get_running_loop().time()
        return key not in self._flying and now >= self._solitary.get(key, 0.0)

    def begin(self, key: FlightKey, leader_id: str) -> Flight:
        flight = self._flying[key] = Flight(key, leader_id, self.max_bytes)
        return flight

    def without_usage(self, flight: Flight) -> None:
        """The flight's upstream refuses to send the usage chunk: it goes on as one that was not asked for it."""
        flight.without_usage()
        self._forget(flight)
        flight.key = flight.key._replace(usage_chunk=False)
        self._flying.setdefault(flight.key, flight)

    def kept(self, flight: Flight) -> None:
        """It has landed, and the cache is being given the answer."""
        asyncio.get_running_loop().call_later(LINGER_S, self._forget, flight)

    def ended(self, flight: Flight, *, again: bool) -> None:
        """There is no answer to be kept. ``again``: the next one may fare better; else calls go alone for a while."""
        self._forget(flight)
        if not again:
            if len(self._solitary) >= MAX_SOLITARY:
                self._solitary.clear()
            self._solitary[flight.key] = asyncio.get_running_loop().time() + SOLITARY_S

    def _forget(self, flight: Flight) -> None:
        if self._flying.get(flight.key) is flight:
            del self._flying[flight.key]
