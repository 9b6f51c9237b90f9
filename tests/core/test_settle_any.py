"""What must hold of any row."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from core.settlements import BOOK, DOUBLED, MINI, ORIGINS, START, finish, money, row, start
from submeter.core.cost import price_call
from submeter.core.record import INPUT_CLASSES, TOKEN_CLASSES, Counted, Finish, Start, TokenClasses
from submeter.core.resettle import resettle
from submeter.core.settle import BELIEVABLE_TOKENS

wild = st.one_of(st.just(0), st.integers(0, 5000), st.integers(-5, 2**53))
wild_tokens = st.none() | st.builds(TokenClasses, **dict.fromkeys(TOKEN_CLASSES, wild))
starts = st.builds(
    START.__class__,
    call_id=st.just("c"),
    attempt=st.just(1),
    operation_id=st.just("c"),
    endpoint=st.sampled_from(["chat/completions", "embeddings", "messages"]),
    upstream=st.sampled_from(["openai", "anthropic", "own"]),
    started_at_ns=st.just(START.started_at_ns),
    metered=st.booleans(),
    model_requested=st.sampled_from([None, "mini", "claude-haiku", "embed", "unknown"]),
    n=st.integers(-(2**63), 2**63 - 1),
    max_output_tokens=st.none() | st.integers(-(2**63), 2**63 - 1),
    tools=st.booleans(),
    service_tier=st.sampled_from([None, "auto", "default", "flex", "odd"]),
    bytes_in=st.integers(0, 2**40),
    refers_elsewhere=st.booleans(),
)
finishes = st.none() | st.builds(
    Finish,
    call_id=st.just("c"),
    attempt=st.just(1),
    outcome=st.sampled_from(["ok", "upstream_error", "upstream_incomplete", "client_gone", "timeout", "indeterminate"]),
    status=st.none() | st.just(200),
    cache=st.sampled_from(["hit", "miss", "bypass", "coalesced"]),
    model_served=st.sampled_from([None, "mini", "unknown"]),
    service_tier=st.sampled_from([None, "default", "flex", "odd"]),
    usage=wild_tokens,
    seen=wild_tokens,
    output_bytes=st.integers(0, 2**40),
    refused=st.booleans(),
    counted=st.none()
    | st.builds(
        Counted,
        tokenizer=st.just("o200k_base"),
        own=st.booleans(),
        input_tokens=st.none() | st.integers(0, 2**40),
        output_tokens=st.none() | st.integers(0, 2**40),
    ),
    web_searches=st.none() | st.integers(0, 3) | st.integers(-5, 2**60),
    region=st.sampled_from([None, "us", "nowhere"]),
    deferred=st.booleans(),
)


@given(starts, finishes)
@settings(deadline=None, max_examples=300)
def test_whatever_is_journalled_becomes_a_row_that_the_ledger_can_hold(begun: Start, ended: Finish | None) -> None:
    settled = row(begun, ended)
    state, cost, low, high = money(settled)
    assert all(value is None or (type(value) is int and 0 <= value < 2**63) for value in (cost, low, high))
    assert (low is None) == (high is None)
    assert (cost is not None) == (state in ("exact", "estimated"))
    if cost is not None:
        assert low is not None
        assert high is not None
        assert low <= cost <= high
        assert settled.costs is not None
        assert settled.fees_nano_usd is not None
        assert sum(msgspec.structs.astuple(settled.costs)) + settled.fees_nano_usd == cost
        assert state != "exact" or low == cost == high
    if settled.tokens is not None:
        assert 0 <= sum(msgspec.structs.astuple(settled.tokens)) <= 3 * BELIEVABLE_TOKENS
    assert (settled.usage_source == "none") == (settled.output_tokens is None)


@given(starts, finishes)
@settings(deadline=None, max_examples=300)
def test_a_row_holds_all_that_its_money_was_made_of(begun: Start, ended: Finish | None) -> None:
    settled = row(begun, ended)
    assert resettle(settled, BOOK, ORIGINS) == settled
    there = resettle(settled, DOUBLED, ORIGINS)
    assert resettle(there, BOOK, ORIGINS) == settled
    if settled.cost_state == "exact" and settled.cost_nano_usd is not None:
        assert there.cost_nano_usd == 2 * settled.cost_nano_usd


few = st.one_of(st.just(0), st.integers(0, 500))
billed = st.builds(TokenClasses, **dict.fromkeys(["input_uncached", "cached_read", "output_text", "reasoning"], few))


@given(billed, st.integers(0, 100), st.booleans(), st.sampled_from([None, "flex", "priority"]))
@settings(deadline=None)
def test_the_bounds_of_a_cut_call_contain_what_was_billed(
    bill: TokenClasses, unseen: int, input_seen: bool, tier: str | None
) -> None:
    cost = price_call(bill, MINI, tier)
    seen = TokenClasses(**{name: getattr(bill, name) for name in INPUT_CLASSES}) if input_seen else None
    ended = finish(
        outcome="client_gone",
        seen=seen,
        output_bytes=4 * max(0, bill.output_text - unseen),
        service_tier=tier,
    )
    begun = start(service_tier=None, bytes_in=bill.input_total, max_output_tokens=bill.output_total)
    settled = row(begun, ended)
    if cost is not None and settled.cost_low_nano_usd is not None and settled.cost_high_nano_usd is not None:
        assert settled.cost_low_nano_usd <= cost.total <= settled.cost_high_nano_usd
