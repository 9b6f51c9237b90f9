"""Blocks that take turns, without Locust: in which order, with which calls, until when."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from submeter.errors import UsageError
from submeter.loadtest import peers_run
from submeter.loadtest import run as running
from submeter.loadtest.order import Ended, Generator, Order
from submeter.loadtest.peers_run import Asked, Target, check, run
from submeter.loadtest.run import Outcome, Progress
from submeter.loadtest.samples import Sample
from submeter.loadtest.scenario import Call, load, parse
from submeter.loadtest.spend import Spend

SMALL = """
description = "small"
runs = 2
[[settings]]
input_tokens = [30, 60]
output_tokens = 1
"""
COST = 100
"""Nano-USD of each call."""
NAMES = ("direct", "nginx", "submeter")
DONE = Generator(cpu_warning=False, lag_ms_p99=1.0, schedule_lag_ms_p99=None, all_users_busy=0, stopped="done", begun=5)


class Counted:
    """A spend to which every call costs the same."""

    source, at_worst, waiting = "test", 0, 0

    def __init__(self) -> None:
        self.nano_usd: int | None = 0

    def take(self, ended: Ended) -> None:
        assert self.nano_usd is not None
        self.nano_usd += COST

    def settled(self) -> list[object]:
        return []


class Locust:
    """In the place of ``loadtest.run.run``."""

    def __init__(self, end: Callable[[int], Outcome | None] = lambda _: None) -> None:
        """``end``: another outcome of the so-manieth block."""
        self.orders: list[Order] = []
        self.directories: list[Path] = []
        self._end = end

    def __call__(self, order: Order, directory: Path, spend: Spend, progress: Progress) -> Outcome:
        directory.mkdir(parents=True)
        (directory / "report.html").write_text("large")
        self.orders.append(order)
        self.directories.append(directory)
        samples = [sample(order, call) for call in order.calls if not call.warm_up]
        for call in order.calls:
            spend.take(Ended(call, samples[0], 0))
        progress(len(order.calls), None)
        other = self._end(len(self.orders))
        return outcome(samples) if other is None else other


def sample(order: Order, call: Call) -> Sample:
    times = dict.fromkeys(("ttfb_ns", "ttft_ns", "first_content_ns", "e2e_ns", "max_gap_ns"), 1000)
    setting = order.scenario.settings[call.setting]
    return Sample(
        started_ns=call.number,
        scheduled_ns=None,
        setting=setting.name,
        model=order.model,
        concurrency=1,
        input_tokens=setting.input_tokens,
        cached_input_tokens=None,
        output_tokens=1,
        **times,
        status=200,
        error=None,
        call_id=None,
        request_id=None,
        streamed=True,
    )


def outcome(samples: list[Sample], *, generator: Generator | None = DONE, interrupted: bool = False) -> Outcome:
    return Outcome(samples=samples, warm_up=1, generator=generator, interrupted=interrupted, unsettled=0)


def asked(rounds: int = 8, limit: int | None = None, seed: int = 7) -> Asked:
    return Asked(
        scenario=parse(SMALL, "small"),
        targets=[Target(name, f"http://{name}/v1", Counted()) for name in NAMES],
        rounds=rounds,
        seed=seed,
        model="m",
        limit_nano_usd=limit,
        worst_nano_usd=[COST, COST],
    )


def play(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, test: Asked, locust: Locust) -> list[peers_run.Answers]:
    monkeypatch.setattr(running, "run", locust)
    return run(test, tmp_path / "locust", lambda calls, nano_usd: None)


def names_of(locust: Locust) -> list[tuple[str, ...]]:
    """The targets in their turns, by round."""
    hosts = [order.base_url.removeprefix("http://").removesuffix("/v1") for order in locust.orders]
    return [tuple(hosts[at : at + len(NAMES)]) for at in range(0, len(hosts), len(NAMES))]


def test_each_round_asks_every_target_once_in_an_order_that_is_drawn(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    locust = Locust()
    answers = play(monkeypatch, tmp_path, asked(), locust)
    turns = names_of(locust)
    assert [sorted(turn) for turn in turns] == [sorted(NAMES)] * 8
    assert len(set(turns)) > 2
    assert [len(each.rounds) for each in answers] == [8, 8, 8]
    assert [len(each.outcome.samples) for each in answers] == [32, 32, 32]
    assert [len(each.order.calls) for each in answers] == [40, 40, 40]
    assert locust.directories[0].name == f"01-{turns[0][0]}"
    assert not list(tmp_path.rglob("report.html"))


def test_a_round_asks_the_same_calls_in_words_that_no_target_has_heard(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    locust = Locust()
    play(monkeypatch, tmp_path, asked(), locust)
    rounds = [locust.orders[at : at + 3] for at in range(0, len(locust.orders), 3)]
    assert all(order.calls == first.calls for first, *others in rounds for order in others)
    assert len({msgspec.json.encode(first.calls) for first, *_ in rounds}) > 1
    texts = [order.scenario.prompt(call, order.seed) for order in locust.orders for call in order.calls]
    assert len(set(texts)) == len(texts) == 24 * 5


def test_the_same_seed_gives_the_same_test(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = []
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        locust = Locust()
        play(monkeypatch, tmp_path / name, asked(seed=seed), locust)
        found.append([(order.base_url, order.calls, order.seed) for order in locust.orders])
    assert found[0] == found[1] != found[2]


def test_what_is_left_of_the_budget_is_what_no_target_has_spent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spent = msgspec.structs.replace(DONE, stopped="budget", begun=3)
    locust = Locust(lambda block: outcome([], generator=spent) if block == 5 else None)
    answers = play(monkeypatch, tmp_path, asked(limit=2450), locust)
    assert [order.limit_nano_usd for order in locust.orders] == [2450, 1950, 1450, 950, 450]
    assert [len(each.rounds) for each in answers] == [1, 1, 1]
    assert "budget" in [each.outcome.generator.stopped for each in answers if each.outcome.generator is not None]


@pytest.mark.parametrize(
    ("generator", "interrupted"),
    [(DONE, True), (None, False), (msgspec.structs.replace(DONE, begun=6), False)],
    ids=["ctrl-c", "killed", "cut off in flight"],
)
def test_what_ends_early_keeps_whole_rounds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, generator: Generator | None, interrupted: bool
) -> None:
    samples = [sample(Order(**ORDER), call) for call in CALLS]
    last = outcome(samples, generator=generator, interrupted=interrupted)
    locust = Locust(lambda block: last if block == 6 else None)
    answers = play(monkeypatch, tmp_path, asked(), locust)
    assert len(locust.orders) == 6
    assert [len(each.rounds) for each in answers] == [1, 1, 1]
    assert [len(each.outcome.samples) for each in answers] == [8, 8, 8]
    assert [each.outcome.interrupted for each in answers].count(True) == interrupted


CALLS = [Call(number, number % 2, None, False) for number in range(4)]
ORDER = {
    "scenario": parse(SMALL, "small"),
    "calls": CALLS,
    "seed": 1,
    "base_url": "http://h/v1",
    "model": "m",
    "limit_nano_usd": None,
    "worst_nano_usd": [],
    "parent_pid": 1,
    "web": False,
}


def test_a_target_that_answers_nothing_in_the_first_round_ends_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    failed = [msgspec.structs.replace(sample(Order(**ORDER), call), error="status 401") for call in CALLS]
    first = Locust(lambda block: outcome(failed) if block == 2 else None)
    play(monkeypatch, tmp_path / "first", asked(), first)
    assert len(first.orders) == 2
    later = Locust(lambda block: outcome(failed) if block == 5 else None)
    play(monkeypatch, tmp_path / "later", asked(), later)
    assert len(later.orders) == 8 * 3


def test_a_target_that_was_never_asked_has_no_answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    locust = Locust(lambda _: outcome([], generator=None, interrupted=True))
    answers = play(monkeypatch, tmp_path, asked(), locust)
    assert [(len(each.outcome.samples), len(each.rounds)) for each in answers] == [(0, 0)] * 3
    assert [each.outcome.interrupted for each in answers].count(True) == 1


def test_calls_are_later_in_later_blocks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (first, *_) = play(monkeypatch, tmp_path, asked(), Locust())
    started = [call.started_ns for call in first.outcome.samples]
    assert started == sorted(set(started))


def test_the_scenario_is_a_closed_loop() -> None:
    check(load("peers"))
    for name in ("saturation", "replay"):
        with pytest.raises(UsageError, match=r"peers takes a closed loop: a scenario with \[\[settings\]\]"):
            check(load(name))
