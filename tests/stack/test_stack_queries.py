"""Every query of every panel, variable, annotation and rule, on a real Prometheus and Postgres: each has data."""

import subprocess

import pytest

from harness.prometheus import program
from harness.raw import ask
from harness.stack.boards import load, panels
from harness.stack.check import ask_all, table
from stack.conftest import Driven

pytestmark = pytest.mark.timeout(300)


def test_every_query_has_data(driven: Driven) -> None:
    answers = ask_all(driven.stack, driven.shown)
    print("\n" + table(answers))
    assert [(answer.query.name, answer.trouble or answer.query.text) for answer in answers if not answer.samples] == []
    shown = {name: len(list(panels(board))) for name, board in load(driven.stack.boards).items()}
    assert shown.keys() == {"buy_vs_build", "cost", "latency", "operations", "prompts"}
    assert sum(shown.values()) >= 40


def test_prometheus_reads_every_metric_and_promtool_finds_nothing_to_say(driven: Driven) -> None:
    scrape = ask(driven.stack.unit.ops_port, "GET", "/metrics").body
    run = subprocess.run([program("promtool"), "check", "metrics"], input=scrape, capture_output=True, timeout=60)
    assert (run.returncode, run.stdout + run.stderr) == (0, b"")


def test_rules_are_evaluated_without_errors(driven: Driven) -> None:
    rules = driven.stack.prometheus.rules()
    assert rules
    assert [(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] == "err"] == []
