"""The weekly report as data: what ``--json`` prints, what the page draws and what the next week is held against.

USD are exact decimals, written as JSON numbers; what comes out of simulated draws is rounded to cents. ``None`` is
"not known" or "not asked", never 0. Times are in ms, rates per second, shares from 0 to 1.
"""

from decimal import Decimal
from typing import Literal

import msgspec

from submeter.core.verdicts import Verdict
from submeter.report.arithmetic import PageOne
from submeter.report.assumptions import Assumption

VerdictName = Verdict


class Band(msgspec.Struct, frozen=True):
    """A 95 % band."""

    low: Decimal
    high: Decimal


class Missing(msgspec.Struct, frozen=True):
    """Why something could not be said, and the line of alternatives.yaml that mends it."""

    what: str
    line: str | None


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """One way to serve the workload."""

    kind: Literal["buy", "rent", "build"]
    name: str
    """Such as ``gpt-4o-mini at openai, batch`` or ``llama-3.3-70b on 2 x h100_sxm, fp8, static``."""
    week_usd: Decimal | None
    """``None``: see ``missing``."""
    band: Band | None
    missing: tuple[Missing, ...] = ()
    notes: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()
    """Ids."""


class Quantiles(msgspec.Struct, frozen=True):
    p50: float
    p95: float
    p99: float


class Latencies(msgspec.Struct, frozen=True):
    ttft_ms: Quantiles
    tpot_ms: Quantiles | None
    """``None``: no answer had two tokens."""


class Curve(msgspec.Struct, frozen=True):
    """Points of a line or a staircase."""

    x: tuple[float, ...]
    y: tuple[float, ...]


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """That the fleet meets the objective on each day, also with a replica down."""

    ttft_p95_ms: float
    tpot_p95_ms: float
    """The objective."""
    simulated: Latencies
    one_down: Latencies
    recorded: Latencies | None
    holds: bool
    holds_one_down: bool
    nearest_benchmark: str | None
    benchmark_error: float | None
    """Predicted over published throughput, less 1."""
    ttft_cdf_simulated: Curve
    ttft_cdf_recorded: Curve | None


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """The cheapest fleet that meets the objective."""

    model: str
    gpu: str
    tensor_parallel: int
    precision: str
    policy: str
    replicas: int
    """That serve; the spare one and the staging ones come on top."""
    spare: int
    staging: int
    gpus: int
    """Of all of them, as they are rented."""
    utilisation: float
    """Busy share of the serving replicas over the week."""
    by_averages: float
    by_poisson: int | None
    """``None``: no number of them meets the objective."""
    hourly_demand: Curve
    """Replicas needed by averages in each hour, against the hours of the week."""
    hourly_capacity: Curve
    proof: Proof


class Flip(msgspec.Struct, frozen=True, kw_only=True):
    """What would turn the verdict."""

    factor: Literal["volume", "gpu_usd_per_hour", "api_price"]
    now: float
    flips_at: tuple[float, ...]
    """Multiples of ``now``; a staircase may cross more than once. Empty: nothing in 0.1 to 100 times, of
    the volume as far as the staircase goes."""


class Staircase(msgspec.Struct, frozen=True, kw_only=True):
    """Weekly USD against multiples of the volume."""

    buy: Curve
    rent: Curve | None
    build_independent: Curve | None
    """More callers: arrivals superposed."""
    build_correlated: Curve | None
    """The same callers more often: arrivals duplicated."""


class Swing(msgspec.Struct, frozen=True, kw_only=True):
    """One bar of the tornado: build less the cheapest other, in USD a week."""

    factor: str
    at_low: Decimal
    at_high: Decimal
    low: str
    high: str
    """The values of the factor, for people."""


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    equivalent: str
    holds: bool | None
    """``None``: no evidence."""
    evidence: str | None
    as_of: str | None


