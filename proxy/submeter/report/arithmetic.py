"""Page one: the week in sums that a reader can redo by hand, with no configuration and no simulation.

Each line names its formula, in the ids of other lines and of assumptions. The fleet is the smallest of a common class,
sized by the averages of its busiest hour: no latency objective is in it, so that it can only be too small.
"""

import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from math import ceil

import msgspec
import numpy as np

from submeter.core.week import DAYS, Week
from submeter.report.assumptions import HARDWARE_DAYS, Assumptions
from submeter.report.build import GpuPrice, assume_rent, gpu_prices
from submeter.report.money import NANO_PER_USD, usd
from submeter.report.trace import Ints, Trace, total_nano_usd

HOURS = 24 * DAYS
_HOUR_NS = 3600 * NANO_PER_USD
_WEEK_S = HOURS * 3600
_PLACES = 9
"""Significant digits of a quotient; what is counted or summed is exact."""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    value: Decimal | None
    """``None``: there is no such value; ``formula`` says when there is."""
    unit: str
    formula: str
    inputs: tuple[str, ...] = ()
    """Ids of lines and of assumptions in the formula."""


class PageOne(msgspec.Struct, frozen=True, kw_only=True):
    lines: tuple[Line, ...]
    believe: tuple[Line, ...]
    """What would have to be true for BUILD to win, each alone, all else as it is."""
    notes: tuple[str, ...]


class EquivalentClass(msgspec.Struct, frozen=True, kw_only=True):
    """A model on its GPUs, and what one replica does at most of either kind of work."""

    name: str
    gpu: str
    gpus: int
    input_tokens_per_s: Decimal
    output_tokens_per_s: Decimal
    source: str
    as_of: date


DEFAULT = EquivalentClass(
    name="llama-3.3-70b on 2 x h100_sxm, fp8",
    gpu="h100_sxm",
    gpus=2,
    input_tokens_per_s=Decimal(13_700),
    output_tokens_per_s=Decimal(6_860),
    # Two figures, two unknowns: 1/6651 = d + 128/2048 p and 1/762 = d + 2048/128 p give 1/p and 1/d.
    source="NVIDIA, TensorRT-LLM, performance overview: 6,651 tokens/s out at 128 in / 2,048 out, 762 at 2,048 / 128",
    as_of=date(2026, 11, 24),
)


def page_one(
    trace: Trace,
    week: Week,
    assumed: Assumptions,
    equivalent: EquivalentClass = DEFAULT,
    price: GpuPrice | None = None,
) -> PageOne:
    """``trace``: calls begun in the week. ``price``: of the class's GPU, as ``build.gpu_price`` finds it."""
    if price is None:
        price = gpu_prices()[equivalent.gpu]
    known = set(_assume(equivalent, price, assumed))
    counted = _count(trace, week)
    lines = [*_sums(counted), *_fleet(counted, equivalent, price.usd)]
    believe = list(_believe({line.id: line.value for line in lines}, equivalent, price.usd))
    known |= {line.id for line in lines}
    return PageOne(
        lines=tuple(_with_inputs(line, known) for line in lines),
        believe=tuple(_with_inputs(line, known) for line in believe),
        notes=(
            "The fleet is sized by averages and meets no latency objective: real arrivals need more.",
            "Published rates are of full batches; at long contexts they fall by a quarter. No prompt cache is assumed.",
            "Engineers, staging, storage, traffic and migration are not in it: see BUILD.",
        ),
    )


class _Counted(msgspec.Struct, frozen=True):
    cost_nano_usd: int
    calls: int
    cached_calls: int
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    hourly_calls: list[int]
    hourly_input: list[int]
    hourly_output: list[int]


def _count(trace: Trace, week: Week) -> _Counted:
    sent = trace.where(trace.upstream_call)
    edges = np.searchsorted(sent.started_at_ns, week.start_ns + _HOUR_NS * np.arange(HOURS + 1))
    return _Counted(
        cost_nano_usd=total_nano_usd(trace.cost_nano_usd),
        calls=len(sent),
        cached_calls=len(trace) - len(sent),
        input_tokens=int(sent.input_tokens.sum()),
        cached_input_tokens=int(sent.cached_input_tokens.sum()),
        output_tokens=int(sent.output_tokens.sum()),
        hourly_calls=np.diff(edges).tolist(),
        hourly_input=_between(sent.input_tokens, edges),
        hourly_output=_between(sent.output_tokens, edges),
    )


