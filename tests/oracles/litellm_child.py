"""Run as a process: litellm's cost of every case of the grid. It imports no code of ours but the grid.

stdin: nothing. stdout: JSON, map key → list of USD costs (a float, or the name of the exception) in the order of
``grid.cases``. Importing litellm takes seconds and 200 MB, so it has a process of its own.
"""

import contextlib
import functools
import json
import os
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
os.environ["LITELLM_LOG"] = "ERROR"
sys.path.insert(0, str(Path(__file__).parents[1]))

import litellm
from litellm._internal_context import pinned_billing_time
from litellm.cost_calculator import cost_per_token
from litellm.types.utils import (
    CacheCreationTokenDetails,
    CompletionTokensDetailsWrapper,
    PromptTokensDetailsWrapper,
    Usage,
)

from oracles.grid import Case, cases, is_priced

_PROVIDERS = {"bedrock_converse": "bedrock", "fireworks_ai-embedding-models": "fireworks_ai"}
"""Providers that the map splits by API and litellm's router does not; the ``vertex_ai-*`` are another such."""


def main() -> None:
    with contextlib.redirect_stdout(sys.stderr):  # litellm prints advice to stdout
        costs = {
            key: [_cost(key, fields, case) for case in cases(key, fields)]
            for key, fields in litellm.model_cost.items()
            if is_priced(key, fields)
        }
    json.dump(costs, sys.stdout)


def _cost(key: str, fields: Mapping[str, str], case: Case) -> float | str:
    provider = fields["litellm_provider"]
    provider = "vertex_ai" if provider.startswith("vertex_ai-") else _PROVIDERS.get(provider, provider)
    own = case.region if case.region in ("eu", "us") else None
    speed, geo = ("fast" if case.tier == "fast" else None), ("us" if case.region == "geo us" else None)
    usage = _usage(tuple(case.tokens.items()), speed, geo)
    try:
        with pinned_billing_time(datetime.fromisoformat(case.at)):
            parts = cost_per_token(
                model=key,
                custom_llm_provider=provider,
                usage_object=usage,
                call_type=_call_type(fields["mode"], case.tier),
                service_tier=None if case.tier in ("standard", "batch", "fast", "decisions") else case.tier,
                data_residency=own,
                vertex_location="europe-west1" if case.region == "regional" else None,
            )
    except Exception as error:  # noqa: BLE001 - whatever it raises is its answer
        return type(error).__name__
    return sum(parts)


def _call_type(mode: str, tier: str) -> str:
    if tier in ("batch", "decisions"):
        return "retrieve_batch" if tier == "batch" else "decisions"
    return "embedding" if mode == "embedding" else "completion"


@functools.cache
def _usage(tokens: tuple[tuple[str, int], ...], speed: str | None, geo: str | None) -> Usage:
    count = dict(tokens).get
    written = {
        f"ephemeral_{ttl}_input_tokens": count(f"cache_write_{ttl}", 0)
        for ttl in ("5m", "30m", "1h", "12h")
        if count(f"cache_write_{ttl}")
    }
    outputs = [count(name, 0) for name in ("output_text", "reasoning", "output_audio", "output_image")]
    inputs = sum(dict(tokens).values()) - sum(outputs)
    usage = Usage(
        prompt_tokens=inputs,
        completion_tokens=sum(outputs),
        total_tokens=inputs + sum(outputs),
        prompt_tokens_details=PromptTokensDetailsWrapper(
            cached_tokens=count("cached_read", 0) + count("cached_audio", 0),
            cached_tokens_details={"audio_tokens": count("cached_audio", 0)},
            cache_creation_tokens=count("cache_write", 0) + sum(written.values()),
            cache_creation_token_details=CacheCreationTokenDetails(**written) if written else None,
            audio_tokens=count("input_audio", 0) + count("cached_audio", 0),
            image_tokens=count("input_image", 0),
        ),
        completion_tokens_details=CompletionTokensDetailsWrapper(
            text_tokens=outputs[0], reasoning_tokens=outputs[1], audio_tokens=outputs[2], image_tokens=outputs[3]
        ),
    )
    if speed is not None:
        usage.speed = speed
    if geo is not None:
        usage.inference_geo = geo
    return usage


if __name__ == "__main__":
    main()
