"""Planted worlds through ``submeter report``: the right answer is known, and the whole command has to find it."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from harness.processes import submeter
from harness.weeks import WEEK, Calls, planted, report, run, workload, write_csv
from submeter.errors import UsageError
from submeter.report.document import VerdictName

DEAR = Calls(a_week=2100, model="o1-pro", input_tokens=8000, output_tokens=400, usd_per_million=("150", "150", "600"))
CHEAP = Calls(a_week=2100, model="gpt-4o-mini", usd_per_million=("0.15", "0.075", "0.60"))
GPU_USD_PER_HOUR = Decimal("2.95")
ONE_AND_A_SPARE = 2 * 168 * GPU_USD_PER_HOUR
"""A replica of one H100, and one to spare: 991.20 USD a week."""
EVIDENCE = 'quality: {evidence: "evals/support.md", date: 2026-11-02, holds: true}'


def configuration(
    *,
    engineer: object = 500,
    migration: object = 0,
    rent: tuple[str, str] = ("900", "900"),
    quality: str = EVIDENCE,
    ttft_ms: object = 4000,
    gpu: object = GPU_USD_PER_HOUR,
    more: str = "",
) -> str:
    """A host at ``rent`` USD per million tokens (input, output), and a fleet of one H100 a replica."""
    return f"""
objective: {{ttft_p95_ms: {ttft_ms}, tpot_p95_ms: 100}}
{"" if engineer is None else f"engineer_usd_per_week: {engineer}"}
migration_usd: {migration}
gpu_usd_per_hour: {{h100_sxm: {{usd: {gpu}}}}}
{more}
workloads:
  - name: support
    match: {{app: support}}
    equivalents:
      - model: llama-3.1-8b
        {quality}
        rent: [{{host: mine, usd_per_million: {{input: "{rent[0]}", cached_input: "{rent[0]}", output: "{rent[1]}"}}}}]
        build: [{{gpu: h100_sxm}}]
