"""START + FINISH + price book → one row. The one place that decides what a call's tokens and cost are worth.

A cost is ``exact`` only where the provider reported complete usage and every token of it has a price. What was
not seen whole is bounded: the call cost at least ``low`` and at most ``high``.
"""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from submeter.core.cost import NO_COST, Cost, Range, bounds, price_call
from submeter.core.pricebook import STANDARD, Match, Origin, PriceBook, tier_name
from submeter.core.record import (
    INPUT_CLASSES,
    CallRow,
    CostState,
    Finish,
    Progress,
    Start,
    TokenClasses,
    UsageSource,
)

BYTES_PER_TOKEN = 4
"""Of ordinary text; for estimates only, never for bounds."""
LONGEST_TOKEN_BYTES = 128
"""No known vocabulary has a longer token (o200k and cl100k: 128 spaces), so n bytes are ≥ n/128 tokens."""
DEFAULT_INPUT_LIMIT = 1_048_576
DEFAULT_OUTPUT_LIMIT = 131_072
"""Tokens, for models whose limit the price book does not know."""
TOOL_PROMPT_TOKENS = 1024
"""What a provider may add to a prompt that has tools (Anthropic's tool-use system prompts are 159 to 804)."""
BELIEVABLE_TOKENS = 10**9
"""No model reads or writes so many in a call; more of them would also overflow sums of 64 bits."""
BELIEVABLE_SEARCHES = 10**4
UNKNOWN = Origin(None)


