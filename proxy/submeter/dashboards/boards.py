"""A board: rows of panels laid out on Grafana's grid, the variables that choose among them, and links to the others."""

import json
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from grafana_foundation_sdk.builders.dashboard import (
    Dashboard,
    DashboardLink,
    DatasourceVariable,
    QueryVariable,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

from submeter.dashboards.panels import WIDTH
from submeter.dashboards.targets import POSTGRES, PROMETHEUS

TAG = "submeter"
TITLES = {
    "submeter-cost": "Cost",
    "submeter-latency": "Latency",
    "submeter-prompts": "Prompts",
    "submeter-buy-vs-build": "Buy vs build",
    "submeter-operations": "Operations",
}
"""Of all boards, by uid, in the order in which they link to each other."""


class Row(NamedTuple):
    title: str
    panels: Sequence[models.Panel]


class Annotation(models.AnnotationQuery):
    """Marks on the time axis where an expression is above zero.

    Grafana saves more of them than the SDK's class has fields for: how they are titled, and the query once more.
    """

    def __init__(self, name: str, expr: str, title: str, color: str) -> None:
        super().__init__(name=name, datasource=PROMETHEUS, icon_color=color, expr=expr)
        self.title = title

    def to_json(self) -> dict[str, object]:
        target = {"refId": "Anno", "expr": self.expr, "interval": "60s"}
        return super().to_json() | {"target": target, "step": "60s", "titleFormat": self.title, "textFormat": self.name}


def label_variable(name: str, label: str, metric: str, description: str) -> QueryVariable:
    """A choice among a metric's values of a label; all of them, and none too, until one is chosen."""
    variable = QueryVariable(name).label(label).description(description).datasource(PROMETHEUS)
    variable.query({"query": f"label_values({metric}, {name})", "refId": f"variable-{name}"})
    variable.refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(models.VariableSort.ALPHABETICAL_ASC)
    everything = models.VariableOption(selected=True, text="All", value="$__all")
    return variable.multi(multi=True).include_all(include_all=True).all_value(".*").current(everything)


def ledger_variable(name: str, label: str, query: str, description: str) -> QueryVariable:
    """A choice of one value that the ledger has, in the query's order; the first one to begin with."""
    variable = QueryVariable(name).label(label).description(description).datasource(POSTGRES).query(query)
    return variable.refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(models.VariableSort.DISABLED)


def assemble(
    uid: str,
    description: str,
    rows: Sequence[Row],
    *,
    since: str,
    variables: Sequence[QueryVariable] = (),
    annotations: Sequence[Annotation] = (),
) -> models.Dashboard:
    """The board of this uid, showing the time from ``since`` (as ``now-24h``) until now."""
    builder = Dashboard(f"Submeter: {TITLES[uid]}").uid(uid).description(description).tags([TAG]).readonly()
    builder.time(since, "now").refresh("1m").timezone("browser")
    builder.tooltip(models.DashboardCursorSync.CROSSHAIR)
    for source in _data_sources():
        builder.with_variable(source)
    for variable in variables:
        builder.with_variable(variable)
    for other in TITLES:
        if other != uid:
            builder.link(_link_to(other))
    built = builder.build()
    built.annotations.list_val = list(annotations)
    built.panels = list(_laid_out(rows))
    return built


def link_to(uid: str, title: str, variable: str) -> models.DashboardLink:
    """From a table's cell to another board: its value becomes the variable's, and the time range stays."""
    url = f"/d/{uid}?${{__url_time_range}}&var-{variable}=${{__value.raw:percentencode}}"
    return models.DashboardLink(title=title, url=url)


def encoded(built: models.Dashboard) -> str:
    """The board as Grafana reads it: JSON, the same bytes each time."""
    return json.dumps(built, cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _data_sources() -> Iterator[DatasourceVariable]:
    for label, reference in (("Prometheus data source", PROMETHEUS), ("Postgres data source", POSTGRES)):
        assert reference.type_val
        assert reference.uid
        yield DatasourceVariable(reference.uid.strip("${}")).label(label).type(reference.type_val)


def _link_to(uid: str) -> DashboardLink:
    link = DashboardLink(TITLES[uid]).type(models.DashboardLinkType.LINK).url(f"/d/{uid}").icon("dashboard")
    link.tooltip(f"Submeter: {TITLES[uid]}")
    return link.keep_time(keep_time=True).include_vars(include_vars=True)


def _laid_out(rows: Sequence[Row]) -> Iterator[models.Panel | models.RowPanel]:
    """Rows one below the other, their panels in lines from left to right, numbered as they come."""
    number, y = 0, 0
    for row in rows:
        number += 1
        yield models.RowPanel(title=row.title, id_val=number, grid_pos=models.GridPos(h=1, w=WIDTH, x=0, y=y))
        y += 1
        for line in _lines(row):
            x = 0
            for panel in line:
                number += 1
                panel.id_val, place = number, _place(panel)
                place.x, place.y, x = x, y, x + place.w
                yield panel
            y += _place(line[0]).h


def _lines(row: Row) -> Iterator[list[models.Panel]]:
    line: list[models.Panel] = []
    for panel in row.panels:
        line.append(panel)
        if sum(_place(each).w for each in line) >= WIDTH:
            yield _checked(row, line)
            line = []
    if line:
        yield _checked(row, line)


def _checked(row: Row, line: list[models.Panel]) -> list[models.Panel]:
    width, heights = sum(_place(each).w for each in line), {_place(each).h for each in line}
    if width != WIDTH or len(heights) != 1:
        titles = ", ".join(each.title or "" for each in line)
        raise ValueError(f"{row.title!r}: {titles}: {width} columns of {WIDTH}, heights {sorted(heights)}")
    return line


def _place(panel: models.Panel) -> models.GridPos:
    assert panel.grid_pos is not None
    return panel.grid_pos
