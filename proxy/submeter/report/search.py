"""The least fleet that serves a week's calls within an objective: galloping and bisection over simulated runs.

A run ends as soon as it is lost, so that a fleet that is far too small costs little time.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from submeter.core.week import DAYS
from submeter.report import load, policies
from submeter.report.catalog import Server
from submeter.report.load import HOUR_S, Load
from submeter.report.policies import Policy, Provision
from submeter.report.reach import DAY_NAMES, Objective, reachable
from submeter.report.simulate import Engine, GiveUp, Served, engine_of, simulate
from submeter.report.workloads import Demand

MOST_REPLICAS = 4096
MOST_COMPARED = 10_000
"""Calls, about, of the busiest day by which speeds and volumes are compared."""

Progress = Callable[[str], None]


def silent(text: str) -> None:
    """No progress is shown."""


def least(passes: Callable[[int], bool], guess: int, most: int) -> int | None:
    """The number that passes while the one before fails, found from ``guess``; ``None``: not even ``most`` passes.

    Gallops away from the guess by steps that double, then bisects (Bentley and Yao, "An almost optimal algorithm for
    unbounded searching", 1976).
    """
    here, step = max(1, min(guess, most)), 1
    if passes(here):
        good, fails = here, here - 1
        while fails and passes(fails):
            good, fails, step = fails, max(fails - 2 * step, 0), 2 * step
    else:
        fails, good = here, min(here + 1, most)
        while fails < most and not passes(good):
            fails, good, step = good, min(good + 2 * step, most), 2 * step
        if fails == most:
            return None
    while good - fails > 1:
        middle = (good + fails) // 2
        good, fails = (middle, fails) if passes(middle) else (good, middle)
    return good


def give_up(objective: Objective, demand: Demand) -> GiveUp:
    """What a run over these calls may miss: on each day, one call in twenty."""
    longer = demand.days[demand.output_tokens > 1]
    late, slow = (np.bincount(days, minlength=DAYS) // 20 for days in (demand.days, longer))
    return GiveUp(objective.ttft_p95_s, objective.tpot_p95_s, late.tolist(), slow.tolist(), group=demand.days.tolist())


@dataclass(slots=True)
class Search:
    """Runs of one kind of server over one week's calls, all of which it could meet the objective for."""

    demand: Demand
    server: Server
    objective: Objective
    progress: Progress = silent
    policy: Policy = policies.static
    most: int = MOST_REPLICAS
    """At the peak."""
    engine: Engine = field(init=False)
    load: Load = field(init=False)
    _crowding: dict[int, float] = field(init=False)
    _needs: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.engine = engine_of(self.server)
        self.load = Load(self.demand, self.engine)
        self._crowding = self.load.crowding()

    @property
    def busiest(self) -> int:
        """The day that needs most, as far as is known."""
        return max(self._crowding, key=lambda day: (self._needs.get(day, 0), self._crowding[day]))

    def week(self, above: int = 0) -> tuple[int, Served] | None:
        """The least peak that passes on each day, one after the other, and that run; ``None``: too many replicas.

        ``above`` is known not to do, and nothing below it is asked. One fewer fails on the busiest day, or on the one
        that was lost, even by itself.
        """
        self._needs = {}
        peak = self._need(self.busiest, round(self._crowding[self.busiest]), above)
        while peak is not None:
            self.progress(f"the week on {peak} replicas")
            served = self.run(self.demand, self.policy(peak))
            if not served.gave_up:
                return peak, served
            lost = self.demand.days[np.flatnonzero(~np.isnan(served.ttft_s))[-1]]
            peak = self._need(int(lost), peak + 1, above=peak)
        return None

    def run(self, calls: Demand, provision: Provision) -> Served:
        """Gives up when the objective is lost."""
        return _run(calls, self.engine, provision, self.objective)

    def by_day(self, peak: int) -> tuple[int, ...]:
        """What each day needs by itself, Monday first, 0 without calls; ``peak`` passes on all."""
        most = max(self._crowding.values())
        for day, crowding in self._crowding.items():
            if day not in self._needs:
                self._need(day, min(round(peak * crowding / most), peak - 1), passing=peak)
        return tuple(min(self._needs.get(day, 0), peak) for day in range(DAYS))

    def by_speed(self, peak: int, speeds: Sequence[float]) -> tuple[tuple[float, int | None], ...]:
        """The peak if servers were so much faster than thought, never fewer of slower ones; ``None``: none will do.

        In proportion to what ``compared`` needs by itself; where that has no answer, to 1 / speed.
        """
        servers = {speed: self._at_speed(speed) for speed in speeds}
        able = {speed: server for speed, server in servers.items() if reachable(self.demand, server, self.objective)}
        calls = self.compared(able.values())
        now = self.least_for(calls, self.server, peak)
        found: dict[float, int | None] = {}
        most = 0
        for speed in sorted(speeds, reverse=True):
            found[speed] = None
            if speed in able:
                self.progress(f"servers {speed:g} times as fast")
                need = now if speed == 1 else self.least_for(calls, able[speed], round(peak / speed))
                ratio = 1 / speed if now is None or need is None else need / now
                most = found[speed] = max(most, math.ceil(round(peak * ratio, 9)))
        return tuple((speed, found[speed]) for speed in speeds)

    def compared(self, servers: Iterable[Server]) -> Demand:
        """The busiest day; of a large one the busiest hours in a row, if each of the servers can serve them at all."""
        day = load.of_day(self.demand, self.busiest)
        hours = max(1, min(24, 24 * MOST_COMPARED // len(day.arrival_s)))
        first = self.busiest * 24
        work = np.convolve(self.load.by_hour[first : first + 24], np.ones(hours), "valid")
        from_s = (first + int(np.argmax(work))) * HOUR_S
        calls = load.between(day, from_s, from_s + hours * HOUR_S)
        return calls if all(reachable(calls, server, self.objective) for server in servers) else day

    def least_for(self, calls: Demand, server: Server, guess: int) -> int | None:
        """The least peak of such servers that these calls need by themselves."""
        engine = engine_of(server)
        return least(lambda peak: self._passes(calls, engine, peak), guess, self.most)

    def _at_speed(self, speed: float) -> Server:
        return msgspec.structs.replace(self.server, speed=self.server.speed * speed)

    def _need(self, day: int, guess: int, above: int = 0, passing: int | None = None) -> int | None:
        """``above`` is known not to do, ``passing`` to pass."""
        self.progress(f"{DAY_NAMES[day]} by itself")
        calls = load.of_day(self.demand, day)

        def passes(peak: int) -> bool:
            return peak == passing or (peak > above and self._passes(calls, self.engine, peak))

        need = least(passes, max(guess, above + 1), passing or self.most)
        if need is not None and not above:
            self._needs[day] = need
        return need

    def _passes(self, calls: Demand, engine: Engine, peak: int) -> bool:
        return not _run(calls, engine, self.policy(peak), self.objective).gave_up


def _run(demand: Demand, engine: Engine, provision: Provision, objective: Objective) -> Served:
    lost = give_up(objective, demand)
    return simulate(*demand[:3], engine, provision.schedule, waits=demand.waits, give_up=lost)
