"""What is written down about a call: the journal's records, and the ledger row that the meter makes of them.

Times: ``started_at_ns`` is wall clock, Unix nanoseconds; every other ``*_ns`` is a duration measured by the
monotonic clock from t0 = "request body complete". Money is integer nano-USD. Missing is ``None``, never 0.
"""

from typing import Literal

import msgspec

Outcome = Literal["ok", "upstream_error", "upstream_incomplete", "client_gone", "timeout", "indeterminate"]
CacheStatus = Literal["hit", "miss", "bypass", "coalesced"]
UsageSource = Literal["provider", "counted", "estimated", "none"]
CostState = Literal["exact", "estimated", "unpriced", "unmetered", "indeterminate"]
TallyKind = Literal["refused", "passed", "unmetered", "cache"]


class TokenClasses(msgspec.Struct, frozen=True, array_like=True):
    """Disjoint token classes: each token of a call is in exactly one; their sum is the provider's total.

    The class names are also the keys of a price entry. ``cache_write`` is a write whose TTL the provider does
    not name; the TTL-named ones are the rest. Anthropic writes 5m and 1h, OpenAI 30m and 12h. New classes are
    appended, whatever their kind: journals hold these by position.
    """

    input_uncached: int = 0
    cached_read: int = 0
    cache_write: int = 0
    cache_write_5m: int = 0
    cache_write_30m: int = 0
    cache_write_1h: int = 0
    cache_write_12h: int = 0
    input_audio: int = 0
    input_image: int = 0
    output_text: int = 0
    reasoning: int = 0
    output_audio: int = 0
    cached_audio: int = 0
    output_image: int = 0

    @property
    def cached_total(self) -> int:
        return self.cached_read + self.cached_audio

    @property
    def cache_write_total(self) -> int:
        return (
            self.cache_write + self.cache_write_5m + self.cache_write_30m + self.cache_write_1h + self.cache_write_12h
        )

    @property
    def input_total(self) -> int:
        return self.input_uncached + self.cached_total + self.cache_write_total + self.input_audio + self.input_image

    @property
    def output_total(self) -> int:
        return self.output_text + self.reasoning + self.output_audio + self.output_image


TOKEN_CLASSES: tuple[str, ...] = TokenClasses.__struct_fields__
OUTPUT_CLASSES: tuple[str, ...] = ("output_text", "reasoning", "output_audio", "output_image")
INPUT_CLASSES: tuple[str, ...] = tuple(name for name in TOKEN_CLASSES if name not in OUTPUT_CLASSES)


class Counted(msgspec.Struct, frozen=True, array_like=True):
    """What the meter's counting service found in text that the provider sent no usage for."""

    tokenizer: str
    own: bool
    """It is the served model's own tokenizer, not a stand-in."""
    input_tokens: int | None
    """Of the request's text; None where it could not be counted (images, an unknown shape)."""
    output_tokens: int | None
    """Of the output that was seen: of the whole answer, or of its beginning."""


class Start(msgspec.Struct, frozen=True, array_like=True):
    """Journalled before the first byte goes upstream: who asks what of whom, and what bounds the cost."""

    call_id: str
    attempt: int
    operation_id: str
    endpoint: str
    upstream: str
    started_at_ns: int
    metered: bool = True
    """False for a POST that passes through: it has a row (``unmetered``), but nothing is read of it."""
    session: str | None = None
    trace_id: str | None = None
    key_id: str | None = None
    team: str | None = None
    app: str | None = None
    user: str | None = None
    prompt: str | None = None
    prompt_version: str | None = None
    klass: str | None = None
    model_requested: str | None = None
    stream: bool = False
    temperature: float | None = None
    n: int = 1
    max_output_tokens: int | None = None
    """What the caller allows per choice; bounds the cost of an answer that was not seen whole."""
    tools: bool = False
    service_tier: str | None = None
    """The tier asked for; the tier served stands in FINISH."""
    bytes_in: int = 0
    """Request body bytes; an upper bound of the text tokens in it."""
    refers_elsewhere: bool = False
    """The body names content that is not in it (an image URL, a file, an earlier response)."""
    unbounded: bool = False
    """Server-side tools may add tokens without a limit that the request shows."""
    cache: CacheStatus = "bypass"
    clock_jumped: bool = False
    """The wall clock was seen to jump against the monotonic one; ``started_at_ns`` is the wall's word."""


class Progress(msgspec.Struct, frozen=True, array_like=True):
    """First token (FIRST), and then every 2 s or 256 output chunks (PROGRESS): what a dead relay had seen."""

    call_id: str
    attempt: int
    ttft_ns: int | None
    output_bytes: int
    seen: TokenClasses | None = None
    model_served: str | None = None
    upstream_request_id: str | None = None


