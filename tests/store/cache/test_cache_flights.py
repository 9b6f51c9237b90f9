"""One call for all relays: two caches on one server are two relays here."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from redis import Redis, RedisCluster

from harness.kept import ANSWER, KEY, OTHER, SECRETS, opened
from submeter.store.cache import NOBODY, CacheUnavailable, Entry, SharedFlights, flights, names
from submeter.store.cache.flights import Claim, GoneBy
from submeter.store.cache.seal import Sealer
from submeter.store.keys import derive

Check = Callable[[SharedFlights, SharedFlights], Awaitable[None]]


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flights, "FOLLOW_S", 0.05)


def with_two(url: str, check: Check) -> None:
    async def run() -> None:
        async with opened(url) as one, opened(url) as two:
            assert one.shared is not None
            assert two.shared is not None
            await check(one.shared, two.shared)

    asyncio.run(run())


async def followed(shared: SharedFlights) -> list[Entry]:
    """All of the flight that is in the air."""
    token = await shared.listen(KEY, 60)
    return [] if token is None else await shared.follow(KEY, token)


def test_one_of_many_gets_the_claim(url: str) -> None:
    async def check(one: SharedFlights, two: SharedFlights) -> None:
        claims = await asyncio.gather(*((one, two)[n % 2].claim(KEY, f"t{n}", 60) for n in range(50)))
        assert [claim.won for claim in claims].count(True) == 1
        assert (await two.claim(OTHER, "t", 60)).won, "another key is another flight"

    with_two(url, check)


def test_a_claim_tells_of_the_answer_that_came_meanwhile(url: str, server: Redis | RedisCluster) -> None:
    """Whoever has won. It is one hit more, and no miss: that one was counted when the cache was asked before."""

    async def run() -> None:
        async with opened(url) as one, opened(url) as two:
            assert one.shared is not None
            assert two.shared is not None
            assert await one.shared.claim(f"{KEY}:stream", "a", 60) == Claim(won=True, kept=None)
            await one.put(KEY, ANSWER, 60)
            assert await two.shared.claim(f"{KEY}:stream", "b", 60) == Claim(won=False, kept=ANSWER)
            assert await two.shared.claim(f"{KEY}:whole", "b", 60) == Claim(won=True, kept=ANSWER)
            assert await two.shared.claim(OTHER, "b", 60) == Claim(won=True, kept=None)
            assert (two.stats.hits, two.stats.misses, two.stats.rejected) == (2, 0, 0)
            assert (one.stats.hits, one.stats.misses, one.stats.rejected) == (0, 0, 0)

    asyncio.run(run())


def test_a_forged_answer_is_none_for_a_claim_either(url: str, server: Redis | RedisCluster) -> None:
    sealer = Sealer(SECRETS)
    forged = [b"", b"forged", sealer.seal_answer(names.answer(OTHER), ANSWER, NOBODY)]

    async def run() -> None:
        async with opened(url) as cache:
            assert cache.shared is not None
            for value in forged:
                server.set(names.answer(KEY), value)
                assert await cache.shared.claim(f"{KEY}:stream", "a", 60) == Claim(won=True, kept=None)
            assert (cache.stats.hits, cache.stats.misses, cache.stats.rejected) == (0, 3, 3)

    asyncio.run(run())


def test_a_claim_is_free_again_after_its_release_and_after_its_time(url: str) -> None:
    async def check(one: SharedFlights, two: SharedFlights) -> None:
        assert (await one.claim(KEY, "a", 60)).won
        assert not await two.release(KEY, "b"), "only by its own token"
        assert not (await two.claim(KEY, "b", 60)).won
        assert await one.release(KEY, "a")
        assert (await two.claim(KEY, "b", 0.05)).won
        await asyncio.sleep(0.2)
        assert not await two.extend(KEY, "b", 60), "too late"
        assert (await one.claim(KEY, "c", 60)).won

    with_two(url, check)


def test_a_claim_is_extended_by_its_token_only(url: str, server: Redis | RedisCluster) -> None:
    async def check(one: SharedFlights, two: SharedFlights) -> None:
        assert (await one.claim(KEY, "a", 10)).won
        await one.publish(KEY, "a", 1, b"x")
        server.pexpire(names.stream(KEY, "a"), 5_000)
        assert await one.extend(KEY, "a", 100)
        assert server.ttl(names.stream(KEY, "a")) > 5, "what was published lives on with it"
        assert not await two.extend(KEY, "b", 1_000)
        assert 50 < server.ttl(names.flight(KEY)) <= 100

    with_two(url, check)


def test_what_is_published_is_followed_in_order(url: str) -> None:
    async def check(one: SharedFlights, two: SharedFlights) -> None:
        assert await followed(two) == [], "nobody has claimed it"
        assert (await one.claim(KEY, "a", 60)).won
        assert await followed(two) == [], "nothing has come yet"
        await one.publish(KEY, "a", 1, b"data: 1\n\n")
        first = await followed(two)
        await one.publish(KEY, "a", 2, b"")
        await one.publish(KEY, "a", 3, b"\x00\xff", last=True)
        assert first == [Entry(1, b"data: 1\n\n", last=False)]
        assert await two.follow(KEY, "a", 1) == [
            Entry(2, b"", last=False),
            Entry(3, b"\x00\xff", last=True),
        ]

    with_two(url, check)


def test_who_waits_is_told_at_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flights, "FOLLOW_S", 60.0)
    monkeypatch.setattr(flights, "FOLLOW_DEADLINE_S", 60.0)

    async def check(one: SharedFlights, two: SharedFlights) -> None:
        assert (await one.claim(KEY, "a", 60)).won
        following = [asyncio.ensure_future(two.follow(KEY, "a")) for _ in range(20)]  # noqa: TID251 - awaited below
        await asyncio.sleep(0.05)
        await one.publish(KEY, "a", 1, b"x", last=True)
        assert await asyncio.gather(*following) == [[Entry(1, b"x", last=True)]] * 20

    with_two(url, check)


def test_a_flight_can_be_followed_after_its_release_and_the_next_one_is_not_mistaken_for_it(
    url: str, server: Redis | RedisCluster
) -> None:
    async def check(one: SharedFlights, two: SharedFlights) -> None:
        assert (await one.claim(KEY, "a", 60)).won
        await one.publish(KEY, "a", 1, b"a1")
        assert await two.listen(KEY, 60) == "a"
        await one.publish(KEY, "a", 2, b"a2", last=True)
        await one.release(KEY, "a")
        assert (await two.claim(KEY, "b", 60)).won
        await two.publish(KEY, "b", 1, b"b1")
        assert [entry.data for entry in await two.follow(KEY, "a", 1)] == [b"a2"]
        assert [entry.data for entry in await followed(one)] == [b"b1"]
        assert 0 < server.ttl(names.stream(KEY, "a")) <= flights.STREAM_TTL_S

    with_two(url, check)


def test_what_nobody_listened_to_goes_with_the_claim(url: str, server: Redis | RedisCluster) -> None:
    """Who comes too late is told so at once, and finds the answer in the cache."""

    async def check(one: SharedFlights, two: SharedFlights) -> None:
        assert (await one.claim(KEY, "a", 60)).won
        await one.publish(KEY, "a", 1, b"a1", last=True)
        assert not await one.is_heard(KEY)
        assert await one.release(KEY, "a")
        assert server.exists(names.stream(KEY, "a")) == 0
        assert await two.listen(KEY, 60) is None
        assert await two.follow(KEY, "a", wait=False) == []

    with_two(url, check)


@pytest.mark.parametrize("heard_again", [False, True])
def test_what_somebody_listened_to_stays(url: str, server: Redis | RedisCluster, heard_again: bool) -> None:
    """Also where that one has said nothing for a while: it may be slow."""

    async def check(one: SharedFlights, two: SharedFlights) -> None:
        assert (await one.claim(KEY, "a", 60)).won
        await one.publish(KEY, "a", 1, b"a1")
        if not heard_again:
            assert await two.listen(KEY, 0.05) == "a"
        await one.publish(KEY, "a", 2, b"a2")
        await asyncio.sleep(0.1)
        assert not await one.is_heard(KEY)
        await one.publish(KEY, "a", 3, b"a3", last=True)
        if heard_again:
            assert await two.listen(KEY, 60) == "a"
            assert await one.is_heard(KEY)
        assert await one.release(KEY, "a")
        assert [entry.data for entry in await two.follow(KEY, "a")] == [b"a1", b"a2", b"a3"]
        assert 0 < server.ttl(names.stream(KEY, "a")) <= flights.STREAM_TTL_S

    with_two(url, check)


def test_a_follower_need_not_wait(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flights, "FOLLOW_S", 60.0)

    async def check(one: SharedFlights, two: SharedFlights) -> None:
        assert (await one.claim(KEY, "a", 60)).won
        assert await two.follow(KEY, "a", wait=False) == []
        await one.publish(KEY, "a", 1, b"x")
        assert await two.follow(KEY, "a", wait=False) == [Entry(1, b"x", last=False)]

    with_two(url, check)


def test_who_lost_the_claim_publishes_nothing(url: str) -> None:
    async def check(one: SharedFlights, two: SharedFlights) -> None:
        assert (await one.claim(KEY, "a", 0.05)).won
        await asyncio.sleep(0.2)
        assert (await two.claim(KEY, "b", 60)).won
        with pytest.raises(CacheUnavailable):
            await one.publish(KEY, "a", 1, b"late")
        assert await two.follow(KEY, "a") == []

    with_two(url, check)


def test_no_place_is_published_twice(url: str) -> None:
    async def check(one: SharedFlights, two: SharedFlights) -> None:
        assert (await one.claim(KEY, "a", 60)).won
        await one.publish(KEY, "a", 1, b"first")
        with pytest.raises(CacheUnavailable):
            await one.publish(KEY, "a", 1, b"again")
        assert [entry.data for entry in await followed(two)] == [b"first"]

    with_two(url, check)


def test_a_flight_whose_beginning_has_expired_is_not_followed(url: str, server: Redis | RedisCluster) -> None:
    async def check(one: SharedFlights, two: SharedFlights) -> None:
        assert (await one.claim(KEY, "a", 60)).won
        await one.publish(KEY, "a", 1, b"first")
        server.delete(names.stream(KEY, "a"))
        await one.publish(KEY, "a", 2, b"second", last=True)
        with pytest.raises(CacheUnavailable):
            await followed(two)
        assert [entry.data for entry in await two.follow(KEY, "a", 1)] == [b"second"], "who has read the first"

    with_two(url, check)


def test_a_claim_that_is_sent_twice_is_one(url: str) -> None:
    async def check(one: SharedFlights, two: SharedFlights) -> None:
        assert (await one.claim(KEY, "a", 60)).won
        assert (await one.claim(KEY, "a", 60)).won
        assert not (await two.claim(KEY, "b", 60)).won

    with_two(url, check)


def test_who_keeps_up_follows_more_than_is_held(url: str, server: Redis | RedisCluster) -> None:
    """Three windows go by; Redis never holds more than one of them."""
    piece = bytes(flights.WINDOW_BYTES // 8)

    async def check(one: SharedFlights, two: SharedFlights) -> None:
        assert (await one.claim(KEY, "a", 60)).won
        for seq in range(1, 25):
            await one.publish(KEY, "a", seq, piece, last=seq == 24)
            assert server.xlen(names.stream(KEY, "a")) == min(seq, 8)
            assert await two.follow(KEY, "a", seq - 1) == [Entry(seq, piece, last=seq == 24)]
        assert server.memory_usage(names.stream(KEY, "a")) < 1.5 * flights.WINDOW_BYTES

    with_two(url, check)


def test_who_is_further_behind_than_is_held_is_cut(url: str) -> None:
    half = bytes(flights.WINDOW_BYTES // 2)

    async def check(one: SharedFlights, two: SharedFlights) -> None:
        assert (await one.claim(KEY, "a", 60)).won
        for seq in (1, 2):
            await one.publish(KEY, "a", seq, half)
        assert [entry.seq for entry in await followed(two)] == [1, 2], "the beginning is there"
        await one.publish(KEY, "a", 3, b"x", last=True)
        with pytest.raises(GoneBy):
            await followed(two)
        assert [entry.seq for entry in await two.follow(KEY, "a", 1)] == [2, 3], "who has read the first"
        await one.publish(KEY, "a", 4, half)
        with pytest.raises(GoneBy):
            await two.follow(KEY, "a", 1)
        assert [entry.seq for entry in await two.follow(KEY, "a", 2)] == [3, 4]

    with_two(url, check)


def test_no_entry_is_larger_than_what_is_held(url: str) -> None:
    async def check(one: SharedFlights, two: SharedFlights) -> None:
        assert (await one.claim(KEY, "a", 60)).won
        with pytest.raises(CacheUnavailable):
            await one.publish(KEY, "a", 1, bytes(flights.WINDOW_BYTES + 1))
        await one.publish(KEY, "a", 1, bytes(flights.WINDOW_BYTES))
        assert len((await followed(two))[0].data) == flights.WINDOW_BYTES

    with_two(url, check)


def test_what_is_published_is_sealed_in_its_place(url: str, server: Redis | RedisCluster) -> None:
    """Changed, moved, of another flight or of another secret: nobody follows it any further."""
    sealer, stream = Sealer(SECRETS), names.stream(KEY, "a")
    good = sealer.seal(f"{stream}:1", b"\x00data")
    forged = [
        b"",
        b"data",
        good[:-1],
        sealer.seal(f"{stream}:2", b"\x00data"),
        sealer.seal(f"{names.stream(KEY, 'b')}:1", b"\x00data"),
        sealer.seal(f"{stream}:1", b""),
        Sealer(derive(b"another secret")).seal(f"{stream}:1", b"\x00data"),
    ]

    async def check(one: SharedFlights, two: SharedFlights) -> None:
        for value in forged:
            server.delete(stream)
            server.xadd(stream, {"d": value}, id="1-0")
            with pytest.raises(CacheUnavailable):
                await one.follow(KEY, "a")
        server.delete(stream)
        server.xadd(stream, {"d": good}, id="1-0")
        assert await one.follow(KEY, "a") == [Entry(1, b"data", last=False)]

    with_two(url, check)


def test_all_keys_of_one_answer_lie_in_one_slot() -> None:
    from redis.crc import key_slot

    ours = [names.answer(KEY)]
    for key in (KEY, f"{KEY}:stream:usage"):
        ours += [names.answer_of(key), names.flight(key), names.heard(key), names.stream(key, "{t}")]
    assert len({key_slot(name.encode()) for name in ours}) == 1
    assert len(set(ours)) == 7, "one answer, two flights"
    slots = {key_slot(names.answer(KEY).encode())}
    assert key_slot(names.answer(OTHER).encode()) not in slots
