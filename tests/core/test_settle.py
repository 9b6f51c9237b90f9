"""One test per rule of ``settle``, and what must hold of any row."""

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from submeter.core.cost import price_call
from submeter.core.pricebook import Bracket, Origin, PriceBook, PriceEntry
from submeter.core.record import INPUT_CLASSES, TOKEN_CLASSES, CallRow, Counted, Finish, Progress, Start, TokenClasses
from submeter.core.resettle import resettle
from submeter.core.settle import BELIEVABLE_TOKENS, TOOL_PROMPT_TOKENS, settle

MINI = PriceEntry(
    model="mini",
    provider="openai",
    max_input_tokens=128_000,
    max_output_tokens=16_384,
    tiers={
        "standard": (
            Bracket(
                0,
                {
                    "input_uncached": Decimal("0.15"),
                    "cached_read": Decimal("0.075"),
                    "output_text": Decimal("0.6"),
                },
            ),
        ),
        "flex": (Bracket(0, {"input_uncached": Decimal("0.075"), "output_text": Decimal("0.3")}),),
        "priority": (Bracket(0, {"input_uncached": Decimal("0.3"), "output_text": Decimal("1.2")}),),
    },
)
HAIKU = PriceEntry(
    model="claude-haiku",
    provider="anthropic",
    max_output_tokens=64_000,
    tiers={
        "standard": (
            Bracket(
                0,
                {
                    "input_uncached": Decimal(1),
                    "cached_read": Decimal("0.1"),
                    "cache_write_5m": Decimal("1.25"),
                    "cache_write_1h": Decimal(2),
                    "output_text": Decimal(5),
                },
            ),
        )
    },
)
EMBED = PriceEntry(
    model="embed",
    provider="openai",
    mode="embedding",
    tiers={"standard": (Bracket(0, {"input_uncached": Decimal("0.02")}),)},
)
BOOK = PriceBook((MINI, HAIKU, EMBED), (), "prices-1")
DOUBLED = PriceBook((MINI, HAIKU, EMBED), (PriceEntry(model="*", discount=Decimal(-1)),), "prices-2")
ORIGINS = {"openai": Origin("openai"), "anthropic": Origin("anthropic"), "own": Origin(None)}

START = Start(
    call_id="c1",
    attempt=1,
    operation_id="c1",
    endpoint="chat/completions",
    upstream="openai",
    started_at_ns=1_795_000_000_000_000_000,
    model_requested="mini",
    max_output_tokens=100,
    service_tier="default",
    bytes_in=400,
)
FINISH = Finish(call_id="c1", attempt=1, outcome="ok", status=200, cache="miss")


def start(**changes: object) -> Start:
    return msgspec.structs.replace(START, **changes)


def finish(**changes: object) -> Finish:
    return msgspec.structs.replace(FINISH, **changes)


def row(begun: Start = START, ended: Finish | None = FINISH, progress: Progress | None = None) -> CallRow:
    return settle(begun, ended, BOOK, ORIGINS, progress)


def money(settled: CallRow) -> tuple[str, int | None, int | None, int | None]:
    return (settled.cost_state, settled.cost_nano_usd, settled.cost_low_nano_usd, settled.cost_high_nano_usd)


def counted(settled: CallRow) -> tuple[str, int | None, int | None, int | None, int | None, int | None]:
    return (
        settled.usage_source,
        settled.input_tokens,
        settled.cached_input_tokens,
        settled.cache_write_tokens,
        settled.output_tokens,
        settled.reasoning_tokens,
    )


USAGE = TokenClasses(input_uncached=80, cached_read=20, output_text=30, reasoning=5)
COST = 80 * 150 + 20 * 75 + 30 * 600 + 5 * 600


def test_reported_usage_at_a_known_price_is_exact() -> None:
    settled = row(ended=finish(usage=USAGE, model_served="mini-2026-01-01"))
    assert money(settled) == ("exact", COST, COST, COST)
    assert counted(settled) == ("provider", 100, 20, 0, 35, 5)
    assert settled.costs == TokenClasses(
        input_uncached=80 * 150, cached_read=20 * 75, output_text=30 * 600, reasoning=5 * 600
    )
    assert (settled.price_model, settled.price_snapshot) == ("mini", "prices-1")
    assert settled.tokens == USAGE


