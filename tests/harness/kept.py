"""Answers and caches for tests of the cache."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from submeter.core.kept import SCHEMA, KeptAnswer
from submeter.core.record import TokenClasses
from submeter.store.cache import Cache, open_cache
from submeter.store.keys import Secrets, derive

KEY = "0123456789abcdef" * 4
OTHER = "fedcba9876543210" * 4
DEADLINE_S = 5.0
"""Where nothing is slow on purpose: a loaded machine is no fault of the code."""

SECRETS = derive(b"a secret of 32 bytes, as it seems")

ANSWER = KeptAnswer(
    schema=SCHEMA,
    form="stream",
    content_type=b"text/event-stream; charset=utf-8",
    body=b'data: {"a":"\xc3\xa4"}\n\n\x00\xff',
    call_id="0199f6f0-0000-7000-8000-000000000001",
    stored_at_ns=1_700_000_000_000_000_000,
    model_served="gpt-4o-mini-2024-07-18",
    system_fingerprint="fp_1",
    service_tier=None,
    finish_reason="stop",
    usage=TokenClasses(input_uncached=11, output_text=16),
    web_searches=None,
    ttft_ns=120_000_000,
    e2e_ns=900_000_000,
    pace=((0, 120_000_000), (10, 5_000_000)),
)


@asynccontextmanager
async def opened(
    url: str | None, *, deadline_s: float = DEADLINE_S, secrets: Secrets = SECRETS, l1_s: float = 0.0
) -> AsyncIterator[Cache]:
    cache = open_cache(url, max_bytes=1_000_000, deadline_s=deadline_s, secrets=secrets, l1_s=l1_s)
    try:
        yield cache
    finally:
        await cache.close()


def with_cache(url: str | None, check: Callable[[Cache], Awaitable[None]], l1_s: float = 0.0) -> None:
    async def run() -> None:
        async with opened(url, l1_s=l1_s) as cache:
            await check(cache)

    asyncio.run(run())
