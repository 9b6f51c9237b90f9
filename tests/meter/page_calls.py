"""Made-up calls that look like a company's week: for pictures of the page and for tests of it in a browser."""

import math
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

from store.ledger_rows import make_call
from submeter.core.record import CallRow, TokenClasses

S_NS = 1_000_000_000
DAY_NS = 86_400 * S_NS


class Use(NamedTuple):
    """One application's habit. Prices in nano-USD per token: uncached, cached, output."""

    weight: int
    team: str
    app: str
    prompt: str
    versions: tuple[str, ...]
    model: str
    prices: tuple[int, int, int]
    tokens: tuple[int, int, int]
    """Typical input, cached part, output."""
    ttft_ms: int
    token_ms: float


GPT, MINI, SONNET, EMBED = (2500, 1250, 10_000), (150, 75, 600), (3000, 300, 15_000), (20, 20, 0)

USES = (
    Use(30, "search", "web", "answer-question", ("v7", "v8"), "gpt-4o-2024-08-06", GPT, (2400, 1536, 310), 420, 11),
    Use(22, "support", "helpdesk", "triage-ticket", ("v3",), "gpt-4o-mini-2024-07-18", MINI, (900, 0, 60), 280, 7),
    Use(
        9, "support", "helpdesk", "draft-reply", ("v11", "v12"), "claude-sonnet-4-5", SONNET, (3100, 2048, 420), 690, 14
    ),
    Use(
        6, "engineering", "code-review", "review-diff", ("v2",), "claude-sonnet-4-5", SONNET, (9200, 6100, 640), 880, 14
    ),
    Use(26, "search", "indexer", "", (), "text-embedding-3-small", EMBED, (640, 0, 0), 60, 0),
    Use(7, "ads", "headlines", "write-headline", ("v4", "v5"), "gpt-4o-mini-2024-07-18", MINI, (420, 0, 90), 300, 7),
)


def synthetic_calls(now_ns: int, count: int = 6000, days: float = 7.5, seed: int = 7) -> Iterator[CallRow]:
    """``count`` calls up to ``now_ns``, busier by day than by night; the same for the same seed."""
    dice = random.Random(seed)
    for number, at_ns in enumerate(sorted(_moments(now_ns, count, days, dice))):
        use = dice.choices(USES, [use.weight for use in USES])[0]
        recent = at_ns > now_ns - 2 * DAY_NS
        yield make_call(number, **_call(use, at_ns, dice, recent=recent))


def _moments(now_ns: int, count: int, days: float, dice: random.Random) -> Iterator[int]:
    while count:
        at_ns = now_ns - int(dice.random() * days * DAY_NS)
        hour = at_ns % DAY_NS / DAY_NS * 24
        if dice.random() < 0.25 + 0.75 * max(0.0, math.sin((hour - 6) / 24 * 2 * math.pi)):
            count -= 1
            yield at_ns


def _call(use: Use, at_ns: int, dice: random.Random, *, recent: bool) -> dict[str, Any]:
    wide = dice.lognormvariate(0, 0.35)
    fresh = max(8, int((use.tokens[0] - use.tokens[1]) * wide))
    cached = use.tokens[1] if dice.random() < 0.8 else 0
    output = max(1, int(use.tokens[2] * dice.lognormvariate(0, 0.4))) if use.tokens[2] else 0
    tokens = TokenClasses(input_uncached=fresh, cached_read=cached, output_text=output)
    costs = TokenClasses(
        input_uncached=fresh * use.prices[0], cached_read=cached * use.prices[1], output_text=output * use.prices[2]
    )
    cost = costs.input_uncached + costs.cached_read + costs.output_text
    ttft_ns = int(use.ttft_ms * 1e6 * dice.lognormvariate(0, 0.3) * (1.0 if recent else 1.12))
    plain: dict[str, Any] = {
        "started_at_ns": at_ns,
        "team": use.team,
        "app": use.app,
        "prompt": use.prompt or None,
        "prompt_version": (use.versions[-1] if recent else use.versions[0]) if use.versions else None,
        "endpoint": "chat/completions" if output else "embeddings",
        "upstream": "anthropic" if "claude" in use.model else "openai",
        "model_requested": use.model,
        "model_served": use.model,
        "price_model": use.model,
        "stream": output > 100,
        "ttft_ns": ttft_ns if output else None,
        "e2e_ns": ttft_ns + int(output * use.token_ms * 1e6 * dice.lognormvariate(0, 0.1)),
        "input_tokens": fresh + cached,
        "cached_input_tokens": cached,
        "cache_write_tokens": 0,
        "output_tokens": output,
        "reasoning_tokens": 0,
        "tokens": tokens,
        "costs": costs,
        "cost_nano_usd": cost,
    }
    return plain | _fate(cost, output, dice, deterministic=use.prompt in ("", "triage-ticket"))


def _fate(cost: int, output: int, dice: random.Random, *, deterministic: bool) -> dict[str, Any]:
    """Most go well; some come from the cache, a few lose their client, fail, or are never heard of again."""
    chance = dice.random()
    if deterministic and chance < 0.3:
        return {"cache": "hit", "cost_nano_usd": 0, "saved_nano_usd": cost, "ttft_ns": None, "e2e_ns": 900_000}
    if chance > 0.9985 and output:
        bounds = {"cost_low_nano_usd": cost // 2, "cost_high_nano_usd": 3 * cost}
        nothing = {"cost_nano_usd": None, "costs": None, "e2e_ns": None}
        return {"outcome": "indeterminate", "cost_state": "indeterminate", **bounds, **nothing}
    if chance > 0.992 and output:
        bounds = {"cost_low_nano_usd": cost, "cost_high_nano_usd": 2 * cost}
        return {"outcome": "client_gone", "cost_state": "estimated", "usage_source": "estimated", **bounds}
    if chance > 0.988:
        return {"outcome": "upstream_error", "status": 429, "output_tokens": 0, "cost_nano_usd": 0, "ttft_ns": None}
    return {}
