"""Asks all targets the same calls, in short blocks that take turns: each block is one run of Locust."""

import os
import random
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from submeter.errors import UsageError
from submeter.loadtest import run as running
from submeter.loadtest import scenario as scenarios
from submeter.loadtest.order import Generator, Order
from submeter.loadtest.run import Outcome, Progress
from submeter.loadtest.samples import Sample
from submeter.loadtest.scenario import Call, Scenario
from submeter.loadtest.spend import Spend

SEEDS = 2**31
LOCUST_REPORT = "report.html"


class Target(msgspec.Struct, frozen=True):
    name: str
    base_url: str
    spend: Spend
    """Its own."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The whole test."""

    scenario: Scenario
    """A closed loop. Its runs are those of one block."""
    targets: Sequence[Target]
    rounds: int
    seed: int
    model: str
    limit_nano_usd: int | None
    """Over all targets."""
    worst_nano_usd: list[int]
    """As in ``Order``."""


class Answers(msgspec.Struct, frozen=True):
    """What one target has brought."""

    order: Order
    """As if it had been one run: with the calls of all its blocks."""
    outcome: Outcome
    rounds: list[list[Sample]]
    """Whole ones: those that every target has been through."""


def check(scenario: Scenario) -> None:
    """Raises ``UsageError``."""
    if scenario.is_open:
        raise UsageError("peers takes a closed loop: a scenario with [[settings]] and without [[steps]] or [replay]")


def run(asked: Asked, directory: Path, progress: Progress) -> list[Answers]:
    """Each target's answers, in the order of ``asked.targets``; Locust's files are in ``directory``, by block.

    A budget that is spent, Ctrl-C, calls that were cut off in flight, and a target that answers nothing in the first
    round end it early. Raises ``UsageError``.
    """
    test = _Test(asked, directory, progress)
    test.run()
    return test.answers()


class _Test:
    def __init__(self, asked: Asked, directory: Path, progress: Progress) -> None:
        self._asked = asked
        self._directory = directory
        self._progress = progress
        self._chance = random.Random(asked.seed)
        self._begun_ns = time.monotonic_ns()
        self._plans: list[list[Call]] = []
        self._outcomes: list[list[Outcome]] = [[] for _ in asked.targets]
        self._ended = 0

    def run(self) -> None:
        for number in range(self._asked.rounds):
            self._plans.append(scenarios.plan(self._asked.scenario, self._chance.randrange(SEEDS)))
            for at in self._chance.sample(range(len(self._asked.targets)), len(self._asked.targets)):
                outcome = self._block(number, self._asked.targets[at])
                self._outcomes[at].append(outcome)
                if _is_last(outcome) or (number == 0 and not _has_answered(outcome)):
                    return

    def answers(self) -> list[Answers]:
        complete = min(sum(not _is_last(each) for each in blocks) for blocks in self._outcomes)
        calls = [call for plan in self._plans for call in plan]
        return [
            Answers(
                self._order(target, calls, self._asked.seed), _joined(blocks), [b.samples for b in blocks[:complete]]
            )
            for target, blocks in zip(self._asked.targets, self._outcomes, strict=True)
        ]

    def _block(self, number: int, target: Target) -> Outcome:
        """Its calls are the round's, in words of their own: a provider knows no prompt from another target."""
        directory = self._directory / f"{number + 1:02}-{target.name}"
        order = self._order(target, self._plans[number], self._chance.randrange(SEEDS))
        since_begin_ns = time.monotonic_ns() - self._begun_ns
        outcome = running.run(order, directory, target.spend, self._show)
        self._ended += len(outcome.samples) + outcome.warm_up
        (directory / LOCUST_REPORT).unlink(missing_ok=True)  # a megabyte for a few calls
        return msgspec.structs.replace(outcome, samples=[_shifted(each, since_begin_ns) for each in outcome.samples])

    def _order(self, target: Target, calls: list[Call], seed: int) -> Order:
        limit = self._asked.limit_nano_usd
        return Order(
            scenario=self._asked.scenario,
            calls=calls,
            seed=seed,
            base_url=target.base_url,
            model=self._asked.model,
            limit_nano_usd=None if limit is None else max(0, limit - (self._spent() or 0)),
            worst_nano_usd=self._asked.worst_nano_usd,
            parent_pid=os.getpid(),
            web=False,
        )

    def _show(self, calls: int, _: int | None) -> None:
        self._progress(self._ended + calls, self._spent())

    def _spent(self) -> int | None:
        """``None``: there is no price, and then no limit either."""
        known = [target.spend.nano_usd for target in self._asked.targets]
        costs = [each for each in known if each is not None]
        return sum(costs) if len(costs) == len(known) else None


def _is_last(outcome: Outcome) -> bool:
    """Nothing comes after it. Of calls that were cut off in flight nobody knows what they have cost."""
    found = outcome.generator
    if found is None or outcome.interrupted or found.stopped == "budget":
        return True
    return found.begun > len(outcome.samples) + outcome.warm_up


def _has_answered(outcome: Outcome) -> bool:
    return any(sample.error is None for sample in outcome.samples)


def _shifted(sample: Sample, by_ns: int) -> Sample:
    return msgspec.structs.replace(sample, started_ns=sample.started_ns + by_ns)


def _joined(blocks: Sequence[Outcome]) -> Outcome:
    generators = [each.generator for each in blocks if each.generator is not None]
    return Outcome(
        samples=[sample for each in blocks for sample in each.samples],
        warm_up=sum(each.warm_up for each in blocks),
        generator=_joined_generator(generators) if len(generators) == len(blocks) else None,
        interrupted=any(each.interrupted for each in blocks),
        unsettled=blocks[-1].unsettled if blocks else 0,
    )


def _joined_generator(generators: Sequence[Generator]) -> Generator:
    """The worst of what is a time, the sum of what is a count."""
    stopped = [each.stopped for each in generators if each.stopped != "done"]
    cpu = [each.cpu_most for each in generators if each.cpu_most is not None]
    return Generator(
        cpu_warning=any(each.cpu_warning for each in generators),
        cpu_most=max(cpu, default=None),
        lag_ms_p99=max((each.lag_ms_p99 for each in generators), default=0.0),
        schedule_lag_ms_p99=None,
        all_users_busy=0,
        stopped=stopped[-1] if stopped else "done",
        begun=sum(each.begun for each in generators),
    )