def test_the_row_names_the_rule_that_found_its_price() -> None:
    assert row(ended=finish(usage=USAGE)).price_rule == "exact"
    assert row(ended=finish(usage=USAGE, model_served="mini-2026-01-01")).price_rule == "undated"
    assert row(ended=finish(usage=USAGE, model_served="unknown")).price_rule is None


SEARCH = PriceEntry(
    model="searcher",
    provider="openai",
    tiers=MINI.tiers,
    fees={"request": Decimal("0.005"), "web_search": Decimal("0.0125")},
    regions={"us": Decimal("1.1")},
)
SEARCHES = PriceBook((SEARCH,), (), "prices-3")


def search_row(**changes: object) -> CallRow:
    origins = {"openai": Origin("openai", changes.pop("at", None))}  # type: ignore[arg-type]
    return settle(start(model_requested="searcher"), finish(**changes), SEARCHES, origins)


def test_fees_are_billed_beside_the_tokens() -> None:
    settled = search_row(usage=USAGE, web_searches=3)
    fees = 5_000_000 + 3 * 12_500_000
    assert (settled.cost_state, settled.cost_nano_usd, settled.fees_nano_usd) == ("exact", COST + fees, fees)
    assert settled.web_searches == 3
    assert search_row(usage=USAGE, web_searches=0).cost_nano_usd == COST + 5_000_000


def test_searches_without_a_price_make_a_call_unpriced() -> None:
    assert money(row(ended=finish(usage=USAGE, web_searches=1))) == ("unpriced", None, None, None)
    assert row(ended=finish(usage=USAGE, web_searches=0)).cost_state == "exact"


def test_more_searches_than_any_call_makes_are_not_believed() -> None:
    settled = search_row(usage=USAGE, web_searches=2**60)
    assert (settled.cost_state, settled.usage_problem) == ("estimated", "more web searches than any call makes")
    assert settled.fees_nano_usd == 5_000_000


def test_a_region_multiplies_the_tokens_and_not_the_fees() -> None:
    tokens = 80 * 165 + 20 * 82.5 + 30 * 660 + 5 * 660  # every price × 1.1
    by_answer = search_row(usage=USAGE, region="us")
    assert (by_answer.cost_nano_usd, by_answer.region) == (tokens + 5_000_000, "us")
    assert by_answer.price_rule == "exact, region us × 1.1"
    by_upstream = search_row(usage=USAGE, at="us")
    assert (by_upstream.cost_nano_usd, by_upstream.region) == (tokens + 5_000_000, "us")
    assert search_row(usage=USAGE, region="eu", at="us").price_rule == "exact"


def test_the_bounds_hold_in_every_region_while_the_region_is_not_known() -> None:
    cut = search_row(outcome="client_gone", output_bytes=4)
    dearest = search_row(outcome="client_gone", output_bytes=4, region="us")
    assert cut.cost_high_nano_usd == dearest.cost_high_nano_usd
    assert cut.cost_low_nano_usd is not None
    assert dearest.cost_low_nano_usd is not None
    assert cut.cost_low_nano_usd < dearest.cost_low_nano_usd


def test_counted_tokens_are_a_better_estimate_within_the_same_bounds() -> None:
    guessed = row(ended=finish(output_bytes=200))
    own = row(ended=finish(output_bytes=200, counted=Counted("o200k_base", True, 77, 41)))
    other = row(ended=finish(output_bytes=200, counted=Counted("o200k_base", False, None, 41)))
    assert counted(guessed) == ("estimated", 100, 0, 0, 50, 0)  # 400 and 200 bytes / 4
    assert counted(own) == ("counted", 77, 0, 0, 41, 0)
    assert counted(other) == ("estimated", 100, 0, 0, 41, 0)
    assert (own.tokenizer, guessed.tokenizer) == ("o200k_base", None)
    assert own.cost_state == other.cost_state == "estimated"
    assert own.cost_nano_usd == 77 * 150 + 41 * 600
    assert money(own)[2:] == money(other)[2:] == money(guessed)[2:]


