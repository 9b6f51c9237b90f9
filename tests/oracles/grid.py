"""The grid that every price is tried on: for each entry of the price map, usages of every kind that it can price.

It is made from the map's field names alone, not from what our importer makes of them: a field that the importer
overlooks is still asked for. ``Case.kind`` is what the allow-list names: ``tier usage context``, then ``in REGION`` or
``at MOMENT``.
"""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

MODES = ("chat", "completion", "embedding", "responses")

USAGES: dict[str, dict[str, int]] = {
    "plain": {"output_text": 503},
    "cached": {"cached_read": 401, "output_text": 503},
    "written": {"cache_write": 307, "output_text": 503},
    "written-5m": {"cache_write_5m": 307, "output_text": 503},
    "written-30m": {"cache_write_30m": 307, "output_text": 503},
    "written-1h": {"cache_write_1h": 307, "output_text": 503},
    "written-12h": {"cache_write_12h": 307, "output_text": 503},
    "reasoned": {"output_text": 302, "reasoning": 201},
    "mixed": {"cached_read": 401, "cache_write": 107, "output_text": 302, "reasoning": 201},
    "heard": {"input_audio": 211, "output_text": 503},
    "heard-cached": {"input_audio": 110, "cached_read": 100, "cached_audio": 101, "output_text": 503},
    "seen": {"input_image": 223, "output_text": 503},
    "spoken": {"output_text": 302, "output_audio": 199},
    "drawn": {"output_text": 302, "output_image": 199},
}
"""What is not uncached input. Audio and image are asked only of models that the map prices for them."""

EVERY_MODEL = ("plain", "cached", "written", "reasoned", "mixed")
EMBEDDINGS = ("plain",)
BY_FIELD = {
    "written-5m": "cache_creation_input_token_cost_above_1hr",
    "written-1h": "cache_creation_input_token_cost_above_1hr",
    "written-30m": "cache_creation_input_token_cost_above_12hr",
    "written-12h": "cache_creation_input_token_cost_above_12hr",
    "heard": "cost_per_audio_token",
    "heard-cached": "cache_read_input_audio_token_cost",
    "seen": "input_cost_per_image_token",
    "spoken": "output_cost_per_audio_token",
    "drawn": "output_cost_per_image_token",
}
"""Usage → a part of the field names that make it worth asking. Claude is asked for 5m and 1h all the same: its usage
names these lifetimes, whatever the map has of them."""

INPUT_TOKENS = 1009
_NOT_INPUT = ("output_text", "reasoning", "output_audio", "output_image")
_ABOVE = re.compile(r"_above_(\d+)k_tokens")
_TIER = re.compile(r"(?:per_token|token_cost)\w*?(?:_above_\w+)?_(flex|priority|batches|ultrafast|balanced|decisions)$")
OFF_PEAK_MOMENTS = (
    "2026-11-24T08:30:00+00:00",  # a Tuesday, by day
    "2026-11-24T11:00:00+00:00",  # by night in China
    "2026-11-28T08:30:00+00:00",  # a Saturday
    "2026-11-29T23:30:00+00:00",  # a Sunday, which is Monday in China
)


class Case(NamedTuple):
    kind: str
    tokens: dict[str, int]
    tier: str
    region: str | None = None
    at: str = "2026-11-24T08:30:00+00:00"


def cases(key: str, fields: Mapping[str, object]) -> Iterator[Case]:
    """Every case of one entry of the map."""
    usages = _usages(key, fields)
    contexts = _contexts(fields)
    for tier in ("standard", *_tiers(fields)):
        for usage in usages:
            yield Case(f"{tier} {usage}", _tokens(usage, INPUT_TOKENS, fields), tier)
            for context in contexts:
                yield Case(f"{tier} {usage} >{context}", _tokens(usage, context + 1, fields), tier)
        for context in contexts:
            yield Case(f"{tier} plain ={context}", _tokens("plain", context, fields), tier)
    for region in _regions(fields):
        for usage in usages:
            yield Case(f"standard {usage} in {region}", _tokens(usage, INPUT_TOKENS, fields), "standard", region)
    for at in OFF_PEAK_MOMENTS if "off_peak_pricing" in fields else ():
        for usage in usages:
            yield Case(f"standard {usage} at {at}", _tokens(usage, INPUT_TOKENS, fields), "standard", None, at)


def is_priced(key: str, fields: object) -> bool:
    """It is one of the entries that the differential test covers."""
    return isinstance(fields, dict) and key != "sample_spec" and fields.get("mode") in MODES


def _usages(key: str, fields: Mapping[str, object]) -> list[str]:
    if fields["mode"] == "embedding":
        return list(EMBEDDINGS)
    special = [usage for usage, part in BY_FIELD.items() if any(part in field for field in fields)]
    named = ["written-5m", "written-1h"] if "claude" in key else []
    return list(dict.fromkeys([*EVERY_MODEL, *named, *special]))


def _tokens(usage: str, input_tokens: int, fields: Mapping[str, object]) -> dict[str, int]:
    rest = dict(USAGES[usage])
    if fields["mode"] == "embedding":
        rest.pop("output_text")
    inputs = sum(count for name, count in rest.items() if name not in _NOT_INPUT)
    return {"input_uncached": input_tokens - inputs, **rest}


def _contexts(fields: Mapping[str, object]) -> list[int]:
    found = {int(match[1]) * 1000 for field in fields for match in _ABOVE.finditer(field)}
    tiered = fields.get("tiered_pricing")
    for part in tiered if isinstance(tiered, list) else ():
        found.add(int(part["range"][0]))
    return sorted(found - {0})


def _tiers(fields: Mapping[str, object]) -> list[str]:
    found = {match[1] for field in fields if (match := _TIER.search(field))}
    own = fields.get("provider_specific_entry")
    if isinstance(own, dict) and "fast" in own:
        found.add("fast")
    return sorted("batch" if tier == "batches" else tier for tier in found)


def _regions(fields: Mapping[str, object]) -> list[str]:
    own = fields.get("provider_specific_entry")
    found = ["geo us"] if isinstance(own, dict) and "us" in own else []
    found += [name for name in ("eu", "us") if f"regional_processing_uplift_multiplier_{name}" in fields]
    return [*found, "regional"] if "regional_endpoint_uplift_multiplier" in fields else found
