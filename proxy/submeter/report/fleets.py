"""The fleets that a workload's configuration declares, each planned by replay and priced: what BUILD chooses among."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal

import msgspec

from submeter.core.week import Week
from submeter.errors import UsageError
from submeter.report import build as building
from submeter.report import catalog, load, plan, uncertainty
from submeter.report.alternatives import Alternatives, Build, Equivalent, WorkloadChoice
from submeter.report.assumptions import HARDWARE_DAYS, Assumptions
from submeter.report.build import Built, Costs
from submeter.report.catalog import Server
from submeter.report.money import Withheld
from submeter.report.plan import Plan
from submeter.report.reach import NotReachable, Objective
from submeter.report.steptime import limits
from submeter.report.trace import Trace
from submeter.report.workloads import Demand, demand, scaled

WEEK_HOURS = uncertainty.WEEK_HOURS


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One fleet: planned, and priced where everything is said that a price needs."""

    name: str
    equivalent: Equivalent
    choice: Build
    server: Server
    objective: Objective
    demand: Demand
    """What it would serve, in its own tokens."""
    plan: Plan
    hardware: building.Fleet
    costs: Costs
    built: Built | Withheld


def server_of(equivalent: Equivalent, choice: Build) -> Server:
    """Raises ``UsageError`` for a model or GPU that the catalogs do not have."""
    return Server(
        gpu=catalog.gpu(choice.gpu),
        model=equivalent.served,
        tensor_parallel=choice.tensor_parallel,
        precision=choice.precision,
        kv_bytes=2 if choice.precision == "bf16" else 1,
        speed=float(choice.speed),
    )


def candidate(
    trace: Trace,
    week: Week,
    equivalent: Equivalent,
    choice: Build,
    workload: WorkloadChoice,
    alternatives: Alternatives,
    assumed: Assumptions,
    seed: int,
    progress: Callable[[str], None],
) -> Candidate | Withheld:
    """Raises ``UsageError`` for a model or GPU that the catalogs do not have."""
    name = _name(equivalent, choice)
    asked = scaled(demand(trace, week), equivalent.tokenizer_ratio, equivalent.length_ratio)
    if not len(asked.arrival_s):
        return Withheld(kind="build", name=name, what="no call of the week would be served", line=None)
    target = alternatives.objective_of(workload)
    server, objective = server_of(equivalent, choice), Objective(target.ttft_p95_s, target.tpot_p95_s)
    planned = plan.plan(
        asked,
        server,
        objective,
        choice.policy,
        seed=seed,
        progress=lambda text: progress(f"{name}: {text}"),
    )
    if isinstance(planned, NotReachable):
        return Withheld(kind="build", name=name, what=planned.why, line=" or ".join(planned.would) or None)
    costs = building.costs_of(alternatives, choice.gpu, equivalent.owned, building.egress_gb(trace))
    hardware = building.fleet_of(choice, planned.replicas_by_hour, alternatives)
    return Candidate(
        name=name,
        equivalent=equivalent,
        choice=choice,
        server=server,
        objective=objective,
        demand=asked,
        plan=planned,
        hardware=hardware,
        costs=costs,
        built=_completed(building.build(name, hardware, costs, assumed), server, asked, assumed),
    )


def _name(equivalent: Equivalent, choice: Build) -> str:
    gpus = f"{choice.tensor_parallel} × {choice.gpu}" if choice.tensor_parallel > 1 else choice.gpu
    return f"{equivalent.model} on {gpus}, {choice.precision}, {choice.policy}"


def _completed(built: Built | Withheld, server: Server, asked: Demand, assumed: Assumptions) -> Built | Withheld:
    """With what the simulation rests on, and what the fleet would not do."""
    if isinstance(built, Withheld):
        return built
    never = len(asked.arrival_s) - len(load.fitting(asked, limits(server)).arrival_s)
    option = msgspec.structs.replace(
        built.option,
        assumptions=(*built.option.assumptions, *assume_server(server, assumed)),
        notes=(
            *built.option.notes,
            *((f"{never:,} calls never fit its memory: it would not answer them",) if never else ()),
        ),
    )
    return msgspec.structs.replace(built, option=option)


