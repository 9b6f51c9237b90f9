"""The rule files of Prometheus: recorded series and alerts as YAML, each with the reason for it above."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence

import yaml

from submeter.dashboards.alerts import ALERTS, Alert
from submeter.dashboards.recorded import RECORDED, Recorded

__all__ = ["ALERTS", "RECORDED", "Alert", "Recorded", "alerts_yaml", "recording_yaml"]

HEAD = """\
# Made by `submeter dashboards build` of proxy/submeter/dashboards: change it there. What to do about an alert, and how
# these files are loaded: docs/guide/alerts.md. Prometheus 2.42 or later.
groups:
"""
WIDTH = 120


def recording_yaml(recorded: Sequence[Recorded] = RECORDED) -> str:
    """The file for Prometheus' ``rule_files``."""
    return HEAD + _group("submeter-recorded", ((rule.why, _recording(rule)) for rule in recorded))


def alerts_yaml(alerts: Sequence[Alert] = ALERTS) -> str:
    """The other one."""
    return HEAD + _group("submeter-alerts", ((alert.why, _alerting(alert)) for alert in alerts))


def _recording(rule: Recorded) -> Mapping[str, object]:
    return {"record": rule.record, "expr": rule.expr}


def _alerting(alert: Alert) -> Mapping[str, object]:
    lasting = {"for": alert.for_} if alert.for_ else {}
    return {
        "alert": alert.name,
        "expr": alert.expr,
        **lasting,
        "labels": {"severity": alert.severity},
        "annotations": {"summary": alert.summary, "description": alert.description, "runbook": alert.runbook},
    }


def _group(name: str, rules: Iterable[tuple[str, Mapping[str, object]]]) -> str:
    return f"- name: {name}\n  rules:\n" + "\n".join(
        textwrap.indent(f"{_comment(why)}\n{_yaml(rule)}", "  ") for why, rule in rules
    )


def _comment(text: str) -> str:
    return textwrap.fill(text, WIDTH - 2, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


class _Dumper(yaml.SafeDumper):
    """A text of several lines as one."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def _yaml(rule: Mapping[str, object]) -> str:
    return yaml.dump([rule], Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=WIDTH - 4)