class _Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What ``settle`` decides; the rest of the row is copied."""

    tokens: TokenClasses | None = None
    """Of an indeterminate call: its input alone, where that is known."""
    input_reported: bool = False
    output_tokens_low: int | None = None
    tokenizer: str | None = None
    usage_source: UsageSource = "none"
    usage_problem: str | None = None
    cost: Cost | None = None
    cost_state: CostState
    bounds: tuple[int, int] | None = None
    saved_nano_usd: int | None = None
    match: Match | None = None
    """What priced it."""
    price_snapshot: str | None = None
    """Also on an unpriced row: it says which book did not know."""


class _Case(NamedTuple):
    """A call with the price-book entries that it falls under."""

    start: Start
    finish: Finish
    match: Match | None
    elsewhere: tuple[Match, ...]
    """What would price it in each other region that it may have been served in."""
    region: str | None
    snapshot_id: str


def settle(
    start: Start,
    finish: Finish | None,
    book: PriceBook,
    origins: Mapping[str, Origin],
    progress: Progress | None = None,
) -> CallRow:
    """The row of a call. ``finish`` None: its relay died; ``progress`` is then the last that it had seen.

    ``origins``: whose prices each upstream's calls have.
    """
    if finish is None:
        finish = _unfinished(start, progress)
    case = _case(start, finish, book, origins.get(start.upstream, UNKNOWN))
    return _row(case, _judge(case))


def _case(start: Start, finish: Finish, book: PriceBook, origin: Origin) -> _Case:
    model = start.model_requested if finish.model_served is None else finish.model_served
    region = origin.region if finish.region is None else finish.region
    if model is None:
        return _Case(start, finish, None, (), region, book.snapshot_id)
    match = book.match(model, origin.provider, start.started_at_ns, region)
    others = () if match is None or region is not None else match.entry.regions
    found = (book.match(model, origin.provider, start.started_at_ns, other) for other in others)
    elsewhere = tuple(each for each in found if each is not None)
    return _Case(start, finish, match, elsewhere, region, book.snapshot_id)


def _unfinished(start: Start, progress: Progress | None) -> Finish:
    end = Finish(start.call_id, start.attempt, "indeterminate", None, cache=start.cache)
    if progress is None:
        return end
    return msgspec.structs.replace(
        end,
        ttft_ns=progress.ttft_ns,
        output_bytes=progress.output_bytes,
        seen=progress.seen,
        model_served=progress.model_served,
        upstream_request_id=progress.upstream_request_id,
    )


def _judge(case: _Case) -> _Verdict:
    finish = case.finish
    if not case.start.metered or finish.deferred:
        return _Verdict(cost_state="unmetered")
    if finish.cache in ("hit", "coalesced"):
        return _saved(case)
    if finish.refused:  # Nothing is billed, as far as is known.
        return _Verdict(cost=NO_COST, cost_state="estimated", bounds=(0, 0))
    problem = None if finish.usage is None else _problem(finish, finish.usage)
    if finish.usage is not None and problem is None:
        return _reported(case, finish.usage)
    verdict = _indeterminate(case) if _is_indeterminate(finish) else _estimated(case)
    return verdict if problem is None else msgspec.structs.replace(verdict, usage_problem=problem)


def _is_indeterminate(finish: Finish) -> bool:
    """Sent, and then not a sign of an answer: it may have cost nothing or all."""
    if finish.outcome == "indeterminate":
        return True
    unseen = finish.output_bytes == 0 and finish.seen is None
    no_head = finish.outcome == "upstream_incomplete" and finish.ttfb_ns is None
    return unseen and (no_head or finish.outcome == "timeout")


def _searches(finish: Finish) -> int | None:
    """None: more than can be believed."""
    count = 0 if finish.web_searches is None else finish.web_searches
    return count if 0 <= count <= BELIEVABLE_SEARCHES else None


def _problem(finish: Finish, usage: TokenClasses) -> str | None:
    return "more web searches than any call makes" if _searches(finish) is None else _implausible(usage)


def _implausible(tokens: TokenClasses) -> str | None:
    counts = msgspec.structs.astuple(tokens)
    if min(counts) < 0:
        return "negative token count"
    return "more tokens than any model takes" if sum(counts) > BELIEVABLE_TOKENS else None


def _saved(case: _Case) -> _Verdict:
    """A hit, or a caller that shared another's answer: it cost nothing; the tokens are the answer's."""
    usage = case.finish.usage
    free = _Verdict(cost=NO_COST, cost_state="exact", bounds=(0, 0))
    if usage is None or _implausible(usage) is not None:
        return free
    saved = _price(case, usage)
    return msgspec.structs.replace(
        free,
        tokens=usage,
        input_reported=True,
        usage_source="provider",
        saved_nano_usd=None if saved is None else saved.total,
        match=_priced_by(case, saved),
        price_snapshot=case.snapshot_id,
    )


def _reported(case: _Case, usage: TokenClasses) -> _Verdict:
    cost = _price(case, usage)
    return _Verdict(
        tokens=usage,
        input_reported=True,
        usage_source="provider",
        cost=cost,
        cost_state="unpriced" if cost is None else "exact",
        bounds=None if cost is None else (cost.total, cost.total),
        match=_priced_by(case, cost),
        price_snapshot=case.snapshot_id,
    )


def _price(case: _Case, tokens: TokenClasses, service_tier: str | None = None) -> Cost | None:
    if case.match is None:
        return None
    tier = case.finish.service_tier if service_tier is None else service_tier
    return price_call(tokens, case.match.entry, tier, _searches(case.finish) or 0)


def _priced_by(case: _Case, price: object | None) -> Match | None:
    return None if price is None else case.match


def _indeterminate(case: _Case) -> _Verdict:
    limits = _bounds(case)
    known = _input_seen(case.finish)
    return _Verdict(
        tokens=known,
        input_reported=known is not None,
        output_tokens_low=_output_seen(case.finish),
        cost_state="indeterminate",
        bounds=limits,
        match=_priced_by(case, limits),
        price_snapshot=case.snapshot_id,
    )


def _estimated(case: _Case) -> _Verdict:
    """Between the bounds by construction: a number of tokens within them, at rates within them."""
    tokens, counted = _estimate(case), case.finish.counted
    limits = _bounds(case)
    cost = None if limits is None else _price(case, tokens, _estimated_tier(case))
    return _Verdict(
        tokens=tokens,
        input_reported=_input_seen(case.finish) is not None,
        output_tokens_low=_output_seen(case.finish),
        tokenizer=None if counted is None else counted.tokenizer,
        usage_source="counted" if counted is not None and counted.own else "estimated",
        cost=cost,
        cost_state="unpriced" if cost is None else "estimated",
        bounds=None if cost is None else limits,
        match=_priced_by(case, cost),
        price_snapshot=case.snapshot_id,
    )


def _estimate(case: _Case) -> TokenClasses:
    """What was counted, else what the bytes make likely."""
    tokens, counted = _range(case), case.finish.counted
    guess = None if counted is None else counted.output_tokens
    if guess is None:
        guess = _ceil_div(case.finish.output_bytes, BYTES_PER_TOKEN)
    output = min(max(guess, tokens.output_min), tokens.output_max)
    if tokens.input_known is not None:
        return msgspec.structs.replace(tokens.input_known, output_text=output)
    text = None if counted is None else counted.input_tokens
    if text is None:
        text = _ceil_div(case.start.bytes_in, BYTES_PER_TOKEN)
    return TokenClasses(input_uncached=min(text, tokens.input_max), output_text=output)


def _estimated_tier(case: _Case) -> str:
    if case.finish.service_tier is not None:
        return case.finish.service_tier
    asked = tier_name(case.start.service_tier)
    return asked if case.match is not None and asked in case.match.entry.tiers else STANDARD


def _bounds(case: _Case) -> tuple[int, int] | None:
    if case.match is None:
        return None
    tiers, tokens = _possible_tiers(case), _range(case)
    pairs = [bounds(match.entry, tiers, tokens) for match in (case.match, *case.elsewhere)]
    priced = [pair for pair in pairs if pair is not None]
    return (min(low for low, _ in priced), max(high for _, high in priced)) if priced else None


def _possible_tiers(case: _Case) -> tuple[str, ...]:
    """The tier served, else each that may have been: a project's setting stands behind a call that names none,
    and a provider may serve an explicit wish at the standard tier."""
    if case.finish.service_tier is not None:
        return (tier_name(case.finish.service_tier),)
    asked = case.start.service_tier
    if asked is None or asked == "auto":
        return (STANDARD, "flex", "priority")
    return (STANDARD, tier_name(asked))


def _range(case: _Case) -> Range:
    finish, known = case.finish, _input_seen(case.finish)
    searches = _searches(finish) or 0
    if case.start.endpoint == "embeddings":
        return Range(known, _input_max(case), 0, 0, searches)
    least = max(_output_seen(finish) or 0, _ceil_div(finish.output_bytes, LONGEST_TOKEN_BYTES))
    least = min(least, BELIEVABLE_TOKENS)
    return Range(known, _input_max(case), least, max(least, _output_max(case)), searches)


def _output_seen(finish: Finish) -> int | None:
    """What the provider's own running count had come to."""
    return None if finish.seen is None else finish.seen.output_total