def _between(counts: Ints, edges: Ints) -> list[int]:
    sums: list[int] = np.diff(np.concatenate(([0], np.cumsum(counts)))[edges]).tolist()
    return sums


def _sums(counted: _Counted) -> Iterator[Line]:
    week_usd, calls, peak = usd(counted.cost_nano_usd), Decimal(counted.calls), Decimal(max(counted.hourly_calls))
    tokens_in, tokens_out = Decimal(counted.input_tokens), Decimal(counted.output_tokens)
    cached, prompt_cached = Decimal(counted.cached_calls), Decimal(counted.cached_input_tokens)
    million = _per(week_usd * 10**6, tokens_in + tokens_out)
    for id, name, value, unit, formula in (  # noqa: A001
        ("week_usd", "recorded cost", week_usd, "USD", "sum of cost_nano_usd / 10^9"),
        ("calls", "calls that went upstream", calls, "calls", "count of the week's ledger rows but for hits"),
        ("cached_calls", "calls answered from the cache", cached, "calls", "count of hits and shared answers"),
        ("input_tokens", "tokens in", tokens_in, "tokens", "sum of the ledger's input tokens"),
        ("cached_input_tokens", "of these, by the provider's prompt cache", prompt_cached, "tokens", "sum of theirs"),
        ("output_tokens", "tokens out", tokens_out, "tokens", "sum of the ledger's output tokens"),
        ("usd_per_1000_calls", "1,000 calls", _per(week_usd * 1000, calls), "USD", "week_usd × 1000 / calls"),
        ("usd_per_million_tokens", "a million tokens, in and out", million, "USD",
         "week_usd × 10^6 / (input_tokens + output_tokens)"),
        ("calls_per_s", "mean rate", _per(calls, _WEEK_S), "calls/s", "calls / 604800"),
        ("peak_hour_calls", "calls of the hour that has most", peak, "calls", "most rows begun in one UTC hour"),
        ("peak_calls_per_s", "rate of that hour", _per(peak, 3600), "calls/s", "peak_hour_calls / 3600"),
    ):  # fmt: skip
        yield Line(id=id, name=name, value=value, unit=unit, formula=formula)


def _busy_s(tokens_in: int, tokens_out: int, equivalent: EquivalentClass) -> Decimal:
    return tokens_in / equivalent.input_tokens_per_s + tokens_out / equivalent.output_tokens_per_s


def _fleet(counted: _Counted, equivalent: EquivalentClass, usd_per_gpu_hour: Decimal) -> Iterator[Line]:
    hours = zip(counted.hourly_input, counted.hourly_output, strict=True)
    busiest = max(hours, key=lambda hour: _busy_s(hour[0], hour[1], equivalent))
    busy, peak = (
        _busy_s(counted.input_tokens, counted.output_tokens, equivalent),
        _busy_s(busiest[0], busiest[1], equivalent),
    )
    replicas = max(1, ceil(peak / 3600))
    gpus = (replicas + 1) * equivalent.gpus
    work = "{0}input_tokens / input_tokens_per_s + {0}output_tokens / output_tokens_per_s"
    for id, name, value, unit, formula in (  # noqa: A001
        ("busy_s", f"work for one replica: {equivalent.name}", _rounded(busy), "s", work.format("")),
        ("busiest_input_tokens", "tokens in, in the hour with most work", Decimal(busiest[0]), "tokens", "sum in it"),
        ("busiest_output_tokens", "tokens out, in that hour", Decimal(busiest[1]), "tokens", "sum in it"),
        ("busiest_replicas", "replicas that this hour keeps busy", _per(peak, 3600), "replicas",
         f"({work.format('busiest_')}) / 3600"),
        ("replicas", "replicas of the smallest fleet", Decimal(replicas), "replicas", "max(1, ceil(busiest_replicas))"),
        ("utilisation", "their mean utilisation", _per(busy, replicas * _WEEK_S), "", "busy_s / (replicas × 604800)"),
        ("gpus", "GPUs, with one spare replica", Decimal(gpus), "GPUs", "(replicas + 1) × gpus_per_replica"),
        ("fleet_usd", "rent of these", gpus * HOURS * usd_per_gpu_hour, "USD", f"gpus × 168 × {_rent(equivalent)}"),
    ):  # fmt: skip
        yield Line(id=id, name=name, value=value, unit=unit, formula=formula)


