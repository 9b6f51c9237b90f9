"""Objectives that no number of replicas meets: those that too many calls miss even on a server of their own."""

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import numpy as np

from submeter.report.catalog import Server
from submeter.report.load import alone, days_with_calls
from submeter.report.simulate import Floats, engine_of
from submeter.report.steptime import Unfit
from submeter.report.workloads import Demand

DAY_NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True, slots=True)
class Objective:
    """Holds on a UTC day if at most one in twenty of its calls is above each of the two."""

    ttft_p95_s: float
    tpot_p95_s: float
    """Of the calls with more than one output token."""


@dataclass(frozen=True, slots=True)
class NotReachable:
    """A plan that cannot be made."""

    why: str
    would: tuple[str, ...]
    """What would help, each by itself; empty: nothing that was tried."""


def why_not(demand: Demand, server: Server, objective: Objective) -> NotReachable | None:
    """``None``: with enough replicas the objective is met."""
    try:
        missed = _missed(demand, server, objective)
    except Unfit as unfit:
        return NotReachable(str(unfit), ())
    if missed is None:
        return None
    would = [text for text, other in _others(server) if reachable(demand, other, objective)]
    return NotReachable(missed.why, (*would, missed.looser))


def reachable(demand: Demand, server: Server, objective: Objective) -> bool:
    """Whether any number of replicas meets the objective."""
    try:
        return _missed(demand, server, objective) is None
    except Unfit:
        return False


@dataclass(frozen=True, slots=True)
class _Missed:
    why: str
    looser: str


def _missed(demand: Demand, server: Server, objective: Objective) -> _Missed | None:
    """What the worst day would miss if each of its calls had a replica to itself. Raises ``Unfit``."""
    engine = engine_of(server)
    ttft_s, tpot_s = alone(engine, demand.input_tokens, demand.output_tokens)
    name = f"{server.model.name} on {server.tensor_parallel} × {server.gpu.name} ({server.precision})"
    for key, what, values_s, limit_s in (
        ("ttft_p95_ms", "the first token", ttft_s, objective.ttft_p95_s),
        ("tpot_p95_ms", "each further token", tpot_s, objective.tpot_p95_s),
    ):
        by_day = [(_p95(values_s[demand.days == day]), DAY_NAMES[day]) for day in days_with_calls(demand)]
        p95_s, day = max(by_day, key=lambda each: each[0])
        if np.isinf(p95_s):
            tokens = f"memory for {engine.limits.kv_tokens:,} tokens of context"
            return _Missed(f"{name} has {tokens}, and more than 5 % of {day}'s calls are longer", "shorter calls")
        if p95_s > limit_s:
            least_ms, limit_ms = f"{np.ceil(p95_s * 1000):.0f}", f"{limit_s * 1000:g}"
            why = f"even an idle {name} takes {least_ms} ms (p95) for {what} of {day}'s calls, above {limit_ms} ms"
            return _Missed(why, f"`{key}: {least_ms}` or more")
    return None


def _p95(values_s: Floats) -> float:
    """At most one in twenty is above it; 0 of none."""
    known = values_s[~np.isnan(values_s)]
    return float(np.quantile(known, 0.95, method="inverted_cdf")) if len(known) else 0.0


def _others(server: Server) -> Iterator[tuple[str, Server]]:
    for gpus in (2, 4, 8):
        if server.tensor_parallel < gpus <= server.gpu.node_gpus:
            yield f"`tensor_parallel: {gpus}`", msgspec.structs.replace(server, tensor_parallel=gpus)
    for precision in ("fp8", "fp4"):
        if precision != server.precision and server.precision != "fp4":
            yield f"`precision: {precision}`", msgspec.structs.replace(server, precision=precision)
    if server.chunk_tokens < 8192:
        yield "a prefill chunk of 8192 tokens", msgspec.structs.replace(server, chunk_tokens=8192)
