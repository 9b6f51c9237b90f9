"""The providers' API pages as JSON: OpenAI's costs and usage, Anthropic's cost and usage reports.

Sources: OpenAI, "Usage" and "Costs" (``/v1/organization/costs``, ``/v1/organization/usage/*``): buckets from
``start_time`` (Unix seconds), ``amount.value`` in dollars, ``input_tokens`` with the cached ones in it. Anthropic,
"Usage and Cost API" (``/v1/organizations/cost_report``, ``/usage_report/messages``): buckets from ``starting_at``
(RFC 3339), ``amount`` in *cents* as a decimal string, ``uncached_input_tokens`` without the cached ones.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from submeter.core import when
from submeter.errors import UsageError
from submeter.reconcile.lines import Invoice, InvoiceLine, Part, Usage
from submeter.reconcile.values import fail, read_count, read_day, read_moment, read_name, read_usd

# Numbers stay the text that stood there.
_decoder = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str)

_SPACE = re.compile(r"\s*")

Fields = Mapping[str, object]

_TIMES = {"openai": ("start_time", "end_time"), "anthropic": ("starting_at", "ending_at")}
"""Provider → the names of a bucket's limits, which nobody else uses."""

SHAPE = 'save the API\'s answers as they came: {"data": [{…, "results": […]}], "has_more": …}'


class _Bucket(NamedTuple):
    provider: str
    day: int
    results: list[object]


def read_pages(text: str) -> Invoice:
    """One page, a list of pages, or pages one after the other. Raises ``UsageError``."""
    pages = list(_documents(text))
    buckets = [bucket for number, page in enumerate(pages, 1) for bucket in _buckets(number, page)]
    if not buckets:
        raise UsageError("the export has no day in it: ask for a period that has ended, and save every page")
    providers = {bucket.provider for bucket in buckets}
    if len(providers) > 1:
        raise UsageError("pages of OpenAI and of Anthropic in one file: reconcile them one after the other")
    lines, left_out = _lines(buckets)
    days = [bucket.day for bucket in buckets]
    provider = providers.pop()
    return Invoice(
        source=f"{NAMES[provider]} {_content(lines)} (JSON)",
        provider=provider,
        lines=tuple(lines),
        days=(min(days), max(days)),
        notes=tuple(_notes(pages, left_out)),
    )


NAMES = {"openai": "OpenAI", "anthropic": "Anthropic"}


def _documents(text: str) -> Iterator[object]:
    at = _skip_space(text, 0)
    while at < len(text):
        try:
            value, end = _decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            line = text.count("\n", 0, at) + 1
            raise UsageError(f"line {line}: no valid JSON begins here; {SHAPE}") from None
        yield from value if isinstance(value, list) else [value]
        at = _skip_space(text, end)


def _skip_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return at if match is None else match.end()


def _buckets(number: int, page: object) -> Iterator[_Bucket]:
    place = f"page {number}"
    data = page.get("data") if isinstance(page, dict) else None
    if not isinstance(data, list):
        fail(place, f"no cost or usage page; {SHAPE}")
    for bucket in data:
        if not isinstance(bucket, dict) or not isinstance(bucket.get("results"), list):
            fail(place, f"its buckets have no results; {SHAPE}")
        yield _bucket(place, bucket)


def _bucket(place: str, bucket: Fields) -> _Bucket:
    provider = next((provider for provider, (start, _) in _TIMES.items() if start in bucket), None)
    if provider is None:
        fail(place, f"its buckets name no start; {SHAPE}")
    start, end = _TIMES[provider]
    day = read_day(place, start, bucket[start])
    if bucket.get(end) is not None and read_moment(place, end, bucket[end]) > (day + 1) * when.DAY_NS:
        fail(place, "a bucket is not within one day of UTC: ask for bucket_width=1d, from midnight UTC")
    results = bucket["results"]
    assert isinstance(results, list), "_buckets looked"
    return _Bucket(provider, day, results)


def _lines(buckets: list[_Bucket]) -> tuple[list[InvoiceLine], int]:
    """The lines, and how many results are of other kinds (images, speech, storage: nothing there is in tokens)."""
    lines, number, left_out = [], 0, 0
    for bucket in buckets:
        for result in bucket.results:
            number += 1
            place = f"result {number}"
            if not isinstance(result, dict):
                fail(place, f"not an object; {SHAPE}")
            line = _READERS[bucket.provider](place, number, bucket.day, result)
            left_out += line is None
            lines += [] if line is None else [line]
    return lines, left_out


def _content(lines: list[InvoiceLine]) -> str:
    return "costs" if any(line.amount_usd is not None for line in lines) else "usage"


def _notes(pages: list[object], left_out: int) -> Iterator[str]:
    last = pages[-1]
    if isinstance(last, dict) and last.get("has_more") is True:
        yield "the last page says that there are more: what they hold is missing here; save every page"
    if left_out:
        yield f"{left_out:,} results without an amount and without tokens are left out"


def _openai(place: str, row: int, day: int, result: Fields) -> InvoiceLine | None:
    key = read_name(place, "api_key_id", result.get("api_key_id"))
    amount = result.get("amount")
    if isinstance(amount, dict):
        return openai_cost(place, row, day, key, result, amount.get("value"), amount.get("currency"))
    return openai_usage(place, row, day, key, result) if "input_tokens" in result else None


