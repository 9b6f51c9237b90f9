"""Weeks of made-up traffic that look like some: for the demo and for tests, labelled synthetic on every row.

Arrivals are doubly stochastic (a Cox process): calls come at a rate that has the day's and the week's shape, times a
drift from minute to minute (log-normal, first-order autoregressive) and a jitter from second to second (gamma), so that
gaps between calls are heavy-tailed, as recorded services' are (Wang et al., BurstGPT, arXiv 2401.17644, section 4).
Lengths are log-normal. The rows are settled by the meter's own arithmetic: their costs are exact.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from submeter.core import when
from submeter.core.pricebook import Origin, PriceBook
from submeter.core.record import CacheStatus, CallRow, Finish, Start, TokenClasses
from submeter.core.settle import settle
from submeter.core.week import DAYS, Week
from submeter.core.when import NS_PER_S
from submeter.report.trace import SYNTHETIC, Floats, Ints
from submeter.store.ledger import Ledger
from submeter.store.queries import CALL_KEYS

ORIGINS: Mapping[str, Origin] = {"openai": Origin("openai"), "anthropic": Origin("anthropic")}

_MINUTES = DAYS * 24 * 60
_SECONDS = _MINUTES * 60
_CACHED_FROM = 1024
"""Prompts shorter than this are not cached by either provider, whose caches work in steps of 128 tokens."""
_CACHE_STEP = 128
_ROWS_PER_BATCH = 5000


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """One application's calls with one prompt. Lengths are tokens; ``_spread``: standard deviation of the logarithm."""

    team: str
    app: str
    prompt: str
    model: str
    """As asked for; ``served`` answers."""
    served: str
    upstream: str = "openai"
    endpoint: str = "chat/completions"
    klass: str = "interactive"
    stream: bool = True
    share: float
    """Of the week's calls."""
    peak_hour: float = 14.0
    """UTC."""
    width_h: float = 4.0
    night: float = 0.05
    """The rate far from the peak, per the rate at it."""
    weekend: float = 0.25
    """The rate on Saturday and Sunday, per that of a working day."""
    drift: float = 0.4
    """Standard deviation of the rate's logarithm from minute to minute …"""
    memory_min: float = 20.0
    """… which is forgotten after so long."""
    jitter: float = 0.5
    """Shape of the gamma of each second: the smaller, the burstier."""
    input_tokens: float
    """Median."""
    input_spread: float = 0.6
    output_tokens: float = 0.0
    output_spread: float = 0.7
    prefix_tokens: int = 0
    """The part of each prompt that is always the same, of which the provider's cache serves whole steps."""
    hits: float = 0.0
    """The part of the calls that a cache answers."""
    ttft_ms: float = 350.0
    """Median; each input token adds ``read_ms``."""
    read_ms: float = 0.05
    token_ms: float = 14.0


KINDS: tuple[Kind, ...] = (
    Kind(
        team="support",
        app="chatbot",
        prompt="answer",
        model="gpt-4o",
        served="gpt-4o-2024-08-06",
        share=0.34,
        input_tokens=1800,
        output_tokens=180,
        prefix_tokens=1100,
        weekend=0.6,
    ),
    Kind(
        team="search",
        app="router",
        prompt="classify",
        model="gpt-4o-mini",
        served="gpt-4o-mini-2024-07-18",
        stream=False,
        share=0.40,
        input_tokens=420,
        input_spread=0.4,
        output_tokens=6,
        output_spread=0.4,
        hits=0.15,
        width_h=5.0,
        weekend=0.8,
    ),
    Kind(
        team="platform",
        app="coder",
        prompt="complete",
        model="claude-sonnet-4-5",
        served="claude-sonnet-4-5-20250929",
        upstream="anthropic",
        endpoint="messages",
        share=0.10,
        peak_hour=13.0,
        width_h=3.0,
        night=0.01,
        weekend=0.05,
        drift=0.8,
        jitter=0.1,
        input_tokens=4200,
        input_spread=0.9,
        output_tokens=160,
        output_spread=1.1,
    ),
    Kind(
        team="legal",
        app="contracts",
        prompt="summarise",
        model="gpt-4.1-mini",
        served="gpt-4.1-mini-2025-04-14",
        klass="batch",
        stream=False,
        share=0.16,
        peak_hour=2.0,
        width_h=1.5,
        night=0.0,
        weekend=1.0,
        drift=0.1,
        jitter=4.0,
        input_tokens=3600,
        output_tokens=420,
        output_spread=0.4,
    ),
)
"""Four made-up teams, of which one bursts and one works at night."""


