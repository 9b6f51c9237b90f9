"""The unit tests of alerts and recording rules, by Prometheus' own promtool; and whether they would notice."""

import functools
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from msgspec.structs import replace

from harness.prometheus import program
from submeter.dashboards.rules import ALERTS, RECORDED, Alert, Recorded, alerts_yaml, recording_yaml

ROOT = Path(__file__).parents[2]
RULES = ROOT / "dashboards" / "prometheus"
TESTS = sorted((RULES / "tests").glob("*.yml"))
CONFIG = ROOT / "deploy" / "prometheus" / "prometheus.yml"
EXTREME = 1e300

FAILURE = re.compile(r"alertname: (\w+), time: \S+ *\n\s+exp:\[(\]?)")


def promtool(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [program("promtool"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=110)


@functools.cache
def cases_of(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load(path.read_text())["tests"])


def alerts_of(path: Path) -> set[str]:
    return {case["alertname"] for test in cases_of(path) for case in alert_cases(test)}


def alert_cases(test: dict[str, Any]) -> list[dict[str, Any]]:
    return list(test.get("alert_rule_test", ()))


# -- they hold ---------------------------------------------------------------------------------------------------------


def test_promtool_has_nothing_to_say_about_the_rules() -> None:
    run = promtool("check", "rules", RULES / "recording.yml", RULES / "alerts.yml")
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("SUCCESS") == 2
    assert run.stderr == ""


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_unit_tests_of_rules(path: Path) -> None:
    run = promtool("test", "rules", path)
    assert run.returncode == 0, run.stderr
    assert "SUCCESS" in run.stdout


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_every_alert_has_a_test_that_fires_and_one_that_stays_silent(alert: Alert) -> None:
    tests = [test for path in TESTS for test in cases_of(path)]
    named = [test["name"] for test in tests if test["name"].startswith(f"{alert.name} ")]
    assert any(name.startswith(f"{alert.name} fires: ") for name in named)
    assert any(name.startswith(f"{alert.name} is silent: ") for name in named)
    for test in tests:
        fires = [bool(case["exp_alerts"]) for case in alert_cases(test) if case["alertname"] == alert.name]
        if test["name"] in named:
            assert any(fires) == (" fires: " in test["name"]), test["name"]


def test_every_recorded_series_has_its_value_asserted() -> None:
    samples = [case for path in TESTS for test in cases_of(path) for case in test.get("promql_expr_test", ())]
    asserted = " ".join(case["expr"] for case in samples if case["exp_samples"])
    assert [rule.record for rule in RECORDED if not re.search(rf"{rule.record}\b", asserted)] == []


# -- they would notice -------------------------------------------------------------------------------------------------


def noticed(directory: Path, path: Path, change: Callable[[Alert], Alert]) -> set[tuple[str, bool]]:
    """(alert, whether it should have fired) of the failed cases, where the rules are changed and nothing else is.

    Only the rules that a file's tests need are there: evaluating all takes minutes."""
    alerts = [change(alert) for alert in ALERTS if alert.name in alerts_of(path)]
    (directory / "alerts.yml").write_text(alerts_yaml(alerts))
    (directory / "recording.yml").write_text(recording_yaml(_needed(alerts)))
    (directory / "tests").mkdir()
    copy = directory / "tests" / path.name
    copy.write_text(path.read_text())
    return {(name, not empty) for name, empty in FAILURE.findall(promtool("test", "rules", copy).stderr)}


def _needed(alerts: list[Alert]) -> list[Recorded]:
    text = " ".join(alert.expr for alert in alerts)
    for rule in reversed(RECORDED):
        if rule.record in text:
            text += rule.expr
    return [rule for rule in RECORDED if rule.record in text]


def never(alert: Alert) -> Alert:
    return replace(alert, threshold=-EXTREME if alert.op == "<" else EXTREME)


def always(alert: Alert) -> Alert:
    opposite = replace(alert, op="<" if alert.op == "==" else alert.op, only_while=(), for_="")
    return replace(opposite, threshold=-EXTREME if alert.op == ">" else EXTREME)


def backwards(alert: Alert) -> Alert:
    return replace(alert, op="<" if alert.op == ">" else ">")


def at_once(alert: Alert) -> Alert:
    return replace(alert, for_="")


def unguarded(at: int) -> Callable[[Alert], Alert]:
    return lambda alert: replace(alert, only_while=alert.only_while[:at] + alert.only_while[at + 1 :])


ALL = {alert.name for alert in ALERTS}
CHANGES: dict[str, tuple[Callable[[Alert], Alert], set[tuple[str, bool]]]] = {
    "never": (never, {(name, True) for name in ALL}),
    "always": (always, {(name, False) for name in ALL}),
    "backwards": (backwards, {(name, True) for name in ALL}),
    "at once": (at_once, {(alert.name, False) for alert in ALERTS if alert.for_}),
    **{
        f"without condition {at}": (
            unguarded(at),
            {(alert.name, False) for alert in ALERTS if len(alert.only_while) > at},
        )
        for at in range(max(len(alert.only_while) for alert in ALERTS))
    },
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_alert_turns_its_tests_red(name: str, tmp_path: Path) -> None:
    change, expected = CHANGES[name]
    found = set()
    for path in TESTS:
        if alerts_of(path) & {alert for alert, _ in expected}:
            (tmp_path / path.stem).mkdir()
            found |= noticed(tmp_path / path.stem, path, change)
    assert expected - found == set()
    if name not in ("always", "backwards"):  # these two fire where they should not as well
        assert found == expected


# -- the configuration that is deployed --------------------------------------------------------------------------------


def test_the_deployed_configuration_is_sound(tmp_path: Path) -> None:
    """Where the container has them: the rules beside it."""
    config = yaml.safe_load(CONFIG.read_text())
    (pattern,) = config["rule_files"]
    (tmp_path / Path(pattern).parent).mkdir()
    for name in ("recording.yml", "alerts.yml"):
        (tmp_path / Path(pattern).parent / name).write_bytes((RULES / name).read_bytes())
    token = tmp_path / "metrics_token"
    token.write_text("token")
    copy = tmp_path / "prometheus.yml"
    copy.write_text(CONFIG.read_text().replace("/run/secrets/metrics_token", str(token)))
    run = promtool("check", "config", copy)
    assert run.returncode == 0, run.stderr
    assert f"{len(ALERTS)} rules found" in run.stdout
    assert f"{len(RECORDED)} rules found" in run.stdout
    assert "SUCCESS" in run.stdout
    assert [job["job_name"] for job in config["scrape_configs"]] == ["submeter"]
    assert 'up{job="submeter"}' in alerts_yaml()
