"""A small price book, calls priced by it, and the OpenAI pages that bill exactly those calls."""

import json
from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from store.ledger_rows import make_call
from submeter.core import when
from submeter.core.pricebook import Bracket, Origin, PriceBook, PriceEntry
from submeter.core.record import CallRow, TokenClasses
from submeter.core.resettle import resettle
from submeter.reconcile.ledger import Scope
from submeter.store.ledger import Ledger

DAY = 20_412
"""2025-11-20."""
ORIGINS = {"openai": Origin("openai"), "anthropic": Origin("anthropic")}
MODELS = ("plain", "direct", "unbilled", "batched", "cached", "cheaper", "beside", "night", "twice", "cut", "changed")
TOKENS = TokenClasses(input_uncached=1000, cached_read=200, output_text=100)
COST = 1000 * 2500 + 200 * 1250 + 100 * 10_000

_STANDARD = {"input_uncached": Decimal("2.5"), "cached_read": Decimal("1.25"), "output_text": Decimal(10)}
_TIERS = {
    "standard": (Bracket(0, _STANDARD),),
    "batch": (Bracket(0, {name: price / 2 for name, price in _STANDARD.items()}),),
}
BOOK = PriceBook(tuple(PriceEntry(model=name, provider="openai", tiers=_TIERS) for name in MODELS), (), "test-1")
SCOPE = Scope(since_day=DAY, until_day=DAY + 3, upstreams=frozenset({"openai"}))


def call(number: int, model: str, day: int = DAY, used: TokenClasses = TOKENS, **changes: Any) -> CallRow:
    """One call of the usual tokens, priced by ``BOOK``."""
    row = make_call(
        number,
        model_requested=model,
        model_served=model,
        started_at_ns=day * when.DAY_NS + number * 10**9,
        input_tokens=used.input_total,
        cached_input_tokens=used.cached_total,
        cache_write_tokens=used.cache_write_total,
        output_tokens=used.output_total,
        reasoning_tokens=used.reasoning,
        tokens=used,
    )
    return resettle(msgspec.structs.replace(row, **changes), BOOK, ORIGINS)


NO_USAGE: dict[str, Any] = {
    "usage_source": "none",
    "tokens": None,
    "input_tokens": None,
    "cached_input_tokens": None,
    "cache_write_tokens": None,
    "output_tokens": None,
    "reasoning_tokens": None,
    "input_reported": False,
    "finish_reason": None,
}


def lost_call(number: int, model: str, day: int = DAY, **changes: Any) -> CallRow:
    """A call whose end nobody saw: it cost between 0 and ``LOST_HIGH``."""
    lost = {**NO_USAGE, "outcome": "indeterminate", "ttfb_ns": None, "output_bytes": 0, "status": None}
    more = {"bytes_in": 2000, "max_output_tokens": 100, "service_tier": "default", **lost, **changes}
    return call(number, model, day, **more)


LOST_HIGH = 2000 * 2500 + 100 * 10_000


def fill(url: str | Path, rows: Iterable[CallRow]) -> None:
    with Ledger.open(str(url)) as ledger:
        ledger.migrate()
        shipped = ledger.ship(list(rows), {})
        assert shipped.refused == 0


class Bill:
    """What OpenAI says of some calls: results by day, to be doctored, and then written as its API's pages."""

    def __init__(self, rows: Iterable[CallRow]) -> None:
        self.costs: dict[int, list[dict[str, Any]]] = defaultdict(list)
        self.usage: dict[int, list[dict[str, Any]]] = defaultdict(list)
        groups: dict[tuple[int, str], list[CallRow]] = defaultdict(list)
        for row in rows:
            groups[row.started_at_ns // when.DAY_NS, str(row.model_served)].append(row)
        for (day, model), calls in groups.items():
            self.add(day, model, len(calls), len(calls))

    def add(self, day: int, model: str, calls: int, requests: int, factor: str = "1") -> None:
        """``calls`` calls of the usual tokens, at the book's prices times ``factor``."""
        for part, tokens, rate in (("input", 1000, 2500), ("cached input", 200, 1250), ("output", 100, 10_000)):
            nano_usd = Decimal(calls * tokens * rate) * Decimal(factor)
            self.costs[day].append(cost_result(f"{model}, {part}", nano_usd))
        self.usage[day].append(usage_result(model, calls, requests))

    def change(self, day: int, model: str, factor: str) -> None:
        """Other money for the same tokens."""
        for result in self.costs[day]:
            if str(result["line_item"]).startswith(f"{model}, "):
                result["amount"]["value"] = float(Decimal(str(result["amount"]["value"])) * Decimal(factor))

    def pages(self, first: int = DAY, last: int = DAY + 2) -> bytes:
        kinds = (self.costs, self.usage)
        pages = [page([bucket(day, kind[day]) for day in range(first, last + 1)]) for kind in kinds]
        return "\n".join(map(json.dumps, pages)).encode()


def cost_result(line_item: str | None, nano_usd: Decimal) -> dict[str, Any]:
    value = float(nano_usd.scaleb(-9))
    amount = {"value": value, "currency": "usd"}
    return {"object": "organization.costs.result", "amount": amount, "line_item": line_item, "project_id": None}


def usage_result(model: str, calls: int, requests: int) -> dict[str, Any]:
    return {
        "object": "organization.usage.completions.result",
        "input_tokens": 1200 * calls,
        "input_cached_tokens": 200 * calls,
        "output_tokens": 100 * calls,
        "num_model_requests": requests,
        "model": model,
        "api_key_id": None,
        "project_id": None,
        "batch": None,
        "service_tier": None,
    }


def bucket(day: int, results: list[dict[str, Any]]) -> dict[str, Any]:
    return {"object": "bucket", "start_time": day * 86_400, "end_time": (day + 1) * 86_400, "results": results}


def page(buckets: list[dict[str, Any]], next_page: str | None = None) -> dict[str, Any]:
    return {"object": "page", "data": buckets, "has_more": next_page is not None, "next_page": next_page}
