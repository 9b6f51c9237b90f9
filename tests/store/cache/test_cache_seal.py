"""Values are sealed: what this secret has not sealed under this key is a miss and counted, whatever it is."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from redis import Redis, RedisCluster

from harness.kept import ANSWER, KEY, OTHER, SECRETS, opened, with_cache
from submeter.core.kept import SCHEMA, encode
from submeter.store.cache import Cache, Owner, names
from submeter.store.cache.seal import HEADER_BYTES, MAGIC, NO_LABEL, Sealer, read_labels
from submeter.store.keys import derive

NAME = names.answer(KEY)
SEALER = Sealer(SECRETS)
OWNER = Owner("b7e23ec29af22b0b", "gpt-4o-mini")
SEALED = SEALER.seal_answer(NAME, ANSWER, OWNER)
FOREIGN = Sealer(derive(b"another installation's secret"))


def flipped(at: int) -> bytes:
    return SEALED[:at] + bytes([SEALED[at] ^ 1]) + SEALED[at + 1 :]


FORGED = {
    "nothing": b"",
    "text": b"hello",
    "an answer, unsealed": encode(ANSWER),
    "a header alone": SEALED[:HEADER_BYTES],
    "cut": SEALED[:-1],
    "cut to the nonce": SEALED[: HEADER_BYTES + 12],
    "longer": SEALED + b"\x00",
    "of another schema": b"smc" + bytes([SCHEMA - 1]) + SEALED[len(MAGIC) :],
    "an older answer, sealed": SEALER.seal(NAME, encode(replace(ANSWER, schema=1)), SEALED[:HEADER_BYTES]),
    "sealed, but no answer": SEALER.seal(NAME, b"\x90", SEALED[:HEADER_BYTES]),
    "of another key": SEALER.seal_answer(names.answer(OTHER), ANSWER, OWNER),
    "of another secret": FOREIGN.seal_answer(NAME, ANSWER, OWNER),
    "another's tenant label": SEALED[: len(MAGIC)] + NO_LABEL + SEALED[len(MAGIC) + 8 :],
    "a pickle": b"cos\nsystem\n(S'true'\ntR.",
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_values_are_misses(name: str) -> None:
    assert SEALER.open_answer(NAME, FORGED[name]) is None


@pytest.mark.parametrize("at", range(len(SEALED)))
def test_no_byte_can_be_changed(at: int) -> None:
    assert SEALER.open_answer(NAME, flipped(at)) is None


@given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda tail: SEALED[:HEADER_BYTES] + tail))
@settings(max_examples=300)
def test_no_bytes_make_reading_raise(value: bytes) -> None:
    assert SEALER.open_answer(NAME, value) is None
    read_labels(value)


@given(st.text(max_size=80), st.binary(max_size=300), st.binary(max_size=20))
def test_what_was_sealed_opens_under_its_name_only(name: str, plain: bytes, label: bytes) -> None:
    value = SEALER.seal(name, plain, MAGIC + label)
    assert SEALER.open(name, value, len(MAGIC) + len(label)) == plain
    assert SEALER.open(name + "x", value, len(MAGIC) + len(label)) is None


def test_the_same_answer_never_looks_the_same() -> None:
    assert len({SEALER.seal_answer(NAME, ANSWER, OWNER)[HEADER_BYTES:] for _ in range(100)}) == 100


def test_labels_tell_whose_it_is_to_who_has_the_secret() -> None:
    labels = read_labels(SEALED)
    assert labels is not None
    assert labels.tenant == SEALER.label("tenant", "b7e23ec29af22b0b")
    assert labels.is_of_model(SEALER.label("model", "gpt-4o-mini"))
    assert labels.is_of_model(SEALER.label("model", "gpt-4o-mini-2024-07-18"))
    assert not labels.is_of_model(SEALER.label("model", "gpt-4o"))
    assert labels.tenant not in (FOREIGN.label("tenant", "b7e23ec29af22b0b"), SEALER.label("model", "b7e23ec29af22b0b"))


# ---- where it lies ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORGED)
def test_in_redis_each_is_a_miss_is_counted_and_is_replaced(name: str, url: str, server: Redis | RedisCluster) -> None:
    async def check(cache: Cache) -> None:
        server.set(NAME, FORGED[name])
        assert await cache.get(KEY) is None
        assert (cache.stats.rejected, cache.stats.misses, cache.stats.errors) == (1, 1, 0)
        await cache.put(KEY, ANSWER, 60)
        assert await cache.get(KEY) == ANSWER
        assert (cache.stats.rejected, cache.stats.hits) == (1, 1)

    with_cache(url, check)


def test_in_redis_answers_cannot_be_swapped(url: str, server: Redis | RedisCluster) -> None:
    async def check(cache: Cache) -> None:
        await cache.put(KEY, ANSWER, 60)
        await cache.put(OTHER, replace(ANSWER, body=b"another tenant's"), 60)
        mine, others = server.get(names.answer(KEY)), server.get(names.answer(OTHER))
        server.set(names.answer(KEY), others)
        server.set(names.answer(OTHER), mine)
        assert [await cache.get(KEY), await cache.get(OTHER)] == [None, None]
        assert cache.stats.rejected == 2

    with_cache(url, check)


async def _both(url: str) -> None:
    async with opened(url) as ours, opened(url, secrets=derive(b"another secret")) as theirs:
        await ours.put(KEY, ANSWER, 60)
        assert await theirs.get(KEY) is None
        assert theirs.stats.rejected == 1
        assert await ours.get(KEY) == ANSWER


def test_in_redis_another_installation_reads_nothing(url: str) -> None:
    asyncio.run(_both(url))


def test_in_redis_nothing_can_be_read_without_the_secret(url: str, server: Redis | RedisCluster) -> None:
    async def check(cache: Cache) -> None:
        await cache.put(KEY, ANSWER, 60, OWNER)
        assert [name.decode() for name in server.scan_iter()] == [NAME]
        value = server.get(NAME)
        assert isinstance(value, bytes)
        for text in (b"data:", b"gpt", b"b7e23ec29af22b0b", b"event-stream", ANSWER.call_id.encode()):
            assert text not in value

    with_cache(url, check)


def test_in_redis_answers_expire(url: str, server: Redis | RedisCluster) -> None:
    with_cache(url, lambda cache: cache.put(KEY, ANSWER, 90))
    assert 60 < server.ttl(NAME) <= 90
