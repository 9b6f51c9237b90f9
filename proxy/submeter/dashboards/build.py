"""Boards and rules to files, and the list of all their queries."""

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from grafana_foundation_sdk.cog.runtime import UnknownDataquery
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import prometheus
from grafana_foundation_sdk.models.dashboard import Dashboard, Panel, VariableModel, VariableType

from submeter.dashboards import buy_vs_build, cost, latency, operations, prompts, rules
from submeter.dashboards.boards import encoded
from submeter.dashboards.targets import POSTGRES

BOARDS: dict[str, Callable[[], Dashboard]] = {
    "cost": cost.board,
    "latency": latency.board,
    "prompts": prompts.board,
    "buy_vs_build": buy_vs_build.board,
    "operations": operations.board,
}
"""By the name of the file."""

Kind = Literal["prometheus", "postgres"]


class Query(NamedTuple):
    """One query as it stands in a board, with Grafana's variables and macros in it."""

    board: str
    panel: str
    """Its title; ``variable NAME`` or ``annotation NAME`` for what is no panel."""
    ref_id: str
    kind: Kind
    text: str
    """PromQL (of a variable: ``label_values(metric, label)``) or SQL."""


def build() -> dict[str, str]:
    """Every product: path below ``dashboards/`` → its text."""
    files = {f"grafana/{name}.json": encoded(board()) for name, board in BOARDS.items()}
    return files | {
        "prometheus/recording.yml": rules.recording_yaml(),
        "prometheus/alerts.yml": rules.alerts_yaml(),
    }


def queries() -> list[Query]:
    """Every query of every panel, variable and annotation."""
    return [query for name, board in BOARDS.items() for query in _queries(name, board())]


def _queries(name: str, board: Dashboard) -> Iterator[Query]:
    for panel in board.panels or ():
        if isinstance(panel, Panel):
            for target in panel.targets or ():
                yield Query(name, panel.title or "", *_asked(target))
    for variable in board.templating.list_val or ():
        if variable.type_val == VariableType.QUERY:
            kind: Kind = "postgres" if variable.datasource == POSTGRES else "prometheus"
            yield Query(name, f"variable {variable.name}", "-", kind, _text(variable))
    for annotation in board.annotations.list_val or ():
        yield Query(name, f"annotation {annotation.name}", "-", "prometheus", annotation.expr or "")


def _asked(target: Dataquery) -> tuple[str, Kind, str]:
    if isinstance(target, UnknownDataquery):
        return target.data["refId"], "postgres", target.data["rawSql"]
    assert isinstance(target, prometheus.Dataquery)
    return target.ref_id, "prometheus", target.expr


def _text(variable: VariableModel) -> str:
    asked = variable.query
    return str(asked["query"]) if isinstance(asked, dict) else asked or ""
