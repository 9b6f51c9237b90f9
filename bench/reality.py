"""Is the weekly report's simulator right about a server that can be measured? (p50 and p95, TTFT and TPOT: within 10 %)

The busiest hour of a made-up week is replayed out of a ledger, sixty times as fast, by `submeter loadtest` through
`submeter serve` onto the scripted provider in continuous-batching mode; what the unit's ledger then says is held
against a simulation of the same arrivals and lengths. `foreseen` is simulated from the recorded hour alone. Single
calls: simulated less measured; what is negative is mostly what relay and sockets add. Fleet: how many such devices the
planner's search asks for, and whether the one that was measured met the objective.

    python bench/reality.py [--short]

Takes 75 s (`--short`: 45 s, fewer calls). Exit code 1 if a percentile is more than 10 % off, or if the plan and the
device that was measured disagree on whether one is enough.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from harness.reality import LONG, SHORT, Figure, Replayed, replay_busiest_hour
from submeter.commands import tables
from submeter.report.reach import Objective

WITHIN = 0.1
MS = 1000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true")
    planted = SHORT if parser.parse_args().short else LONG
    with tempfile.TemporaryDirectory() as directory:
        replayed = replay_busiest_hour(Path(directory), planted)
    figures, fleets = list(replayed.figures()), [Fleet.of(replayed, each) for each in (planted.loose, planted.strict)]
    console = tables.make_console()
    console.print(table(figures))
    for line in (busy(replayed), *singles(replayed), *map(str, fleets)):
        console.print(tables.plain(line))
    return int(not all(map(holds, figures)) or not all(fleet.agrees for fleet in fleets))


def holds(figure: Figure) -> bool:
    return abs(figure.ratio - 1) <= WITHIN


def table(figures: Iterable[Figure]) -> Table:
    columns = ("measured ms", "simulated ms", "ratio", "foreseen ms", "ratio")
    made = tables.make_table("the simulator against a measured device", ("percentile",), columns)
    made.add_column("")
    for figure in figures:
        name, measured, simulated, foreseen = figure
        cells = (f"{measured * MS:.1f}", f"{simulated * MS:.1f}", f"{figure.ratio:.3f}")
        made.add_row(
            name, *cells, f"{foreseen * MS:.1f}", f"{foreseen / measured:.3f}", "" if holds(figure) else "FAILS"
        )
    return made


def busy(replayed: Replayed) -> str:
    calls, took_s = len(replayed.measured), replayed.offered.arrival_s[-1]
    return (
        f"{calls} calls in {took_s:.0f} s, {replayed.measured.streamed.sum()} streamed; {replayed.utilisation:.0%} busy"
    )


def singles(replayed: Replayed) -> Iterator[str]:
    pairs = zip(("TTFT", "TPOT"), replayed.simulated, replayed.times, strict=True)
    for name, simulated, measured in pairs:
        low, middle, high = np.nanquantile((simulated - measured) * MS, (0.05, 0.5, 0.95))
        yield f"single calls, {name}: median {middle:+.1f} ms, nine in ten from {low:+.1f} to {high:+.1f} ms"
    late_ms = (replayed.offered.arrival_s - replayed.recorded_demand.arrival_s) * MS
    late_ms -= late_ms.min()  # of two clocks only the differences mean something
    middle, late = np.quantile(late_ms, (0.5, 0.99))
    yield f"arrivals: p50 {middle:.1f}, p99 {late:.1f} ms later than the least late"


class Fleet(NamedTuple):
    """What the planner says of an objective, and what one device made of it."""

    objective: Objective
    replicas: int | None
    met: bool

    @classmethod
    def of(cls, replayed: Replayed, objective: Objective) -> Self:
        return cls(objective, replayed.replicas(objective), replayed.times.meet(objective))

    @property
    def agrees(self) -> bool:
        return (self.replicas == 1) is self.met

    def __str__(self) -> str:
        wanted = f"p95 TTFT <= {self.objective.ttft_p95_s:g} s, TPOT <= {self.objective.tpot_p95_s * MS:g} ms"
        found = "met" if self.met else "missed"
        return f"{wanted}: planned {self.replicas}, {found} by one{'' if self.agrees else '  FAILS'}"


if __name__ == "__main__":
    sys.exit(main())
