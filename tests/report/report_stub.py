"""A made-up report for the tests of the page: the numbers are plausible, hang together, and are nobody's."""

from datetime import date
from decimal import Decimal
from math import exp, log, sin
from typing import Any

import msgspec

from report.tiny_traces import WEEK, Row, trace_of
from submeter.core.record import TokenClasses
from submeter.report.arithmetic import PageOne, page_one
from submeter.report.assumptions import Assumption, Assumptions
from submeter.report.document import (
    Band,
    Choice,
    Curve,
    Explained,
    Fleet,
    Flip,
    Latencies,
    Missing,
    Part,
    Proof,
    Quality,
    Quantiles,
    Regret,
    Report,
    Restated,
    Staircase,
    Swing,
    TrendPoint,
    WorkloadReport,
)

GPU_PRICE = "gpu.h100_sxm.usd_per_hour"
VOLUMES = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 10.0, 30.0, 100.0)
LINE = "engineer_usd_per_week: 1500"


def make_page_one(calls: int = 336) -> tuple[PageOne, Assumptions]:
    """Of calls spread over the week, $8.21 each."""
    tokens = TokenClasses(input_uncached=1_400_000, cached_read=500_000, output_text=260_000)
    rows = [Row(tokens=tokens, at_h=168 * at / calls, cost_nano_usd=8_210_000_000) for at in range(calls)]
    assumed = Assumptions(date(2026, 11, 23))
    page = page_one(trace_of(rows), WEEK, assumed)
    assumed.add("engineer_usd_per_week", "people who run it", 1500, "USD/week", source="alternatives.yaml", by="config")
    assumed.add(
        "host.together_ai", "price of a host", "0.88", "USD/Mtoken", source="its price page", by="price book",
        as_of=date(2026, 3, 2),
    )  # fmt: skip
    return page, assumed


def make_staircase(buy: float = 2760.0, replica: float = 270.0, busy: float = 1.4) -> Staircase:
    independent = tuple(replica * (int(busy * volume**0.92) + 2) + 500 for volume in VOLUMES)
    correlated = tuple(replica * (int(busy * volume * 1.2) + 2) + 500 for volume in VOLUMES)
    return Staircase(
        buy=Curve(VOLUMES, tuple(buy * volume for volume in VOLUMES)),
        rent=Curve(VOLUMES, tuple(0.62 * buy * volume for volume in VOLUMES)),
        build_independent=Curve(VOLUMES, independent),
        build_correlated=Curve(VOLUMES, correlated),
    )


def make_cdf(median: float, spread: float) -> Curve:
    shares = tuple(at / 100 for at in range(1, 101))
    return Curve(tuple(median * exp(spread * log(share / (1.005 - share)) / 1.7) for share in shares), shares)


def make_latencies(median: float) -> Latencies:
    return Latencies(Quantiles(median, 2.9 * median, 5.2 * median), Quantiles(21.4, 33.8, 44.1))


def make_fleet(**changes: Any) -> Fleet:
    hours = tuple(float(hour) for hour in range(168))
    demand = tuple(1.1 + 0.9 * sin((hour - 8) / 24 * 6.283) * (0.5 if hour >= 120 else 1) for hour in hours)
    proof = Proof(
        ttft_p95_ms=800, tpot_p95_ms=40, simulated=make_latencies(182), one_down=make_latencies(231),
        recorded=make_latencies(410), holds=True, holds_one_down=True,
        nearest_benchmark="TensorRT-LLM 1.0, Llama-3.3-70B FP8, H100 TP2, 2048/2048", benchmark_error=-0.083,
        ttft_cdf_simulated=make_cdf(182, 0.6), ttft_cdf_recorded=make_cdf(410, 0.45),
    )  # fmt: skip
    found = Fleet(
        model="llama-3.3-70b", gpu="h100_sxm", tensor_parallel=2, precision="fp8", policy="hourly", replicas=4,
        spare=1, staging=1, gpus=12, utilisation=0.37, by_averages=1.1, by_poisson=2,
        hourly_demand=Curve(hours, demand),
        hourly_capacity=Curve(hours, tuple(2.0 if 2 <= hour % 24 < 8 else 4.0 for hour in hours)), proof=proof,
    )  # fmt: skip
    return Fleet(**{name: changes.get(name, getattr(found, name)) for name in found.__struct_fields__})


