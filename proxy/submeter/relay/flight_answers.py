"""The two kinds of answer that a flight has: the leader's, which reads the upstream, and a follower's, which reads the
flight as if it were an upstream of its own.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from submeter.core.errors import Refusal
from submeter.core.exchange import Exchange
from submeter.core.headers import Headers, find
from submeter.core.record import Finish, Start
from submeter.relay.flight import Flight, ResponseHead, Seat
from submeter.relay.forward import End, ForwardedAnswer
from submeter.relay.journalling import Journalling, Nowhere

if TYPE_CHECKING:
    from submeter.relay.server import ClientConnection


class LeadingAnswer(ForwardedAnswer):
    """An answer that is published while it is forwarded, in the same turn, after its own records are written.

    As long as somebody follows, its own caller neither sets the pace nor ends the call by leaving. ``deserted`` is
    called when that caller has left and then the last follower has.
    """

    def lead(self, flight: Flight, deserted: Callable[[], None], max_bytes: int) -> None:
        """Before anything is read. ``max_bytes``: how much of an answer is held, for followers and also for a caller
        of its own that does not set the pace."""
        self._flight = flight
        self._deserted = deserted
        self._max_bytes = max_bytes
        self._caller_left = False
        self._public = False
        self._news: list[bytes] = []
        flight.leader = self

    # -- as the upstream's reader ----------------------------------------------------------------------------

    def head(self, status: int, reason: bytes, headers: Headers) -> None:
        super().head(status, reason, headers)
        if self.fault is None and status == 200 and int(find(headers, b"content-length") or 0) <= self._max_bytes:
            self._public = True
            shared = [(name, value) for name, value in headers if name.lower() != b"set-cookie"]
            self._flight.head = ResponseHead(status, reason, shared)
        elif self._judged is None:
            self._flight.fail()  # an error, or more than is held: to each of them from the upstream itself

    def data(self, data: bytes) -> None:
        if self._public and self._end is None:
            self._news.append(data)
        super().data(data)

    def end(self) -> None:
        super().end()
        if self._end is End.CUT:
            self._flight.shut()  # it may have to wait for its counts

    def lost(self, *, timeout: bool) -> None:
        self._flight.shut()
        super().lost(timeout=timeout)

    # -- as the flight's leader ------------------------------------------------------------------------------

    def joined(self) -> None:
        self._pause()

    def left(self) -> None:
        if self.ended.done():
            return
        self._pause()
        if self._caller_left:
            self._deserted()

    # -- caller's side ---------------------------------------------------------------------------------------

    def client_gone(self, *, drain: bool) -> bool:
        self._caller_left = True
        if self.ended.done() or not self._flight.wanted(self._deserted):
            self._flight.shut()
            return super().client_gone(drain=drain)
        self._client = None
        self._client_is_slow = False
        self._out.clear()
        self._pause()
        return False

    # -- inside ----------------------------------------------------------------------------------------------

    @property
    def _caller_sets_pace(self) -> bool:
        return not self._flight.shared

    def _go_on(self) -> None:
        super()._go_on()
        if self._public:
            news, self._news = self._news, []
            self._flight.publish(news, landed=self._end is End.WHOLE)

    def _hand_over(self) -> None:
        super()._hand_over()
        client = self._client
        if client is None or not self._client_is_slow or self._caller_sets_pace:
            return
        if client.transport.get_write_buffer_size() > self._max_bytes:
            client.abort()

    def _stop(self) -> None:
        self._flight.fail()
        super()._stop()

    def _told(self, end: End) -> End:
        return end if end is End.RETRY and self._flight.shared else super()._told(end)


class FollowedAnswer(ForwardedAnswer):
    """Reads a flight for one more caller. Until the first byte of the body its caller has nothing, so that the call
    can still go alone; what ends it then is ``End.ALONE``, and it leaves no row."""

    def __init__(
        self,
        client: "ClientConnection",
        seat: Seat,
        exchange: Exchange,
        journal: Journalling,
        *,
        our_headers: list[tuple[bytes, bytes]],
        chunked: bool,
        close: bool,
        strips: bool,
    ) -> None:
        super().__init__(
            client,
            seat,
            exchange,
            FollowerJournal(journal, exchange.start, seat.flight),
            our_headers=our_headers,
            chunked=chunked,
            close=close,
            head_only=False,
            configured_key=False,
            injected="always" if strips else "",
        )
        self._begun = False

    def lost(self, *, timeout: bool) -> None:
        if self._begun or self._end is not None:
            super().lost(timeout=timeout)
            return
        self._out.clear()
        self._end = End.ALONE
        self._resolve(End.ALONE)

    def client_gone(self, *, drain: bool) -> bool:
        self._client = None
        self._out.clear()
        self.abandon()
        return False

    def _go_on(self) -> None:
        if self._begun or len(self._out) > 1 or self._end is not None:
            super()._go_on()

    def _hand_over(self) -> None:
        self._begun = True
        super()._hand_over()


class FollowerJournal(Nowhere):
    """A follower's START and FINISH are one step: nothing was sent for it that a dead relay could leave open."""

    def __init__(self, journal: Journalling, start: Start, flight: Flight) -> None:
        self._journal = journal
        self._start = start
        self._flight = flight

    def finish(self, finish: Finish) -> None:
        """What cannot be written is counted as unmetered, and not refused: the answer is on its way."""
        start = msgspec.structs.replace(self._start, operation_id=self._flight.leader_id)
        own = msgspec.structs.replace(finish, upstream_request_id=None, provider_cost=None)
        with suppress(Refusal):
            self._journal.start_and_finish(start, own)

    def settle(self, exchange: Exchange) -> None:
        assert exchange.finish is not None
        self.finish(exchange.finish)
