"""One test per rule of ``settle``."""

from decimal import Decimal

import pytest

from core.settlements import COST, MINI, USAGE, counted, finish, money, row, start
from submeter.core.pricebook import Origin, PriceBook, PriceEntry
from submeter.core.record import CallRow, Counted, Finish, Start, TokenClasses
from submeter.core.settle import settle


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