def _input_seen(finish: Finish) -> TokenClasses | None:
    """What the provider said of the input before the end (Anthropic's message_start), without the output."""
    seen = finish.seen
    if seen is None or seen.input_total == 0 or _implausible(seen) is not None:
        return None
    return TokenClasses(**{name: getattr(seen, name) for name in INPUT_CLASSES})


def _input_max(case: _Case) -> int:
    """A token is at least one byte of the body, unless the body names what is not in it."""
    start = case.start
    inside = start.bytes_in + (TOOL_PROMPT_TOKENS if start.tools else 0)
    if not start.refers_elsewhere:
        return min(inside, BELIEVABLE_TOKENS)
    limit = None if case.match is None else case.match.entry.max_input_tokens
    return DEFAULT_INPUT_LIMIT if limit is None else limit


def _output_max(case: _Case) -> int:
    model_limit = None if case.match is None else case.match.entry.max_output_tokens
    asked = case.start.max_output_tokens
    # Some servers read a negative limit as none.
    limits = [limit for limit in (asked, model_limit) if limit is not None and limit >= 0]
    return min(max(case.start.n, 1) * min(limits, default=DEFAULT_OUTPUT_LIMIT), BELIEVABLE_TOKENS)


def _ceil_div(count: int, divisor: int) -> int:
    return -(-count // divisor)


def _row(case: _Case, verdict: _Verdict) -> CallRow:
    start, finish = case.start, case.finish
    tokens, cost, match = verdict.tokens, verdict.cost, verdict.match
    outputs = None if verdict.cost_state == "indeterminate" else tokens
    low, high = (None, None) if verdict.bounds is None else verdict.bounds
    return CallRow(
        call_id=start.call_id,
        attempt=start.attempt,
        operation_id=start.operation_id,
        session=start.session,
        trace_id=start.trace_id,
        upstream_request_id=finish.upstream_request_id,
        key_id=start.key_id,
        team=start.team,
        app=start.app,
        user=start.user,
        prompt=start.prompt,
        prompt_version=start.prompt_version,
        klass=start.klass,
        endpoint=start.endpoint,
        upstream=start.upstream,
        model_requested=start.model_requested,
        model_served=finish.model_served,
        stream=start.stream,
        temperature=start.temperature,
        n=start.n,
        max_output_tokens=start.max_output_tokens,
        tools=start.tools,
        service_tier_requested=start.service_tier,
        service_tier=finish.service_tier,
        started_at_ns=start.started_at_ns,
        ttfb_ns=finish.ttfb_ns,
        ttft_ns=finish.ttft_ns,
        first_content_ns=finish.first_content_ns,
        e2e_ns=finish.e2e_ns,
        max_gap_ns=finish.max_gap_ns,
        overhead_ns=finish.overhead_ns,
        input_tokens=None if tokens is None else tokens.input_total,
        cached_input_tokens=None if tokens is None else tokens.cached_total,
        cache_write_tokens=None if tokens is None else tokens.cache_write_total,
        output_tokens=None if outputs is None else outputs.output_total,
        reasoning_tokens=None if outputs is None else outputs.reasoning,
        tokens=tokens,
        usage_source=verdict.usage_source,
        usage_problem=finish.usage_problem if verdict.usage_problem is None else verdict.usage_problem,
        tokenizer=verdict.tokenizer,
        input_reported=verdict.input_reported,
        output_tokens_low=verdict.output_tokens_low,
        output_bytes=finish.output_bytes,
        refers_elsewhere=start.refers_elsewhere,
        refused=finish.refused,
        cost_nano_usd=None if cost is None else cost.total,
        cost_state=verdict.cost_state,
        cost_low_nano_usd=low,
        cost_high_nano_usd=high,
        costs=None if cost is None else cost.parts,
        web_searches=finish.web_searches,
        fees_nano_usd=None if cost is None else cost.fees,
        saved_nano_usd=verdict.saved_nano_usd,
        price_snapshot=verdict.price_snapshot,
        price_model=None if match is None else match.entry.model,
        price_rule=None if match is None else match.text,
        region=case.region,
        provider_cost=finish.provider_cost,
        unbounded=start.unbounded,
        clock_jumped=start.clock_jumped,
        tokens_after_disconnect=finish.tokens_after_disconnect,
        outcome=finish.outcome,
        status=finish.status,
        finish_reason=finish.finish_reason,
        cache=finish.cache,
        bytes_in=start.bytes_in,
        bytes_out=finish.bytes_out,
    )
