"""BUILD: what a fleet of rented or owned GPUs costs in a week, down to what people forget.

GPUs come in whole tensor-parallel groups, a group lies within one node, and nodes may only be rented whole. The spare
replica (N+1) is in the plan's hours; staging replicas come on top and run always. Owned hardware is paid for whether it
works or not. Without an engineer's share nothing is priced: a fleet does not run itself.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Literal

import msgspec
import numpy as np

from submeter.core.record import OUTPUT_CLASSES, TOKEN_CLASSES
from submeter.core.week import DAYS
from submeter.report import catalog
from submeter.report.alternatives import Alternatives, Build, Owned
from submeter.report.assumptions import Assumptions, By
from submeter.report.money import Option, Withheld, nano, usd
from submeter.report.trace import Trace

HOURS = 24
WEEKS_PER_YEAR = Decimal("365.25") / DAYS
STREAMED_BYTES_PER_TOKEN = 250
"""An event of a streamed answer around one token, as OpenAI's and vLLM's servers write it."""
PLAIN_BYTES_PER_TOKEN = 5
"""Text in JSON."""
_OUTPUTS = [TOKEN_CLASSES.index(name) for name in OUTPUT_CLASSES]


class GpuPrice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """USD per GPU-hour."""

    usd: Decimal
    low: Decimal
    high: Decimal
    source: str
    checked_on: date | None
    by: By = "catalog"


@cache
def gpu_prices() -> Mapping[str, GpuPrice]:
    """The dated table of on-demand rents, by the catalog's name of the GPU."""
    text = files("submeter.report").joinpath("data/gpu_prices.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), dict[str, GpuPrice])


def gpu_price(gpu: str, alternatives: Alternatives) -> GpuPrice | None:
    """The configured price, else the table's; ``None``: there is none."""
    own = alternatives.gpu_usd_per_hour.get(gpu)
    if own is None:
        return gpu_prices().get(gpu)
    low, high = own.range
    source = f"gpu_usd_per_hour.{gpu} in alternatives.yaml"
    return GpuPrice(usd=own.usd, low=low, high=high, source=source, checked_on=None, by="config")


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan comes to as hardware."""

    gpu: str
    tensor_parallel: int
    replicas_by_hour: tuple[int, ...]
    """Of the 168 hours from Monday 00:00 UTC, the spare replica included."""
    node_gpus: int = 8
    staging_replicas: int = 0
    rent_by: Literal["gpu", "node"] = "gpu"
    minimum_term_weeks: int = 0
    """With any, the most that is ever needed is paid for in every hour."""

    @property
    def replicas_per_node(self) -> int:
        return self.node_gpus // self.tensor_parallel

    def nodes(self, replicas: int) -> int:
        return -(-replicas // self.replicas_per_node)

    def gpus(self, replicas: int) -> int:
        """That are rented for so many replicas."""
        return self.nodes(replicas) * self.node_gpus if self.rent_by == "node" else replicas * self.tensor_parallel

    @property
    def most_replicas(self) -> int:
        return max(self.replicas_by_hour) + self.staging_replicas

    def gpu_hours_by_day(self) -> tuple[int, ...]:
        hours = [self.gpus(replicas + self.staging_replicas) for replicas in self.replicas_by_hour]
        if self.minimum_term_weeks:
            hours = [max(hours)] * len(hours)
        return tuple(sum(hours[day * HOURS : (day + 1) * HOURS]) for day in range(DAYS))


def fleet_of(choice: Build, replicas_by_hour: tuple[int, ...], alternatives: Alternatives) -> Fleet:
    """The hardware of a plan's hours. Raises ``UsageError`` for a GPU that the catalog does not have."""
    return Fleet(
        gpu=choice.gpu,
        tensor_parallel=choice.tensor_parallel,
        replicas_by_hour=replicas_by_hour,
        node_gpus=catalog.gpu(choice.gpu).node_gpus,
        staging_replicas=alternatives.staging_replicas,
        rent_by=choice.rent_by,
        minimum_term_weeks=alternatives.minimum_term_weeks,
    )


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    """What a fleet is paid for with."""

    engineer_usd_per_week: Decimal | None
    price: GpuPrice | None
    owned: Owned | None = None
    """Of each node; in place of a rent."""
    storage_usd_per_week: Decimal = Decimal(0)
    egress_usd_per_gb: Decimal = Decimal(0)
    egress_gb: Decimal = Decimal(0)
    migration_usd: Decimal = Decimal(0)


def costs_of(alternatives: Alternatives, gpu: str, owned: Owned | None, egress_gb: Decimal) -> Costs:
    return Costs(
        engineer_usd_per_week=alternatives.engineer_usd_per_week,
        price=gpu_price(gpu, alternatives),
        owned=owned,
        storage_usd_per_week=alternatives.storage_usd_per_week,
        egress_usd_per_gb=alternatives.egress_usd_per_gb,
        egress_gb=egress_gb,
        migration_usd=alternatives.migration_usd,
    )


def egress_gb(trace: Trace) -> Decimal:
    """What the answers of a week's calls weigh on the wire, by the two priors above."""
    output = trace.tokens[:, _OUTPUTS].sum(axis=1)[trace.answered]
    streamed = trace.streamed[trace.answered]
    weights = ((output[streamed], STREAMED_BYTES_PER_TOKEN), (output[~streamed], PLAIN_BYTES_PER_TOKEN))
    return sum((Decimal(int(np.sum(part)) * each) for part, each in weights), Decimal(0)).scaleb(-9)


class Part(msgspec.Struct, frozen=True):
    name: str
    week_usd: Decimal


class Built(msgspec.Struct, frozen=True, kw_only=True):
    """``option.weekly_usd`` is the sum of ``parts``; ``migration_usd`` is paid once and in none of them."""

    option: Option
    parts: tuple[Part, ...]
    gpus: int
    """Rented or owned at the fleet's largest."""
    gpu_hours_by_day: tuple[int, ...]
    migration_usd: Decimal


def build(name: str, fleet: Fleet, costs: Costs, assumed: Assumptions) -> Built | Withheld:
    """The week's cost, its range that of the GPU price."""
    missing = _missing(fleet, costs)
    if missing is not None or costs.engineer_usd_per_week is None:
        what, line = missing or ("", None)
        return Withheld(kind="build", name=name, what=what, line=line)
    hours = fleet.gpu_hours_by_day()
    fixed = [*_running(costs), ("engineers", nano(costs.engineer_usd_per_week))]
    if costs.owned is not None:
        fixed.insert(0, ("owned hardware", owned_nano_usd(costs.owned, fleet.nodes(fleet.most_replicas))))
    rents = [_rented(costs, hours, end) for end in ("usd", "low", "high")]
    rest = sum(amount for _, amount in fixed)
    by_day = [rent + share for rent, share in zip(rents[0], _days(rest), strict=True)]
    week, low, high = (sum(rent) + rest for rent in rents)
    option = Option(
        kind="build",
        name=name,
        usd_by_day=tuple(usd(day) for day in by_day),
        weekly_usd=usd(week),
        low_usd=usd(low),
        high_usd=usd(high),
        notes=tuple(_notes(fleet, costs)),
        assumptions=tuple(_assume(fleet, costs, assumed)),
    )
    parts = [("rented GPUs", sum(rents[0])), *fixed] if costs.owned is None else fixed
    return Built(
        option=option,
        parts=tuple(Part(part, usd(amount)) for part, amount in parts),
        gpus=_gpus(fleet, costs),
        gpu_hours_by_day=hours,
        migration_usd=costs.migration_usd,
    )


def _missing(fleet: Fleet, costs: Costs) -> tuple[str, str] | None:
    """What cannot be priced, and the line of alternatives.yaml that mends it."""
    if fleet.tensor_parallel > fleet.node_gpus:
        what = (
            f"a replica of {fleet.tensor_parallel} GPUs does not fit a node of {fleet.node_gpus}, and across nodes none"
        )
        return f"{what} is modelled", f"tensor_parallel: {fleet.node_gpus}"
    if costs.price is None and costs.owned is None:
        return f"no price is known for a {fleet.gpu}", f"gpu_usd_per_hour: {{{fleet.gpu}: {{usd: …, low: …, high: …}}}}"
    if costs.engineer_usd_per_week is None:
        return "nobody has said what the people cost who would run it", "engineer_usd_per_week: …"
    return None


def _rented(costs: Costs, hours: Sequence[int], end: Literal["usd", "low", "high"]) -> list[int]:
    """Nano-USD by day."""
    if costs.owned is not None or costs.price is None:
        return [0] * DAYS
    return [nano(each * getattr(costs.price, end)) for each in hours]


def owned_nano_usd(owned: Owned, nodes: int) -> int:
    written_off = owned.capex_usd / (owned.life_years * WEEKS_PER_YEAR)
    power = owned.power_kw * owned.pue * HOURS * DAYS * owned.usd_per_kwh
    return nano(nodes * (written_off + power + owned.colo_usd_per_week))


def _running(costs: Costs) -> Iterator[tuple[str, int]]:
    if costs.storage_usd_per_week:
        yield "storage", nano(costs.storage_usd_per_week)
    if costs.egress_usd_per_gb:
        yield "egress", nano(costs.egress_gb * costs.egress_usd_per_gb)


def _days(amount: int) -> list[int]:
    """An amount a week in days that sum to it: the rest of the division goes to the first ones."""
    each, rest = divmod(amount, DAYS)
    return [each + (day < rest) for day in range(DAYS)]


def _gpus(fleet: Fleet, costs: Costs) -> int:
    if costs.owned is not None:
        return fleet.nodes(fleet.most_replicas) * fleet.node_gpus
    return fleet.gpus(fleet.most_replicas)


def _notes(fleet: Fleet, costs: Costs) -> Iterator[str]:
    if costs.owned is not None:
        yield f"{fleet.nodes(fleet.most_replicas)} owned nodes of {fleet.node_gpus}, drawing their full power all week"
    elif fleet.minimum_term_weeks:
        yield f"committed for {fleet.minimum_term_weeks} weeks: the most that is needed is paid for in every hour"
    if costs.owned is None and fleet.rent_by == "node":
        yield f"rented by whole nodes of {fleet.node_gpus} GPUs"
    if costs.migration_usd:
        yield f"migration of {costs.migration_usd:f} USD once, in the payback and not in the week"


def _assume(fleet: Fleet, costs: Costs, assumed: Assumptions) -> Iterator[str]:
    source = "alternatives.yaml"
    if costs.owned is None and costs.price is not None:
        yield assume_rent(fleet.gpu, costs.price, assumed)
    if costs.owned is not None:
        values = ", ".join(f"{key} {value}" for key, value in msgspec.structs.asdict(costs.owned).items())
        yield assumed.add(
            f"owned.{fleet.gpu}", f"one owned node of {fleet.gpu}", values, "", source=source, by="config"
        )
    for key, name, value, unit in (
        ("engineer_usd_per_week", "people who run it", costs.engineer_usd_per_week, "USD/week"),
        ("migration_usd", "moving there, once", costs.migration_usd, "USD"),
        ("storage_usd_per_week", "storage of weights and images", costs.storage_usd_per_week, "USD/week"),
        ("egress_usd_per_gb", "traffic out", costs.egress_usd_per_gb, "USD/GB"),
        ("staging_replicas", "replicas that serve no traffic", fleet.staging_replicas, "replicas"),
        ("minimum_term_weeks", "minimum term of the rent", fleet.minimum_term_weeks, "weeks"),
    ):
        yield assumed.add(
            key,
            name,
            value,
            unit,
            source=f"{key} in {source}",
            by="config" if value or key == "engineer_usd_per_week" else "prior",
        )
    if costs.egress_usd_per_gb:
        text = f"{STREAMED_BYTES_PER_TOKEN} streamed, {PLAIN_BYTES_PER_TOKEN} else"
        yield assumed.add("egress.bytes_per_token", "bytes on the wire", text, "B/token", source="prior", by="prior")


def assume_rent(gpu: str, price: GpuPrice, assumed: Assumptions) -> str:
    """Enters the price of a GPU-hour; its id."""
    return assumed.add(
        f"gpu.{gpu}.usd_per_hour",
        f"rent of one {gpu}",
        f"{price.usd:f} ({price.low:f} to {price.high:f})",
        "USD/GPU-hour",
        source=price.source,
        as_of=price.checked_on,
        by=price.by,
    )
