"""Whether a call may begin, and how late things were."""

import random

from submeter.loadtest.budget import Budget
from submeter.loadtest.lag import Cpu, Lag


def test_without_a_limit_everything_goes() -> None:
    budget = Budget(None, [])
    budget.begin(1, 0)
    budget.settle(1, 10**18)
    assert budget.ask(0) == "go"


def test_a_call_waits_for_others_and_stops_where_it_never_fits() -> None:
    budget = Budget(100, [40, 70])
    assert (budget.ask(0), budget.ask(1)) == ("go", "go")
    budget.begin(1, 0)
    assert (budget.ask(0), budget.ask(1)) == ("go", "wait")
    budget.settle(1, 30)
    assert budget.ask(1) == "go"  # exactly 100
    budget.begin(2, 1)
    assert budget.ask(0) == "wait"
    budget.settle(2, 70)
    assert (budget.ask(0), budget.ask(1)) == ("never", "never")


def test_nothing_that_happens_spends_more_than_the_limit() -> None:
    for seed in range(50):
        chance = random.Random(seed)
        worst = [chance.randint(1, 50) for _ in range(4)]
        budget, open_calls, spent = Budget(1000, worst), {}, 0
        for number in range(500):
            setting = chance.randrange(4)
            if budget.ask(setting) == "go":
                budget.begin(number, setting)
                open_calls[number] = setting
            if open_calls and chance.random() < 0.5:
                ended = chance.choice(list(open_calls))
                cost = chance.randint(0, worst[open_calls.pop(ended)])
                spent += cost
                budget.settle(ended, cost)
        spent += sum(worst[setting] for setting in open_calls.values())
        assert 900 < spent <= 1000


def test_lag_is_the_end_of_a_bucket() -> None:
    lag = Lag()
    assert lag.p99_ms() == 0
    for _ in range(99):
        lag.note(500)
    lag.note(10**15)
    assert lag.p99_ms() == 0.001
    lag.note(2_000_000)
    lag.note(2_000_000)
    assert 2 <= lag.p99_ms() < 2.8


def test_the_busiest_window_of_a_process() -> None:
    cpu = Cpu(window_ns=100)
    cpu.note(1000, 500)
    cpu.note(1050, 550)
    assert cpu.most is None
    cpu.note(1100, 530)  # 30 of 100
    cpu.note(1210, 629)  # 99 of 110
    cpu.note(1320, 640)  # 11 of 110
    assert cpu.most == 0.9