def make_swings() -> tuple[Swing, ...]:
    return tuple(
        Swing(factor=factor, at_low=Decimal(low), at_high=Decimal(high), low=low_text, high=high_text)
        for factor, low, high, low_text, high_text in (
            ("model error", "-940.20", "610.75", "0.79", "1.61"),
            ("GPU $/h", "-1130", "720", "$2.00", "$4.00"),
            ("engineer share", "-1150.5", "1099.5", "$750", "$3,000"),
            ("API price", "980", "-420", "-30 %", "+10 %"),
            ("output length ratio", "-590", "-160", "0.90", "1.15"),
            ("volume", "210", "-1480", "0.7 ×", "1.5 ×"),
            ("staging replicas", "-890", "-400", "0", "1"),
            ("tokenizer ratio", "-460", "-310", "1.00", "1.08"),
            ("traffic out", "-401", "-398", "$0.02", "$0.09"),
        )
    )


def scaled(choice: Choice, by: Decimal) -> Choice:
    if choice.week_usd is None or choice.band is None:
        return choice
    ends = Band(by * choice.band.low, by * choice.band.high)
    return msgspec.structs.replace(choice, week_usd=by * choice.week_usd, band=ends)


def make_choices(by: Decimal = Decimal(1)) -> tuple[Choice, ...]:
    found = (
        Choice(kind="buy", name="gpt-4o at openai, batch", week_usd=Decimal("2410.127781"),
               band=Band(Decimal(2205), Decimal(2630)), notes=("38 % of the calls can wait a day",)),
        Choice(kind="rent", name="llama-3.3-70b at together_ai", week_usd=Decimal("1711.4"),
               band=Band(Decimal(1490), Decimal(2090)), assumptions=("host.together_ai",)),
        Choice(kind="build", name="llama-3.3-70b on 2 x h100_sxm, fp8, hourly", week_usd=Decimal("1312.75"),
               band=Band(Decimal(1050), Decimal(1980)), assumptions=(GPU_PRICE, "engineer_usd_per_week")),
        Choice(kind="build", name="llama-3.3-70b on 1 x h100_sxm, bf16", week_usd=None, band=None,
               missing=(Missing("141 GB of weights do not fit in 80 GB", None),)),
    )  # fmt: skip
    return tuple(scaled(choice, by) for choice in found)


def make_small_workload(name: str = "extraction", **changes: Any) -> WorkloadReport:
    """A quarter of the other."""
    quarter = {
        "verdict": "RENT-OPEN", "pending": False, "standing": None, "buy_usd": Decimal("611.02"),
        "buy_band": Band(Decimal("611.02"), Decimal("611.02")), "buy_best_usd": Decimal("602.53"),
        "rent_open_usd": Decimal("427.85"), "build_usd": Decimal("1210.10"), "p_build_cheaper": 0.03, "replicas": 1,
        "payback_weeks": None, "choices": (*make_choices(Decimal("0.25"))[:2],
        msgspec.structs.replace(make_choices()[2], week_usd=Decimal("1210.10"))),
        "why": ("The host is cheaper than the API in every draw.",), "missing": (),
    }  # fmt: skip
    return make_workload(name, **quarter | changes)


