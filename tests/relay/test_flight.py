"""A flight with its leader and followers on a loop: who gets what, when, and what is written before it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from submeter.core.exchange import Exchange
from submeter.core.record import Finish, Start
from submeter.relay.flight import MAX_SOLITARY, Flight, FlightKey, Flights
from submeter.relay.flight_answers import FollowedAnswer, LeadingAnswer
from submeter.relay.forward import End
from submeter.relay.journalling import Journalling
from submeter.relay.server import ClientConnection
from submeter.relay.upstream import UpstreamConnection

LIMIT = 4096
KEY = FlightKey("k", stream=True, usage_chunk=True)
HEAD = [(b"Content-Type", b"text/event-stream"), (b"Set-Cookie", b"a=b"), (b"x-request-id", b"req_1")]
STOP = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n'
DONE = b"data: [DONE]\n\n"


def delta(text: str) -> bytes:
    return b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % text.encode()


class Client:
    """A caller: what it got, and a transport that may be slow."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self.log = log
        self.got = b""
        self.aborted = False
        self.transport = self
        self.unsent = 0

    def write(self, data: bytes) -> None:
        self.got += data
        self.log.append(f"{self.name} {'done' if b'[DONE]' in data else 'bytes'}")

    def abort(self) -> None:
        self.aborted = True

    def get_write_buffer_size(self) -> int:
        return self.unsent

    @property
    def head(self) -> bytes:
        return self.got.partition(b"\r\n\r\n")[0]

    @property
    def body(self) -> bytes:
        out, raw = b"", self.got.partition(b"\r\n\r\n")[2]
        while raw:
            size, _, raw = raw.partition(b"\r\n")
            out += raw[: int(size, 16)]
            raw = raw[int(size, 16) + 2 :]
        return out


class Upstream:
    """The leader's upstream connection."""

    def __init__(self, log: list[str]) -> None:
        self.log = log
        self.paused = False
        self.closed = False

    def write(self, data: bytes) -> None: ...

    def pause(self, paused: bool) -> None:
        self.paused = paused

    def release(self) -> None:
        self.log.append("release")

    def close(self) -> None:
        self.closed = True


class Journal:
    def __init__(self, log: list[str]) -> None:
        self.log = log
        self.rows: dict[str, tuple[Start | None, Finish]] = {}

    def first(self, _: Any) -> None: ...

    def finish(self, finish: Finish) -> None:
        self.rows[finish.call_id] = (None, finish)
        self.log.append(f"{finish.call_id} FINISH")

    def start_and_finish(self, start: Start, finish: Finish) -> None:
        self.rows[finish.call_id] = (start, finish)
        self.log.append(f"{finish.call_id} FINISH")