def test_an_answer_that_a_later_get_brings_is_unmetered_here() -> None:
    assert money(row(ended=finish(deferred=True))) == ("unmetered", None, None, None)


def test_zero_tokens_that_the_provider_reports_stay_zero() -> None:
    settled = row(ended=finish(usage=TokenClasses()))
    assert money(settled) == ("exact", 0, 0, 0)
    assert counted(settled) == ("provider", 0, 0, 0, 0, 0)


def test_cache_writes_are_summed_over_their_ttls() -> None:
    wrote = TokenClasses(input_uncached=1, cache_write=2, cache_write_5m=3, cache_write_1h=4, output_text=1)
    settled = row(start(upstream="anthropic", model_requested="claude-haiku"), finish(usage=wrote))
    assert counted(settled) == ("provider", 10, 0, 9, 1, 0)
    cost = 1 * 1000 + 2 * 1250 + 3 * 1250 + 4 * 2000 + 1 * 5000
    assert money(settled) == ("exact", cost, cost, cost)


def test_the_model_that_answered_is_priced_and_not_the_one_asked_for() -> None:
    settled = row(start(model_requested="unknown"), finish(usage=USAGE, model_served="mini"))
    assert settled.cost_nano_usd == COST
    other = row(ended=finish(usage=USAGE, model_served="something-new"))
    assert (money(other), other.price_model) == (("unpriced", None, None, None), None)


def test_the_tier_that_served_is_priced_and_not_the_one_asked_for() -> None:
    usage = TokenClasses(input_uncached=10, output_text=10)
    settled = row(start(service_tier="priority"), finish(usage=usage, service_tier="flex"))
    assert settled.cost_nano_usd == 10 * 75 + 10 * 300
    assert settled.service_tier == "flex"
    assert row(start(service_tier="flex"), finish(usage=usage)).cost_nano_usd == 10 * 150 + 10 * 600


def test_an_unknown_price_is_null_and_never_zero() -> None:
    unpriced = ("unpriced", None, None, None)
    assert money(row(start(model_requested="unknown"), finish(usage=USAGE))) == unpriced
    assert money(row(start(model_requested=None), finish(usage=USAGE))) == unpriced
    assert money(row(start(upstream="own"), finish(usage=USAGE))) == unpriced
    assert money(row(start(upstream="not-configured"), finish(usage=USAGE))) == unpriced
    assert money(row(ended=finish(usage=USAGE, service_tier="scale"))) == unpriced
    assert money(row(ended=finish(usage=TokenClasses(input_audio=1)))) == unpriced
    settled = row(start(model_requested="unknown"), finish(usage=USAGE))
    assert counted(settled) == ("provider", 100, 20, 0, 35, 5)
    assert (settled.price_snapshot, settled.costs) == ("prices-1", None)


def test_without_usage_tokens_are_estimated_from_bytes_and_bounded() -> None:
    settled = row(ended=finish(output_bytes=130))
    assert counted(settled) == ("estimated", 100, 0, 0, 33, 0)  # ceil(400/4), ceil(130/4)
    # low: no input known, ceil(130/128) tokens seen; high: a token per byte, all that was allowed.
    assert money(settled) == ("estimated", 100 * 150 + 33 * 600, 2 * 600, 400 * 150 + 100 * 600)


def test_a_client_gone_before_the_answer_may_have_cost_nothing() -> None:
    settled = row(ended=finish(outcome="client_gone", status=None))
    assert money(settled) == ("estimated", 100 * 150, 0, 400 * 150 + 100 * 600)


def test_what_the_provider_said_of_the_input_stands_on_both_sides() -> None:
    seen = TokenClasses(input_uncached=50, cached_read=1000, cache_write_5m=20, output_text=3)
    begun = start(upstream="anthropic", model_requested="claude-haiku", service_tier=None)
    settled = row(begun, finish(outcome="client_gone", seen=seen, output_bytes=40))
    inputs = 50 * 1000 + 1000 * 100 + 20 * 1250
    assert counted(settled) == ("estimated", 1070, 1000, 20, 10, 0)
    assert money(settled) == ("estimated", inputs + 10 * 5000, inputs + 3 * 5000, inputs + 100 * 5000)


