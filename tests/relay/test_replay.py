"""An answer that is being given to the cache is found by whoever asks before it is there."""

import asyncio
from types import SimpleNamespace
from typing import Any

from submeter.core.kept import SCHEMA, KeptAnswer
from submeter.core.record import TokenClasses
from submeter.relay import replay
from submeter.store.cache import NOBODY

KEPT = KeptAnswer(
    schema=SCHEMA,
    form="whole",
    content_type=b"application/json",
    body=b'{"object":"list"}',
    call_id="c1",
    stored_at_ns=1,
    model_served="m",
    system_fingerprint=None,
    service_tier=None,
    finish_reason=None,
    usage=TokenClasses(input_uncached=1),
    web_searches=None,
    ttft_ns=None,
    e2e_ns=None,
    pace=(),
)


class SlowCache:
    """Takes an answer only when it is told to, and never finds one."""

    def __init__(self) -> None:
        self.may_take = asyncio.Event()

    async def get(self, key: str) -> None:
        return None

    async def put(self, *_: object) -> None:
        await self.may_take.wait()


def test_an_answer_on_its_way_to_the_cache_is_a_hit() -> None:
    asyncio.run(_ask_while_it_is_put())


async def _ask_while_it_is_put() -> None:
    cache = SlowCache()
    relay: Any = SimpleNamespace(cache=cache, on_its_way={"k": KEPT})
    call: Any = SimpleNamespace(relay=relay, request=SimpleNamespace(headers=[]))
    facts = SimpleNamespace(stream=False, include_usage=False)
    plan: Any = SimpleNamespace(cache_key="k", cache="miss", route=SimpleNamespace(endpoint="embeddings"), facts=facts)
    putting = asyncio.create_task(replay._put(relay, "k", KEPT, 60.0, NOBODY))  # noqa: TID251 - a test's own
    await asyncio.sleep(0)
    assert await replay.find(call, plan) == KEPT
    cache.may_take.set()
    await putting
    assert relay.on_its_way == {}
    assert await replay.find(call, plan) is None