class Rig:
    """One streamed flight; its leader's caller did not ask for the usage chunk. ``log``: what happened, in order."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.journal = Journal(self.log)
        self.upstream = Upstream(self.log)
        self.clients: dict[str, Client] = {}
        self.flight = Flight(KEY, "lead", LIMIT)
        self.leader = LeadingAnswer(
            self.client("lead"),
            cast(UpstreamConnection, self.upstream),
            Exchange(self.start("lead", "miss"), 0, strip_usage=True),
            cast(Any, self.journal),
            our_headers=[(b"x-submeter-call-id", b"lead")],
            chunked=True,
            close=False,
            head_only=False,
            configured_key=False,
            injected="try",
            keep_answer_bytes=LIMIT,
        )
        self.leader.lead(self.flight, self.deserted, LIMIT)

    def client(self, name: str) -> ClientConnection:
        self.clients[name] = Client(name, self.log)
        return cast(ClientConnection, self.clients[name])

    def start(self, call_id: str, cache: Any) -> Start:
        return Start(call_id, 1, "lead", "chat/completions", "u", 0, stream=True, cache=cache)

    def deserted(self) -> None:
        self.log.append("deserted")
        self.leader.client_gone(drain=False)

    def follow(self, name: str, *, asks: bool = False, chunked: bool = True) -> FollowedAnswer:
        client = self.client(name)
        seat = self.flight.join(client.abort, needs_usage=asks)
        answer = FollowedAnswer(
            client,
            seat,
            Exchange(self.start(name, "coalesced"), 0, strip_usage=not asks),
            cast(Journalling, self.journal),
            our_headers=[(b"x-submeter-call-id", name.encode())],
            chunked=chunked,
            close=not chunked,
            strips=not asks,
        )
        seat.send(answer)
        return answer

    def head(self, status: int = 200) -> None:
        self.leader.read_begins()
        self.leader.head(status, b"OK", HEAD)
        self.leader.read_done()

    def data(self, *pieces: bytes) -> None:
        self.leader.read_begins()
        for piece in pieces:
            self.leader.data(piece)
        self.leader.read_done()

    def end(self) -> None:
        self.leader.read_begins()
        self.leader.end()
        self.leader.read_done()

    def all(self) -> None:
        self.head()
        self.data(delta("a"), delta("b"))
        self.data(STOP + USAGE + DONE)
        self.end()

    def finish_of(self, name: str) -> Finish:
        return self.journal.rows[name][1]


def run(test: Callable[[Rig], Awaitable[None]]) -> None:
    async def with_rig() -> None:
        await test(Rig())

    asyncio.run(with_rig())


def test_each_has_its_own_head_and_wish_and_row() -> None:
    async def test(rig: Rig) -> None:
        plain, asking, old = rig.follow("plain"), rig.follow("asking", asks=True), rig.follow("old", chunked=False)
        rig.all()
        ends = [await answer.ended for answer in (rig.leader, plain, asking, old)]
        assert ends == [End.WHOLE] * 4
        clients = rig.clients
        without = delta("a") + delta("b") + STOP + DONE
        assert clients["lead"].body == clients["plain"].body == without
        assert clients["asking"].body == without.replace(DONE, USAGE + DONE)
        assert clients["old"].got.endswith(b"Connection: close\r\n\r\n" + without)
        for name, client in clients.items():
            assert b"x-submeter-call-id: " + name.encode() in client.head
            assert (b"Set-Cookie" in client.head) == (name == "lead"), "a cookie is for one"
        for name in ("plain", "asking", "old"):
            start, finish = rig.journal.rows[name]
            assert start is not None
            assert (start.operation_id, start.cache, finish.cache) == ("lead", "coalesced", "coalesced")
            assert (finish.outcome, finish.upstream_request_id) == ("ok", None)
            assert finish.usage == rig.finish_of("lead").usage is not None
        assert rig.finish_of("asking").bytes_out == len(without + USAGE)
        assert rig.finish_of("lead").cache == "miss"

    run(test)


def test_finish_comes_before_the_end_and_the_leaders_before_all() -> None:
    async def test(rig: Rig) -> None:
        rig.follow("one")
        rig.follow("two")
        rig.head()
        rig.data(delta("a"))
        rig.log.clear()
        rig.data(STOP + USAGE + DONE)
        assert rig.log == ["lead FINISH", "lead done", "one FINISH", "one done", "two FINISH", "two done"]

    run(test)


def test_what_arrives_is_handed_on_in_the_same_turn() -> None:
    async def test(rig: Rig) -> None:
        rig.follow("one")
        rig.head()
        assert rig.clients["one"].got == b"", "without a byte of the body it can still go alone"
        rig.data(delta("a"))
        assert rig.clients["one"].body == rig.clients["lead"].body == delta("a")
        rig.follow("late")
        assert rig.clients["late"].body == delta("a")

    run(test)


def test_who_comes_after_the_landing_gets_it_all() -> None:
    async def test(rig: Rig) -> None:
        rig.all()
        assert rig.flight.open
        late = rig.follow("late", asks=True)
        assert await late.ended is End.WHOLE
        assert rig.clients["late"].body == delta("a") + delta("b") + STOP + USAGE + DONE

    run(test)


def test_a_slow_follower_stops_nobody() -> None:
    async def test(rig: Rig) -> None:
        slow, fast = rig.follow("slow"), rig.follow("fast")
        rig.head()
        rig.data(delta("a"))
        slow.client_paused(True)
        rig.data(delta("b"))
        rig.data(STOP + USAGE + DONE)
        rig.end()
        assert await fast.ended is End.WHOLE
        assert not rig.upstream.paused
        assert rig.clients["slow"].body == delta("a")
        assert "slow" not in rig.journal.rows
        slow.client_paused(False)
        assert await slow.ended is End.WHOLE
        assert rig.clients["slow"].body == rig.clients["fast"].body

    run(test)


def test_who_falls_behind_what_is_held_is_cut() -> None:
    async def test(rig: Rig) -> None:
        slow, fast = rig.follow("slow"), rig.follow("fast")
        rig.head()
        rig.data(delta("a"))
        slow.client_paused(True)
        for _ in range(LIMIT // 50):
            rig.data(delta("x" * 50))
        assert rig.clients["slow"].aborted
        assert not rig.clients["fast"].aborted
        slow.client_gone(drain=False)
        assert await slow.ended is End.GONE
        assert (rig.finish_of("slow").outcome, rig.finish_of("slow").usage) == ("client_gone", None)
        assert not rig.flight.open, "its beginning is gone"
        rig.data(STOP + USAGE + DONE)
        rig.end()
        assert await fast.ended is End.WHOLE
        assert rig.clients["fast"].body == rig.clients["lead"].body
        assert rig.leader.kept == [], "too large for the cache"

    run(test)


def test_a_slow_leader_sets_the_pace_only_while_it_is_alone() -> None:
    async def test(rig: Rig) -> None:
        rig.head()
        rig.leader.client_paused(True)
        assert rig.upstream.paused
        one = rig.follow("one")
        assert not rig.upstream.paused
        rig.clients["lead"].unsent = LIMIT
        rig.data(delta("a"))
        assert not rig.clients["lead"].aborted
        rig.clients["lead"].unsent = LIMIT + 1
        rig.data(delta("b"))
        assert rig.clients["lead"].aborted
        one.client_gone(drain=False)
        assert rig.upstream.paused

    run(test)


def test_the_leader_may_leave() -> None:
    async def test(rig: Rig) -> None:
        one = rig.follow("one")
        rig.head()
        rig.data(delta("a"))
        assert rig.leader.client_gone(drain=False) is False
        assert not rig.upstream.closed
        rig.data(STOP + USAGE + DONE)
        rig.end()
        assert await one.ended is End.WHOLE
        assert await rig.leader.ended is End.GONE
        assert rig.leader.came_whole, "it can be kept"
        assert rig.finish_of("lead").outcome == "ok"
        assert "release" in rig.log
        assert rig.clients["lead"].body == delta("a")

    run(test)


def test_the_last_to_leave_ends_the_call() -> None:
    async def test(rig: Rig) -> None:
        one, two = rig.follow("one"), rig.follow("two")
        rig.head()
        rig.data(delta("a"))
        rig.leader.client_gone(drain=False)
        one.client_gone(drain=False)
        assert not rig.upstream.closed
        two.client_gone(drain=False)
        assert rig.upstream.closed
        assert rig.log.count("deserted") == 1
        assert await rig.leader.ended is End.GONE
        assert {name: finish.outcome for name, (_, finish) in rig.journal.rows.items()} == {
            "lead": "client_gone",
            "one": "client_gone",
            "two": "client_gone",
        }
        assert not rig.flight.open

    run(test)


def test_the_last_follower_leaves_and_the_leader_stays() -> None:
    async def test(rig: Rig) -> None:
        one = rig.follow("one")
        rig.head()
        one.client_gone(drain=False)
        assert "deserted" not in rig.log
        rig.data(delta("a"), STOP + USAGE + DONE)
        rig.end()
        assert await rig.leader.ended is End.WHOLE

    run(test)


def test_a_broken_stream_tells_all_who_have_begun() -> None:
    async def test(rig: Rig) -> None:
        one = rig.follow("one")
        rig.head()
        rig.data(delta("a"))
        rig.leader.lost(timeout=False)
        assert not rig.flight.open
        rig.flight.fail()
        assert await one.ended is End.CUT
        assert b"upstream_incomplete" in rig.clients["one"].body
        assert rig.clients["one"].body == rig.clients["lead"].body
        assert rig.finish_of("one").outcome == "upstream_incomplete"

    run(test)


@pytest.mark.parametrize("headed", [False, True])
def test_who_has_no_byte_of_the_body_goes_alone(headed: bool) -> None:
    async def test(rig: Rig) -> None:
        one = rig.follow("one")
        if headed:
            rig.head()
        rig.leader.lost(timeout=False)
        rig.flight.fail()
        assert await one.ended is End.ALONE
        assert rig.clients["one"].got == b""
        assert "one" not in rig.journal.rows, "it has no row yet"

    run(test)


def test_a_slow_follower_of_a_broken_stream_gets_what_there_was() -> None:
    async def test(rig: Rig) -> None:
        one = rig.follow("one")
        rig.head()
        rig.data(delta("a"))
        one.client_paused(True)
        rig.data(delta("b"))
        rig.flight.fail()
        assert not one.ended.done()
        one.client_paused(False)
        assert await one.ended is End.CUT
        assert rig.clients["one"].body.startswith(delta("a") + delta("b") + b"\n\n")

    run(test)


def test_an_error_is_nobody_elses() -> None:
    async def test(rig: Rig) -> None:
        one = rig.follow("one")
        rig.leader.read_begins()
        rig.leader.head(500, b"Oops", [(b"Content-Length", b"2")])
        assert await one.ended is End.ALONE
        rig.leader.data(b"{}")
        rig.leader.end()
        rig.leader.read_done()
        assert await rig.leader.ended is End.WHOLE
        assert rig.clients["one"].got == b""

    run(test)


def test_what_is_known_to_be_too_large_is_not_shared() -> None:
    async def test(rig: Rig) -> None:
        one = rig.follow("one")
        rig.leader.read_begins()
        rig.leader.head(200, b"OK", [(b"Content-Length", str(LIMIT + 1).encode())])
        assert await one.ended is End.ALONE
        assert not rig.flight.open

    run(test)


def test_a_refused_option_is_not_an_end() -> None:
    async def test(rig: Rig) -> None:
        plain, asking = rig.follow("plain"), rig.follow("asking", asks=True)
        rig.leader.client_gone(drain=False)
        body = b'{"error":"stream_options"}'
        rig.leader.read_begins()
        rig.leader.head(400, b"Bad", [(b"Content-Type", b"application/json")])
        rig.leader.data(body)
        rig.leader.end()
        rig.leader.read_done()
        assert await rig.leader.ended is End.RETRY, "although its caller has left"
        rig.flight.without_usage()
        assert await asking.ended is End.ALONE
        assert not plain.ended.done()
        assert rig.flight.open

    run(test)


def test_shutting_down_settles_everybody_once() -> None:
    async def test(rig: Rig) -> None:
        one = rig.follow("one")
        rig.head()
        rig.data(delta("a"))
        rig.leader.abandon(at_once=True)
        one.abandon(at_once=True)
        assert await rig.leader.ended is End.GONE
        assert one.ended.done()
        assert rig.log.count("lead FINISH") == rig.log.count("one FINISH") == 1

    run(test)


def test_the_journal_has_the_answer_of_every_cut() -> None:
    """Any cuts of the stream: the same bytes for all, and each row before its end."""

    async def cut(size: int) -> None:
        rig = Rig()
        rig.follow("one")
        rig.head()
        stream = delta("a") + STOP + USAGE + DONE
        for at in range(0, len(stream), size):
            rig.data(stream[at : at + size])
        rig.follow("late")
        rig.end()
        bodies = {client.body for client in rig.clients.values()}
        assert bodies == {delta("a") + STOP + DONE}
        for name in ("lead", "one", "late"):
            assert rig.log.index(f"{name} FINISH") < rig.log.index(f"{name} done")
            assert rig.finish_of(name).usage is not None

    for size in (1, 2, 7, 64, 1000):
        asyncio.run(cut(size))


# -- the table ---------------------------------------------------------------------------------------------------------


def test_flights_are_found_until_they_are_over() -> None:
    async def test() -> None:
        flights = Flights(LIMIT)
        assert flights.find(KEY) is None
        assert flights.may_begin(KEY)
        flight = flights.begin(KEY, "c")
        assert flights.find(KEY) is flight
        assert flights.find(KEY._replace(usage_chunk=False)) is None
        assert not flights.may_begin(KEY)
        flight.shut()
        assert flights.find(KEY) is None
        assert not flights.may_begin(KEY), "who comes now goes alone"
        flight.fail()
        flights.ended(flight, again=True)
        assert flights.may_begin(KEY)

    asyncio.run(test())


def test_a_kept_flight_is_found_a_moment_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        monkeypatch.setattr("submeter.relay.flight.LINGER_S", 0.01)
        flights = Flights(LIMIT)
        flight = flights.begin(KEY, "c")
        flight.publish([], landed=True)
        flights.kept(flight)
        assert flights.find(KEY) is flight
        await asyncio.sleep(0.05)
        assert flights.find(KEY) is None
        assert flights.may_begin(KEY)

    asyncio.run(test())


def test_what_could_not_be_kept_goes_alone_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        flights = Flights(LIMIT)
        for number in range(MAX_SOLITARY + 10):
            key = KEY._replace(cache_key=str(number))
            flights.ended(flights.begin(key, "c"), again=False)
            assert not flights.may_begin(key)
        assert len(flights._solitary) <= MAX_SOLITARY
        loop = asyncio.get_running_loop()
        later = loop.time() + 6
        monkeypatch.setattr(loop, "time", lambda: later)
        assert flights.may_begin(key)

    asyncio.run(test())


def test_a_flight_that_is_refused_the_usage_chunk_is_another() -> None:
    async def test() -> None:
        flights = Flights(LIMIT)
        flight = flights.begin(KEY, "c")
        flights.without_usage(flight)
        assert flights.find(KEY) is None
        assert flights.find(KEY._replace(usage_chunk=False)) is flight
        flights.ended(flight, again=True)
        assert flights.find(KEY._replace(usage_chunk=False)) is None

    asyncio.run(test())
