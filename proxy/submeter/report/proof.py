"""A planned fleet as the report shows it: its size, its hours, and the proof that it meets the objective."""

import numpy as np

from submeter.report import benchmark, plan
from submeter.report.build import Built
from submeter.report.document import Curve, Fleet, Latencies, Proof, Quantiles
from submeter.report.fleets import Candidate
from submeter.report.reach import Objective
from submeter.report.trace import Floats, Trace

NS_PER_MS = 1e6
HOURS = tuple(map(float, range(168)))


def fleet(candidate: Candidate, trace: Trace) -> Fleet:
    """``trace``: the recorded calls that it would serve."""
    planned, hardware = candidate.plan, candidate.hardware
    gpus = candidate.built.gpus if isinstance(candidate.built, Built) else hardware.gpus(hardware.most_replicas)
    return Fleet(
        model=candidate.server.model.name,
        gpu=candidate.server.gpu.name,
        tensor_parallel=candidate.server.tensor_parallel,
        precision=candidate.server.precision,
        policy=planned.policy,
        replicas=planned.replicas,
        spare=planned.spare,
        staging=hardware.staging_replicas,
        gpus=gpus,
        utilisation=planned.utilisation,
        by_averages=planned.averages,
        by_poisson=planned.poisson,
        hourly_demand=Curve(x=HOURS, y=planned.hourly_demand),
        hourly_capacity=Curve(x=HOURS, y=tuple(float(each - planned.spare) for each in planned.replicas_by_hour)),
        proof=_proof(candidate, trace),
    )


def _proof(candidate: Candidate, trace: Trace) -> Proof:
    planned, demand, objective = candidate.plan, candidate.demand, candidate.objective
    nearest = benchmark.nearest(candidate.server, float(demand.input_tokens.mean()), float(demand.output_tokens.mean()))
    one_down = planned.proof_one_down
    return Proof(
        ttft_p95_ms=1000 * objective.ttft_p95_s,
        tpot_p95_ms=1000 * objective.tpot_p95_s,
        simulated=_latencies(planned.proof),
        one_down=_latencies(one_down),
        recorded=_recorded(trace),
        holds=_holds(planned.proof, objective),
        holds_one_down=_holds(one_down, objective),
        nearest_benchmark=nearest.text,
        benchmark_error=nearest.error,
        ttft_cdf_simulated=_curve(planned.proof.ttft_cdf),
        ttft_cdf_recorded=_recorded_cdf(trace),
    )


def holds_one_down(candidate: Candidate) -> bool:
    return _holds(candidate.plan.proof_one_down, candidate.objective)


def _holds(latency: plan.Latency, objective: Objective) -> bool:
    """On each UTC day."""
    limits = ((latency.ttft_p95_by_day_s, objective.ttft_p95_s), (latency.tpot_p95_by_day_s, objective.tpot_p95_s))
    return all(each is None or each <= limit_s for days, limit_s in limits for each in days)


def _latencies(latency: plan.Latency) -> Latencies:
    return Latencies(ttft_ms=_ms(latency.ttft_s), tpot_ms=None if latency.tpot_s is None else _ms(latency.tpot_s))


def _ms(seconds: plan.Quantiles) -> Quantiles:
    return Quantiles(p50=1000 * seconds.p50, p95=1000 * seconds.p95, p99=1000 * seconds.p99)


def _curve(points: tuple[tuple[float, float], ...]) -> Curve:
    return Curve(x=tuple(1000 * x for x, _ in points), y=tuple(y for _, y in points))


# ---- what was recorded -------------------------------------------------------------------------------------------


def _recorded(trace: Trace) -> Latencies | None:
    ttft_ms = _ttft_ms(trace)
    if not len(ttft_ms):
        return None
    known = trace.answered & trace.streamed & (trace.output_tokens > 1) & ~np.isnan(trace.ttft_ns + trace.e2e_ns)
    tpot_ns = (trace.e2e_ns[known] - trace.ttft_ns[known]) / (trace.output_tokens[known] - 1)
    return Latencies(ttft_ms=_quantiles(ttft_ms), tpot_ms=_quantiles(tpot_ns / NS_PER_MS) if len(tpot_ns) else None)


def _recorded_cdf(trace: Trace) -> Curve | None:
    ttft_ms = _ttft_ms(trace)
    return _curve(tuple((x / 1000, y) for x, y in plan.cdf(ttft_ms))) if len(ttft_ms) else None


def _ttft_ms(trace: Trace) -> Floats:
    """Of streamed answers: the others' first byte is their last."""
    known: Floats = trace.ttft_ns[trace.answered & trace.streamed & ~np.isnan(trace.ttft_ns)] / NS_PER_MS
    return known


def _quantiles(values: Floats) -> Quantiles:
    p50, p95, p99 = np.quantile(values, (0.5, 0.95, 0.99), method="inverted_cdf").tolist()
    return Quantiles(p50=p50, p95=p95, p99=p99)
