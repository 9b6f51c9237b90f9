"""A load test as data: what is asked, how often, and when each call begins.

A scenario is a TOML file: one that is shipped (``article``, ``matrix``, …) or one's own. Closed loop: so many users,
each of whom asks again as soon as the answer is there. Open loop (``[[steps]]``): calls begin at times that are drawn
in advance, whether or not earlier ones have ended.
"""

import itertools
import random
import tomllib
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from submeter.config.nearest import known_or_nearest
from submeter.errors import UsageError
from submeter.loadtest import texts

MAX_CALLS = 200_000
NS_PER_S = 1_000_000_000

Tokens = Annotated[int, msgspec.Meta(ge=1, le=2_000_000)]
Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_CALLS)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=MAX_CALLS)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=7 * 86_400)]
Rate = Annotated[float, msgspec.Meta(gt=0, le=10_000)]


class Setting(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One kind of call. In TOML each value may be a list: every combination is then a setting of its own."""

    input_tokens: Annotated[int, msgspec.Meta(ge=texts.LEAST_INPUT_TOKENS, le=2_000_000)]
    """Of the whole request, by OpenAI's tokenizers."""
    output_tokens: Tokens
    """The limit that is asked for; the prompt makes models reach it."""
    model: str | None = None
    """``None``: the run's."""
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] = 1.0
    stream: bool = True
    shared_prefix_tokens: Count = 0
    """The same first words in every call of the run, for the provider's prompt cache."""
    distinct_prompts: Positive | None = None
    """So many prompts, asked over and over, for Submeter's cache; ``None``: no prompt twice."""

    @property
    def name(self) -> str:
        """``in=1000,out=200``, and what is not usual."""
        parts = [f"in={self.input_tokens}", f"out={self.output_tokens}"]
        parts += [] if self.model is None else [f"model={self.model}"]
        parts += [f"temperature={self.temperature:g}"] if self.temperature != 1 else []
        parts += [] if self.stream else ["whole"]
        parts += [f"shared={self.shared_prefix_tokens}"] if self.shared_prefix_tokens else []
        parts += [] if self.distinct_prompts is None else [f"distinct={self.distinct_prompts}"]
        return ",".join(parts)


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A stretch of an open loop."""

    rate_per_s: Rate
    for_s: Seconds


class Replay(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Calls of the ledger, with their lengths and at their times, instead of settings and steps."""

    since: str = "1h"
    """As ``--since`` takes it."""
    until: str | None = None
    """Calls begun before, in the same form; ``None``: up to now."""
    speed: Rate = 1.0
    """2: in half the time."""
    most_calls: Positive = 1000
    """The newest."""


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of a load test but its target."""

    description: str
    settings: Annotated[tuple[Setting, ...], msgspec.Meta(max_length=1000)] = ()
    runs: Positive = 20
    """Calls of each setting; of an open loop its steps decide."""
    users: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 1
    """Calls in flight: as many as that (closed loop), at most as many (open loop)."""
    steps: Annotated[tuple[Step, ...], msgspec.Meta(max_length=1000)] = ()
    """Open loop, where there are any."""
    replay: Replay | None = None
    arrivals: Literal["poisson", "constant"] = "poisson"
    warm_up: Count = 1
    """Calls before the first that counts."""
    time_limit_s: Seconds = 120.0
    """No call begins later."""
    call_limit_s: Seconds = 60.0
    """A call that has said nothing for so long has failed."""
    bypass_cache: bool = True
    """Send ``Cache-Control: no-store``, so that Submeter's cache does not answer."""
    output_limit_key: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """Models that reason take the second only."""
    body: dict[str, Any] = {}
    """More members of the request, such as vLLM's ``ignore_eos``."""
    headers: dict[str, str] = {}
    """More headers, such as ``x-submeter-team``."""

    @property
    def is_open(self) -> bool:
        return bool(self.steps) or self.replay is not None

    def models(self, run_model: str) -> frozenset[str]:
        """All that are asked. ``run_model``: by the settings that name none."""
        return frozenset(run_model if setting.model is None else setting.model for setting in self.settings)

    def prompt(self, call: "Call", seed: int) -> str:
        """The text of a call. ``seed`` is the run's: no text of it occurs in another run."""
        setting = self.settings[call.setting]
        distinct = setting.distinct_prompts
        drawn = call.number if distinct is None else call.number % distinct
        family = f"{seed}/{setting.name}"  # keeps two settings' prompts apart
        return texts.prompt(
            setting.input_tokens,
            f"{family}/{drawn}",
            shared_tokens=setting.shared_prefix_tokens,
            shared_key=family,
        )


