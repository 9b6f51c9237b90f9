"""Flights across relays: what one publishes is the others' flight, and nobody hangs on a relay or a Redis that dies."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

import msgspec
import pytest

from submeter.core.kept import KeptAnswer
from submeter.relay import flight_shared
from submeter.relay.flight import Flight, FlightKey, Flights, ResponseHead
from submeter.relay.flight_lookups import SharedLookups
from submeter.relay.flight_shared import Feed, Part, Publication, shared_name
from submeter.store.cache import Cache, CacheUnavailable, Entry, SharedFlights
from submeter.store.cache.flights import Claim, GoneBy

LIMIT = 4096
KEY = FlightKey("k", stream=True, usage_chunk=True)
HEAD = ResponseHead(200, b"OK", [(b"Content-Type", b"text/event-stream")])


class Redis:
    """``SharedFlights`` without a server. ``down``: it answers no more. ``gone_by``: so many entries are gone.
    ``before_let_go``: what is done as the follower finds out, at its second look, that the claim has gone."""

    def __init__(self) -> None:
        self.down = False
        self.gone_by = 0
        self.heard_until = 0.0
        self.listened = 0
        self.at_once = 1000
        self.waits: list[bool] = []
        self.before_let_go: Callable[[], None] | None = None
        self.claims: dict[str, str] = {}
        self.until: dict[str, float] = {}
        self.streams: dict[str, list[Entry]] = {}
        self.extended = 0
        self._news = asyncio.Event()

    def _up(self) -> None:
        if self.down:
            raise CacheUnavailable

    async def claim(self, key: str, token: str, ttl_s: float) -> Claim:
        self._up()
        if self._holder(key) is not None:
            return Claim(won=False, kept=None)
        self.claims[key], self.until[key] = token, self._now + ttl_s
        return Claim(won=True, kept=None)

    def _holder(self, key: str) -> str | None:
        return self.claims.get(key) if self._now < self.until.get(key, 0.0) else None

    async def listen(self, key: str, ttl_s: float) -> str | None:
        self._up()
        self.heard_until = self._now + ttl_s
        self.listened += 1
        if self.listened == 2 and self.before_let_go is not None:
            self.before_let_go()
            del self.claims[key]
        return self._holder(key)

    async def is_heard(self, _: str) -> bool:
        self._up()
        return self._now < self.heard_until

    async def extend(self, key: str, token: str, ttl_s: float) -> bool:
        self._up()
        self.extended += 1
        if self._holder(key) != token:
            return False
        self.until[key] = self._now + ttl_s
        return True

    @property
    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    async def release(self, key: str, token: str) -> bool:
        self._up()
        if self.claims.get(key) != token:
            return False
        del self.claims[key]
        return True

    async def publish(self, key: str, token: str, seq: int, data: bytes, *, last: bool = False) -> None:
        self._up()
        if self.claims.get(key) != token:
            raise CacheUnavailable
        self.streams.setdefault(token, []).append(Entry(seq, data, last))
        self._news.set()

    async def follow(self, key: str, token: str, after: int = 0, *, wait: bool = True) -> list[Entry]:
        self._up()
        self.waits.append(wait)
        if after < self.gone_by:
            raise GoneBy
        if len(self.streams.get(token, [])) == after:
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), 0.02)
            except TimeoutError:
                self._up()
        return [entry for entry in self.streams.get(token, []) if entry.seq > after][: self.at_once]


class Reader:
    """A follower's answer."""

    def __init__(self, flight: Flight) -> None:
        self.heads: list[tuple[int, bytes, object]] = []
        self.got = b""
        self.end_seen: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.seat = flight.join(lambda: None, needs_usage=False)
        self.seat.send(self)

    def read_begins(self) -> None: ...

    def read_done(self) -> None: ...

    def head(self, status: int, reason: bytes, headers: object) -> None:
        self.heads.append((status, reason, headers))

    def data(self, data: bytes) -> None:
        self.got += data

    def end(self) -> None:
        self.end_seen.set_result("whole")

    def lost(self, *, timeout: bool) -> None:
        self.end_seen.set_result("lost")


