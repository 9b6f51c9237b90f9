"""Scenarios: what a file says, what it must not say, and the plan that a seed makes of it."""

import pytest

from submeter.errors import UsageError
from submeter.loadtest import scenario as scenarios
from submeter.loadtest.scenario import NS_PER_S, load, parse, plan, shipped

SMALL = """
description = "small"
runs = 3
[[settings]]
input_tokens = [30, 60]
output_tokens = [1, 5]
"""
OPEN = """
description = "open"
warm_up = 2
steps = [{rate_per_s = 50, for_s = 20}, {rate_per_s = 200, for_s = 20}]
time_limit_s = 30
[[settings]]
input_tokens = 30
output_tokens = 1
"""


@pytest.mark.parametrize("name", shipped())
def test_what_is_shipped_can_be_loaded_and_is_bounded(name: str) -> None:
    scenario = load(name)
    if scenario.replay is None:
        assert 0 < len(plan(scenario, 1)) <= scenarios.MAX_CALLS
    assert scenario.time_limit_s <= 3600
    assert scenario.bypass_cache is (name != "cache")


def test_article_is_the_experiment() -> None:
    article = load("article")
    assert [(each.input_tokens, each.output_tokens) for each in article.settings] == [(51, 1), (232, 1), (228, 26)]
    assert (article.runs, article.users, article.time_limit_s) == (20, 1, 120)
    counted = [call for call in plan(article, 1) if not call.warm_up]
    assert [sum(call.setting == number for call in counted) for number in range(3)] == [20, 20, 20]


def test_lists_are_crossed() -> None:
    names = [setting.name for setting in parse(SMALL, "small").settings]
    assert names == ["in=30,out=1", "in=30,out=5", "in=60,out=1", "in=60,out=5"]


def test_a_name_says_what_is_unusual() -> None:
    text = SMALL + "temperature = 0\nstream = false\nshared_prefix_tokens = 8\ndistinct_prompts = 2\n"
    assert parse(text, "small").settings[0].name == "in=30,out=1,temperature=0,whole,shared=8,distinct=2"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("runz = 3\n" + SMALL, "x: unknown key runz; did you mean runs?"),
        (SMALL + "output_token = 3\n", "x, settings: unknown key output_token; did you mean output_tokens?"),
        ("steps = [{rate = 3, for_s = 1}]\n" + SMALL, "x, steps: unknown key rate; known here are rate_per_s, for_s"),
        (SMALL.replace("[30, 60]", "[5]"), "x: Expected `int` >= 22 - at `$.settings[0].input_tokens`"),
        (SMALL.replace("runs = 3", "runs = 'many'"), "x: Expected `int`, got `str` - at `$.runs`"),
        (SMALL.replace("[30, 60]", "[30, 30]"), "x: two settings are the same; each needs lengths of its own"),
        ("users = 10001\n" + SMALL, "x: Expected `int` <= 10000 - at `$.users`"),
        ("description = 'none'\nsettings = []", "x: give [[settings]], or [replay] instead of settings and steps"),
        ("description = 'none'", "x: give [[settings]], or [replay] instead of settings and steps"),
        (SMALL + "[replay]", "x: give [[settings]], or [replay] instead of settings and steps"),
        ("description = 'none'\n[replay]\nspede = 2", "x, replay: unknown key spede; did you mean speed?"),
        ("description = 'none'\nsettings = 3", "x: 'int' object is not iterable"),
        ("description = 'none'\nsettings = [3]", "x: write settings as tables: [[settings]]"),
        (OPEN.replace("200", "10000"), "x: more than 200,000 calls; lower runs, rate_per_s or for_s"),
        ("a = = b", "x is no TOML: Invalid value (at line 1, column 5)"),
    ],
)
def test_one_line_says_what_is_wrong(text: str, complaint: str) -> None:
    with pytest.raises(UsageError) as error:
        parse(text, "x")
    assert str(error.value) == complaint


def test_an_unknown_scenario_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"no scenario artikle, nor a file .*; did you mean article"):
        load("artikle")
    with pytest.raises(UsageError, match=r"cannot read the scenario missing\.toml: No such file"):
        load("missing.toml")


def test_a_seed_is_a_plan() -> None:
    scenario = parse(OPEN, "open")
    assert plan(scenario, 7) == plan(scenario, 7) != plan(scenario, 8)


def test_settings_take_turns_in_an_order_that_changes() -> None:
    scenario = parse(SMALL.replace("runs = 3", "runs = 50"), "small")
    calls = [call.setting for call in plan(scenario, 3) if not call.warm_up]
    rounds = [tuple(calls[at : at + 4]) for at in range(0, len(calls), 4)]
    assert all(sorted(each) == [0, 1, 2, 3] for each in rounds)
    assert len(set(rounds)) > 5


def test_open_loop_follows_its_steps_and_its_limit() -> None:
    calls = plan(parse(OPEN, "open"), 5)
    assert [call.scheduled_ns for call in calls[:2]] == [None, None]
    times = [call.scheduled_ns or 0 for call in calls[2:]]
    assert times == sorted(times)
    assert times[-1] < 30 * NS_PER_S
    first = sum(at < 20 * NS_PER_S for at in times)
    # 1,000 expected at 50/s for 20 s, 2,000 at 200/s for 10 s; five standard deviations of a Poisson count.
    assert abs(first - 1000) < 160
    assert abs(len(times) - first - 2000) < 225


def test_constant_arrivals() -> None:
    text = OPEN.replace("warm_up", 'arrivals = "constant"\nwarm_up')
    times = [call.scheduled_ns for call in plan(parse(text, "open"), 5) if not call.warm_up]
    assert times[:3] == [20_000_000, 40_000_000, 60_000_000]
