"""Prices, calls and a row of them, for the tests of ``settle``."""

from decimal import Decimal

import msgspec

from submeter.core.pricebook import Bracket, Origin, PriceBook, PriceEntry
from submeter.core.record import CallRow, Finish, Progress, Start, TokenClasses
from submeter.core.settle import settle

MINI = PriceEntry(
    model="mini",
    provider="openai",
    max_input_tokens=128_000,
    max_output_tokens=16_384,
    tiers={
        "standard": (
            Bracket(
                0,
                {
                    "input_uncached": Decimal("0.15"),
                    "cached_read": Decimal("0.075"),
                    "output_text": Decimal("0.6"),
                },
            ),
        ),
        "flex": (Bracket(0, {"input_uncached": Decimal("0.075"), "output_text": Decimal("0.3")}),),
        "priority": (Bracket(0, {"input_uncached": Decimal("0.3"), "output_text": Decimal("1.2")}),),
    },
)
HAIKU = PriceEntry(
    model="claude-haiku",
    provider="anthropic",
    max_output_tokens=64_000,
    tiers={
        "standard": (
            Bracket(
                0,
                {
                    "input_uncached": Decimal(1),
                    "cached_read": Decimal("0.1"),
                    "cache_write_5m": Decimal("1.25"),
                    "cache_write_1h": Decimal(2),
                    "output_text": Decimal(5),
                },
            ),
        )
    },
)
EMBED = PriceEntry(
    model="embed",
    provider="openai",
    mode="embedding",
    tiers={"standard": (Bracket(0, {"input_uncached": Decimal("0.02")}),)},
)
BOOK = PriceBook((MINI, HAIKU, EMBED), (), "prices-1")
DOUBLED = PriceBook((MINI, HAIKU, EMBED), (PriceEntry(model="*", discount=Decimal(-1)),), "prices-2")
ORIGINS = {"openai": Origin("openai"), "anthropic": Origin("anthropic"), "own": Origin(None)}

START = Start(
    call_id="c1",
    attempt=1,
    operation_id="c1",
    endpoint="chat/completions",
    upstream="openai",
    started_at_ns=1_795_000_000_000_000_000,
    model_requested="mini",
    max_output_tokens=100,
    service_tier="default",
    bytes_in=400,
)
FINISH = Finish(call_id="c1", attempt=1, outcome="ok", status=200, cache="miss")


def start(**changes: object) -> Start:
    return msgspec.structs.replace(START, **changes)


def finish(**changes: object) -> Finish:
    return msgspec.structs.replace(FINISH, **changes)


def row(begun: Start = START, ended: Finish | None = FINISH, progress: Progress | None = None) -> CallRow:
    return settle(begun, ended, BOOK, ORIGINS, progress)


def money(settled: CallRow) -> tuple[str, int | None, int | None, int | None]:
    return (settled.cost_state, settled.cost_nano_usd, settled.cost_low_nano_usd, settled.cost_high_nano_usd)


def counted(settled: CallRow) -> tuple[str, int | None, int | None, int | None, int | None, int | None]:
    return (
        settled.usage_source,
        settled.input_tokens,
        settled.cached_input_tokens,
        settled.cache_write_tokens,
        settled.output_tokens,
        settled.reasoning_tokens,
    )


USAGE = TokenClasses(input_uncached=80, cached_read=20, output_text=30, reasoning=5)
COST = 80 * 150 + 20 * 75 + 30 * 600 + 5 * 600
