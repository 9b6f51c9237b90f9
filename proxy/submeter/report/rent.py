"""RENT-OPEN: the week's calls at hosts that sell an open-weights equivalent by the token.

Hosts' prices are those of the price book, which is dated and compared with its sources, or stand in alternatives.yaml:
there is no second table of them. That the equivalent answers as well is evidence's to say, not a price's.
"""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import NamedTuple

from submeter.core.pricebook import STANDARD, Bracket, PriceBook, PriceEntry
from submeter.core.week import Week
from submeter.report.alternatives import WorkloadChoice
from submeter.report.buy import Market, Offer, price_offer
from submeter.report.money import Option, Withheld
from submeter.report.trace import Trace

_HOSTS = (
    *("together_ai", "fireworks_ai", "deepinfra", "groq", "novita", "nebius", "cerebras", "sambanova", "hyperbolic"),
    *("baseten", "nscale", "scaleway", "crusoe", "wandb", "vertex_ai", "bedrock", "azure_ai", "databricks", "gmi"),
    *("friendliai", "ovhcloud", "cloudflare", "deepseek", "moonshot", "zai"),
)
"""Of the price book's providers, those that run open weights themselves. Routers and resellers are none."""
_SUFFIXES = {
    *("instruct", "turbo", "chat", "it", "fp8", "fast", "hf"),
    *("maas", "versatile", "dynamic", "instant"),
}
"""Parts of a model's name that hosts add to it; anything else is another model."""


def rent(
    trace: Trace, week: Week, offer: Offer, market: Market, usd_per_million: Mapping[str, Decimal] | None = None
) -> Option | Withheld:
    """As ``buy.price_offer``. ``usd_per_million``: its prices by token class, where alternatives.yaml has them."""
    if usd_per_million is not None:
        market = Market(_own_prices(offer, usd_per_million), market.origins, market.assumed)
    return price_offer("rent", trace, week, offer, market)


def rent_options(trace: Trace, week: Week, choice: WorkloadChoice | None, market: Market) -> list[Option | Withheld]:
    """Every host of every equivalent that the configuration names."""
    found: list[Option | Withheld] = []
    for equivalent in () if choice is None else choice.equivalents:
        for each in equivalent.rent:
            offer = Offer(
                model=equivalent.model if each.model is None else each.model,
                provider=each.host,
                tokenizer_ratio=equivalent.tokenizer_ratio,
                length_ratio=equivalent.length_ratio,
            )
            found.append(rent(trace, week, offer, market, each.usd_per_million))
    return found


def _own_prices(offer: Offer, usd_per_million: Mapping[str, Decimal]) -> PriceBook:
    entry = PriceEntry(
        model=offer.model,
        provider=offer.provider,
        source="usd_per_million in alternatives.yaml",
        tiers={STANDARD: (Bracket(0, dict(usd_per_million)),)},
    )
    return PriceBook((), (entry,), "alternatives.yaml")


class Host(NamedTuple):
    provider: str
    model: str
    """As the host calls it."""
    usd_per_million_in: Decimal
    usd_per_million_out: Decimal


def hosts_of(model: str, book: PriceBook, at_ns: int) -> tuple[Host, ...]:
    """Who sells a model of the catalog (``llama-3.3-70b``), the cheapest first by one token in and one out.

    By name: a suggestion for people, who then name the host and its model.
    """
    return tuple(sorted(_hosts(model, book, at_ns), key=lambda host: (host[2] + host[3], *host[:2])))


def _hosts(model: str, book: PriceBook, at_ns: int) -> Iterator[Host]:
    for entry in book.snapshot:
        if entry.provider not in _HOSTS or not _is_called(entry.model, model):
            continue
        found = book.find(entry.model, entry.provider, at_ns)
        prices = {} if found is None else found.tiers[STANDARD][0].usd_per_million if STANDARD in found.tiers else {}
        if "input_uncached" in prices and "output_text" in prices:
            yield Host(entry.provider, entry.model, prices["input_uncached"], prices["output_text"])


def _is_called(name: str, model: str) -> bool:
    """``accounts/fireworks/models/llama-v3p3-70b-instruct`` is ``llama-3.3-70b``."""
    bare = re.sub(r"v?(\d+)p(\d+)", r"\1.\2", name.lower().rpartition("/")[2])
    bare = re.sub(r"^(meta-|meta\.|openai\.)", "", bare)
    rest = bare.removeprefix(model.lower())
    return rest != bare and all(part in _SUFFIXES for part in rest.split("-") if part)
