"""``submeter latency --fit`` on real ledgers with planted truths: the model of a week, and what has become worse."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from store.ledger_rows import make_call
from submeter.cli import app
from submeter.core.record import CallRow
from submeter.core.week import NS as WEEK_NS
from submeter.core.week import Week
from submeter.errors import UsageError
from submeter.loadtest import production
from submeter.loadtest.production import Thinned
from submeter.loadtest.samples import Sample, from_rows
from submeter.store import queries
from submeter.store.ledger import Ledger

WEEK = Week.parse("2025-W47")
MODEL = "gpt-4o-2024-08-06"
A_MS, B_MS, C_MS = 300, 0.05, 12
MS = 1_000_000
CALLS = 600


def planted(
    week: Week, seed: int, *, model: str = MODEL, b: float = B_MS, c: float = C_MS, length: float = 1.0, n: int = CALLS
) -> list[CallRow]:
    """Streamed calls all over the week; ``length``: so many times longer inputs and outputs."""
    dice = np.random.default_rng(seed)
    inputs = (length * np.exp(dice.normal(7, 1, n))).astype(int) + 1
    outputs = (length * np.exp(dice.normal(4.5, 0.8, n))).astype(int) + 2
    ttft = (A_MS + b * inputs) * dice.lognormal(0, 0.1, n)
    rest = c * (outputs - 1) * dice.lognormal(0, 0.1, n)
    return [
        make_call(
            seed * 10_000 + at,
            started_at_ns=week.start_ns + at * (WEEK_NS // n),
            model_served=model,
            input_tokens=int(inputs[at]),
            cached_input_tokens=0,
            output_tokens=int(outputs[at]),
            ttft_ns=int(ttft[at] * MS),
            e2e_ns=int((ttft[at] + rest[at]) * MS),
        )
        for at in range(n)
    ]


@pytest.fixture
def filled(tmp_path: Path) -> Callable[..., Path]:
    def fill(*rows: list[CallRow]) -> Path:
        with Ledger.open(str(tmp_path / "ledger.sqlite3")) as ledger:
            ledger.migrate()
            for each in rows:
                ledger.ship(each, {})
        return tmp_path

    return fill


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["latency", *map(str, arguments)])


def document(data_dir: Path, *more: str, code: int = 0) -> dict[str, Any]:
    result = run("--fit", "--json", "--data-dir", data_dir, *more)
    assert result.exit_code == code, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def verdicts(line: dict[str, Any]) -> dict[str, str]:
    return {change["measure"]: change["verdict"] for change in line["measures"]}


def before(week: Week) -> Week:
    return week.previous()


# -- what is found ---------------------------------------------------------------------------------------------------


def test_a_weeks_model_has_what_was_planted(filled: Callable[..., Path]) -> None:
    found = document(filled(planted(before(WEEK), 1), planted(WEEK, 2)))
    assert (found["week"], found["before"]["week"]) == ("2025-W47", "2025-W46")
    assert (found["since"], found["until"]) == ("2025-11-17T00:00:00.000000000Z", "2025-11-24T00:00:00.000000000Z")
    assert found["before"]["since"] == "2025-11-10T00:00:00.000000000Z"
    (line,) = found["models"]
    assert (line["model"], line["calls"], line["calls_before"], line["fit"]["n"]) == (MODEL, CALLS, CALLS, CALLS)
    # The first token is in TTFT already.
    for name, truth in (("a_ms", A_MS - C_MS), ("b_ms_per_input_token", B_MS), ("c_ms_per_output_token", C_MS)):
        part = line["fit"][name]
        assert part["low"] < truth < part["high"], name
        assert part["low"] < part["value"] < part["high"]
    assert line["fit"]["r2"] > 0.9
    assert verdicts(line) == {"ttft": "same", "tpot": "same"}
    assert not found["regressed"]


def test_a_regression_is_found_in_its_model_and_measure_alone(filled: Callable[..., Path]) -> None:
    weeks = [planted(before(WEEK), 1), planted(WEEK, 2, c=1.15 * C_MS)]
    other = [planted(before(WEEK), 3, model="calm", n=300), planted(WEEK, 4, model="calm", n=300)]
    data_dir = filled(*weeks, *other)
    found = document(data_dir, code=1)
    assert found["regressed"] is True
    worse, calm = found["models"]
    assert (worse["model"], worse["regressed"], calm["model"], calm["regressed"]) == (MODEL, True, "calm", False)
    assert verdicts(worse) == {"ttft": "same", "tpot": "regressed"}
    (tpot,) = (change for change in worse["measures"] if change["measure"] == "tpot")
    assert 1.05 < tpot["low"] < 1.15 < tpot["high"] < 1.25
    assert document(data_dir, "--model", "calm")["models"] == [calm]
    assert document(data_dir, "--week", "2025-W46")["models"][0]["calls_before"] == 0


def test_longer_questions_and_answers_are_no_regression(filled: Callable[..., Path]) -> None:
    """Twice as long, on the median: TTFT is a third of it input, and end to end doubles."""
    weeks = [planted(before(WEEK), 1, b=0.15, n=2000), planted(WEEK, 2, b=0.15, length=2, n=2000)]
    found = document(filled(*weeks))
    assert verdicts(found["models"][0]) == {"ttft": "same", "tpot": "same"}
    settings = {change["setting"] for change in found["models"][0]["settings"]}
    assert len(settings) > 5


def test_the_same_ledger_gives_the_same_figures(filled: Callable[..., Path]) -> None:
    data_dir = filled(planted(before(WEEK), 1, n=100), planted(WEEK, 2, n=100))
    assert document(data_dir) == document(data_dir)


def test_what_says_nothing_of_latency_is_left_out(filled: Callable[..., Path]) -> None:
    calls = planted(WEEK, 2, n=50)
    hits = [make_call(900 + at, started_at_ns=WEEK.start_ns, cache="hit", ttft_ns=1, e2e_ns=2) for at in range(20)]
    broken = [make_call(950, started_at_ns=WEEK.start_ns, outcome="timeout")]
    unread = [make_call(960, started_at_ns=WEEK.start_ns, cost_state="unmetered", cost_nano_usd=None)]
    (line,) = document(filled(calls, hits, broken, unread))["models"]
    assert line["calls"] == 50


def test_too_few_calls_give_reasons_and_no_figures(filled: Callable[..., Path]) -> None:
    data_dir = filled(planted(WEEK, 2, n=3))
    (line,) = document(data_dir)["models"]
    assert line["fit"] is None
    assert line["fit_missing"] == "3 answered calls with token counts: 10 are needed"
    assert [(change["effect"], change["verdict"]) for change in line["measures"]] == [(None, "same")] * 2
    text = run("--fit", "--data-dir", data_dir).stdout
    assert "10 are needed" in text
    assert "no setting has 8" in text


def test_tables_for_people(filled: Callable[..., Path]) -> None:
    result = run("--fit", "--data-dir", filled(planted(before(WEEK), 1), planted(WEEK, 2, c=1.3 * C_MS)))
    assert result.exit_code == 1
    rows = [line.split() for line in result.stdout.splitlines()]
    assert any(row[:2] == [MODEL, "fixed"] and row[-1] == "600" for row in rows)
    assert any("per output token" in " ".join(row) and row[3].startswith("15.") for row in rows)
    assert any(row[:2] == ["TPOT", "regressed"] and row[2].startswith("1.") for row in rows)
    assert "Against 2025-W46" in result.stdout


def test_a_week_without_calls(filled: Callable[..., Path]) -> None:
    data_dir = filled(planted(WEEK, 2, n=20))
    assert document(data_dir, "--week", "2024-W01")["models"] == []
    assert (
        "no calls that went upstream and ended well in 2024-W01"
        in run("--fit", "--week", "2024-W01", "--data-dir", data_dir).stdout
    )
    assert document(filled(), "--model", "nobody")["models"] == []


# -- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--fit", "--week", "47"), "--week: a week is written as in 2026-W47"),
        (("--fit", "--week", "2026-W54"), "--week: there is no week 2026-W54"),
        (("--fit", "--since", "7d"), "--since is not an option of --fit: it takes --week and --model"),
        (("--fit", "--by", "model"), "--by is not an option of --fit"),
        (("--week", "2026-W47"), "--week is an option of --fit: add --fit"),
    ],
)
def test_wrong_options_name_the_right_ones(filled: Callable[..., Path], options: tuple[str, ...], says: str) -> None:
    result = run(*options, "--data-dir", filled())
    assert isinstance(result.exception, UsageError)
    assert says in str(result.exception)


# -- weeks and samples -----------------------------------------------------------------------------------------------


def test_weeks_are_isos() -> None:
    assert WEEK.start_ns == 1_763_337_600 * 10**9  # 2025-11-17T00:00:00Z, a Monday
    assert Week.of_ns(WEEK.start_ns) == Week.of_ns(WEEK.end_ns - 1) == WEEK
    assert Week.of_ns(WEEK.start_ns - 1).text == "2025-W46"
    assert Week.of_ns(0).text == "1970-W01"
    assert [Week.parse("2020-W53").next(after).text for after in (0, 1)] == ["2020-W53", "2021-W01"]


def test_a_week_that_is_not_over_is_held_against_as_much_of_the_one_before(filled: Callable[..., Path]) -> None:
    data_dir = filled(planted(before(WEEK), 1, n=70), planted(WEEK, 2, n=70))
    monday_ends_ns = WEEK.start_ns + WEEK_NS // 7
    with Ledger.open(str(data_dir / "ledger.sqlite3"), read_only=True) as ledger:
        (line,) = production.analyse(ledger, monday_ends_ns, WEEK).models
    assert (line.calls, line.calls_before) == (10, 10)


def samples(n: int) -> Iterator[Sample]:
    (one,) = from_rows([{**dict.fromkeys(Sample.__struct_fields__), **SAMPLED}])
    return (
        type(one)(**{**{name: getattr(one, name) for name in one.__struct_fields__}, "started_ns": at})
        for at in range(n)
    )


SAMPLED = {
    "cache": "miss",
    "upstream": "openai",
    "model_served": MODEL,
    "model_requested": None,
    "outcome": "ok",
    "stream": True,
    "started_at_ns": 0,
    "upstream_request_id": None,
}


@pytest.mark.parametrize(("n", "step"), [(0, 1), (10, 1), (11, 2), (20, 2), (21, 4), (1000, 128)])
def test_many_calls_are_thinned_evenly(n: int, step: int) -> None:
    thinned = Thinned(most=10)
    for sample in samples(n):
        thinned.add(sample)
    assert [sample.started_ns for sample in thinned.kept] == list(range(0, n, step))
    assert len(thinned.kept) <= 10
    assert thinned.seen == n


def test_at_most_so_many_of_a_week_are_looked_at(filled: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Thinned.__init__, "__defaults__", (100,))
    (line,) = document(filled(planted(WEEK, 2, n=300)))["models"]
    assert (line["calls"], line["fit"]["n"]) == (300, 75)


def test_rows_are_not_held_in_memory_to_be_thinned(filled: Callable[..., Path]) -> None:
    with Ledger.open(str(filled(planted(WEEK, 2, n=10)) / "ledger.sqlite3"), read_only=True) as ledger:
        found = queries.timed_calls(ledger, WEEK.start_ns, WEEK.end_ns)
        assert next(found)["model_served"] == MODEL
        assert len(list(found)) == 9
