"""One call for all relays: two caches on one server are two relays here."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from redis import Redis, RedisCluster

from harness.kept import KEY, OTHER, SECRETS, opened
from submeter.store.cache import CacheUnavailable, Entry, SharedFlights, flights, names
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


def test_one_of_many_gets_the_claim(url: str) -> None:
    async def check(one: SharedFlights, two: SharedFlights) -> None:
        claims = await asyncio.gather(*((one, two)[n % 2].claim(KEY, f"t{n}", 60) for n in range(50)))
        assert claims.count(True) == 1
        assert await two.claim(OTHER, "t", 60), "another key is another flight"

    with_two(url, check)


def test_a_claim_is_free_again_after_its_release_and_after_its_time(url: str) -> None:
    async def check(one: SharedFlights, two: SharedFlights) -> None:
        assert await one.claim(KEY, "a", 60)
        assert not await two.release(KEY, "b"), "only by its own token"
        assert not await two.claim(KEY, "b", 60)
        assert await one.release(KEY, "a")
        assert await two.claim(KEY, "b", 0.05)
        await asyncio.sleep(0.2)
        assert not await two.extend(KEY, "b", 60), "too late"
        assert await one.claim(KEY, "c", 60)

    with_two(url, check)


def test_a_claim_is_extended_by_its_token_only(url: str, server: Redis | RedisCluster) -> None:
    async def check(one: SharedFlights, two: SharedFlights) -> None:
        assert await one.claim(KEY, "a", 10)
        await one.publish(KEY, "a", 1, b"x")
        server.pexpire(names.stream(KEY, "a"), 5_000)
        assert await one.extend(KEY, "a", 100)
        assert server.ttl(names.stream(KEY, "a")) > 5, "what was published lives on with it"
        assert not await two.extend(KEY, "b", 1_000)
        assert 50 < server.ttl(names.flight(KEY)) <= 100

    with_two(url, check)


def test_what_is_published_is_followed_in_order(url: str) -> None:
    async def check(one: SharedFlights, two: SharedFlights) -> None:
        assert await two.follow(KEY) == [], "nobody has claimed it"
        assert await one.claim(KEY, "a", 60)
        assert await two.follow(KEY) == [], "nothing has come yet"
        await one.publish(KEY, "a", 1, b"data: 1\n\n")
        first = await two.follow(KEY)
        await one.publish(KEY, "a", 2, b"")
        await one.publish(KEY, "a", 3, b"\x00\xff", last=True)
        assert first == [Entry(1, b"data: 1\n\n", last=False, token="a")]
        assert await two.follow(KEY, 1, token="a") == [
            Entry(2, b"", last=False, token="a"),
            Entry(3, b"\x00\xff", last=True, token="a"),
        ]

    with_two(url, check)


def test_who_waits_is_told_at_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flights, "FOLLOW_S", 60.0)
    monkeypatch.setattr(flights, "FOLLOW_DEADLINE_S", 60.0)

    async def check(one: SharedFlights, two: SharedFlights) -> None:
        assert await one.claim(KEY, "a", 60)
        following = [asyncio.ensure_future(two.follow(KEY, token="a")) for _ in range(20)]  # noqa: TID251 - awaited below
        await asyncio.sleep(0.05)
        await one.publish(KEY, "a", 1, b"x", last=True)
        assert await asyncio.gather(*following) == [[Entry(1, b"x", last=True, token="a")]] * 20

    with_two(url, check)


def test_a_flight_can_be_followed_after_its_release_and_the_next_one_is_not_mistaken_for_it(
    url: str, server: Redis | RedisCluster
) -> None:
    async def check(one: SharedFlights, two: SharedFlights) -> None:
        assert await one.claim(KEY, "a", 60)
        await one.publish(KEY, "a", 1, b"a1")
        await one.publish(KEY, "a", 2, b"a2", last=True)
        await one.release(KEY, "a")
        assert await two.claim(KEY, "b", 60)
        await two.publish(KEY, "b", 1, b"b1")
        assert [entry.data for entry in await two.follow(KEY, 1, token="a")] == [b"a2"]
        assert [entry.data for entry in await one.follow(KEY)] == [b"b1"]
        assert 0 < server.ttl(names.stream(KEY, "a")) <= flights.STREAM_TTL_S

    with_two(url, check)


def test_who_lost_the_claim_publishes_nothing(url: str) -> None:
    async def check(one: SharedFlights, two: SharedFlights) -> None:
        assert await one.claim(KEY, "a", 0.05)
        await asyncio.sleep(0.2)
        assert await two.claim(KEY, "b", 60)
        with pytest.raises(CacheUnavailable):
            await one.publish(KEY, "a", 1, b"late")
        assert await two.follow(KEY, token="a") == []

    with_two(url, check)


def test_no_place_is_published_twice(url: str) -> None:
    async def check(one: SharedFlights, two: SharedFlights) -> None:
        assert await one.claim(KEY, "a", 60)
        await one.publish(KEY, "a", 1, b"first")
        with pytest.raises(CacheUnavailable):
            await one.publish(KEY, "a", 1, b"again")
        assert [entry.data for entry in await two.follow(KEY)] == [b"first"]

    with_two(url, check)


def test_a_flight_whose_beginning_has_expired_is_not_followed(url: str, server: Redis | RedisCluster) -> None:
    async def check(one: SharedFlights, two: SharedFlights) -> None:
        assert await one.claim(KEY, "a", 60)
        await one.publish(KEY, "a", 1, b"first")
        server.delete(names.stream(KEY, "a"))
        await one.publish(KEY, "a", 2, b"second", last=True)
        with pytest.raises(CacheUnavailable):
            await two.follow(KEY)
        assert [entry.data for entry in await two.follow(KEY, 1, token="a")] == [b"second"], "who has read the first"

    with_two(url, check)


def test_a_claim_that_is_sent_twice_is_one(url: str) -> None:
    async def check(one: SharedFlights, two: SharedFlights) -> None:
        assert [await one.claim(KEY, "a", 60), await one.claim(KEY, "a", 60)] == [True, True]
        assert not await two.claim(KEY, "b", 60)

    with_two(url, check)


def test_a_flight_is_bounded(url: str) -> None:
    async def check(one: SharedFlights, two: SharedFlights) -> None:
        assert await one.claim(KEY, "a", 60)
        half = bytes(flights.MAX_FLIGHT_BYTES // 2)
        await one.publish(KEY, "a", 1, half)
        await one.publish(KEY, "a", 2, half)
        with pytest.raises(CacheUnavailable):
            await one.publish(KEY, "a", 3, b"x")
        assert [len(entry.data) for entry in await two.follow(KEY)] == [len(half)] * 2
        await one.release(KEY, "a")
        assert await one.claim(KEY, "b", 60)
        await one.publish(KEY, "b", 1, half)

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
                await one.follow(KEY, token="a")
        server.delete(stream)
        server.xadd(stream, {"d": good}, id="1-0")
        assert await one.follow(KEY, token="a") == [Entry(1, b"data", last=False, token="a")]

    with_two(url, check)


def test_all_keys_of_one_answer_lie_in_one_slot() -> None:
    from redis.crc import key_slot

    slots = {key_slot(name.encode()) for name in (names.answer(KEY), names.flight(KEY), names.stream(KEY, "{t}"))}
    assert len(slots) == 1
    assert key_slot(names.answer(OTHER).encode()) not in slots