def assume_server(server: Server, assumed: Assumptions) -> Iterator[str]:
    gpu, model, priors = server.gpu, server.model, server.efficiency
    rates = f"{gpu.bandwidth_bytes_per_s / 1e12:g} TB/s, {gpu.flops_bf16 / 1e12:g} TFLOP/s"
    for id, name, value, source, as_of in (  # noqa: A001
        (
            f"gpu.{gpu.name}",
            f"{gpu.name}: memory bandwidth, bf16 arithmetic, memory",
            f"{rates}, {gpu.memory_bytes / 1e9:g} GB",
            gpu.source,
            gpu.checked_on,
        ),
        (
            f"model.{model.name}",
            f"{model.name}: parameters, layers",
            f"{model.parameters / 1e9:g} billion, {model.layers}",
            model.source,
            model.checked_on,
        ),
    ):
        yield assumed.add(id, name, value, "", source=source, as_of=as_of, stale_after_days=HARDWARE_DAYS, by="catalog")
    yield assumed.add(
        "engine.efficiency",
        "what a server reaches of the data sheet: bandwidth, arithmetic, arithmetic in fp4",
        f"{priors.mbu:g}, {priors.mfu:g}, {priors.mfu_fp4:g}",
        "",
        source="priors, fixed before they were scored against 80 published throughputs; submeter report calibrate",
        by="prior",
    )
    low, high = plan.SPEEDS[0], plan.SPEEDS[-1]
    yield assumed.add(
        "engine.band",
        "true over predicted speed, 95 %",
        f"{low:g} to {high:g}",
        "",
        source="held against published throughputs (docs/guide/report.md)",
        by="prior",
    )
    if server.speed != 1:
        yield assumed.add(
            f"engine.speed.{gpu.name}.{model.name}",
            f"{model.name} on {gpu.name}: measured over predicted speed",
            f"{server.speed:g}",
            "",
            source="speed: in alternatives.yaml",
            by="config",
        )


# ---- what the draws ask of it ------------------------------------------------------------------------------------


def drawn(candidate: Candidate) -> uncertainty.Fleet:
    """Raises ``UsageError`` for one that is withheld: it has no price to draw."""
    built, costs, hardware = candidate.built, candidate.costs, candidate.hardware
    if isinstance(built, Withheld):
        raise UsageError(f"{candidate.name}: {built.what}")
    rented = {"rented GPUs", "owned hardware"}
    fixed = sum((part.week_usd for part in built.parts if part.name not in rented), Decimal(0))
    return uncertainty.Fleet(
        needs_by_day=candidate.plan.by_day,
        by_speed=candidate.plan.by_speed,
        gpus=lambda replicas: gpus_of(candidate, replicas),
        gpu_hours_by_day=None if _always_on(candidate) else tuple(map(float, built.gpu_hours_by_day)),
        usd_per_gpu_hour=_usd_per_gpu_hour(costs, hardware),
        fixed_usd=float(fixed),
    )


def gpus_of(candidate: Candidate, replicas: int) -> int:
    """That are paid for so many serving replicas, the spare and the staging ones included."""
    hardware = candidate.hardware
    all_replicas = replicas + candidate.plan.spare + hardware.staging_replicas
    if candidate.costs.owned is not None:
        return hardware.nodes(all_replicas) * hardware.node_gpus
    return hardware.gpus(all_replicas)


def _always_on(candidate: Candidate) -> bool:
    return (
        candidate.choice.policy == "static"
        or candidate.costs.owned is not None
        or candidate.hardware.minimum_term_weeks > 0
    )


def _usd_per_gpu_hour(costs: Costs, hardware: building.Fleet) -> tuple[float, float, float]:
    if costs.owned is not None:
        week_usd = building.owned_nano_usd(costs.owned, 1) / 1e9 / (hardware.node_gpus * WEEK_HOURS)
        return week_usd, week_usd, week_usd
    assert costs.price is not None
    return float(costs.price.low), float(costs.price.usd), float(costs.price.high)