def test_content_elsewhere_is_bounded_by_the_models_context() -> None:
    settled = row(start(refers_elsewhere=True), finish(output_bytes=1))
    assert settled.cost_high_nano_usd == 128_000 * 150 + 100 * 600
    begun = start(refers_elsewhere=True, upstream="anthropic", model_requested="claude-haiku")
    assert row(begun).cost_high_nano_usd == 1_048_576 * 2000 + 100 * 5000


def test_tools_may_add_to_the_prompt() -> None:
    settled = row(start(tools=True), finish(output_bytes=1))
    assert settled.cost_high_nano_usd == (400 + TOOL_PROMPT_TOKENS) * 150 + 100 * 600


@pytest.mark.parametrize(
    ("asked", "n", "output_max"),
    [(100, 1, 100), (100, 3, 300), (50_000, 1, 16_384), (None, 2, 2 * 16_384), (-1, 1, 16_384), (100, -5, 100)],
)
def test_the_output_is_bounded_by_what_was_asked_and_what_the_model_can(
    asked: int | None, n: int, output_max: int
) -> None:
    settled = row(start(max_output_tokens=asked, n=n), finish(output_bytes=1))
    assert settled.cost_high_nano_usd == 400 * 150 + output_max * 600


def test_a_model_without_a_known_limit_is_bounded_all_the_same() -> None:
    settled = row(start(model_requested="embed", max_output_tokens=None), finish(output_bytes=1))
    assert money(settled) == ("unpriced", None, None, None)  # embed has no output price
    book = PriceBook((), (PriceEntry(model="mini", tiers=MINI.tiers),), "own")
    settled = settle(start(max_output_tokens=None), finish(output_bytes=1), book, ORIGINS)
    assert settled.cost_high_nano_usd == 400 * 150 + 131_072 * 600


def test_the_high_bound_is_never_below_what_was_seen() -> None:
    settled = row(start(max_output_tokens=1), finish(output_bytes=128 * 10))
    assert (settled.cost_low_nano_usd, settled.cost_high_nano_usd) == (10 * 600, 400 * 150 + 10 * 600)
    assert settled.output_tokens == 10


def test_without_a_served_tier_every_tier_that_may_have_served_is_in_the_bounds() -> None:
    unnamed = row(start(service_tier=None), finish(output_bytes=128))
    assert money(unnamed) == ("estimated", 100 * 150 + 32 * 600, 1 * 300, 400 * 300 + 100 * 1200)
    wished = row(start(service_tier="flex"), finish(output_bytes=128))
    assert money(wished) == ("estimated", 100 * 75 + 32 * 300, 1 * 300, 400 * 150 + 100 * 600)
    served = row(start(service_tier=None), finish(output_bytes=128, service_tier="flex"))
    assert money(served) == ("estimated", 100 * 75 + 32 * 300, 1 * 300, 400 * 75 + 100 * 300)


def test_a_refused_call_cost_nothing_and_has_no_tokens() -> None:
    settled = row(ended=finish(outcome="upstream_error", status=429, refused=True))
    assert money(settled) == ("estimated", 0, 0, 0)
    assert counted(settled) == ("none", None, None, None, None, None)


@pytest.mark.parametrize(
    "ended",
    [
        finish(outcome="timeout", status=504),
        finish(outcome="indeterminate", status=502),
        finish(outcome="upstream_incomplete", status=502),
    ],
)
def test_sent_and_never_answered_is_indeterminate(ended: Finish) -> None:
    settled = row(ended=ended)
    assert money(settled) == ("indeterminate", None, 0, 400 * 150 + 100 * 600)
    assert counted(settled) == ("none", None, None, None, None, None)


def test_a_timeout_in_the_middle_of_an_answer_is_estimated() -> None:
    assert row(ended=finish(outcome="timeout", output_bytes=4)).cost_state == "estimated"
    assert row(ended=finish(outcome="upstream_incomplete", ttfb_ns=5)).cost_state == "estimated"


def test_a_dead_relays_call_is_indeterminate_within_bounds() -> None:
    settled = row(ended=None)
    assert settled.outcome == "indeterminate"
    assert money(settled) == ("indeterminate", None, 0, 400 * 150 + 100 * 600)
    assert counted(settled) == ("none", None, None, None, None, None)
    assert (settled.status, settled.e2e_ns, settled.bytes_out) == (None, None, 0)


