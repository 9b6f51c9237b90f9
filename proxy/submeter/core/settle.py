"""START + FINISH + price book → one row. The one place that decides what a call's tokens and cost are worth.

A cost is ``exact`` only where the provider reported complete usage and every token of it has a price. What was
not seen whole is bounded: the call cost at least ``low`` and at most ``high``.
"""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from submeter.core.cost import NO_COST, Cost, Range, bounds, price_tokens
from submeter.core.pricebook import STANDARD, PriceBook, PriceEntry, tier_name
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


class _Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What ``settle`` decides; the rest of the row is copied."""

    tokens: TokenClasses | None = None
    input_known: TokenClasses | None = None
    """The input classes alone, where the output is not known."""
    usage_source: UsageSource = "none"
    usage_problem: str | None = None
    cost: Cost | None = None
    cost_state: CostState
    bounds: tuple[int, int] | None = None
    saved_nano_usd: int | None = None
    price_model: str | None = None
    price_snapshot: str | None = None
    """Also on an unpriced row: it says which book did not know."""


class _Case(NamedTuple):
    """A call with the price-book entry that it falls under."""

    start: Start
    finish: Finish
    entry: PriceEntry | None
    snapshot_id: str


def settle(
    start: Start,
    finish: Finish | None,
    book: PriceBook,
    providers: Mapping[str, str | None],
    progress: Progress | None = None,
) -> CallRow:
    """The row of a call. ``finish`` None: its relay died; ``progress`` is then the last that it had seen.

    ``providers`` maps upstream names to price-book providers (None: self-hosted or unknown).
    """
    if finish is None:
        finish = _unfinished(start, progress)
    model = start.model_requested if finish.model_served is None else finish.model_served
    provider = providers.get(start.upstream)
    entry = None if model is None else book.find(model, provider, start.started_at_ns)
    return _row(start, finish, _judge(_Case(start, finish, entry, book.snapshot_id)))


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
    if not case.start.metered:
        return _Verdict(cost_state="unmetered")
    if finish.cache in ("hit", "coalesced"):
        return _saved(case)
    if finish.refused:  # Nothing is billed, as far as is known.
        return _Verdict(cost=NO_COST, cost_state="estimated", bounds=(0, 0))
    problem = None if finish.usage is None else _implausible(finish.usage)
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
        usage_source="provider",
        saved_nano_usd=None if saved is None else saved.total,
        price_model=_priced_by(case, saved),
        price_snapshot=case.snapshot_id,
    )


def _reported(case: _Case, usage: TokenClasses) -> _Verdict:
    cost = _price(case, usage)
    return _Verdict(
        tokens=usage,
        usage_source="provider",
        cost=cost,
        cost_state="unpriced" if cost is None else "exact",
        bounds=None if cost is None else (cost.total, cost.total),
        price_model=_priced_by(case, cost),
        price_snapshot=case.snapshot_id,
    )


def _price(case: _Case, tokens: TokenClasses) -> Cost | None:
    return None if case.entry is None else price_tokens(tokens, case.entry, case.finish.service_tier)


def _priced_by(case: _Case, price: object | None) -> str | None:
    return None if case.entry is None or price is None else case.entry.model


def _indeterminate(case: _Case) -> _Verdict:
    limits = _bounds(case)
    return _Verdict(
        input_known=_input_seen(case.finish),
        cost_state="indeterminate",
        bounds=limits,
        price_model=_priced_by(case, limits),
        price_snapshot=case.snapshot_id,
    )


def _estimated(case: _Case) -> _Verdict:
    """Between the bounds by construction: a number of tokens within them, at rates within them."""
    tokens = _estimate(case)
    limits = _bounds(case)
    tier = _estimated_tier(case)
    cost = None if case.entry is None or limits is None else price_tokens(tokens, case.entry, tier)
    return _Verdict(
        tokens=tokens,
        usage_source="estimated",
        cost=cost,
        cost_state="unpriced" if cost is None else "estimated",
        bounds=None if cost is None else limits,
        price_model=_priced_by(case, cost),
        price_snapshot=case.snapshot_id,
    )


def _estimate(case: _Case) -> TokenClasses:
    tokens = _range(case)
    guess = _ceil_div(case.finish.output_bytes, BYTES_PER_TOKEN)
    output = min(max(guess, tokens.output_min), tokens.output_max)
    if tokens.input_known is not None:
        return msgspec.structs.replace(tokens.input_known, output_text=output)
    text = _ceil_div(case.start.bytes_in, BYTES_PER_TOKEN)
    return TokenClasses(input_uncached=min(text, tokens.input_max), output_text=output)


def _estimated_tier(case: _Case) -> str:
    if case.finish.service_tier is not None:
        return case.finish.service_tier
    asked = tier_name(case.start.service_tier)
    return asked if case.entry is not None and asked in case.entry.tiers else STANDARD


def _bounds(case: _Case) -> tuple[int, int] | None:
    return None if case.entry is None else bounds(case.entry, _possible_tiers(case), _range(case))


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
    known = _input_seen(case.finish)
    if case.start.endpoint == "embeddings":
        return Range(known, _input_max(case), 0, 0)
    seen = 0 if case.finish.seen is None else case.finish.seen.output_total
    least = max(seen, _ceil_div(case.finish.output_bytes, LONGEST_TOKEN_BYTES))
    least = min(least, BELIEVABLE_TOKENS)
    return Range(known, _input_max(case), least, max(least, _output_max(case)))


def _input_seen(finish: Finish) -> TokenClasses | None:
    """What the provider said of the input before the end (Anthropic's message_start), without the output."""
    seen = finish.seen
    if seen is None or seen.input_total == 0 or _implausible(seen) is not None:
        return None
    return TokenClasses(**{name: getattr(seen, name) for name in INPUT_CLASSES})


def _input_max(case: _Case) -> int:
    """A token is at least one byte of the body, unless the body names what is not in it."""
    start, entry = case.start, case.entry
    inside = start.bytes_in + (TOOL_PROMPT_TOKENS if start.tools else 0)
    if not start.refers_elsewhere:
        return min(inside, BELIEVABLE_TOKENS)
    limit = None if entry is None else entry.max_input_tokens
    return DEFAULT_INPUT_LIMIT if limit is None else limit


def _output_max(case: _Case) -> int:
    model_limit = None if case.entry is None else case.entry.max_output_tokens
    asked = case.start.max_output_tokens
    # Some servers read a negative limit as none.
    limits = [limit for limit in (asked, model_limit) if limit is not None and limit >= 0]
    return min(max(case.start.n, 1) * min(limits, default=DEFAULT_OUTPUT_LIMIT), BELIEVABLE_TOKENS)


def _ceil_div(count: int, divisor: int) -> int:
    return -(-count // divisor)


def _row(start: Start, finish: Finish, verdict: _Verdict) -> CallRow:
    tokens, cost = verdict.tokens, verdict.cost
    inputs = verdict.input_known if tokens is None else tokens
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
        service_tier=finish.service_tier,
        started_at_ns=start.started_at_ns,
        ttfb_ns=finish.ttfb_ns,
        ttft_ns=finish.ttft_ns,
        first_content_ns=finish.first_content_ns,
        e2e_ns=finish.e2e_ns,
        max_gap_ns=finish.max_gap_ns,
        overhead_ns=finish.overhead_ns,
        input_tokens=None if inputs is None else inputs.input_total,
        cached_input_tokens=None if inputs is None else inputs.cached_read,
        cache_write_tokens=None if inputs is None else inputs.cache_write_total,
        output_tokens=None if tokens is None else tokens.output_total,
        reasoning_tokens=None if tokens is None else tokens.reasoning,
        tokens=tokens,
        usage_source=verdict.usage_source,
        usage_problem=finish.usage_problem if verdict.usage_problem is None else verdict.usage_problem,
        cost_nano_usd=None if cost is None else cost.total,
        cost_state=verdict.cost_state,
        cost_low_nano_usd=low,
        cost_high_nano_usd=high,
        costs=None if cost is None else cost.parts,
        saved_nano_usd=verdict.saved_nano_usd,
        price_snapshot=verdict.price_snapshot,
        price_model=verdict.price_model,
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
