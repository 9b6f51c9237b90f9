"""Recording rules and alerts: the committed files are what the code makes; what they name exists and is explained."""

import re
from pathlib import Path

import pytest
import yaml

from submeter.dashboards.rules import ALERTS, RECORDED, Alert, alerts_yaml, recording_yaml

ROOT = Path(__file__).parents[2]
RULES = ROOT / "dashboards" / "prometheus"
GUIDE = ROOT / "docs" / "guide"

EXPRESSIONS = {rule.record: rule.expr for rule in RECORDED} | {alert.name: alert.expr for alert in ALERTS}
METRIC = re.compile(r"(?<!:)\b((?:submeter|gen_ai)_\w+?)(?:_bucket|_count|_sum)?\b(?!:)")
SELECTION = re.compile(r"\b((?:submeter|gen_ai)_\w+?)(?:_bucket|_count|_sum)?\{([^}]*)\}")
SERIES = re.compile(r"\bsubmeter:\w+:\w+")
LASTING = re.compile(r"\d+[mh]")


def documented() -> dict[str, str]:
    """Metrics of the guide, and the cell of their labels (histograms: those that all of them have)."""
    page = (GUIDE / "metrics.md").read_text()
    return {match[1]: match[2] for match in re.finditer(r"^\| `(\w+)`(?:, `\w+`)* \|([^|]*)\|", page, re.MULTILINE)}


@pytest.mark.parametrize(("file", "text"), [("recording.yml", recording_yaml()), ("alerts.yml", alerts_yaml())])
def test_the_committed_files_are_what_the_code_makes(file: str, text: str) -> None:
    assert (RULES / file).read_bytes() == text.encode(), "run: submeter dashboards build --out dashboards"
    assert {"recording.yml": recording_yaml, "alerts.yml": alerts_yaml}[file]() == text


def test_the_files_say_what_the_data_say() -> None:
    (recording,) = yaml.safe_load(recording_yaml())["groups"]
    (alerting,) = yaml.safe_load(alerts_yaml())["groups"]
    assert [(rule["record"], rule["expr"]) for rule in recording["rules"]] == [(r.record, r.expr) for r in RECORDED]
    written = [
        (rule["alert"], rule["expr"], rule.get("for", ""), rule["labels"]["severity"]) for rule in alerting["rules"]
    ]
    assert written == [(alert.name, alert.expr, alert.for_, alert.severity) for alert in ALERTS]
    assert all(set(rule["annotations"]) == {"summary", "description", "runbook"} for rule in alerting["rules"])


def test_names_are_unique_and_of_their_form() -> None:
    assert len(EXPRESSIONS) == len(RECORDED) + len(ALERTS)
    assert all(re.fullmatch(r"submeter:[a-z0-9_]+:[a-z0-9_]+", rule.record) for rule in RECORDED)
    assert all(re.fullmatch(r"([A-Z][a-z0-9]+)+", alert.name) for alert in ALERTS)
    assert all(LASTING.fullmatch(alert.for_) or alert.for_ == "" for alert in ALERTS)


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_metrics_that_are_asked_for_exist(name: str) -> None:
    expression = EXPRESSIONS[name]
    known = documented()
    for metric in METRIC.findall(expression):
        assert metric in known, metric
    for metric, matchers in SELECTION.findall(expression):
        for label in re.findall(r"(\w+)(?:=|!)", matchers):
            assert f"`{label}`" in known[metric], f"{metric} has no label {label}"


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_series_that_are_asked_for_are_recorded_before(name: str) -> None:
    asked = set(SERIES.findall(EXPRESSIONS[name]))
    names = [rule.record for rule in RECORDED]
    before = names[: names.index(name)] if name in names else names
    assert asked <= set(before)


def test_nothing_newer_than_the_prometheus_that_is_named() -> None:
    everything = recording_yaml() + alerts_yaml()
    assert re.findall(r"\b(limitk|limit_ratio|sort_by_label|info|ts_of_\w+|histogram_avg)\(", everything) == []
    assert "Prometheus 2.42 or later" in everything


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_an_alert_says_what_to_do(alert: Alert) -> None:
    page = (GUIDE / "alerts.md").read_text()
    section = page.partition(f"\n## {alert.name}\n")[2].partition("\n## ")[0]
    assert len(section) > 200, "its section in docs/guide/alerts.md"
    assert re.findall(rf"^\| \[{alert.name}\]\(#{alert.name.lower()}\) \| {alert.severity} \|", page, re.MULTILINE)
    assert alert.runbook == f"docs/guide/alerts.md#{alert.name.lower()}"
    assert 100 < len(alert.description) < 450
    assert alert.severity != "page" or alert.for_ or alert.name == "CallsUnmetered"


def test_the_guide_tells_of_no_alert_and_no_series_that_there_is_not() -> None:
    page = (GUIDE / "alerts.md").read_text()
    told = re.findall(r"^\| \[(\w+)\]", page, re.MULTILINE)
    assert told == [alert.name for alert in ALERTS]
    assert [title for title in re.findall(r"^## (\w+)$", page, re.MULTILINE) if title in told] == told
    shown = set(re.findall(r"submeter:\w+:\w+", page.replace("{p50,p95,p99}_{5m,1h}", "p50_5m")))
    assert shown <= {rule.record for rule in RECORDED}
    assert len(shown) >= len({rule.record.rpartition(":")[0] for rule in RECORDED})