class Part(msgspec.Struct, frozen=True):
    """One factor's part of a difference between two weeks (Shapley value)."""

    factor: Literal["api price", "gpu price", "volume", "mix", "lengths", "objective", "cache", "estimator"]
    usd: Decimal


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """Why the build less buy (or the buy) figure is not what it was last week. The parts sum to the difference."""

    figure: str
    before_usd: Decimal
    after_usd: Decimal
    parts: tuple[Part, ...]


class Rented(msgspec.Struct, frozen=True, kw_only=True):
    """The fleet that the week was planned for, as next week's changes are held against it."""

    replicas: int
    idle_replicas: int
    """The spare and the staging ones."""
    gpus: int
    """Of a replica."""
    usd_per_gpu_hour: Decimal
    week_usd: Decimal
    objective_s: tuple[float, float]
    """TTFT and TPOT."""
    estimator: str
    """What it was planned with: model, GPU, precision, policy, version."""


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """The 80 % interval for the next week's cost of what this report advises: scored when that week is over."""

    kind: Literal["buy", "rent", "build"]
    low: Decimal
    high: Decimal


class Regret(msgspec.Struct, frozen=True, kw_only=True):
    """Last week's forecast held against this week."""

    forecast_low_usd: Decimal
    forecast_high_usd: Decimal
    """Last week's 80 % interval for this week's cost of what was advised."""
    actual_usd: Decimal
    within: bool
    regret_usd: Decimal
    """What the advised way cost beyond the cheapest one, as it turned out."""
    weeks_scored: int
    weeks_within: int


class TrendPoint(msgspec.Struct, frozen=True, kw_only=True):
    week: str
    calls: int
    buy_usd: Decimal
    rent_open_usd: Decimal | None
    build_usd: Decimal | None
    verdict: VerdictName | None
    """``None``: no report was made of that week."""


class WorkloadReport(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    app: str | None
    prompt: str | None
    model: str | None
    calls: int
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    verdict: VerdictName
    pending: bool
    """The verdict has changed and waits for a second week that agrees; ``standing`` holds until then."""
    standing: VerdictName | None
    why: tuple[str, ...]
    """Sentences, the deciding one first."""
    missing: tuple[Missing, ...]
    buy_usd: Decimal
    """The week's recorded cost, not extrapolated."""
    buy_band: Band
    """Of estimated and indeterminate calls."""
    buy_best_usd: Decimal | None
    rent_open_usd: Decimal | None
    build_usd: Decimal | None
    p_build_cheaper: float | None
    replicas: int | None
    payback_weeks: float | None
    choices: tuple[Choice, ...]
    fleet: Fleet | None
    flips: tuple[Flip, ...]
    staircase: Staircase | None
    tornado: tuple[Swing, ...]
    quality: tuple[Quality, ...]
    explained: Explained | None
    rented: Rented | None = None
    forecast: Forecast | None = None
    regret: Regret | None


class Restated(msgspec.Struct, frozen=True):
    """A report of this week was there already, and differs: late rows, new prices or another configuration."""

    field: str
    before: str
    after: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    week: str
    schema: int = 1
    version: str
    """Of Submeter."""
    seed: int
    synthetic: bool
    """Made-up traffic: said wherever it shows."""
    starts: str
    ends: str
    """ISO dates, UTC; the end is not in it."""
    days_of_data: int
    """From the first day with calls to the last, in the thirteen weeks up to the end of this one."""
    buy_usd: Decimal
    unexplained: tuple[str, ...]
    """Differences between the recorded and the repriced bill, each with its reason; empty: equal to the cent."""
    page_one: PageOne
    workloads: tuple[WorkloadReport, ...]
    trend: tuple[TrendPoint, ...]
    restated: tuple[Restated, ...]
    assumptions: tuple[Assumption, ...]
    warnings: tuple[str, ...]


def encode(report: Report) -> bytes:
    """The same report gives the same bytes."""
    found = msgspec.json.Encoder(decimal_format="number").encode(report)
    return msgspec.json.format(found, indent=2) + b"\n"