class Rig:
    """Two relays: one leads, the other follows through ``reader``."""

    def __init__(self) -> None:
        self.redis = Redis()
        self.shared = cast(SharedFlights, self.redis)
        self.leading = Flight(KEY, "lead", LIMIT)
        self.flights = Flights(LIMIT)

    async def claim(self) -> None:
        assert (await self.shared.claim(shared_name(KEY), "lead", 5.0)).won

    def publish(self) -> None:
        Publication(self.shared, self.leading)

    def follow(self) -> Reader:
        self.following = self.flights.begin(KEY, "own")
        Feed(self.shared, self.flights, self.following)
        return Reader(self.following)


def run(test: Callable[[Rig], Awaitable[None]]) -> None:
    async def with_rig() -> None:
        await asyncio.wait_for(test(Rig()), 5)

    asyncio.run(with_rig())


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flight_shared, "LINGER_S", 0.02)
    monkeypatch.setattr(flight_shared, "EXTEND_S", 0.01)
    monkeypatch.setattr(flight_shared, "HEARD_S", 0.1)


def test_what_is_published_is_the_others_flight() -> None:
    async def test(rig: Rig) -> None:
        await rig.claim()
        rig.publish()
        reader = rig.follow()
        rig.leading.head = HEAD
        rig.leading.publish([])
        for piece in (b"one ", b"two "):
            await asyncio.sleep(0.01)
            rig.leading.publish([piece])
        rig.leading.publish([b"three"], landed=True)
        assert await reader.end_seen == "whole"
        assert [(status, reason) for status, reason, _ in reader.heads] == [(200, b"OK")]
        assert reader.got == b"one two three"
        assert rig.following.leader_id == "lead", "who pays is known to the followers' rows"
        await asyncio.sleep(0)
        assert rig.flights.find(KEY) is rig.following, "found until the cache has the answer"
        await asyncio.sleep(0.1)
        assert shared_name(KEY) not in rig.redis.claims, "released, a moment later"

    run(test)


def test_a_late_relay_gets_it_all() -> None:
    async def test(rig: Rig) -> None:
        await rig.claim()
        rig.publish()
        rig.leading.head = HEAD
        rig.leading.publish([b"one ", b"two"], landed=True)
        await asyncio.sleep(0.01)
        reader = rig.follow()
        assert await reader.end_seen == "whole"
        assert reader.got == b"one two"

    run(test)


def test_the_claim_is_kept_up_while_nothing_comes() -> None:
    async def test(rig: Rig) -> None:
        await rig.claim()
        rig.publish()
        reader = rig.follow()
        await asyncio.sleep(0.1)
        assert rig.redis.extended > 1
        assert not reader.end_seen.done()
        rig.leading.fail()
        assert await reader.end_seen == "lost"

    run(test)


def test_a_flight_that_fails_fails_for_all() -> None:
    async def test(rig: Rig) -> None:
        await rig.claim()
        rig.publish()
        reader = rig.follow()
        rig.leading.head = HEAD
        rig.leading.publish([b"one"])
        await asyncio.sleep(0.02)
        rig.leading.fail()
        assert await reader.end_seen == "lost"
        assert reader.got == b"one"
        await asyncio.sleep(0.01)
        assert rig.flights.may_begin(KEY)
        assert shared_name(KEY) not in rig.redis.claims

    run(test)


@pytest.mark.parametrize("published", [False, True])
def test_a_relay_that_has_died_is_not_waited_for(published: bool) -> None:
    async def test(rig: Rig) -> None:
        await rig.claim()
        if published:
            data = msgspec.msgpack.encode((None, b"one"))
            await rig.shared.publish(shared_name(KEY), "lead", 1, data)
        reader = rig.follow()
        await asyncio.sleep(0.05)
        assert not reader.end_seen.done(), "its claim holds"
        rig.redis.claims.clear()
        assert await reader.end_seen == "lost"
        await asyncio.sleep(0.01)
        assert rig.flights.may_begin(KEY)
        assert shared_name(KEY) not in rig.redis.claims, "free for whoever leads next"

    run(test)