class Call(msgspec.Struct, frozen=True):
    """One call of the plan."""

    number: int
    setting: int
    """Its place in ``Scenario.settings``."""
    scheduled_ns: int | None
    """After the run's begin; ``None`` in a closed loop and in the warm-up."""
    warm_up: bool


def shipped() -> list[str]:
    """The names of the scenarios that come with submeter."""
    found = (files(__package__) / "scenarios").iterdir()
    return sorted(path.name.removesuffix(".toml") for path in found if path.name.endswith(".toml"))


def load(name_or_path: str) -> Scenario:
    """A shipped scenario by its name, or one's own by its path (``*.toml``). Raises ``UsageError``."""
    if name_or_path.endswith(".toml"):
        return parse(_read(Path(name_or_path)), name_or_path)
    name = known_or_nearest(name_or_path, shipped(), f"no scenario {name_or_path}, nor a file *.toml")
    return parse((files(__package__) / "scenarios" / f"{name}.toml").read_text(), name)


def parse(text: str, source: str) -> Scenario:
    """``source`` is for messages. Raises ``UsageError``, which names the key and the nearest right one."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{source} is no TOML: {error}") from None
    _check_keys(raw, Scenario, source)
    try:
        raw["settings"] = [each for table in raw.get("settings", []) for each in _combinations(table, source)]
        for step in raw.get("steps", []):
            _check_keys(step, Step, f"{source}, steps")
        _check_keys(raw.get("replay", {}), Replay, f"{source}, replay")
        scenario = msgspec.convert(raw, Scenario)
    except (msgspec.ValidationError, TypeError, AttributeError) as error:
        raise UsageError(f"{source}: {error}") from None
    _check(scenario, source)
    return scenario


def plan(scenario: Scenario, seed: int) -> list[Call]:
    """Every call of the run in order. The same seed gives the same plan.

    Settings take turns, shuffled within each round, so that a provider that slows down slows all of them down.
    """
    chance = random.Random(seed)
    settings = len(scenario.settings)
    times = _arrivals(scenario, chance) if scenario.is_open else [None] * (scenario.runs * settings)
    warm_up = [Call(number, number % settings, None, True) for number in range(scenario.warm_up)]
    turns = _turns(settings, chance)
    return [*warm_up, *(Call(number, next(turns), at, False) for number, at in enumerate(times, scenario.warm_up))]


def _turns(settings: int, chance: random.Random) -> Iterator[int]:
    while True:
        yield from chance.sample(range(settings), settings)


def _arrivals(scenario: Scenario, chance: random.Random) -> list[int | None]:
    """Ns after the begin, within the steps and the time limit."""
    times: list[int | None] = []
    begin_s = 0.0
    for step in scenario.steps:
        at_s, end_s = begin_s, begin_s + step.for_s
        while True:
            at_s += chance.expovariate(step.rate_per_s) if scenario.arrivals == "poisson" else 1 / step.rate_per_s
            if at_s >= min(end_s, scenario.time_limit_s):
                break
            times.append(round(at_s * NS_PER_S))
        begin_s = end_s
    return times


def _combinations(table: object, source: str) -> Iterator[dict[str, object]]:
    if not isinstance(table, dict):
        raise UsageError(f"{source}: write settings as tables: [[settings]]")
    _check_keys(table, Setting, f"{source}, settings")
    lists = [value if isinstance(value, list) else [value] for value in table.values()]
    for values in itertools.product(*lists):
        yield dict(zip(table, values, strict=True))


def _check_keys(table: Mapping[str, object], kind: type[msgspec.Struct], where: str) -> None:
    for key in table:
        known_or_nearest(key, kind.__struct_fields__, f"{where}: unknown key {key}")


def _check(scenario: Scenario, source: str) -> None:
    if bool(scenario.settings) is (scenario.replay is not None) or (scenario.replay is not None and scenario.steps):
        raise UsageError(f"{source}: give [[settings]], or [replay] instead of settings and steps")
    names = [setting.name for setting in scenario.settings]
    if len(set(names)) < len(names):
        raise UsageError(f"{source}: two settings are the same; each needs lengths of its own")
    expected = sum(step.rate_per_s * step.for_s for step in scenario.steps)
    if max(expected, scenario.runs * len(names)) > MAX_CALLS:
        raise UsageError(f"{source}: more than {MAX_CALLS:,} calls; lower runs, rate_per_s or for_s")


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"cannot read the scenario {path}: {reason}") from None