def test_what_a_dead_relay_had_seen_is_kept() -> None:
    seen = TokenClasses(input_uncached=50, cached_read=10)
    begun = start(upstream="anthropic", model_requested="claude-haiku", cache="miss")
    settled = row(begun, None, Progress("c1", 1, ttft_ns=123, output_bytes=300, seen=seen))
    inputs = 50 * 1000 + 10 * 100
    assert money(settled) == ("indeterminate", None, inputs + 3 * 5000, inputs + 100 * 5000)
    assert counted(settled) == ("none", 60, 10, 0, None, None)
    assert (settled.ttft_ns, settled.cache, settled.tokens) == (123, "miss", seen)
    assert (settled.input_reported, settled.output_tokens_low) == (True, 0)


def test_an_indeterminate_call_without_a_price_has_no_bounds() -> None:
    settled = row(start(model_requested="unknown"), None)
    assert money(settled) == ("indeterminate", None, None, None)


def test_an_embedding_has_no_output_to_bound() -> None:
    begun = start(endpoint="embeddings", model_requested="embed", max_output_tokens=None)
    settled = row(begun, finish(outcome="client_gone", output_bytes=999))
    assert money(settled) == ("estimated", 100 * 20, 0, 400 * 20)
    assert settled.output_tokens == 0


@pytest.mark.parametrize("cache", ["hit", "coalesced"])
def test_a_hit_costs_nothing_and_says_what_it_saved(cache: str) -> None:
    settled = row(ended=finish(cache=cache, usage=USAGE))
    assert money(settled) == ("exact", 0, 0, 0)
    assert counted(settled) == ("provider", 100, 20, 0, 35, 5)
    assert (settled.saved_nano_usd, settled.price_model, settled.costs) == (COST, "mini", TokenClasses())


def test_a_hit_of_an_unpriced_model_saved_an_unknown_sum() -> None:
    settled = row(start(model_requested="unknown"), finish(cache="hit", usage=USAGE))
    assert (money(settled), settled.saved_nano_usd) == (("exact", 0, 0, 0), None)
    bare = row(ended=finish(cache="hit"))
    assert (money(bare), bare.saved_nano_usd, bare.input_tokens) == (("exact", 0, 0, 0), None, None)


def test_an_unmetered_call_has_neither_tokens_nor_cost() -> None:
    for ended in (finish(usage=USAGE), None):
        settled = row(start(metered=False), ended)
        assert money(settled) == ("unmetered", None, None, None)
        assert counted(settled) == ("none", None, None, None, None, None)


@pytest.mark.parametrize(
    ("usage", "problem"),
    [
        (TokenClasses(input_uncached=-1, output_text=5), "negative token count"),
        (TokenClasses(input_uncached=2**53), "more tokens than any model takes"),
    ],
)
def test_usage_that_cannot_be_is_named_and_estimated(usage: TokenClasses, problem: str) -> None:
    settled = row(ended=finish(usage=usage, output_bytes=40))
    assert (settled.cost_state, settled.usage_source, settled.usage_problem) == ("estimated", "estimated", problem)
    assert counted(settled) == ("estimated", 100, 0, 0, 10, 0)


def test_the_rest_of_the_row_is_copied() -> None:
    begun = start(session="s", team="t", klass="batch", prompt_version="v", unbounded=True, clock_jumped=True)
    ended = finish(
        usage_problem="prompt_tokens is missing",
        upstream_request_id="r",
        finish_reason="stop",
        provider_cost="0.001",
        tokens_after_disconnect=3,
        e2e_ns=9,
        bytes_out=7,
    )
    settled = row(begun, ended)
    shared = set(CallRow.__struct_fields__) & set(Start.__struct_fields__) - set(Finish.__struct_fields__)
    assert {name: getattr(settled, name) for name in shared} == {name: getattr(begun, name) for name in shared}
    copied = set(CallRow.__struct_fields__) & set(Finish.__struct_fields__)
    assert {name: getattr(settled, name) for name in copied} == {name: getattr(ended, name) for name in copied}


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
