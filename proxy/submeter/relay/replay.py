"""Deterministic calls and the cache: which may be answered from it, how a kept answer is given, what is kept.

``core.cacheable`` says what may be asked and kept, ``core.cachekey`` under which key, ``core.conversion`` how a whole
answer is said as a stream and the reverse; here is what they have to do with a call.
"""

import time
from typing import TYPE_CHECKING

import msgspec

from submeter.core import conversion
from submeter.core.cacheable import Rules, Wishes, fingerprint, may_ask, may_keep, read_wishes, ttl_s
from submeter.core.cachekey import cache_key, tenant_of
from submeter.core.kept import SCHEMA, Form, KeptAnswer, moved_pace, recorded_pace
from submeter.core.record import Finish
from submeter.relay import pacing
from submeter.relay.answers import LAST_CHUNK, answer_head, call_headers, chunk
from submeter.store.cache import CacheUnavailable, Owner
from submeter.tasks import spawn

if TYPE_CHECKING:
    from submeter.relay.forward import ForwardedAnswer
    from submeter.relay.handler import HandledCall, Planned
    from submeter.relay.relay import Relay


def key_of(call: "HandledCall", plan: "Planned") -> str | None:
    """The key of a call that the cache may answer or be filled by, else ``None``. A caller without a credential is no
    tenant, unless all callers of the upstream are one."""
    headers, upstream = call.request.headers, plan.upstream
    tenant = tenant_of(headers, upstream.name if upstream.share_cache else None)
    if call.relay.cache is None or tenant is None:
        return None
    wishes = read_wishes(headers)
    asks = may_ask(plan.route.endpoint, plan.body, plan.facts, _rules(call, plan))
    if not asks or not (wishes.read or wishes.keep):
        return None
    return cache_key(
        secret=call.relay.keys.cache,
        tenant=tenant,
        upstream=upstream.name,
        model=plan.facts.model,
        path=plan.route.path,
        query=plan.route.query,
        headers=headers,
        body=plan.body.body,
    )


async def find(call: "HandledCall", plan: "Planned") -> KeptAnswer | None:
    """The kept answer, in the form that the caller asked for, and with a pace only if it is to be given at it. Without
    a cache that answers, the call goes around it (FAULTS 27); a caller that wants it made anew goes around it too, and
    fills it."""
    cache = call.relay.cache
    if cache is None or plan.cache_key is None:
        return None
    wishes = read_wishes(call.request.headers)
    if not wishes.read:
        plan.cache = "bypass"
        return None
    kept = call.relay.on_its_way.get(plan.cache_key)
    if kept is None:
        try:
            kept = await cache.get(plan.cache_key)
        except CacheUnavailable:
            plan.cache, plan.cache_key = "bypass", None
            return None
    return None if kept is None or _too_old(kept, wishes) else as_asked(call, plan, kept)


async def answer(call: "HandledCall", plan: "Planned", found: KeptAnswer) -> None:
    """Give it to its caller: at once, or as it came."""
    if found.pace:
        await pacing.play(call, plan, found)
    else:
        call.finish_with(replay(call, plan, found))


def replay(call: "HandledCall", plan: "Planned", found: KeptAnswer) -> bytes:
    """The whole HTTP answer. Its row is journalled first; it tells when and what, and that it cost nothing."""
    plan.cache = "hit"
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
        web_searches=found.web_searches,
        ttfb_ns=now_ns,
        e2e_ns=now_ns,
        overhead_ns=now_ns,
        bytes_out=len(found.body),
    )
    call.relay.journal.start_and_finish(call.start_of(plan, 1), finish)
    chunked = plan.facts.stream and call.request.version == "1.1"
    head = [(b"Content-Type", found.content_type), *call_headers(call.call_id, plan.cache)]
    head.append((b"Transfer-Encoding", b"chunked") if chunked else (b"Content-Length", str(len(found.body)).encode()))
    if not call.keep_alive:
        head.append((b"Connection", b"close"))
    return answer_head(200, b"OK", head) + (chunk(found.body) + LAST_CHUNK if chunked else found.body)


