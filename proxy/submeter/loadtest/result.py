"""What a load test has brought, as ``result.json`` has it."""

from array import array
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from submeter.core.latency import Percentiles, percentiles, tpot_ns
from submeter.core.when import rfc3339
from submeter.loadtest.failures import by_error, total_failure
from submeter.loadtest.fit import NotFitted, fit
from submeter.loadtest.order import Order, from_schedule_ns
from submeter.loadtest.run import Outcome
from submeter.loadtest.samples import Sample
from submeter.loadtest.spend import Spend
from submeter.loadtest.steps import by_step, knee_of

NANO = Decimal("1e-9")
LATE_MS = 10.0
"""A generator that is later than that distorts what it measures."""
BUSY = 0.9
"""Of a core: Python runs on no more than one."""

CLOSED = (
    "not avoided: a closed loop asks again only when it has been answered, so that a server that stalls is asked less, "
    "and its stall is counted once per user"
)
OPEN = (
    "avoided: calls begin at times drawn in advance, and e2e_from_schedule_ms counts from the time when each should "
    "have begun"
)


def result(
    order: Order, scenario_name: str, target: str, started_at_ns: int, outcome: Outcome, spend: Spend
) -> dict[str, Any]:
    """The document. Durations in ms; ``None`` is "not known"."""
    fits = {model: _fit(order, outcome.samples, model) for model in sorted(order.models)}
    steps = by_step(order.scenario, outcome.samples)
    knee = knee_of(steps)
    return {
        "scenario": scenario_name,
        "description": order.scenario.description,
        "target": target,
        "model": order.model,
        "started_at": rfc3339(started_at_ns),
        "seed": order.seed,
        "loop": "open" if order.scenario.is_open else "closed",
        "calls": len(outcome.samples),
        "warm_up_calls": outcome.warm_up,
        "errors": by_error(outcome.samples),
        "failure": _failure(order, target, outcome),
        "settings": [_setting(each.name, outcome.samples) for each in order.scenario.settings],
        "steps": msgspec.to_builtins(steps),
        "knee": msgspec.to_builtins(knee),
        "knee_per_s": None if knee is None else knee.rate_per_s,
        **(_SEVERAL if len(fits) > 1 else next(iter(fits.values()))),
        "fits": fits,
        "cost_usd": None if spend.nano_usd is None else format(spend.nano_usd * NANO, "f"),
        "cost_source": spend.source,
        "stopped": _stopped(outcome),
        "generator_limited": bool(_limits(outcome)),
        "generator": msgspec.to_builtins(outcome.generator),
        "coordinated_omission": OPEN if order.scenario.is_open else CLOSED,
        "warnings": [*_limits(outcome), *_warnings(order, outcome, spend)],
    }


def _stopped(outcome: Outcome) -> str:
    """``done``, ``budget``, ``time``, ``interrupted`` or ``killed``."""
    if outcome.interrupted:
        return "interrupted"
    return "killed" if outcome.generator is None else outcome.generator.stopped


_SEVERAL: dict[str, Any] = {"fit": None, "fit_missing": "several models were asked: see fits in result.json"}


def _fit(order: Order, samples: Sequence[Sample], model: str) -> dict[str, Any]:
    found = fit([each for each in _answered(samples) if each.model == model], seed=order.seed)
    if isinstance(found, NotFitted):
        return {"fit": None, "fit_missing": found.reason}
    return {"fit": msgspec.to_builtins(found), "fit_missing": None}


def _failure(order: Order, target: str, outcome: Outcome) -> str | None:
    """Why the run has measured nothing."""
    if outcome.samples:
        return total_failure(outcome.samples, target, order.model)
    stopped = _stopped(outcome)
    why = {"budget": "the first might have passed --max-usd: raise it", "time": "the warm-up took all of time_limit_s"}
    return f"no call was made: {why.get(stopped, f'the run was {stopped}')}"