class PriceChange(msgspec.Struct, frozen=True):
    """From a day on, a model costs less."""

    model: str
    """Exact or a glob."""
    percent: int
    since: date

    def prices(self) -> list[dict[str, object]]:
        """The entry of ``prices:`` in submeter.yaml that makes it so."""
        source = "synthetic: a made-up price change"
        return [{"model": self.model, "discount_percent": str(self.percent), "from": self.since, "source": source}]


def generate(
    weeks: Sequence[Week],
    book: PriceBook,
    *,
    calls_per_week: int,
    seed: int,
    growth: float = 0.03,
    kinds: Sequence[Kind] = KINDS,
    origins: Mapping[str, Origin] = ORIGINS,
) -> Iterator[CallRow]:
    """Rows in order of time: about ``calls_per_week`` in the first week, and ``growth`` more in each that follows.

    The same arguments give the same rows. ``call_id`` begins with ``trace.SYNTHETIC``.
    """
    number = 0
    for place, week in enumerate(weeks):
        chance = np.random.default_rng((seed, place))
        expected = calls_per_week * (1 + growth) ** place
        for start, finish in _week(week, kinds, expected, chance, f"{SYNTHETIC}{seed}-", number):
            yield settle(start, finish, book, origins)
            number += 1


def _week(
    week: Week, kinds: Sequence[Kind], expected: float, chance: np.random.Generator, prefix: str, number: int
) -> Iterator[tuple[Start, Finish]]:
    drawn = [_Calls(kind, expected * kind.share, chance) for kind in kinds]
    of_kind = np.repeat(np.arange(len(kinds)), [len(each.at_ns) for each in drawn])
    within = np.concatenate([np.arange(len(each.at_ns)) for each in drawn])
    order = np.argsort(np.concatenate([each.at_ns for each in drawn]), kind="stable")
    for kind, row in zip(of_kind[order].tolist(), within[order].tolist(), strict=True):
        yield drawn[kind].call(row, f"{prefix}{number:09d}", week.start_ns)
        number += 1


class _Calls:
    """One kind's calls of one week, drawn at once."""

    def __init__(self, kind: Kind, expected: float, chance: np.random.Generator) -> None:
        self._kind = kind
        self.at_ns = arrivals_ns(kind, expected, chance)
        n = len(self.at_ns)
        self._input = _lengths(kind.input_tokens, kind.input_spread, n, chance)
        self._output = _lengths(kind.output_tokens, kind.output_spread, n, chance)
        self._hit = chance.random(n) < kind.hits
        waits_ms = kind.ttft_ms * chance.lognormal(0, 0.35, n) + kind.read_ms * self._input
        writes_ms = kind.token_ms * chance.lognormal(0, 0.15, n) * np.maximum(self._output - 1, 0)
        self._ttft_ns = (waits_ms * 1e6).astype(np.int64)
        self._e2e_ns = ((waits_ms + writes_ms) * 1e6).astype(np.int64)

    def call(self, row: int, call_id: str, week_ns: int) -> tuple[Start, Finish]:
        kind, hit = self._kind, bool(self._hit[row])
        cache: CacheStatus = "hit" if hit else "miss" if kind.hits else "bypass"
        ttft_ns, e2e_ns = (2_000_000, 2_500_000) if hit else (int(self._ttft_ns[row]), int(self._e2e_ns[row]))
        start = Start(
            call_id=call_id,
            attempt=1,
            operation_id=call_id,
            endpoint=kind.endpoint,
            upstream=kind.upstream,
            started_at_ns=week_ns + int(self.at_ns[row]),
            team=kind.team,
            app=kind.app,
            prompt=kind.prompt,
            klass=kind.klass,
            model_requested=kind.model,
            stream=kind.stream,
            temperature=0.0 if kind.hits else None,
            bytes_in=4 * int(self._input[row]),
            cache=cache,
        )
        finish = Finish(
            call_id=call_id,
            attempt=1,
            outcome="ok",
            status=200,
            cache=cache,
            model_served=kind.served,
            finish_reason="stop",
            usage=_tokens(int(self._input[row]), int(self._output[row]), kind.prefix_tokens),
            output_bytes=4 * int(self._output[row]),
            ttfb_ns=ttft_ns,
            ttft_ns=ttft_ns if kind.stream else None,
            first_content_ns=ttft_ns if kind.stream else None,
            e2e_ns=e2e_ns,
            bytes_out=4 * int(self._output[row]),
        )
        return start, finish


