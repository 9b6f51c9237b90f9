"""What a call cost whose usage nobody has reported: within which bounds, and when nobody can say."""

import pytest

from core.settlements import MINI, ORIGINS, counted, finish, money, row, start
from submeter.core.pricebook import PriceBook, PriceEntry
from submeter.core.record import Finish, Progress, TokenClasses
from submeter.core.settle import TOOL_PROMPT_TOKENS, settle


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
