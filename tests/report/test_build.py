"""The weekly cost of a fleet, each sum written out."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from report.tiny_traces import Row, trace_of
from submeter.core.record import TokenClasses
from submeter.report import catalog
from submeter.report.alternatives import Alternatives, Build, GpuPrice, Owned
from submeter.report.assumptions import Assumptions
from submeter.report.build import Built, Costs, Fleet, build, costs_of, egress_gb, fleet_of, gpu_price, gpu_prices
from submeter.report.build import GpuPrice as Rent
from submeter.report.money import Withheld

RENT = Rent(usd=Decimal("2.95"), low=Decimal(2), high=Decimal(4), source="a list", checked_on=date(2026, 11, 1))
COSTS = Costs(engineer_usd_per_week=Decimal(1500), price=RENT)
STATIC = Fleet(gpu="h100_sxm", tensor_parallel=2, replicas_by_hour=(3,) * 168)
OWNED = Owned(
    capex_usd=Decimal(250_000),
    life_years=Decimal(4),
    power_kw=Decimal("10.2"),
    pue=Decimal("1.25"),
    usd_per_kwh=Decimal("0.12"),
    colo_usd_per_week=Decimal(300),
)


def assumptions() -> Assumptions:
    return Assumptions(date(2026, 11, 23))


def built(fleet: Fleet = STATIC, costs: Costs = COSTS) -> Built:
    found = build("open-70b on 2 × h100_sxm", fleet, costs, assumptions())
    assert isinstance(found, Built)
    return found


def withheld(fleet: Fleet = STATIC, costs: Costs = COSTS) -> tuple[str, str | None]:
    found = build("open-70b on 2 × h100_sxm", fleet, costs, assumptions())
    assert isinstance(found, Withheld)
    return found.what, found.line


def fleet(**changes: object) -> Fleet:
    return msgspec.structs.replace(STATIC, **changes)


def costs(**changes: object) -> Costs:
    return msgspec.structs.replace(COSTS, **changes)


def test_a_static_fleet_pays_every_hour_and_its_people() -> None:
    found = built()
    assert found.option.weekly_usd == 3 * 2 * 168 * Decimal("2.95") + 1500
    assert (found.option.low_usd, found.option.high_usd) == (3 * 2 * 168 * 2 + 1500, 3 * 2 * 168 * 4 + 1500)
    assert sum(found.option.usd_by_day, Decimal(0)) == found.option.weekly_usd
    assert (found.gpus, found.gpu_hours_by_day) == (6, (144,) * 7)
    assert [(part.name, part.week_usd) for part in found.parts] == [
        ("rented GPUs", Decimal("2973.6")),
        ("engineers", 1500),
    ]


def test_an_hourly_fleet_pays_the_hours_that_it_runs() -> None:
    night_and_day = tuple(2 if hour % 24 < 8 else 5 for hour in range(168))
    found = built(fleet(replicas_by_hour=night_and_day))
    assert found.gpu_hours_by_day == ((8 * 2 + 16 * 5) * 2,) * 7
    assert found.option.weekly_usd == 7 * (8 * 2 + 16 * 5) * 2 * Decimal("2.95") + 1500
    assert found.gpus == 10
    committed = built(fleet(replicas_by_hour=night_and_day, minimum_term_weeks=12))
    assert committed.option.weekly_usd == 168 * 5 * 2 * Decimal("2.95") + 1500
    assert committed.option.notes == ("committed for 12 weeks: the most that is needed is paid for in every hour",)


def test_staging_replicas_come_on_top_and_run_always() -> None:
    assert built(fleet(staging_replicas=1)).gpu_hours_by_day == (24 * 4 * 2,) * 7


def test_whole_nodes_are_rented_whole() -> None:
    # 4 groups of 2 fit a node of 8: 5 replicas take 2 nodes; by the GPU they take 10.
    five = fleet(replicas_by_hour=(5,) * 168)
    assert built(five).gpus == 10
    by_node = built(msgspec.structs.replace(five, rent_by="node"))
    assert by_node.gpus == 16
    assert by_node.option.notes == ("rented by whole nodes of 8 GPUs",)
    # A group lies within a node: of 3 GPUs, two fit into 8, and two GPUs stand idle.
    of_three = fleet(tensor_parallel=3, replicas_by_hour=(3,) * 168, rent_by="node")
    assert built(of_three).gpus == 16


def test_storage_and_egress_are_parts_and_migration_is_not() -> None:
    found = built(
        costs=costs(
            storage_usd_per_week=Decimal(20),
            egress_usd_per_gb=Decimal("0.05"),
            egress_gb=Decimal("12.5"),
            migration_usd=Decimal(8000),
        )
    )
    assert [(part.name, part.week_usd) for part in found.parts[1:]] == [
        ("storage", 20),
        ("egress", Decimal("0.625")),
        ("engineers", 1500),
    ]
    assert found.option.weekly_usd == Decimal("2973.6") + 20 + Decimal("0.625") + 1500
    assert found.migration_usd == 8000
    assert found.option.notes == ("migration of 8000 USD once, in the payback and not in the week",)


def test_owned_nodes_are_written_off_fed_and_housed() -> None:
    found = built(fleet(replicas_by_hour=(5,) * 168), costs(owned=OWNED, price=None))
    # 5 replicas of 2 GPUs: 2 nodes of 8. 4 years are 4 × 365.25 / 7 weeks.
    week = Decimal(250_000) * 7 / (4 * Decimal("365.25")) + Decimal("10.2") * Decimal("1.25") * 168 * Decimal("0.12")
    assert found.option.weekly_usd == (2 * (week + 300)).quantize(Decimal("1e-9")) + 1500
    assert found.gpus == 16
    assert found.option.low_usd == found.option.weekly_usd == found.option.high_usd
    assert sum(found.option.usd_by_day, Decimal(0)) == found.option.weekly_usd
    assert "gpu.h100_sxm.usd_per_hour" not in found.option.assumptions


def test_what_is_missing_withholds_the_option_and_names_the_line() -> None:
    assert withheld(costs=costs(engineer_usd_per_week=None)) == (
        "nobody has said what the people cost who would run it",
        "engineer_usd_per_week: …",
    )
    assert withheld(costs=costs(price=None)) == (
        "no price is known for a h100_sxm",
        "gpu_usd_per_hour: {h100_sxm: {usd: …, low: …, high: …}}",
    )
    what, line = withheld(fleet(tensor_parallel=16))
    assert what.startswith("a replica of 16 GPUs does not fit a node of 8")
    assert line == "tensor_parallel: 8"


def test_nothing_for_people_is_an_answer_too() -> None:
    assert built(costs=costs(engineer_usd_per_week=Decimal(0))).option.weekly_usd == Decimal("2973.6")


def test_each_figure_is_an_assumption_with_its_source() -> None:
    assumed = assumptions()
    found = build("x", STATIC, COSTS, assumed)
    assert isinstance(found, Built)
    assert found.option.assumptions == tuple(each.id for each in assumed.listed())
    rent = assumed["gpu.h100_sxm.usd_per_hour"]
    assert (rent.value, rent.unit, rent.as_of, rent.by) == (
        "2.95 (2 to 4)",
        "USD/GPU-hour",
        date(2026, 11, 1),
        "catalog",
    )
    assert assumed["engineer_usd_per_week"].by == "config"
    assert assumed["staging_replicas"].by == "prior"


# ---- prices ----------------------------------------------------------------------------------------------------


def test_the_table_has_dated_prices_for_the_gpus_of_the_catalog() -> None:
    prices = gpu_prices()
    assert {name: str(price.usd) for name, price in prices.items() if name != "a100_sxm"} == {
        "h100_sxm": "2.95",
        "h200_sxm": "4.06",
        "b200_sxm": "4.86",
    }
    assert set(prices) <= set(catalog.gpus())
    for price in prices.values():
        assert price.low <= price.usd <= price.high
        assert price.checked_on is not None
        assert "2026" in price.source


def test_a_configured_price_goes_before_the_table() -> None:
    own = Alternatives(gpu_usd_per_hour={"h100_sxm": GpuPrice(usd=Decimal("1.99"))})
    price = gpu_price("h100_sxm", own)
    assert price is not None
    assert (price.usd, price.low, price.high, price.by) == (Decimal("1.99"),) * 3 + ("config",)
    assert gpu_price("h200_sxm", own) == gpu_prices()["h200_sxm"]
    assert gpu_price("abacus", own) is None


def test_costs_are_those_of_the_file() -> None:
    found = costs_of(Alternatives(migration_usd=Decimal(5)), "h200_sxm", None, Decimal(3))
    assert (found.engineer_usd_per_week, found.migration_usd, found.egress_gb) == (None, 5, 3)
    assert found.price == gpu_prices()["h200_sxm"]


def test_a_fleet_is_a_choice_with_a_plans_hours_on_the_catalogs_nodes() -> None:
    choice = Build(gpu="h100_sxm", tensor_parallel=4)
    found = fleet_of(choice, (2,) * 168, Alternatives(staging_replicas=1, minimum_term_weeks=4))
    assert found == fleet(tensor_parallel=4, replicas_by_hour=(2,) * 168, staging_replicas=1, minimum_term_weeks=4)
    assert found.node_gpus == catalog.gpu("h100_sxm").node_gpus == 8


def test_answers_weigh_what_they_say_and_streamed_ones_their_events() -> None:
    trace = trace_of([Row(tokens=TokenClasses(output_text=900, reasoning=100)), Row(tokens=None)])
    assert egress_gb(trace) == Decimal(1000 * 5).scaleb(-9)
    streamed = replace(trace, streamed=np.ones(len(trace), dtype=np.bool_))
    assert egress_gb(streamed) == Decimal(1000 * 250).scaleb(-9)


# ---- properties ------------------------------------------------------------------------------------------------

HOURS = st.lists(st.integers(1, 9), min_size=168, max_size=168).map(tuple)


@settings(max_examples=25, deadline=None)
@given(hours=HOURS, factor=st.integers(1, 40), term=st.sampled_from([0, 4]), by=st.sampled_from(["gpu", "node"]))
def test_scaling_every_cost_input_scales_the_week(hours: tuple[int, ...], factor: int, term: int, by: str) -> None:
    some = fleet(replicas_by_hour=hours, minimum_term_weeks=term, rent_by=by, staging_replicas=1)
    one = costs(storage_usd_per_week=Decimal(20), egress_usd_per_gb=Decimal("0.05"), egress_gb=Decimal(7))
    dear = costs(
        engineer_usd_per_week=1500 * Decimal(factor),
        price=msgspec.structs.replace(RENT, usd=RENT.usd * factor, low=RENT.low * factor, high=RENT.high * factor),
        storage_usd_per_week=Decimal(20) * factor,
        egress_usd_per_gb=Decimal("0.05") * factor,
        egress_gb=Decimal(7),
    )
    cheap, scaled = built(some, one), built(some, dear)
    assert scaled.option.weekly_usd == factor * cheap.option.weekly_usd
    assert (scaled.option.low_usd, scaled.option.high_usd) == (
        factor * cheap.option.low_usd,
        factor * cheap.option.high_usd,
    )
    for found in (cheap, scaled):
        assert sum(found.option.usd_by_day, Decimal(0)) == found.option.weekly_usd
        assert sum((part.week_usd for part in found.parts), Decimal(0)) == found.option.weekly_usd


@settings(max_examples=25, deadline=None)
@given(hours=HOURS)
def test_a_commitment_or_whole_nodes_are_never_cheaper(hours: tuple[int, ...]) -> None:
    least = built(fleet(replicas_by_hour=hours)).option.weekly_usd
    assert built(fleet(replicas_by_hour=hours, minimum_term_weeks=1)).option.weekly_usd >= least
    assert built(fleet(replicas_by_hour=hours, rent_by="node")).option.weekly_usd >= least