"""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SUBMETER_CONFIG", "")


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    directory = tmp_path_factory.mktemp("traces")
    worlds = {
        "dear": planted(DEAR),
        "cheap": planted(CHEAP),
        "one week": planted(DEAR, weeks=[WEEK]),
        "three days": [
            row for row in planted(DEAR, weeks=[WEEK]) if row["started_at_ns"] < WEEK.start_ns + 3 * 86400e9
        ],
        "few": planted(Calls(a_week=70)),
    }
    return {name: write_csv(directory / f"{name}.csv", rows) for name, rows in worlds.items()}


def judged(trace: Path, config: str, *arguments: object) -> dict[str, Any]:
    Path("alternatives.yaml").write_text(config)
    return workload(report("--trace", trace, "--config", "alternatives.yaml", *arguments), "support")


# ---- the verdicts --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trace", "config", "verdict", "said"),
    [
        ("cheap", configuration(), "BUY", "BUY (gpt-4o-mini at openai, as recorded) costs 0.57 USD a week"),
        ("dear", configuration(rent=("0.2", "0.4")), "RENT-OPEN", "RENT-OPEN (llama-3.1-8b at mine) costs 3.70 USD"),
        ("dear", configuration(), "BUILD", "BUILD is cheaper in 100 % of draws."),
        ("dear", configuration(quality=""), "BUILD IF QUALITY HOLDS", "Nobody has shown that llama-3.1-8b does"),
        ("dear", configuration(rent=("0.2", "0.4"), quality=""), "NOT COMPARABLE", "But nobody has shown that"),
        ("one week", configuration(), "NOT COMPARABLE", "Only 7 days of data; BUILD needs 14"),
        ("three days", configuration(), "NOT COMPARABLE", "Only 3 days of data; a week's bill needs 7"),
        ("few", configuration(), "NOT COMPARABLE", "Only 70 calls have known tokens; a verdict needs 100"),
    ],
)  # fmt: skip
def test_the_right_answer(traces: dict[str, Path], trace: str, config: str, verdict: VerdictName, said: str) -> None:
    found = judged(traces[trace], config)
    assert found["verdict"] == verdict, found["why"]
    assert said in found["why"][0]
    assert found["pending"] is False


def test_a_near_tie(traces: dict[str, Path]) -> None:
    """The fleet with its engineer costs what the bill is."""
    engineer = DEAR.week_usd - ONE_AND_A_SPARE
    found = judged(traces["dear"], configuration(engineer=engineer))
    assert found["build_usd"] == found["buy_usd"] == DEAR.week_usd
    assert found["verdict"] == "TOO CLOSE"
    dearer = judged(traces["dear"], configuration(engineer=engineer * Decimal("1.5")))
    assert dearer["verdict"] == "BUY"


def test_a_host_that_costs_what_the_api_costs_is_too_close(traces: dict[str, Path]) -> None:
    found = judged(traces["cheap"], configuration(rent=("0.15", "0.60")))
    assert found["rent_open_usd"] == found["buy_usd"] == CHEAP.week_usd
    assert found["verdict"] == "TOO CLOSE"


def test_the_figures_are_the_plan_s_arithmetic(traces: dict[str, Path]) -> None:
    found = judged(traces["dear"], configuration())
    assert found["calls"] == DEAR.a_week
    assert found["input_tokens"] == DEAR.a_week * DEAR.input_tokens
    assert found["buy_usd"] == found["buy_best_usd"] == DEAR.week_usd == DEAR.a_week * Decimal("1.44")
    assert found["rent_open_usd"] == DEAR.a_week * Decimal("7.56")
    assert found["replicas"] == 1
    assert found["build_usd"] == ONE_AND_A_SPARE + 500
    assert found["p_build_cheaper"] == 1
    assert found["payback_weeks"] == 0
    assert found["fleet"]["proof"]["holds"] is True
    assert found["fleet"]["proof"]["holds_one_down"] is True


def test_what_would_turn_it_is_arithmetic_at_today_s_volume(traces: dict[str, Path]) -> None:
    found = judged(traces["dear"], configuration())
    build_usd, stairs = ONE_AND_A_SPARE + 500, found["staircase"]
    for arrivals in ("build_independent", "build_correlated"):
        costs = dict(zip(stairs[arrivals]["x"], stairs[arrivals]["y"], strict=True))
        assert costs[1] == build_usd
        assert list(costs.values()) == sorted(costs.values())
    assert dict(zip(stairs["buy"]["x"], stairs["buy"]["y"], strict=True))[2] == 2 * DEAR.week_usd
    flips = {each["factor"]: each["flips_at"] for each in found["flips"]}
    assert flips["api_price"] == [pytest.approx(build_usd / DEAR.week_usd, rel=Decimal("0.001"))]
    dearer = (DEAR.week_usd - 500) / ONE_AND_A_SPARE
    assert flips["gpu_usd_per_hour"] == [pytest.approx(dearer, rel=Decimal("0.001"))]
    assert flips["volume"] == [pytest.approx(build_usd / DEAR.week_usd, rel=Decimal("0.001"))]


# ---- what takes a verdict away -------------------------------------------------------------------------------------


def test_evidence_that_speaks_against_it_takes_the_build_out(traces: dict[str, Path]) -> None:
    found = judged(traces["dear"], configuration(quality=EVIDENCE.replace("true", "false")))
    assert found["verdict"] == "BUY"
    assert any("the evidence says that llama-3.1-8b does not do the work" in why for why in found["why"])


def test_without_evidence_the_line_to_add_is_said(traces: dict[str, Path]) -> None:
    found = judged(traces["dear"], configuration(quality=""))
    assert [each["line"] for each in found["missing"]] == [
        'quality: {evidence: "where to read it", date: 2026-11-02, holds: true}'
    ]
    assert found["quality"] == [{"equivalent": "llama-3.1-8b", "holds": None, "evidence": None, "as_of": None}]


def test_without_an_engineer_s_share_build_is_withheld(traces: dict[str, Path]) -> None:
    found = judged(traces["dear"], configuration(engineer=None))
    assert found["verdict"] == "BUY"
    assert found["build_usd"] is None
    assert found["p_build_cheaper"] is None
    assert found["replicas"] == 1
    line = next(each["line"] for each in found["missing"])
    assert line.startswith("engineer_usd_per_week: ")
    mended = judged(traces["dear"], line.replace("…", "500") + "\n" + configuration(engineer=None))
    assert mended["build_usd"] is not None


def test_a_migration_that_never_pays(traces: dict[str, Path]) -> None:
    found = judged(traces["dear"], configuration(migration=100_000))
    weeks = 100_000 / (DEAR.week_usd - ONE_AND_A_SPARE - 500)
    assert found["payback_weeks"] == pytest.approx(weeks)
    assert weeks > 26
    assert found["verdict"] == "BUY"
    assert any("BUILD is out" in why and "65 weeks" in why for why in found["why"]), found["why"]


def test_an_objective_that_no_fleet_meets(traces: dict[str, Path]) -> None:
    found = judged(traces["dear"], configuration(ttft_ms=1))
    assert found["build_usd"] is None
    assert found["replicas"] is None
    assert found["verdict"] == "BUY"
    assert any(why.startswith("BUILD is withheld") for why in found["why"]), found["why"]
    assert all(each["line"] for each in found["missing"])


def test_no_configuration_at_all(traces: dict[str, Path]) -> None:
    found = report("--trace", traces["dear"])
    assert found["page_one"]["lines"]
    assert found["buy_usd"] == DEAR.week_usd
    assert [each["verdict"] for each in found["workloads"]] == ["NOT COMPARABLE"]
    assert [each["build_usd"] for each in found["workloads"]] == [None]
    ended = run("--week", WEEK, "--trace", traces["dear"])
    assert ended.exit_code == 0
    assert "For BUILD to win, each alone, you would have to believe" in ended.stdout


@pytest.mark.parametrize(
    ("wrong", "right", "said"),
    [
        ("model: llama-3.1-8", "model: llama-3.1-8b", "unknown model 'llama-3.1-8'; did you mean llama-3.1-8b?"),
        ("gpu: h100_sx", "gpu: h100_sxm", "unknown GPU 'h100_sx'; did you mean h100_sxm?"),
        ("{h100: {usd", "{h100_sxm: {usd", "gpu_usd_per_hour: unknown GPU 'h100'; known here are a100_sxm, h100_sxm"),
        ("enginer_usd_per_week", "engineer_usd_per_week", "unknown key; did you mean engineer_usd_per_week?"),
        ("ttft_p95: 4000", "ttft_p95_ms: 4000", "unknown key; did you mean ttft_p95_ms?"),
    ],
)
def test_what_there_is_not_names_file_key_and_the_nearest(
    traces: dict[str, Path], wrong: str, right: str, said: str
) -> None:
    text = configuration().replace(right, wrong)
    assert wrong in text
    Path("mine.yaml").write_text(text)
    ended = run("--trace", traces["dear"], "--week", WEEK, "--config", "mine.yaml", "--json", "-")
    assert isinstance(ended.exception, UsageError)
    assert str(ended.exception).startswith("mine.yaml")
    assert said in str(ended.exception)
    assert ended.stdout == ""


def test_what_there_is_not_is_one_line_and_exit_code_2(traces: dict[str, Path]) -> None:
    Path("mine.yaml").write_text(configuration().replace("gpu: h100_sxm", "gpu: h100_sx"))
    arguments = ("--trace", str(traces["few"]), "--week", str(WEEK), "--config", "mine.yaml")
    ended = submeter("report", *arguments, SUBMETER_CONFIG="")
    said = "submeter: mine.yaml: workloads[0].equivalents[0].build[0]: unknown GPU 'h100_sx'; did you mean h100_sxm?"
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", f"{said}\n")


# ---- what must follow from what --------------------------------------------------------------------------------------


def test_all_prices_times_ten_are_all_totals_times_ten(tmp_path: Path) -> None:
    totals = ("buy_usd", "buy_best_usd", "rent_open_usd", "build_usd")
    once, tenfold = (
        judged(
            write_csv(
                tmp_path / f"{scale}.csv",
                planted(Calls(a_week=700, usd_per_million=(f"{30 * scale}", f"{30 * scale}", f"{60 * scale}"))),
            ),
            configuration(engineer=500 * scale, gpu=GPU_USD_PER_HOUR * scale, rent=(f"{2 * scale}", f"{3 * scale}")),
        )
        for scale in (1, 10)
    )
    assert {name: tenfold[name] for name in totals} == {name: 10 * once[name] for name in totals}
    assert tenfold["p_build_cheaper"] == once["p_build_cheaper"]
    assert tenfold["verdict"] == once["verdict"]


def test_a_stricter_objective_is_never_cheaper(tmp_path: Path) -> None:
    bursts = Calls(a_week=280, bursts=14, model="gpt-4", input_tokens=6000, output_tokens=100)
    trace = write_csv(tmp_path / "bursts.csv", planted(bursts))
    found = [judged(trace, configuration(ttft_ms=ms)) for ms in (20_000, 2000, 600)]
    costs = [each["build_usd"] for each in found]
    assert costs == sorted(costs)
    assert costs[-1] > costs[0]
    for each in found:
        assert each["build_usd"] == (each["replicas"] + 1) * 168 * GPU_USD_PER_HOUR + 500


def test_the_same_seed_gives_the_same_bytes(traces: dict[str, Path], tmp_path: Path) -> None:
    Path("alternatives.yaml").write_text(configuration(gpu="2.95, low: 2.0, high: 4.0"))
    for name in ("one", "two"):
        arguments = ("--trace", traces["dear"], "--week", WEEK, "--seed", 5)
        assert run(*arguments, "--json", f"{name}.json", "--html", f"{name}.html").exit_code == 0
    assert Path("one.json").read_bytes() == Path("two.json").read_bytes()
    assert Path("one.html").read_bytes() == Path("two.html").read_bytes()


# ---- what once turned a verdict ------------------------------------------------------------------------------------


def test_two_fleets_of_one_name_have_draws_of_their_own(traces: dict[str, Path]) -> None:
    """The second one pays for two whole nodes, which is no reason to doubt the first."""
    both = configuration().replace(
        "build: [{gpu: h100_sxm}]", "build: [{gpu: h100_sxm}, {gpu: h100_sxm, rent_by: node}]"
    )
    found = judged(traces["dear"], both)
    assert (found["verdict"], found["build_usd"]) == ("BUILD", ONE_AND_A_SPARE + 500)
    built = [each for each in found["choices"] if each["kind"] == "build"]
    assert [each["name"].removeprefix("llama-3.1-8b on ") for each in built] == [
        "h100_sxm, fp8, static",
        "h100_sxm, fp8, static (2)",
    ]
    assert built[0]["band"]["high"] < built[1]["band"]["low"]


def test_a_workload_is_as_old_as_its_own_first_call(tmp_path: Path) -> None:
    """Another one's fortnight does not make three days a fleet's case."""
    young = [row for row in planted(DEAR, weeks=[WEEK]) if row["started_at_ns"] >= WEEK.start_ns + 4 * 86400e9]
    other = [row | {"call_id": f"other-{row['call_id']}"} for row in planted(Calls(a_week=700, app="other"))]
    trace = write_csv(tmp_path / "young.csv", [*young, *other])
    found = judged(trace, configuration())
    assert (found["verdict"], found["why"][0]) == ("NOT COMPARABLE", "Only 3 days of data; a week's bill needs 7.")


def test_a_host_that_failed_its_evaluation_turns_nothing(traces: dict[str, Path]) -> None:
    failed = configuration(rent=("0.2", "0.4"), quality="").replace(
        "    equivalents:\n",
        "    equivalents:\n"
        "      - model: llama-3.3-70b\n"
        '        quality: {evidence: "e", date: 2026-11-02, holds: false}\n'
        '        rent: [{host: cheap, usd_per_million: {input: "0.01", cached_input: "0.01", output: "0.01"}}]\n',
    )
    failed = failed.replace("rent: [{host: mine", "# rent: [{host: mine").replace(
        "build: [{gpu: h100_sxm}]", f"{EVIDENCE}\n        build: [{{gpu: h100_sxm}}]"
    )
    found = judged(traces["dear"], failed)
    assert found["verdict"] == "BUILD"
    flips = {each["factor"]: each for each in found["flips"]}
    assert float(flips["api_price"]["now"]) == pytest.approx(float(found["buy_usd"]))
    assert list(map(float, flips["api_price"]["flips_at"])) == [
        pytest.approx(float(found["build_usd"] / found["buy_usd"]), rel=1e-3)
    ]


def test_the_api_s_price_is_not_the_host_s(traces: dict[str, Path]) -> None:
    """A host at half of what the fleet costs stays one, whatever the API asks: no API price lets BUILD win."""
    found = judged(traces["dear"], configuration(rent=("40", "40")))
    assert found["rent_open_usd"] == 2100 * Decimal(8400) * 40 / 10**6 < found["build_usd"] < found["buy_usd"]
    flips = {each["factor"]: each["flips_at"] for each in found["flips"]}
    assert flips["api_price"] == []


def test_a_gpu_for_nothing_is_refused(traces: dict[str, Path]) -> None:
    Path("alternatives.yaml").write_text(configuration(gpu=0))
    with pytest.raises(UsageError, match=r"gpu_usd_per_hour\.h100_sxm\.usd: must be above 0"):
        report("--trace", traces["dear"], "--config", "alternatives.yaml")


def test_calls_that_no_replica_can_hold_are_said(tmp_path: Path) -> None:
    """Three in a hundred, which the objective lets pass."""
    huge = Calls(
        a_week=63, model="o1-pro", input_tokens=3_000_000, output_tokens=10, usd_per_million=("0.1", "0.1", "1")
    )
    rows = [row | {"call_id": f"huge-{row['call_id']}"} for row in planted(huge)]
    found = judged(write_csv(tmp_path / "huge.csv", [*planted(DEAR), *rows]), configuration())
    built = next(each for each in found["choices"] if each["kind"] == "build")
    assert "63 calls never fit its memory: it would not answer them" in built["notes"]


def test_next_week_s_comparison_is_with_whole_replicas_only(traces: dict[str, Path]) -> None:
    """What an idle rest of a node costs is neither replicas nor their rent."""
    assert judged(traces["dear"], configuration())["rented"]["replicas"] == 1
    by_node = configuration().replace("build: [{gpu: h100_sxm}]", "build: [{gpu: h100_sxm, rent_by: node}]")
    assert judged(traces["dear"], by_node)["rented"] is None


@pytest.mark.parametrize(("days", "verdict"), [(2, "NOT COMPARABLE"), (7, "BUILD"), (-30, "BUILD")])
def test_a_week_that_is_not_over(
    traces: dict[str, Path], monkeypatch: pytest.MonkeyPatch, days: int, verdict: str
) -> None:
    """A clock before the week is not one to judge by: such a trace is made up."""
    monkeypatch.setattr("submeter.commands.reporting.time.time_ns", lambda: WEEK.start_ns + days * 86_400 * 10**9)
    assert judged(traces["dear"], configuration())["verdict"] == verdict
