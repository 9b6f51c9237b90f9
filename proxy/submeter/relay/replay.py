"""Deterministic calls and the cache: which may be answered from it, how a kept answer is given, what is kept."""

import time
from typing import TYPE_CHECKING

from submeter.core import headers
from submeter.core.body import EventBody
from submeter.core.cachekey import cache_key
from submeter.core.dialect import dialect_for
from submeter.core.record import Finish
from submeter.relay.answers import LAST_CHUNK, answer_head, call_headers, chunk
from submeter.store.cache import SCHEMA, CachedAnswer, CacheUnavailable
from submeter.tasks import spawn

if TYPE_CHECKING:
    from submeter.relay.forward import ForwardedAnswer
    from submeter.relay.handler import HandledCall, Planned

_KEPT_REASONS = frozenset({None, "stop", "end_turn", "completed"})


def key_of(call: "HandledCall", plan: "Planned", credential: bytes | None) -> str | None:
    """The key of a call whose answer may come from the cache, else ``None``. A caller without a credential is no
    tenant. Streams and whole answers are kept apart: each is replayed as it was received."""
    control = (headers.find(call.request.headers, b"cache-control") or b"").lower()
    refused = b"no-store" in control or b"no-cache" in control
    if call.relay.cache is None or credential is None or refused or not plan.facts.deterministic:
        return None
    key = cache_key(
        secret=call.relay.keys.cache,
        tenant=credential,
        upstream=plan.upstream.name,
        endpoint=plan.route.path,
        query=plan.route.query,
        headers=call.request.headers,
        body=plan.body.body,
    )
    return f"{key}:{'stream' if plan.facts.stream else 'whole'}"


async def find(call: "HandledCall", plan: "Planned") -> CachedAnswer | None:
    """The kept answer. Without a cache that answers, the call goes around it (FAULTS 27)."""
    cache = call.relay.cache
    if cache is None or plan.cache_key is None:
        return None
    try:
        return await cache.get(plan.cache_key)
    except CacheUnavailable:
        plan.cache, plan.cache_key = "bypass", None
        return None


def replay(call: "HandledCall", plan: "Planned", found: CachedAnswer) -> bytes:
    """The whole HTTP answer. Its row is journalled first; it tells when and what, and that it cost nothing."""
    plan.cache = "hit"
    body = _as_asked(plan, found)
    now_ns = time.monotonic_ns() - plan.t0_ns
    finish = Finish(
        call_id=call.call_id,
        attempt=1,
        outcome="ok",
        status=200,
        cache="hit",
        model_served=found.model_served,
        service_tier=found.service_tier,
        finish_reason=found.finish_reason,
        usage=found.usage,
        ttfb_ns=now_ns,
        e2e_ns=now_ns,
        overhead_ns=now_ns,
        bytes_out=len(body),
    )
    call.relay.journal.start_and_finish(call.start_of(plan, 1), finish)
    chunked = plan.facts.stream and call.request.version == "1.1"
    head = [(b"Content-Type", found.content_type), *call_headers(call.call_id, plan.cache)]
    head.append((b"Transfer-Encoding", b"chunked") if chunked else (b"Content-Length", str(len(body)).encode()))
    if not call.keep_alive:
        head.append((b"Connection", b"close"))
    return answer_head(200, b"OK", head) + (chunk(body) + LAST_CHUNK if chunked else body)


def keep(call: "HandledCall", plan: "Planned", answer: "ForwardedAnswer") -> None:
    """Only what is complete, ended by itself and has its usage is kept: never a truncated answer."""
    finish, cache = answer.exchange.finish, call.relay.cache
    if cache is None or plan.cache_key is None or not answer.kept or finish is None or finish.usage is None:
        return
    complete = answer.exchange.answer_complete and finish.status == 200 and finish.finish_reason in _KEPT_REASONS
    if not complete:
        return
    kept = CachedAnswer(
        schema=SCHEMA,
        content_type=answer.content_type,
        body=b"".join(answer.kept),
        model_served=finish.model_served,
        service_tier=finish.service_tier,
        finish_reason=finish.finish_reason,
        usage=finish.usage,
    )
    spawn(cache.put(plan.cache_key, kept, call.relay.settings.cache.ttl_s), "cache put")


def _as_asked(plan: "Planned", found: CachedAnswer) -> bytes:
    """A stream was kept with its usage chunk; who did not ask for it does not get it."""
    if not found.content_type.startswith(b"text/event-stream"):
        return found.body
    reader = EventBody(dialect_for(plan.route.endpoint), strip_usage=not plan.facts.include_usage)
    return reader.feed(found.body) + reader.end()