def make_workload(name: str = "support", **changes: Any) -> WorkloadReport:
    values: dict[str, Any] = {
        "name": name, "app": "helpdesk", "prompt": "answer", "model": "gpt-4o-2024-11-20", "calls": 212_480,
        "input_tokens": 402_881_110, "cached_input_tokens": 120_400_000, "output_tokens": 51_233_870,
        "verdict": "BUILD IF QUALITY HOLDS", "pending": True, "standing": "RENT-OPEN",
        "why": (
            "Build is cheaper in 97 % of the draws and pays back in 7 weeks.",
            "No evidence of quality is declared for llama-3.3-70b.",
            "The objective holds with one replica down.",
        ),
        "missing": (Missing(
            "evidence that llama-3.3-70b does this work",
            'quality: {evidence: "evals/support.md", date: 2026-11-20, holds: true}',
        ),),
        "buy_usd": Decimal("2758.56"), "buy_band": Band(Decimal(2741), Decimal(2790)),
        "buy_best_usd": Decimal("2410.13"), "rent_open_usd": Decimal("1711.40"), "build_usd": Decimal("1312.75"),
        "p_build_cheaper": 0.97, "replicas": 4, "payback_weeks": 7.0, "choices": make_choices(), "fleet": make_fleet(),
        "flips": (
            Flip(factor="volume", now=1.0, flips_at=(0.658,)),
            Flip(factor="gpu_usd_per_hour", now=2.95, flips_at=(1.4,)),
            Flip(factor="api_price", now=1.0, flips_at=()),
        ),
        "staircase": make_staircase(), "tornado": make_swings(),
        "quality": (Quality(equivalent="llama-3.3-70b", holds=None, evidence=None, as_of=None),),
        "explained": Explained(
            figure="build less buy", before_usd=Decimal("-870.10"), after_usd=Decimal("-1445.81"),
            parts=(Part("api price", Decimal("-310.40")), Part("gpu price", Decimal("120.22")),
                   Part("volume", Decimal("-402.10")), Part("mix", Decimal("31.07")),
                   Part("lengths", Decimal("-14.50")), Part("objective", Decimal(0)), Part("cache", Decimal(0)),
                   Part("estimator", Decimal(0))),
        ),
        "regret": Regret(
            forecast_low_usd=Decimal(1505), forecast_high_usd=Decimal(1890), actual_usd=Decimal("1711.40"),
            within=True, regret_usd=Decimal("398.65"), weeks_scored=9, weeks_within=7,
        ),
    }  # fmt: skip
    return WorkloadReport(**values | changes)


def make_bare_workload(name: str = "drafts", **changes: Any) -> WorkloadReport:
    """As without any configuration."""
    bare: dict[str, Any] = {
        "verdict": "NOT COMPARABLE", "pending": False, "standing": None, "buy_usd": Decimal("0.0421"),
        "buy_band": Band(Decimal("0.0421"), Decimal("0.0421")), "why": ("Five days of data: BUILD needs 14.",),
        "missing": (Missing("what your engineers cost", LINE),),
        **dict.fromkeys(("app", "prompt", "buy_best_usd", "rent_open_usd", "build_usd", "p_build_cheaper", "replicas",
                         "payback_weeks", "fleet", "staircase", "explained", "regret")),
        **dict.fromkeys(("choices", "flips", "tornado", "quality"), ()),
    }  # fmt: skip
    return make_workload(name, **bare | changes)


def make_trend(weeks: int = 12) -> tuple[TrendPoint, ...]:
    return tuple(
        TrendPoint(
            week=f"2026-W{36 + at}", calls=180_000 + 9_000 * at, buy_usd=Decimal(1900 + 76 * at),
            rent_open_usd=None if at in (3, 4) else Decimal(1390 + 31 * at),
            build_usd=None if at < 2 else Decimal(1420 - 10 * at),
            verdict=None if at < 1 else "RENT-OPEN" if at < 10 else "BUILD IF QUALITY HOLDS",
        )
        for at in range(weeks)
    )  # fmt: skip


def make_report(**changes: Any) -> Report:
    page, assumed = make_page_one()
    listed: tuple[Assumption, ...] = assumed.listed()
    values: dict[str, Any] = {
        "week": WEEK.text, "version": "0.0.0", "seed": 7, "synthetic": True, "starts": "2026-11-16",
        "ends": "2026-11-23", "days_of_data": 84, "buy_usd": Decimal("2758.56"), "unexplained": (),
        "page_one": page,
        "workloads": (
            make_workload(),
            make_small_workload(),
            make_bare_workload(),
        ),
        "trend": make_trend(), "restated": (Restated("workloads.support.buy_usd", "2741.10", "2758.56"),),
        "assumptions": listed, "warnings": ("12 calls have no known cost: their bounds are in the band.",),
    }  # fmt: skip
    return Report(**values | changes)
