"""An answer on its way: what the upstream sends is read, journalled where it matters, and handed to the caller in the
same turn of the loop. No task runs between the two sockets, and no timer.
"""

import asyncio
import time
from collections.abc import Callable
from enum import Enum, auto
from functools import partial
from typing import TYPE_CHECKING, Literal, Protocol

from submeter.core import errors
from submeter.core.errors import Fault
from submeter.core.exchange import Exchange
from submeter.core.headers import Headers, downstream_response, find
from submeter.relay.answers import LAST_CHUNK, answer_head, chunk

if TYPE_CHECKING:
    from submeter.relay.counting import Counts
    from submeter.relay.journalling import CallJournal
    from submeter.relay.server import ClientConnection

MAX_JUDGED_BYTES = 64 * 1024
REDIRECTS = frozenset({300, 301, 302, 303, 305, 307, 308})


class End(Enum):
    """How an answer's way ended, for the handler."""

    WHOLE = auto()
    """The caller has it all, in HTTP's terms."""
    CUT = auto()
    """The caller has a part; its connection must be cut, so that this shows."""
    NOTHING = auto()
    """The caller has no byte yet: the handler answers with ``fault``."""
    RETRY = auto()
    """The upstream refused the option that the relay had added; the caller has no byte yet."""
    GONE = auto()
    """The caller has left."""
    ALONE = auto()
    """The call that this one shared has failed; the caller has no byte yet."""


class Source(Protocol):
    """Where an answer is read from: an upstream's connection, or a place in another call's flight."""

    def write(self, data: bytes) -> None: ...
    def pause(self, paused: bool) -> None: ...
    def release(self) -> None: ...
    def close(self) -> None: ...