def _believe(
    values: dict[str, Decimal | None], equivalent: EquivalentClass, usd_per_gpu_hour: Decimal
) -> Iterator[Line]:
    week_usd, peak, gpus, fleet_usd = (
        values[name] or Decimal(0) for name in ("week_usd", "busiest_replicas", "gpus", "fleet_usd")
    )
    volume = break_even_volume(week_usd, peak, equivalent.gpus * HOURS * usd_per_gpu_hour)
    people = "no more than this for engineers and all else; below 0, the GPUs alone cost more than the bill"
    paid = (
        "least k with k × week_usd = (max(1, ceil(k × busiest_replicas)) + 1) × gpus_per_replica × 168 × "
        f"{_rent(equivalent)}; none where a busy replica costs more than what it saves"
    )
    for id, name, value, unit, formula in (  # noqa: A001
        ("volume_multiple", "this many times the volume", volume, "×", paid),
        ("break_even_usd_per_gpu_hour", "this rent of a GPU", _per(week_usd, gpus * HOURS), "USD/GPU-hour",
         "week_usd / (gpus × 168)"),
        ("break_even_engineer_usd", people, week_usd - fleet_usd, "USD/week", "week_usd - fleet_usd"),
        ("quality", f"{equivalent.name.partition(' on ')[0]} does the work as well as what did it", None, "",
         "evidence of your own: quality: in alternatives.yaml"),
    ):  # fmt: skip
        yield Line(id=id, name=name, value=value, unit=unit, formula=formula)


def break_even_volume(week_usd: Decimal, busy_replicas: Decimal, replica_usd: Decimal) -> Decimal | None:
    """The least multiple of the volume at which a fleet of n replicas and a spare costs no more than the bill.

    n replicas serve up to n / ``busy_replicas`` times the volume and pay from (n + 1) × ``replica_usd`` / ``week_usd``
    times on: the first n of which the second is not above the first decides. ``None``: there is none.
    """
    margin = week_usd - replica_usd * busy_replicas
    if margin <= 0:
        return None
    replicas = max(1, ceil(replica_usd * busy_replicas / margin))
    return _rounded((replicas + 1) * replica_usd / week_usd)


def _rent(equivalent: EquivalentClass) -> str:
    return f"gpu.{equivalent.gpu}.usd_per_hour"


def _assume(equivalent: EquivalentClass, price: GpuPrice, assumed: Assumptions) -> Iterator[str]:
    for key, value, name, unit in (
        ("input_tokens_per_s", equivalent.input_tokens_per_s, "input that one replica reads", "tokens/s"),
        ("output_tokens_per_s", equivalent.output_tokens_per_s, "output that one replica writes", "tokens/s"),
        ("gpus_per_replica", equivalent.gpus, "GPUs of one replica", "GPUs"),
    ):
        yield assumed.add(
            key,
            f"{equivalent.name}: {name}",
            value,
            unit,
            source=equivalent.source,
            as_of=equivalent.as_of,
            stale_after_days=HARDWARE_DAYS,
            by="catalog",
        )
    yield assume_rent(equivalent.gpu, price, assumed)


def _with_inputs(line: Line, known: set[str]) -> Line:
    words = dict.fromkeys(re.findall(r"[a-z][a-z0-9_.]*[a-z0-9]", line.formula))
    return msgspec.structs.replace(line, inputs=tuple(word for word in words if word in known))


def _per(amount: Decimal, by: Decimal | int) -> Decimal | None:
    return _rounded(amount / by) if by else None


def _rounded(value: Decimal) -> Decimal:
    """To significant digits, without trailing zeros or an exponent."""
    if not value:
        return Decimal(0)
    rounded = value.quantize(Decimal(1).scaleb(value.adjusted() - _PLACES + 1)).normalize()
    return Decimal(f"{rounded:f}")