def openai_cost(
    place: str, row: int, day: int, key: str | None, fields: Fields, value: object, currency: object
) -> InvoiceLine | None:
    """A costs result; also one row of the dashboard's export, which has the same fields."""
    usd = read_usd(place, "the amount", value, currency)
    if usd is None:
        return None
    item = read_line_item(read_name(place, "line_item", fields.get("line_item")))
    return InvoiceLine(
        row=row,
        day=day,
        model=item.model,
        item=item.other,
        key=key,
        tier=item.tier,
        part=item.part,
        usage=_quantity(place, fields, item.part),
        amount_usd=usd,
    )


def _quantity(place: str, fields: Fields, part: Part | None) -> Usage:
    """Tokens of one class: a line for uncached input, one for cached input, …; their sum is the input."""
    if part is None or fields.get("quantity_unit") not in ("tokens", "1000_tokens"):
        return Usage()
    quantity = fields.get("quantity")
    if fields["quantity_unit"] == "1000_tokens" or not isinstance(quantity, str):
        return Usage()  # rounded, or not said
    count = read_count(place, "quantity", quantity)
    return _USAGE[part](count) if count is not None else Usage()


_USAGE = {
    "input": lambda count: Usage(input_tokens=count),
    "cached_input": lambda count: Usage(input_tokens=count, cached_input_tokens=count),
    "cache_write": lambda count: Usage(input_tokens=count, cache_write_tokens=count),
    "output": lambda count: Usage(output_tokens=count),
}


class LineItem(NamedTuple):
    """``priority | gpt-x-2026-01-31 audio, cached input, long context``, taken apart."""

    model: str | None = None
    part: Part | None = None
    tier: str | None = None
    other: str | None = None
    """The whole text, where it names no model."""


_PARTS: tuple[tuple[str, Part], ...] = (
    ("cache write", "cache_write"),
    ("cache_write", "cache_write"),
    ("cached", "cached_input"),
    ("input", "input"),
    ("output", "output"),
)
_MODALITIES = (" text", " audio", " image")


def read_line_item(text: str | None) -> LineItem:
    """OpenAI's costs have no field for the model: it stands in the line item, before the first comma."""
    if text is None:
        return LineItem()
    tier, bar, rest = text.rpartition(" | ")
    head, comma, tail = rest.partition(", ")
    for modality in _MODALITIES:
        head = head.removesuffix(modality)
    if " " in head or (bar and not comma):
        return LineItem(other=text)
    part = next((part for word, part in _PARTS if word in tail.lower()), None)
    return LineItem(model=head, part=part, tier=tier or None)


def openai_usage(place: str, row: int, day: int, key: str | None, fields: Fields) -> InvoiceLine:
    """A usage result of completions or embeddings; also one row of the dashboard's export."""

    def count(name: str) -> int | None:
        return read_count(place, name, fields.get(name))

    batch = fields.get("batch")
    is_batch = batch is True or (isinstance(batch, str) and batch.lower() == "true")
    return InvoiceLine(
        row=row,
        day=day,
        model=read_name(place, "model", fields.get("model")),
        key=key,
        tier="batch" if is_batch else read_name(place, "service_tier", fields.get("service_tier")),
        requests=count("num_model_requests"),
        usage=Usage(
            count("input_tokens"),
            count("input_cached_tokens"),
            count("input_cache_write_tokens"),
            count("output_tokens"),
        ),
    )


def _anthropic(place: str, row: int, day: int, result: Fields) -> InvoiceLine | None:
    if "amount" in result:
        return _anthropic_cost(place, row, day, result)
    return _anthropic_usage(place, row, day, result) if "uncached_input_tokens" in result else None


ANTHROPIC_PARTS: dict[str, Part] = {
    "uncached_input_tokens": "input",
    "cache_read_input_tokens": "cached_input",
    "cache_creation.ephemeral_5m_input_tokens": "cache_write",
    "cache_creation.ephemeral_1h_input_tokens": "cache_write",
    "output_tokens": "output",
}


def _anthropic_cost(place: str, row: int, day: int, result: Fields) -> InvoiceLine | None:
    usd = read_usd(place, "the amount", result.get("amount"), result.get("currency"), cents=True)
    if usd is None:
        return None
    model = read_name(place, "model", result.get("model"))
    kind = read_name(place, "cost_type", result.get("cost_type"))
    described = read_name(place, "description", result.get("description"))
    return InvoiceLine(
        row=row,
        day=day,
        model=model,
        item=None if model is not None else (kind if described is None else described),
        tier=read_name(place, "service_tier", result.get("service_tier")),
        part=ANTHROPIC_PARTS.get(str(result.get("token_type"))),
        amount_usd=usd,
    )


def _anthropic_usage(place: str, row: int, day: int, result: Fields) -> InvoiceLine:
    writes = result.get("cache_creation")
    by_ttl = writes if isinstance(writes, dict) else {}
    return InvoiceLine(
        row=row,
        day=day,
        model=read_name(place, "model", result.get("model")),
        key=read_name(place, "api_key_id", result.get("api_key_id")),
        tier=read_name(place, "service_tier", result.get("service_tier")),
        usage=disjoint_usage(
            read_count(place, "uncached_input_tokens", result.get("uncached_input_tokens")),
            read_count(place, "cache_read_input_tokens", result.get("cache_read_input_tokens")),
            [read_count(place, "cache_creation", count) for count in by_ttl.values()],
            read_count(place, "output_tokens", result.get("output_tokens")),
        ),
    )


def disjoint_usage(uncached: int | None, read: int | None, writes: list[int | None], output: int | None) -> Usage:
    """Anthropic counts its input classes apart, and leaves out those that did not occur."""
    cached = 0 if read is None else read
    written = sum(count for count in writes if count is not None)
    total = None if uncached is None else uncached + cached + written
    return Usage(total, cached, written, output)


_READERS = {"openai": _openai, "anthropic": _anthropic}
