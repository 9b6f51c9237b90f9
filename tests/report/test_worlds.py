"""Planted worlds: the right answer is known, and draws and verdict together have to find it (BUYVSBUILD, check 7)."""

from decimal import Decimal

import msgspec
import numpy as np
import pytest

from submeter.report.document import VerdictName
from submeter.report.uncertainty import Fleet, draw, p_cheaper
from submeter.report.verdict import Case, Side, judge

SEEDS = range(5)


class World(msgspec.Struct, frozen=True, kw_only=True):
    """A workload on weekdays and half of it on weekend days, with 5 % of noise; USD a week at its mean."""

    buy: float
    rent: float
    needs: int = 3
    """Serving replicas of two GPUs."""
    engineer: float = 1500.0
    evidence: bool | None = True
    days_of_data: int = 28
    calls: int = 100_000
    gpu: tuple[float, float, float] = (2.0, 2.95, 4.0)
    scale: float = 1.0
    """Of every price."""


# Three replicas and a spare of two H100s: 8 × 168 × 2.95 = 3,965 USD, and the engineer.
BUY = World(buy=500, rent=700)
RENT = World(buy=9000, rent=600)
BUILD = World(buy=40_000, rent=30_000)
NEAR_TIE = World(buy=5465, rent=12_000)
TOO_LITTLE_DATA = msgspec.structs.replace(BUILD, days_of_data=5)
TOO_FEW_CALLS = msgspec.structs.replace(BUILD, calls=60)


def verdict(world: World, seed: int = 0) -> VerdictName:
    return judge(case(world, seed)).name


def case(world: World, seed: int = 0) -> Case:
    rng = np.random.default_rng(seed)
    share = np.array([1, 1, 1, 1, 1, 0.5, 0.5]) / 6 * np.exp(0.05 * rng.standard_normal(7))
    days = {
        name: [Decimal(repr(float(world.scale * usd * day))) for day in share]
        for name, usd in (("buy", world.buy), ("rent", world.rent))
    }
    fixed, price = world.scale * world.engineer, tuple(world.scale * each for each in world.gpu)
    fleet = Fleet(
        needs_by_day=(world.needs,) * 5 + (max(1, world.needs // 2),) * 2,
        by_speed=((0.79, world.needs + 1), (1.0, world.needs), (1.61, max(1, world.needs - 1))),
        gpus=lambda replicas: 2 * (replicas + 1),
        gpu_hours_by_day=None,
        usd_per_gpu_hour=(price[0], price[1], price[2]),
        fixed_usd=fixed,
    )
    drawn = draw(days, {"build": fleet}, rng)
    build_usd = Decimal(repr(fixed + 2 * (world.needs + 1) * 168 * price[1]))
    return Case(
        counted_calls=world.calls,
        days_of_data=world.days_of_data,
        buy=Side(kind="buy", name="gpt-4o at openai", week_usd=sum(days["buy"], Decimal(0))),
        rent=_open("rent", sum(days["rent"], Decimal(0)), world.evidence),
        build=_open("build", build_usd, world.evidence),
        p_build_cheaper=p_cheaper(drawn.week, "build", ["buy", "rent"]),
        migration_usd=Decimal(8000) * Decimal(repr(world.scale)),
    )


def _open(kind: str, usd: Decimal, evidence: bool | None) -> Side:
    return Side(
        kind="rent" if kind == "rent" else "build",
        name=kind,
        week_usd=usd,
        equivalent="llama-3.3-70b",
        quality=evidence,
    )


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("world", "expected"),
    [
        (BUY, "BUY"),
        (RENT, "RENT-OPEN"),
        (BUILD, "BUILD"),
        (NEAR_TIE, "TOO CLOSE"),
        (TOO_LITTLE_DATA, "NOT COMPARABLE"),
        (TOO_FEW_CALLS, "NOT COMPARABLE"),
    ],
)
def test_a_planted_world_is_recognised(world: World, expected: VerdictName, seed: int) -> None:
    assert verdict(world, seed) == expected


def test_removing_quality_evidence_downgrades_build_and_evidence_against_rules_it_out() -> None:
    assert verdict(msgspec.structs.replace(BUILD, evidence=None)) == "BUILD IF QUALITY HOLDS"
    assert verdict(msgspec.structs.replace(BUILD, evidence=False)) == "BUY"


def test_removing_quality_evidence_makes_a_host_not_comparable() -> None:
    assert verdict(msgspec.structs.replace(RENT, evidence=None)) == "NOT COMPARABLE"


@pytest.mark.parametrize("world", [BUY, RENT, BUILD, NEAR_TIE])
def test_scaling_every_price_scales_every_cost_and_leaves_the_verdict_and_the_odds(world: World) -> None:
    once, tenfold = case(world), case(msgspec.structs.replace(world, scale=10.0))
    assert tenfold.p_build_cheaper == once.p_build_cheaper
    for side, scaled in ((once.buy, tenfold.buy), (once.rent, tenfold.rent), (once.build, tenfold.build)):
        assert side is not None
        assert scaled is not None
        assert float(scaled.week_usd) == pytest.approx(10 * float(side.week_usd))
    assert judge(tenfold).name == judge(once).name


@pytest.mark.parametrize("buy", [3000, 5000, 6000, 8000, 12_000, 40_000])
def test_a_dearer_gpu_never_makes_build_more_likely(buy: float) -> None:
    world = World(buy=buy, rent=50_000)
    odds = [
        case(msgspec.structs.replace(world, gpu=(0.7 * usd, usd, 1.4 * usd))).p_build_cheaper for usd in (1, 2, 4, 8)
    ]
    assert odds == sorted(odds, key=lambda p: -1.0 if p is None else -p)
