"""Our costs of the grid, beside an oracle's."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from oracles import genai_oracle
from oracles.comparison import Compared
from oracles.grid import Case, cases, is_priced
from submeter.core.cost import price_call
from submeter.core.pricebook import PriceBook, PriceEntry
from submeter.core.record import TOKEN_CLASSES, TokenClasses
from submeter.prices.importer import compile_map, place_of

NANO_PER_USD = 10**9
Fields = Mapping[str, object]


class Map(NamedTuple):
    entries: dict[str, Fields]
    """What is compared: every chat, completion, embedding and responses model of the map."""
    book: PriceBook


def read_map(raw: bytes) -> Map:
    found = {key: fields for key, fields in json.loads(raw).items() if is_priced(key, fields)}
    return Map(found, PriceBook(tuple(compile_map(raw).entries)))


def against_litellm(prices: Map, costs: Mapping[str, Sequence[float | str]]) -> Iterator[Compared]:
    """``costs``: what litellm_child.py prints."""
    for key, fields in prices.entries.items():
        provider, _ = place_of(key, fields)
        for case, theirs in zip(cases(key, fields), costs[key], strict=True):
            yield _compared("litellm", prices.book, key, fields, case, theirs, f"{provider} {key}")


def against_genai(prices: Map) -> Iterator[Compared]:
    """The models that its list has under the very same name."""
    for key, fields in prices.entries.items():
        provider, model = place_of(key, fields)
        known = genai_oracle.find_model(provider, model)
        for case in () if known is None else cases(key, fields):
            if known is not None and genai_oracle.can_price(known, case):
                theirs = genai_oracle.usd(provider, model, case)
                theirs = theirs if isinstance(theirs, str) else float(theirs)
                yield _compared("genai", prices.book, key, fields, case, theirs, f"{provider} {key}")


def _compared(
    oracle: str, book: PriceBook, key: str, fields: Fields, case: Case, theirs: float | str, name: str
) -> Compared:
    provider, model = place_of(key, fields)
    at_ns = int(datetime.fromisoformat(case.at).timestamp()) * NANO_PER_USD
    region = "us" if case.region == "geo us" else case.region
    entry, tokens = book.find(model, provider, at_ns, region), TokenClasses(**case.tokens)
    cost = None if entry is None else price_call(tokens, entry, case.tier)
    return Compared(
        oracle,
        name,
        case.kind,
        sum(1 for count in case.tokens.values() if count),
        None if cost is None else cost.total - cost.fees,  # the oracles' functions price tokens only
        None if isinstance(theirs, str) else theirs * NANO_PER_USD,
        _lacks(entry, tokens, case),
    )


def _lacks(entry: PriceEntry | None, tokens: TokenClasses, case: Case) -> tuple[str, ...]:
    if entry is None:
        return ("entry",)
    rates = entry.rates(case.tier, tokens.input_total)
    if rates is None:
        return ("tier",)
    return tuple(
        name for name, rate in zip(TOKEN_CLASSES, rates, strict=True) if rate is None and case.tokens.get(name)
    )