def keep(call: "HandledCall", plan: "Planned", answer: "ForwardedAnswer") -> None:
    """Give the cache what it may keep: never a truncated answer, nor one that its caller does not want kept."""
    cache, finish = call.relay.cache, answer.exchange.finish
    if cache is None or plan.cache_key is None or finish is None or not will_keep(call, plan, answer):
        return
    lifetime_s = ttl_s(_rules(call, plan), read_wishes(call.request.headers))
    kept = _kept(answer, finish, plan.t0_ns)
    if kept is not None:
        call.relay.on_its_way[plan.cache_key] = kept
        owner = Owner(tenant=plan.who.key_id, model=plan.facts.model)
        spawn(_put(call.relay, plan.cache_key, kept, lifetime_s, owner), "cache put")


async def _put(relay: "Relay", key: str, kept: KeptAnswer, lifetime_s: float, owner: Owner) -> None:
    """The caller does not wait for it, and may ask again at once: until then the answer is found in this relay."""
    try:
        if relay.cache is not None:
            await relay.cache.put(key, kept, lifetime_s, owner)
    finally:
        if relay.on_its_way.get(key) is kept:
            del relay.on_its_way[key]


def will_keep(call: "HandledCall", plan: "Planned", answer: "ForwardedAnswer") -> bool:
    """May this answer be kept? ``answer.kept`` is empty where it was too large."""
    exchange = answer.exchange
    head, finish = exchange.head, exchange.finish
    if plan.cache_key is None or not answer.kept or head is None or finish is None:
        return False
    return (
        not (head.encoded or head.opaque)  # it would be replayed without the header that says so
        and read_wishes(call.request.headers).keep
        and may_keep(
            plan.route.endpoint,
            finish,
            complete=exchange.answer_complete,
            tool_calls=exchange.calls_tools,
            rules=_rules(call, plan),
        )
    )


def _rules(call: "HandledCall", plan: "Planned") -> Rules:
    return call.relay.settings.cache.rules(plan.route.endpoint, plan.facts.model)


def _too_old(kept: KeptAnswer, wishes: Wishes) -> bool:
    age_ns = time.time_ns() - kept.stored_at_ns
    return wishes.max_age_s is not None and age_ns > wishes.max_age_s * 1_000_000_000


def as_asked(call: "HandledCall", plan: "Planned", kept: KeptAnswer) -> KeptAnswer | None:
    """As a stream with its usage chunk or without, or as a whole; ``None``: it cannot be said so, and it is a miss."""
    endpoint, facts = plan.route.endpoint, plan.facts
    form: Form = "stream" if facts.stream else "whole"
    if form == "stream":
        body = conversion.as_stream(endpoint, kept, include_usage=facts.include_usage)
    else:
        body = conversion.as_whole(endpoint, kept)
    if body is None:
        return None
    paced = form == kept.form == "stream" and call.relay.settings.cache.paced(endpoint, facts.model)
    return msgspec.structs.replace(
        kept,
        form=form,
        body=body,
        content_type=conversion.content_type(kept, form),
        pace=moved_pace(kept.pace, kept.body, body) if paced else (),
    )


def _kept(answer: "ForwardedAnswer", finish: Finish, t0_ns: int) -> KeptAnswer | None:
    body = b"".join(answer.kept)
    if finish.usage is None:
        return None
    streamed = answer.content_type.lower().startswith(b"text/event-stream")
    return KeptAnswer(
        schema=SCHEMA,
        form="stream" if streamed else "whole",
        content_type=answer.content_type,
        body=body,
        call_id=finish.call_id,
        stored_at_ns=time.time_ns(),
        model_served=finish.model_served,
        system_fingerprint=fingerprint(body),
        service_tier=finish.service_tier,
        finish_reason=finish.finish_reason,
        usage=finish.usage,
        web_searches=finish.web_searches,
        ttft_ns=finish.ttft_ns,
        e2e_ns=finish.e2e_ns,
        pace=recorded_pace([len(piece) for piece in answer.kept], answer.kept_at_ns, t0_ns) if streamed else (),
    )