def filled(redis: Redis, *parts: Part) -> None:
    """The leader has said this, as its last."""
    redis.streams["lead"] = [
        Entry(seq, msgspec.msgpack.encode(part), last=seq == len(parts)) for seq, part in enumerate(parts, 1)
    ]


def test_what_a_relay_has_said_before_it_let_go_is_read_to_its_end() -> None:
    """The follower finds the claim gone, and reads once more what had come until then, without waiting for more."""

    async def test(rig: Rig) -> None:
        await rig.claim()
        rig.redis.before_let_go = lambda: filled(rig.redis, Part((200, b"OK", []), b"one "), Part(None, b"two"))
        reader = rig.follow()
        assert await reader.end_seen == "whole"
        assert reader.got == b"one two"
        assert rig.redis.waits == [True, False]

    run(test)


def test_who_always_has_something_to_read_says_all_the_same_that_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flight_shared, "HEARD_S", 0.0)

    async def test(rig: Rig) -> None:
        await rig.claim()
        rig.redis.at_once = 1
        filled(rig.redis, *(Part(None, b"x") for _ in range(5)))
        assert await rig.follow().end_seen == "whole"
        assert rig.redis.listened >= 5

    run(test)


def test_a_relay_that_leads_after_one_that_has_died_is_another_flight() -> None:
    async def test(rig: Rig) -> None:
        await rig.claim()
        await rig.shared.publish(shared_name(KEY), "lead", 1, msgspec.msgpack.encode(Part(None, b"one")))
        reader = rig.follow()
        await asyncio.sleep(0.01)
        rig.redis.claims[shared_name(KEY)] = "next"
        await rig.shared.publish(shared_name(KEY), "next", 1, msgspec.msgpack.encode(Part(None, b"other")))
        assert await reader.end_seen == "lost"
        assert reader.got == b"one"

    run(test)


def test_a_redis_that_dies_ends_what_hangs_on_it_and_nothing_else() -> None:
    async def test(rig: Rig) -> None:
        await rig.claim()
        rig.publish()
        reader, local = rig.follow(), Reader(rig.leading)
        rig.leading.head = HEAD
        rig.leading.publish([b"one"])
        await asyncio.sleep(0.02)
        rig.redis.down = True
        rig.leading.publish([b"two"], landed=True)
        assert await reader.end_seen == "lost"
        assert await local.end_seen == "whole"

    run(test)


def test_much_that_comes_at_once_goes_over_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flight_shared, "PART_BYTES", 100)

    async def test(rig: Rig) -> None:
        await rig.claim()
        rig.leading.head = HEAD
        pieces = [bytes([number]) * 60 for number in range(20)]
        rig.leading.publish(pieces, landed=True)
        rig.publish()
        reader = rig.follow()
        assert await reader.end_seen == "whole"
        assert reader.got == b"".join(pieces)
        entries = rig.redis.streams["lead"]
        assert [entry.last for entry in entries] == [False] * 9 + [True]
        assert [len(msgspec.msgpack.decode(entry.data)[1]) for entry in entries] == [120] * 10

    run(test)


def test_a_flight_that_fails_says_first_what_it_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flight_shared, "PART_BYTES", 1)

    async def test(rig: Rig) -> None:
        await rig.claim()
        rig.leading.head = HEAD
        rig.leading.publish([b"one ", b"two"])
        rig.leading.fail()
        reader = rig.follow()
        await asyncio.sleep(0.005)
        rig.publish()
        assert await reader.end_seen == "lost"
        assert reader.got == b"one "
        assert [entry.last for entry in rig.redis.streams["lead"]] == [False, True]

    run(test)


@pytest.mark.parametrize("read", [0, 1])
def test_who_is_too_late_for_its_beginning_goes_alone_for_a_while(read: int) -> None:
    """Also who has begun to read, and then fell behind: what Redis no longer holds is no answer that is kept."""

    async def test(rig: Rig) -> None:
        await rig.claim()
        rig.publish()
        rig.leading.head = HEAD
        rig.leading.publish([b"one"])
        await asyncio.sleep(0.01)
        if read == 0:
            rig.redis.gone_by = 1
        reader = rig.follow()
        await asyncio.sleep(0.01)
        rig.redis.gone_by = 2
        assert await reader.end_seen == "lost"
        assert reader.got == b"one" * read
        await asyncio.sleep(0.01)
        assert rig.flights.find(KEY) is None
        assert not rig.flights.may_begin(KEY)

    run(test)


