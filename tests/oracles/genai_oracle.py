"""genai-prices' cost of a case: an independent price list, with its own sources and dates."""

from datetime import datetime
from decimal import Decimal

from genai_prices import Usage, calc_price
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo

from oracles.grid import Case

PROVIDERS = {
    "anthropic": "anthropic",
    "azure": "azure",
    "bedrock": "aws",
    "cerebras": "cerebras",
    "cohere": "cohere",
    "deepseek": "deepseek",
    "fireworks_ai": "fireworks",
    "gemini": "google",
    "groq": "groq",
    "mistral": "mistral",
    "moonshot": "moonshotai",
    "openai": "openai",
    "perplexity": "perplexity",
    "together_ai": "together",
    "voyage": "voyageai",
    "xai": "x-ai",
}
"""Ours → theirs."""

_NAMES = {
    "cached_read": ("cache_read_tokens",),
    "cache_write": ("cache_write_tokens",),
    "cache_write_30m": ("cache_write_tokens",),  # the default lifetime of the only provider that names it
    "cache_write_5m": ("cache_write_tokens", "cache_write_5m_tokens"),
    "cache_write_1h": ("cache_write_tokens", "cache_write_1h_tokens"),
    "input_audio": ("input_audio_tokens",),
    "cached_audio": ("cache_read_tokens", "input_audio_tokens", "cache_audio_read_tokens"),
    "input_image": ("input_image_tokens",),
    "output_audio": ("output_audio_tokens",),
    "output_image": ("output_image_tokens",),
    "reasoning": ("output_reasoning_tokens",),
}
"""Class → every count of theirs that includes it, beside the totals."""
_OUTPUT = ("output_text", "reasoning", "output_audio", "output_image")
_CONTEXTS = {"standard": None, "batch": {"processing": "batch"}}


def find_model(provider: str, model: str) -> ModelInfo | None:
    """The model that their list means by this name, where it has that very name."""
    theirs = next((each for each in get_snapshot().providers if each.id == PROVIDERS.get(provider)), None)
    found = None if theirs is None else theirs.find_model(model)
    return found if found is not None and _names(found, model) else None


def _names(found: ModelInfo, model: str) -> bool:
    """A loose pattern (contains "opus-4") says nothing of a model that their list has not heard of."""
    return model == found.id or f"equals='{model}'" in repr(found.match)


def can_price(model: ModelInfo, case: Case) -> bool:
    """Their list has the tier, and a unit for the tokens: none for twelve-hour writes, no regions."""
    if case.region is not None or "cache_write_12h" in case.tokens:
        return False
    wanted = _context(case.tier)
    return wanted is None or any(variant.when == wanted for variant in model.price_variants or ())


def usd(provider: str, model: str, case: Case) -> Decimal | str:
    """The cost, or the name of what it raises."""
    counts: dict[str, int] = {"input_tokens": 0, "output_tokens": 0}
    for name, count in case.tokens.items():
        total = "output_tokens" if name in _OUTPUT else "input_tokens"
        for key in (total, *_NAMES.get(name, ())):
            counts[key] = counts.get(key, 0) + count
    try:
        return calc_price(
            Usage(**counts),
            model,
            provider_id=PROVIDERS[provider],
            genai_request_timestamp=datetime.fromisoformat(case.at),
            price_context=_context(case.tier),
        ).total_price
    except (LookupError, ValueError) as error:
        return type(error).__name__


def _context(tier: str) -> dict[str, str] | None:
    return _CONTEXTS.get(tier, {"service_tier": tier})