class ForwardedAnswer:
    """Reads one upstream answer for one caller. ``ended`` resolves to an ``End``.

    Its FINISH is written as soon as the exchange has one, but for the calls whose tokens the provider has not said:
    they wait until ``count`` has answered, a tenth of a second at most. Meanwhile nothing is read and nothing is
    handed over.
    """

    def __init__(
        self,
        client: "ClientConnection",
        connection: Source,
        exchange: Exchange,
        journal: "CallJournal",
        *,
        our_headers: list[tuple[bytes, bytes]],
        chunked: bool,
        close: bool,
        head_only: bool,
        configured_key: bool,
        injected: Literal["", "try", "always"],
        keep_answer_bytes: int = 0,
        pause_request: Callable[[bool], None] | None = None,
        count: "Callable[[], Counts | None] | None" = None,
    ) -> None:
        self.ended: asyncio.Future[End] = asyncio.get_running_loop().create_future()
        self.fault: Fault | None = None
        self.kept: list[bytes] = []
        """The body as received, for the cache, as long as it is within ``keep_answer_bytes``."""
        self.kept_at_ns: list[int] = []
        """When each of its pieces was read."""
        self.content_type = b""
        self.uploading = False
        """Some of the request's body has not been sent: what its connection carried next would be taken for it."""
        self._client: ClientConnection | None = client
        self._connection = connection
        self.exchange = exchange
        self._journal = journal
        self._our_headers = our_headers
        self._chunked = chunked
        self._close = close
        self._head_only = head_only
        self._configured_key = configured_key
        self._injected = injected
        self._keep_left = keep_answer_bytes
        self._pause_request = pause_request
        self._count = count
        self._counts: Counts | None = None
        """Asked for when the exchange had its FINISH, which waits for them to be written."""
        self._client_is_slow = False
        self._out: list[bytes] = []
        self._judged: list[bytes] | None = None
        """The body of a refusal that may be about what the relay added: held until it is whole."""
        self._framed_by_chunks = False
        self._end: End | None = None
        self._finished = False
        self._begun_ns = 0

    # -- upstream's side -------------------------------------------------------------------------------------

    def read_begins(self) -> None:
        self._begun_ns = time.monotonic_ns()

    def head(self, status: int, reason: bytes, headers: Headers) -> None:
        keep_length = not self._injected and find(headers, b"content-length") is not None
        no_body = self._head_only or status in (204, 304)
        self._framed_by_chunks = self._chunked and not keep_length and not no_body
        self.content_type = find(headers, b"content-type") or b""
        self.exchange.take_head(status, headers, self._begun_ns, open_ended=not keep_length)
        self.fault = self._replaced_by(status)
        if self.fault is not None:
            self._discard()
            return
        out = downstream_response(headers, keep_length=keep_length or no_body) + self._our_headers
        if self._framed_by_chunks:
            out.append((b"Transfer-Encoding", b"chunked"))
        if self._close or not (self._framed_by_chunks or keep_length or no_body):
            self._close = True
            out.append((b"Connection", b"close"))
        self._out.append(answer_head(status, reason, out))
        if self._injected == "try" and status in (400, 422):
            self._judged = []
        if self._head_only:
            self.end()  # llhttp would wait for the body that a HEAD's Content-Length announces

    def data(self, data: bytes) -> None:
        if self._end is not None:
            return
        if self._keep_left:
            self._keep(data)
        if self._judged is not None:
            self._judged.append(data)
            if sum(map(len, self._judged)) > MAX_JUDGED_BYTES:
                self._judged = None
        self._pass(self.exchange.feed(data, self._begun_ns))

    def end(self) -> None:
        if self._end is not None:
            return
        rest, whole = self.exchange.end(self._begun_ns)
        self._pass(rest)
        if self._judged is not None and b"stream_options" in b"".join(self._judged):
            self._end = End.RETRY
            self._out.clear()
        elif whole:
            if self._framed_by_chunks:
                self._out.append(LAST_CHUNK)
            self._end = End.WHOLE
        else:
            self._end = End.CUT

    def read_done(self) -> None:
        """Everything of this read has been read: journal, then hand over."""
        if self._end is None and self.exchange.finish is None:
            self._note_progress()
        elif not self._settled():
            return
        self._go_on()

    def lost(self, *, timeout: bool) -> None:
        if self._end is not None:
            return
        exchange = self.exchange
        if exchange.head is None:
            self.fault = errors.UPSTREAM_TIMEOUT if timeout else errors.INCOMPLETE
            exchange.failed("timeout" if timeout else "indeterminate", self.fault.status, reached=True)
            self._end = End.NOTHING
        else:
            self._begun_ns = time.monotonic_ns()
            self._pass(exchange.lost("timeout" if timeout else "upstream_incomplete"))
            self._end = End.CUT
        self._judged = None
        self.read_done()

    def upstream_paused(self, paused: bool) -> None:
        if self._pause_request is not None:
            self._pause_request(paused)

    def raw(self, data: bytes) -> None:
        """An upstream that switches protocols although nobody asked."""
        if self._end is None:
            self.fault = errors.INCOMPLETE
            self._discard()

    # -- caller's side ---------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """A piece of the request's body; dropped once the answer has ended."""
        if self._end is None:
            self._connection.write(data)

    def client_paused(self, paused: bool) -> None:
        if self._client is not None:
            self._client_is_slow = paused
            self._pause()

    def client_gone(self, *, drain: bool) -> bool:
        """The caller has left. True: the answer is read on for its usage, and ``ended`` comes later."""
        self._client = None
        self._client_is_slow = False
        self._out.clear()
        if self._end is not None or self.exchange.finish is not None:
            self._stop()
            return False
        self.exchange.client_left()
        if drain or self.exchange.all_choices_finished:
            self._pause()
            return True
        self.abandon()
        return False

    def abandon(self, *, at_once: bool = False) -> None:
        """Nobody listens and nothing more is read: close the upstream and settle with bounds. ``at_once``: there is
        no time for counts."""
        if self.ended.done():
            return
        self.exchange.client_gone()
        if at_once:
            self._write_finish()
        self._stop()

    # -- inside ----------------------------------------------------------------------------------------------

    def _replaced_by(self, status: int) -> Fault | None:
        if status in REDIRECTS:
            return errors.BLOCKED
        if self._configured_key and status in (401, 403):
            return errors.AUTH_FAILED
        return None

    def _discard(self) -> None:
        """The upstream's own answer is not passed on: settle by its head, close, let the handler answer."""
        self.exchange.replaced()
        self._out.clear()
        self._end = End.NOTHING
        self._connection.close()

    def _keep(self, data: bytes) -> None:
        self._keep_left -= len(data)
        if self._keep_left <= 0:
            self._keep_left = 0
            self.kept.clear()
            self.kept_at_ns.clear()
        else:
            self.kept.append(data)
            self.kept_at_ns.append(self._begun_ns)

    def _pass(self, data: bytes) -> None:
        if data:
            self._out.append(chunk(data) if self._framed_by_chunks else data)

    def _note_progress(self) -> None:
        noted = self.exchange.progress(self._begun_ns)
        if noted is not None:
            kind, progress = noted
            (self._journal.first if kind == "first" else self._journal.progress)(progress)

    def _settled(self) -> bool:
        """Is FINISH written, or is there none to write? False: the call waits for its counts, and ``_counted`` goes on
        with it."""
        if self._counts is None and self.exchange.finish is not None and not self._finished:
            self._counts = None if self._count is None else self._count()
            if self._counts is None:
                self._write_finish()
            else:
                self._counts.add_done_callback(partial(self._counted, time.monotonic_ns()))
                self._pause()
        return self._finished or self.exchange.finish is None

    def _counted(self, asked_ns: int, counts: "Counts") -> None:
        if self._finished:
            return  # abandoned meanwhile
        self.exchange.counted(counts.result(), time.monotonic_ns() - asked_ns)
        self._write_finish()
        self._pause()
        self._go_on()

    def _write_finish(self) -> None:
        if not self._finished and self.exchange.finish is not None:
            self._finished = True
            self._journal.finish(self.exchange.finish)

    def _pause(self) -> None:
        """Read no more while the caller takes nothing, or may be given nothing."""
        waits = self._counts is not None and not self._finished
        self._connection.pause((self._client_is_slow and self._caller_sets_pace) or waits)

    def _go_on(self) -> None:
        if (self._out and self._judged is None) or self._end is not None:
            self._hand_over()
        if self._end is not None:
            self._resolve(self._end)

    def _hand_over(self) -> None:
        if self._out and self._client is not None:
            self._client.write(b"".join(self._out))
            self.exchange.timeline.handed(self._begun_ns, time.monotonic_ns())
        self._out.clear()

    def _stop(self) -> None:
        """The caller has gone: the call ends here, or as soon as its FINISH is written."""
        self._connection.close()
        self._end = End.GONE
        if self._settled():
            self._resolve(End.GONE)

    def _resolve(self, end: End) -> None:
        if self.ended.done():
            return
        if end in (End.WHOLE, End.RETRY) and not (self._head_only or self.uploading):
            self._connection.release()
        else:
            self._connection.close()
        self.ended.set_result(self._told(end))

    def _told(self, end: End) -> End:
        """What the handler is told."""
        return end if self._client is not None else End.GONE

    @property
    def _caller_sets_pace(self) -> bool:
        return True

    @property
    def came_whole(self) -> bool:
        return self._end is End.WHOLE

    @property
    def must_close(self) -> bool:
        """The end of the answer is the end of the connection."""
        return self._close