def _tokens(inputs: int, outputs: int, prefix: int) -> TokenClasses:
    cached = min(prefix, inputs) // _CACHE_STEP * _CACHE_STEP if min(prefix, inputs) >= _CACHED_FROM else 0
    return TokenClasses(input_uncached=inputs - cached, cached_read=cached, output_text=outputs)


def arrivals_ns(kind: Kind, expected: float, chance: np.random.Generator) -> Ints:
    """Times since the week's start, in order: about ``expected`` of them, by a rate that is itself drawn."""
    rate = _shape(kind) * np.exp(kind.drift * _drift(kind.memory_min, chance))
    per_second = np.repeat(rate, 60) * chance.gamma(kind.jitter, 1.0, _SECONDS)
    upto = np.cumsum(per_second)
    n = chance.poisson(expected)
    second = np.searchsorted(upto, np.sort(chance.random(n)) * upto[-1], side="right")
    at_ns = second * NS_PER_S + (chance.random(n) * NS_PER_S).astype(np.int64)
    return np.sort(np.asarray(at_ns, dtype=np.int64))


def _shape(kind: Kind) -> Floats:
    """The expected rate of each minute of the week, relative to that of a working day's peak."""
    hour = np.arange(_MINUTES) / 60
    away_h = (hour - kind.peak_hour + 12) % 24 - 12
    of_day = kind.night + (1 - kind.night) * np.exp(-0.5 * (away_h / kind.width_h) ** 2)
    shape: Floats = of_day * np.where(hour >= 5 * 24, kind.weekend, 1.0)
    return shape


def _drift(memory_min: float, chance: np.random.Generator) -> Floats:
    """A stationary first-order autoregression, of standard deviation 1, one value a minute."""
    keep = float(np.exp(-1 / memory_min))
    drawn = chance.standard_normal(_MINUTES)
    drawn[1:] *= np.sqrt(1 - keep**2)
    values, last = np.empty(_MINUTES), 0.0
    for minute, step in enumerate(drawn.tolist()):
        last = keep * last + step
        values[minute] = last
    return values


def _lengths(median: float, spread: float, n: int, chance: np.random.Generator) -> Ints:
    """Whole tokens, from 1; no model reads more than 200,000."""
    if not median:
        return np.zeros(n, dtype=np.int64)
    return np.clip(np.rint(median * chance.lognormal(0, spread, n)), 1, 200_000).astype(np.int64)


# ---- where the rows go -----------------------------------------------------------------------------------------


def write_ledger(ledger: Ledger, rows: Iterable[CallRow]) -> int:
    """Ship the rows, and return how many were new. Raises ``LedgerUnavailable``."""
    left, inserted = iter(rows), 0
    while batch := list(islice(left, _ROWS_PER_BATCH)):
        inserted += ledger.ship(batch, {}).inserted
    return inserted


def write_csv(path: Path, rows: Iterable[CallRow]) -> int:
    """The columns of ``submeter calls --json``; returns how many rows. Missing is an empty cell."""
    number = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(CALL_KEYS)
        for number, row in enumerate(rows, start=1):  # noqa: B007 - the count is what is returned
            writer.writerow([_cell(row, key) for key in CALL_KEYS])
    return number


def _cell(row: CallRow, key: str) -> Any:
    if key == "started_at":
        return when.rfc3339(row.started_at_ns)
    return getattr(row, "klass" if key == "class" else key)
