"""What hostile labels do to /metrics: 100,000 calls, each with a team, an app, a prompt and a model of its own.

They are counted as the meter counts rows, on one thread, while an event loop scrapes as often as it can, in a thread
as the ops plane does, and a ticker in the loop says for how long it was held up. A row's cost of counting is the best
of five runs over the same plain row; it is shown beside what the same thread does for a row anyway, settling it.

    python bench/metrics.py [--calls 100000]

Exit code 1 when there are more than 2,000 series, when a scrape takes a second, or when not all is counted.
"""

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from submeter.core.pricebook import Origin
from submeter.core.record import CallRow, Finish, Start, TokenClasses
from submeter.core.settle import settle
from submeter.meter.families import SERIES_LIMIT
from submeter.meter.labels import LabelSets
from submeter.meter.metrics import Metrics
from submeter.prices.load import load_book

SCRAPE_LIMIT_S = 1.0
OPENMETRICS = "application/openmetrics-text;version=1.0.0"
TICK_S = 0.005
ORIGINS = {"openai": Origin("openai")}
PRICED_MODELS = 4000
"""So many models have a price, and a client may name any of them."""
ENDPOINTS = ("chat/completions", "responses", "messages", "embeddings")
BEGUN_NS = 1_795_000_000_000_000_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--calls", type=int, default=100_000)
    arguments = parser.parse_args()
    book = load_book((), Path("no-such-directory"))
    plain = settle(*records(0), book, ORIGINS)
    settle_us = best_us(lambda: settle(*records(0), book, ORIGINS))
    metrics = Metrics(LabelSets({}, ()), upstreams=ORIGINS)
    count_us = best_us(lambda: metrics.settled(plain))
    say(f"a row      {settle_us:7.1f} us to settle, {count_us:5.1f} us to count, ratio {count_us / settle_us:.2f}")
    metrics = Metrics(LabelSets({}, ()), upstreams=ORIGINS)
    found = asyncio.run(scrape_while_counting(metrics, plain, arguments.calls))
    return report(metrics, arguments.calls, found)


class Found(NamedTuple):
    counted_s: float
    scrapes_s: list[float]
    held_up_s: list[float]


async def scrape_while_counting(metrics: Metrics, plain: CallRow, calls: int) -> Found:
    scrapes: list[float] = []
    held_up: list[float] = []
    counting = asyncio.ensure_future(asyncio.to_thread(count, metrics, plain, calls))  # noqa: TID251 - awaited below
    ticking = asyncio.ensure_future(tick(held_up))  # noqa: TID251 - cancelled below
    while not counting.done():
        scrapes.append(await scrape(metrics))
        await asyncio.sleep(0.05)
    scrapes.append(await scrape(metrics))
    ticking.cancel()
    return Found(await counting, scrapes, held_up)


async def scrape(metrics: Metrics) -> float:
    begun = time.perf_counter()
    await asyncio.to_thread(metrics.exposition, OPENMETRICS)
    return time.perf_counter() - begun


async def tick(held_up: list[float]) -> None:
    while True:
        begun = time.perf_counter()
        await asyncio.sleep(TICK_S)
        held_up.append(time.perf_counter() - begun - TICK_S)


def count(metrics: Metrics, plain: CallRow, calls: int) -> float:
    """Seconds; making the rows is in it."""
    begun = time.perf_counter()
    for number in range(calls):
        metrics.settled(hostile(plain, number))
    return time.perf_counter() - begun


def report(metrics: Metrics, calls: int, found: Found) -> int:
    samples = list(samples_of(metrics))
    series, other = len(samples), sum(count for name, _, count in samples if name == "submeter_other_values_total")
    counted = sum(count for name, _, count in samples if name == "submeter_calls_total")
    kept = len(metrics.changes())
    slowest, held_up = max(found.scrapes_s), max(found.held_up_s)
    say(f"hostile    {calls:,} calls counted in {found.counted_s:.1f} s, {counted:,.0f} in submeter_calls_total")
    say(f"series     {series:,} of {SERIES_LIMIT:,}; {other:,.0f} values shown as other; {kept:,} integers to be kept")
    say(
        f"scrape     {statistics.median(found.scrapes_s) * 1000:.0f} ms, slowest of {len(found.scrapes_s)} "
        f"{slowest * 1000:.0f} ms, in a thread; meanwhile the event loop was held up by {held_up * 1000:.0f} ms at most"
    )
    return int(series > SERIES_LIMIT or slowest >= SCRAPE_LIMIT_S or counted != calls or other == 0)


def samples_of(metrics: Metrics) -> Iterator[tuple[str, dict[str, str], float]]:
    for family in text_string_to_metric_families(metrics.exposition(OPENMETRICS)[0].decode()):
        for sample in family.samples:
            yield sample.name, sample.labels, sample.value


def hostile(row: CallRow, number: int) -> CallRow:
    """Half of the calls name models that nobody has a price for; the others have one, and labels of their own."""
    names = {"team": f"t{number}", "app": f"a{number}", "prompt": f"p{number}", "prompt_version": f"v{number}"}
    durations = {"ttft_ns": 1_000_000 * (number % 12_000), "e2e_ns": 1_000_000 * (number % 90_000)}
    stream = number % 3 > 0
    if number % 2:
        models = {"model_requested": f"junk-{number}", "model_served": f"junk-{number}-{number % 9}"}
        unpriced = {"price_model": None, "cost_state": "unpriced", "cost_nano_usd": None, "costs": None}
        return msgspec.structs.replace(row, stream=stream, **names, **durations, **models, **unpriced)
    called = {"price_model": f"priced-{number % PRICED_MODELS}", "endpoint": ENDPOINTS[number % 7 % 4]}
    return msgspec.structs.replace(row, stream=stream, **called, **names, **durations)


def records(number: int) -> tuple[Start, Finish]:
    call_id = f"01a20bc7-6a64-7260-97af-{number:012d}"
    asked = {"team": "search", "app": "web", "prompt": "greet", "prompt_version": "1"}
    start = Start(
        call_id, 1, call_id, "chat/completions", "openai", BEGUN_NS, model_requested="gpt-4o", stream=True, **asked
    )
    usage = TokenClasses(input_uncached=900, cached_read=100, output_text=80, reasoning=20)
    durations = {"ttfb_ns": 80_000_000, "ttft_ns": 90_000_000, "e2e_ns": 1_900_000_000, "overhead_ns": 90_000}
    finish = Finish(call_id, 1, "ok", 200, model_served="gpt-4o-2024-08-06", usage=usage, **durations)
    return start, finish


def best_us(work: Callable[[], object], times: int = 2000) -> float:
    """CPU of one."""
    best = float("inf")
    for _ in range(5):
        begun = time.process_time()
        for _ in range(times):
            work()
        best = min(best, time.process_time() - begun)
    return best / times * 1e6


def say(line: str) -> None:
    print(line)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