class Finish(msgspec.Struct, frozen=True, array_like=True):
    """Journalled before the bytes that complete the answer go to the client: what was seen of the answer."""

    call_id: str
    attempt: int
    outcome: Outcome
    status: int | None
    """HTTP status of the upstream's answer; the relay's own status when no answer came."""
    cache: CacheStatus = "bypass"
    model_served: str | None = None
    service_tier: str | None = None
    finish_reason: str | None = None
    upstream_request_id: str | None = None
    usage: TokenClasses | None = None
    """Complete usage, as the provider reports it. ``None``: none, or none that can be believed."""
    usage_problem: str | None = None
    """Why a usage block that was there was not believed (fixed text, never provider bytes)."""
    seen: TokenClasses | None = None
    """Incomplete usage (Anthropic's message_start without its message_delta): a lower bound."""
    output_bytes: int = 0
    """UTF-8 bytes of content, reasoning and tool-call deltas seen."""
    refused: bool = False
    """The upstream was never reached, or answered with an error status: nothing is billed."""
    ttfb_ns: int | None = None
    ttft_ns: int | None = None
    first_content_ns: int | None = None
    e2e_ns: int | None = None
    max_gap_ns: int | None = None
    overhead_ns: int | None = None
    bytes_out: int = 0
    provider_cost: str | None = None
    """A cost in USD that the provider itself reports (OpenRouter's ``usage.cost``): its word, not ours."""
    tokens_after_disconnect: int | None = None
    counted: Counted | None = None
    web_searches: int | None = None
    """Searches that the provider ran and bills by the request, where it says so."""
    region: str | None = None
    """Where the answer was made, by the provider's word (Anthropic's ``usage.inference_geo``)."""
    deferred: bool = False
    """The provider has only taken the job (``background``): a later GET brings its answer, and is metered."""


class Tally(msgspec.Struct, frozen=True, array_like=True):
    """Counts of what leaves no row: refusals, passed-through GETs, calls that the journal could not hold, and what
    became of a relay's questions to the cache."""

    kind: TallyKind
    label: str
    """An error code, a class of paths, what the cache said: from a closed set, never caller bytes."""
    count: int


class CallRow(msgspec.Struct, frozen=True, kw_only=True):
    """One ledger row: one upstream attempt, or one hit. The columns of the table ``calls``, in order."""

    call_id: str
    attempt: int
    operation_id: str
    session: str | None
    trace_id: str | None
    upstream_request_id: str | None
    key_id: str | None
    team: str | None
    app: str | None
    user: str | None
    prompt: str | None
    prompt_version: str | None
    klass: str | None
    endpoint: str
    upstream: str
    model_requested: str | None
    model_served: str | None
    stream: bool
    temperature: float | None
    n: int
    max_output_tokens: int | None
    tools: bool
    service_tier_requested: str | None
    service_tier: str | None
    """The one served, which is the one that is priced."""
    started_at_ns: int
    ttfb_ns: int | None
    ttft_ns: int | None
    first_content_ns: int | None
    e2e_ns: int | None
    max_gap_ns: int | None
    overhead_ns: int | None
    input_tokens: int | None
    """Total, cached and cache-write tokens included, in every dialect."""
    cached_input_tokens: int | None
    cache_write_tokens: int | None
    output_tokens: int | None
    """Total, reasoning included."""
    reasoning_tokens: int | None
    tokens: TokenClasses | None
    """Stored as one column per class, ``part_input_uncached_tokens`` … ``part_output_image_tokens``. Of an
    indeterminate row: the input alone, where the provider has said it."""
    usage_source: UsageSource
    usage_problem: str | None
    tokenizer: str | None
    """What counted the tokens that no usage was sent for."""
    input_reported: bool
    """The input classes are the provider's word (on an estimated or indeterminate row: of an early event)."""
    output_tokens_low: int | None
    """Where the output is not known: what was seen of it at least, by the provider's running count."""
    output_bytes: int
    refers_elsewhere: bool
    refused: bool
    """These four, with the counts above, are what bounds are made of: a row can be settled again."""
    cost_nano_usd: int | None
    cost_state: CostState
    cost_low_nano_usd: int | None
    cost_high_nano_usd: int | None
    costs: TokenClasses | None
    """Nano-USD per class, where the state is exact or estimated; stored as ``part_…_nano_usd`` columns."""
    web_searches: int | None
    fees_nano_usd: int | None
    """What is billed by the request and not by the token; the cost is the sum of the parts and of this."""
    saved_nano_usd: int | None
    """On hit and coalesced rows: what the delivered answer would have cost at the price of the moment."""
    price_snapshot: str | None
    price_model: str | None
    """The price-book entry that priced the call; the metric label ``model``."""
    price_rule: str | None
    """How that entry was found: ``exact``, ``undated``, ``overlay glob`` …, and what was applied to it."""
    region: str | None
    provider_cost: str | None
    unbounded: bool
    clock_jumped: bool
    tokens_after_disconnect: int | None
    outcome: Outcome
    status: int | None
    finish_reason: str | None
    cache: CacheStatus
    bytes_in: int
    bytes_out: int
