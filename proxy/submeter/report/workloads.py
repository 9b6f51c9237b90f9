"""A trace in workloads: calls that could move to another model together. Each call is in exactly one.

What ``alternatives.yaml`` matches is named there, the first match taking the call; the rest is told apart by app,
prompt and model. Of these the dearest stand alone, so that a report can be read, and the others are one.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from submeter.core.week import Week
from submeter.core.when import DAY_NS, NS_PER_S
from submeter.report.alternatives import Alternatives, Match, WorkloadChoice
from submeter.report.money import times
from submeter.report.sessions import Waits, waits
from submeter.report.trace import Floats, Ints, Trace, total_nano_usd

MOST_ALONE = 20
EVERYTHING_ELSE = "everything else"
REST = " (not matched)"

_MATCHED: tuple[str, ...] = Match.__struct_fields__
_DEFAULT = ("app", "prompt", "model")


@dataclass(frozen=True, slots=True, eq=False)
class Workload:
    name: str
    choice: WorkloadChoice | None
    """What the configuration says of it; ``None``: nothing."""
    whole: Trace
    rows: Ints
    """Its places in ``whole``, in order."""

    @property
    def trace(self) -> Trace:
        """Its calls, copied out of the whole each time, so that not all copies are in memory at once: keep it."""
        return self.whole if len(self.rows) == len(self.whole) else self.whole.where(self.rows)

    @property
    def cost_nano_usd(self) -> int:
        return total_nano_usd(self.whole.cost_nano_usd[self.rows])


class Demand(NamedTuple):
    """What a fleet would have to serve: the answered calls of one week, in order of arrival."""

    arrival_s: Floats
    """Since the week's start."""
    input_tokens: Ints
    output_tokens: Ints
    days: NDArray[np.int32]
    """Of the arrival; 0 is Monday."""
    waits: Waits | None = None
    """For which earlier call of its session each waits; ``None``: all arrive as recorded."""


def workloads(trace: Trace, alternatives: Alternatives | None = None, alone: int = MOST_ALONE) -> tuple[Workload, ...]:
    """The configured workloads, called or not, and the ``alone`` dearest others; the dearest first, the rest last.

    Their rows are all rows of the trace, so that calls and money add up to the trace's.
    """
    choices = () if alternatives is None else alternatives.workloads
    taken = _first_match(trace, choices)
    chosen = [Workload(each.name, each, trace, np.flatnonzero(taken == place)) for place, each in enumerate(choices)]
    others = _by_default(trace, np.flatnonzero(taken == len(choices)), alone, {each.name for each in choices})
    return (*sorted([*chosen, *others[:alone]], key=_dearest_first), *others[alone:])


def _dearest_first(workload: Workload) -> tuple[int, str]:
    return -workload.cost_nano_usd, workload.name


def _first_match(trace: Trace, choices: Sequence[WorkloadChoice]) -> Ints:
    """Of each row, the place of the first choice that fits; ``len(choices)`` where none does."""

    def first(**names: str | None) -> int:
        return next((place for place, each in enumerate(choices) if each.match.fits(**names)), len(choices))

    return _by_kind(trace, np.arange(len(trace)), _MATCHED, first) if choices else np.zeros(len(trace), dtype=np.int64)


def _by_kind(trace: Trace, rows: Ints, keys: Sequence[str], value: Callable[..., int]) -> Ints:
    """Per row, ``value`` of its names under ``keys``, asked once for each combination that occurs."""
    kind = np.zeros(len(rows), dtype=np.int64)
    first = np.zeros(0, dtype=np.int64)
    for key in keys:  # numbered anew after each: a product of all sizes could leave 64 bits
        combined = kind * len(trace.names[key]) + trace.codes[key][rows]
        _, first, kind = np.unique(combined, return_index=True, return_inverse=True)
    values = [value(**{key: trace.names[key][trace.codes[key][row]] for key in keys}) for row in rows[first]]
    return np.array(values, dtype=np.int64)[kind]


def _by_default(trace: Trace, rows: Ints, alone: int, given: Collection[str]) -> list[Workload]:
    """At most ``alone`` of app × prompt × model, the dearest first, and then everything else, if there is more.

    Where a configured workload has the name that such calls would have, these are its rest.
    """
    names: dict[str, int] = {}

    def place(app: str | None, prompt: str | None, model: str | None) -> int:
        name = _name(app, prompt, model)
        return names.setdefault(f"{name}{REST}" if name in given else name, len(names))

    of_row = _by_kind(trace, rows, _DEFAULT, place)
    costs = _sums(trace.cost_nano_usd[rows], of_row, len(names))
    dearest = sorted(names, key=lambda name: (-costs[names[name]], name))
    found = [Workload(name, None, trace, rows[of_row == names[name]]) for name in dearest[:alone]]
    if len(dearest) > alone:
        kept = np.isin(of_row, [names[name] for name in dearest[:alone]])
        found.append(Workload(EVERYTHING_ELSE, None, trace, rows[~kept]))
    return found


def _name(app: str | None, prompt: str | None, model: str | None) -> str:
    parts = {"app": app, "prompt": prompt, "model": model}
    return " / ".join(f"(no {part})" if name is None else name for part, name in parts.items())


def _sums(costs: Ints, of_row: Ints, groups: int) -> list[int]:
    """Exact: of integers, never of weights, which would be floats."""
    sums = np.zeros(groups, dtype=np.int64)
    np.add.at(sums, of_row, costs)
    return [int(each) for each in sums]


def demand(trace: Trace, week: Week) -> Demand:
    """``trace``: calls begun in the week. Refused, failed and cached calls, and those without tokens, are left out."""
    served = trace.answered
    since_ns = trace.started_at_ns[served] - week.start_ns
    return Demand(
        arrival_s=since_ns / NS_PER_S,
        input_tokens=trace.input_tokens[served],
        output_tokens=trace.output_tokens[served],
        days=(since_ns // DAY_NS).astype(np.int32),
        waits=_waits(trace, np.flatnonzero(served)),
    )


def _waits(trace: Trace, rows: Ints) -> Waits | None:
    """Each call waits for the one before it in its session, if that is known to have ended by then.

    So calls that a session makes side by side, and those after one of unknown length, arrive as recorded.
    """
    session, began_ns = trace.codes["session"][rows], trace.started_at_ns[rows]
    order = np.argsort(session, kind="stable")  # in each session, of time
    before, after = order[:-1], order[1:]
    named = np.array([name is not None for name in trace.names["session"]], dtype=np.bool_)
    think_ns = began_ns[after] - began_ns[before] - trace.e2e_ns[rows[before]]
    waiting = (session[before] == session[after]) & named[session[after]] & (think_ns >= 0)
    earlier, think_s = np.full(len(rows), -1), np.zeros(len(rows))
    earlier[after[waiting]], think_s[after[waiting]] = before[waiting], think_ns[waiting] / NS_PER_S
    return waits(earlier, think_s)


def scaled(of: Demand, tokenizer_ratio: Decimal, length_ratio: Decimal) -> Demand:
    """The same calls at another model: counts × ratios, each rounded half-even once, as ``core.whatif`` does."""
    return of._replace(
        input_tokens=times(of.input_tokens, tokenizer_ratio),
        output_tokens=times(of.output_tokens, tokenizer_ratio * length_ratio),
    )
