"""Rows for ledger tests: one plain call, and seeded random calls that keep the record's own rules."""

import random
from typing import Any

import msgspec

from submeter.core.record import CallRow, TokenClasses

START_NS = 1_763_596_800_000_000_000  # 2025-11-20T00:00:00Z


def make_call_id(number: int) -> str:
    """UUIDv7-shaped, in order of ``number``."""
    return f"019a9e00-{number >> 12 & 0xFFFF:04x}-7{number & 0xFFF:03x}-8000-000000000000"


PLAIN = CallRow(
    call_id=make_call_id(0),
    attempt=1,
    operation_id="op-0",
    session=None,
    trace_id=None,
    upstream_request_id="req-0",
    key_id=None,
    team="search",
    app="web",
    user=None,
    prompt="greet",
    prompt_version="v1",
    klass="interactive",
    endpoint="chat/completions",
    upstream="openai",
    model_requested="gpt-4o",
    model_served="gpt-4o-2024-08-06",
    stream=True,
    temperature=0.5,
    n=1,
    max_output_tokens=None,
    tools=False,
    service_tier_requested="auto",
    service_tier="default",
    started_at_ns=START_NS,
    ttfb_ns=90_000_000,
    ttft_ns=100_000_000,
    first_content_ns=100_000_000,
    e2e_ns=1_000_000_000,
    max_gap_ns=20_000_000,
    overhead_ns=80_000,
    input_tokens=1000,
    cached_input_tokens=200,
    cache_write_tokens=70,
    output_tokens=10,
    reasoning_tokens=4,
    tokens=TokenClasses(
        input_uncached=730,
        cached_read=200,
        cache_write=40,
        cache_write_1h=30,
        output_text=6,
        reasoning=4,
    ),
    usage_source="provider",
    usage_problem=None,
    tokenizer=None,
    input_reported=True,
    output_tokens_low=None,
    output_bytes=40,
    refers_elsewhere=False,
    refused=False,
    cost_nano_usd=730 * 2500 + 200 * 1250 + 70 * 2500 + 10 * 10_000,
    cost_state="exact",
    cost_low_nano_usd=None,
    cost_high_nano_usd=None,
    costs=TokenClasses(
        input_uncached=730 * 2500,
        cached_read=200 * 1250,
        cache_write=40 * 2500,
        cache_write_1h=30 * 2500,
        output_text=6 * 10_000,
        reasoning=4 * 10_000,
    ),
    web_searches=None,
    fees_nano_usd=None,
    saved_nano_usd=None,
    price_snapshot="litellm-1.109.1",
    price_model="gpt-4o",
    price_rule="undated",
    region=None,
    provider_cost=None,
    unbounded=False,
    clock_jumped=False,
    tokens_after_disconnect=None,
    outcome="ok",
    status=200,
    finish_reason="stop",
    cache="miss",
    bytes_in=300,
    bytes_out=4000,
)


def make_call(number: int = 0, **changes: Any) -> CallRow:
    """``PLAIN`` as call ``number``, begun ``number`` microseconds later, with ``changes``."""
    base = {
        "call_id": make_call_id(number),
        "operation_id": f"op-{number}",
        "started_at_ns": START_NS + number * 1000,
    }
    return msgspec.structs.replace(PLAIN, **{**base, **changes})


def make_random_call(number: int, dice: random.Random) -> CallRow:
    """Any state, any cache status, ``None`` where the record may have it; money up to a few dollars."""
    cache = dice.choice(["miss", "miss", "bypass", "hit", "coalesced"])
    state = dice.choice(["exact", "exact", "estimated", "indeterminate", "unpriced", "unmetered"])
    measured = state != "unmetered" and dice.random() < 0.9
    cost = dice.randrange(3_000_000_000) if state in ("exact", "estimated") else None
    bounded = state in ("estimated", "indeterminate")
    low = dice.randrange(1_000_000) if bounded else None
    changes: dict[str, Any] = {
        "team": dice.choice(["search", "ads", None]),
        "app": dice.choice(["web", "batch", None]),
        "prompt_version": dice.choice(["v1", "v2", None]),
        "klass": dice.choice(["interactive", "batch", None]),
        "model_served": dice.choice(["gpt-4o-2024-08-06", "claude-x", None]),
        "model_requested": dice.choice(["gpt-4o", None]),
        "started_at_ns": START_NS + dice.randrange(5 * 86_400 * 10**9),
        "stream": dice.random() < 0.5,
        "ttft_ns": dice.randrange(10**9) if measured else None,
        "e2e_ns": 10**9 + dice.randrange(10**9) if measured else None,
        "overhead_ns": dice.randrange(10**6) if measured else None,
        "input_tokens": dice.randrange(100_000) if measured else None,
        "cached_input_tokens": dice.randrange(1000) if measured else None,
        "cache_write_tokens": dice.randrange(1000) if measured else None,
        "output_tokens": dice.randrange(2000) if measured else None,
        "reasoning_tokens": dice.randrange(100) if measured else None,
        "tokens": None,
        "costs": None,
        "cost_nano_usd": cost if cache in ("miss", "bypass") else 0,
        "cost_state": state,
        "cost_low_nano_usd": low,
        "cost_high_nano_usd": None if low is None or dice.random() < 0.1 else low + dice.randrange(10**9),
        "saved_nano_usd": dice.randrange(10**9) if cache in ("hit", "coalesced") else None,
        "unbounded": dice.random() < 0.05,
        "outcome": dice.choice(["ok", "ok", "ok", "upstream_error", "client_gone", "indeterminate"]),
        "cache": cache,
    }
    return make_call(number, **changes)