def test_what_cannot_be_read_is_no_answer() -> None:
    async def test(rig: Rig) -> None:
        await rig.claim()
        await rig.shared.publish(shared_name(KEY), "lead", 1, b"\xc1 not ours")
        assert await rig.follow().end_seen == "lost"

    run(test)


def test_a_flight_that_is_another_now_is_published_no_more() -> None:
    async def test(rig: Rig) -> None:
        await rig.claim()
        rig.publish()
        reader = rig.follow()
        rig.leading.key = KEY._replace(usage_chunk=False)
        rig.leading.publish([b"without usage"])
        assert await reader.end_seen == "lost"
        assert reader.got == b""

    run(test)


def test_a_flight_that_nobody_follows_anywhere_is_left() -> None:
    async def test(rig: Rig) -> None:
        left: list[bool] = []
        await rig.claim()
        rig.publish()
        assert rig.leading.wanted(lambda: left.append(rig.leading.wanted(lambda: None)))
        await asyncio.sleep(0.05)
        assert left == [False], "by then it is known"

    run(test)


def test_a_flight_that_others_follow_is_not_left() -> None:
    async def test(rig: Rig) -> None:
        left: list[bool] = []
        await rig.claim()
        rig.publish()
        reader = rig.follow()
        await asyncio.sleep(0.01)
        assert rig.leading.wanted(lambda: left.append(True))
        await asyncio.sleep(0.3)
        assert left == []
        reader.seat.close()
        await asyncio.sleep(0.3)
        assert left == [True], "once the last of them has gone"

    run(test)


def test_a_redis_that_dies_has_no_followers() -> None:
    async def test(rig: Rig) -> None:
        left: list[bool] = []
        await rig.claim()
        rig.publish()
        rig.follow()
        await asyncio.sleep(0.01)
        rig.redis.down = True
        assert rig.leading.wanted(lambda: left.append(True))
        await asyncio.sleep(0.05)
        assert left == [True]

    run(test)


def test_nobody_left_follows_no_more() -> None:
    async def test(rig: Rig) -> None:
        await rig.claim()
        reader = rig.follow()
        reader.seat.close()
        await asyncio.sleep(0.1)
        assert rig.flights.may_begin(KEY)
        assert rig.redis.claims[shared_name(KEY)] == "lead"

    run(test)


def test_keys_that_differ_have_names_that_differ() -> None:
    keys = [FlightKey("k", stream, usage) for stream in (False, True) for usage in (False, True)]
    assert len({shared_name(key) for key in keys}) == 4


class SlowCache:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answer: asyncio.Future[KeptAnswer | None] = asyncio.get_running_loop().create_future()

    async def get(self, key: str) -> KeptAnswer | None:
        self.asked.append(key)
        return await asyncio.shield(self.answer)


def test_one_question_for_all_who_ask_the_same() -> None:
    async def test(_: Rig) -> None:
        cache = SlowCache()
        lookups = SharedLookups(cast(Cache, cache))
        asyncio.get_running_loop().call_later(0.01, cache.answer.set_result, None)
        assert await asyncio.gather(*(lookups.get(key) for key in ("a", "a", "b", "a"))) == [None] * 4
        assert cache.asked == ["a", "b"]
        assert await lookups.get("a") is None
        assert cache.asked == ["a", "b", "a"]

    run(test)


def test_all_who_ask_learn_that_there_is_no_answer() -> None:
    async def test(_: Rig) -> None:
        cache = SlowCache()
        lookups = SharedLookups(cast(Cache, cache))
        asyncio.get_running_loop().call_later(0.01, cache.answer.set_exception, CacheUnavailable())
        for outcome in await asyncio.gather(*(lookups.get("a") for _ in range(3)), return_exceptions=True):
            assert isinstance(outcome, CacheUnavailable)

    run(test)