def _answered(samples: Sequence[Sample]) -> list[Sample]:
    return [sample for sample in samples if sample.error is None]


def _setting(name: str, samples: Iterable[Sample]) -> dict[str, Any]:
    own = [sample for sample in samples if sample.setting == name]
    well = _answered(own)
    return {
        "setting": name,
        "n": len(own),
        "errors": len(own) - len(well),
        "input_tokens": _range(sample.input_tokens for sample in well),
        "cached_input_tokens": _range(sample.cached_input_tokens for sample in well),
        "output_tokens": _range(sample.output_tokens for sample in well),
        "ttft_ms": _ms(sample.ttft_ns for sample in well),
        "first_content_ms": _ms(sample.first_content_ns for sample in well),
        "tpot_ms": _ms(tpot_ns(each.e2e_ns, each.ttft_ns, each.output_tokens, stream=each.streamed) for each in well),
        "max_gap_ms": _ms(sample.max_gap_ns for sample in well),
        "e2e_ms": _ms(sample.e2e_ns for sample in well),
        "e2e_from_schedule_ms": _ms(map(from_schedule_ns, well)),
    }


def _range(counts: Iterable[int | None]) -> dict[str, int] | None:
    known = [count for count in counts if count is not None]
    return {"min": min(known), "max": max(known)} if known else None


def _ms(durations_ns: Iterable[int | None]) -> dict[str, float] | None:
    found: Percentiles | None = percentiles(array("q", [each for each in durations_ns if each is not None]))
    if found is None:
        return None
    return {"p50": found.p50_ns / 1e6, "p95": found.p95_ns / 1e6, "p99": found.p99_ns / 1e6}


def _limits(outcome: Outcome) -> list[str]:
    """How the generator itself was the limit."""
    found = outcome.generator
    if found is None:
        return []
    late = [("event loop", found.lag_ms_p99), ("schedule", found.schedule_lag_ms_p99)]
    starved = found.cpu_most is not None and found.cpu_most < BUSY / 2
    why = ": something else keeps this machine busy" if starved else ""
    lines = [
        f"the generator's {name} was {ms:.1f} ms late (p99){why}"
        for name, ms in late
        if ms is not None and ms > LATE_MS
    ]
    if found.cpu_warning or (found.cpu_most is not None and found.cpu_most > BUSY):
        lines.append("Locust used more than 90 % of a core: spread the load over several machines")
    return lines


def _warnings(order: Order, outcome: Outcome, spend: Spend) -> list[str]:
    failed = sum(sample.error is not None for sample in outcome.samples)
    planned, generator = len(order.calls), outcome.generator
    said = {
        f"{failed} of {len(outcome.samples)} calls failed": failed,
        f"stopped by Ctrl-C after {len(outcome.samples)} calls": outcome.interrupted,
        "Locust did not end in time and was killed": _stopped(outcome) == "killed",
        f"{spend.at_worst} calls are in cost_usd at the most that they can have cost": spend.at_worst,
        f"{outcome.unsettled} calls are missing in cost_usd": outcome.unsettled,
        "cost_usd is missing: the model has no price; submeter prices show looks": spend.nano_usd is None,
    }
    lines = [line for line, applies in said.items() if applies]
    if generator is not None and generator.all_users_busy:
        lines.append(
            f"{generator.all_users_busy} calls began late because all users waited for the target: raise users to "
            "offer it all that the steps say; e2e_from_schedule_ms has their waits"
        )
    if generator is not None and generator.stopped != "done":
        why = {"budget": "the next might have passed --max-usd", "time": "the time limit"}[generator.stopped]
        lines.append(f"{generator.begun} of {planned} calls were made: {why}")
    cut_off = 0 if generator is None else generator.begun - len(outcome.samples) - outcome.warm_up
    if cut_off:
        lines.append(f"{cut_off} calls were cut off in flight; what they cost is not in cost_usd")
    return lines
