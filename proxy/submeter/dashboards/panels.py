"""Panels of one look, with nothing left out.

Title, description, unit and the text without data are arguments, not options. A panel comes without a place: its board
lays it out (``boards.assemble``).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, Self, TypeVar

from grafana_foundation_sdk.builders import bargauge, common, heatmap, statetimeline, timeseries
from grafana_foundation_sdk.builders import stat as stats
from grafana_foundation_sdk.builders import table as tables
from grafana_foundation_sdk.builders.dashboard import FieldColor, ThresholdsConfig
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import common as looks
from grafana_foundation_sdk.models.dashboard import (
    DashboardLink,
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
    Panel,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
)
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode

from submeter.dashboards.targets import POSTGRES, PROMETHEUS, PromQuery, Query, SqlQuery, buckets, column, gain, select

WIDTH = 24
"""Columns of Grafana's grid."""

NO_CALLS = "no calls in this range"
NO_LEDGER = "no Postgres ledger, or no such calls"

Steps = Mapping[float, str]
"""Thresholds: from this value up, this colour. Below the first one all is well, if nothing else is said."""

States = Mapping[int, tuple[str, str]]
"""What a number stands for, and its colour."""

NONE_IS_FINE: Steps = {1e-6: "red"}
"""Red at the first one: for what should never be."""

PERCENTILE_COLORS = {"p50": "green", "p95": "orange", "p99": "red"}
OUTCOME_COLORS = {
    "ok": "green",
    "client_gone": "blue",
    "indeterminate": "purple",
    "timeout": "yellow",
    "upstream_incomplete": "orange",
    "upstream_error": "red",
}
CACHE_COLORS = {"hits": "green", "misses": "blue", "rejected": "red", "errors": "orange", "breaker_open": "yellow"}
STATUS_COLORS = {"2xx": "green", "4xx": "yellow", "429": "orange", "5xx": "red", "none": "purple"}


class Column(NamedTuple):
    """A column of figures in a table: its heading, its unit, and the PromQL or SQL of what stands below."""

    title: str
    unit: str
    expr: str


class _Builder(Protocol):
    """What the builders of all kinds of panels have, although they share no base class."""

    def title(self, title: str) -> Self: ...
    def description(self, description: str) -> Self: ...
    def datasource(self, datasource: DataSourceRef) -> Self: ...
    def unit(self, unit: str) -> Self: ...
    def no_value(self, no_value: str) -> Self: ...
    def span(self, w: int) -> Self: ...
    def height(self, h: int) -> Self: ...
    def with_target(self, target: Builder[Dataquery]) -> Self: ...
    def override_by_name(self, name: str, properties: list[DynamicConfigValue]) -> Self: ...


P = TypeVar("P", bound=_Builder)


def _begun(panel: P, title: str, description: str, queries: Sequence[Query], unit: str, no_data: str) -> P:
    panel.title(title).description(description).unit(unit).no_value(no_data)
    panel.datasource(POSTGRES if isinstance(queries[0], SqlQuery) else PROMETHEUS)
    for at, query in enumerate(queries):
        panel.with_target(query.ref_id(chr(ord("A") + at)))
    return panel


def _thresholds(steps: Steps, below: str) -> ThresholdsConfig:
    above = [Threshold(value=value, color=color) for value, color in steps.items()]
    return ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps([Threshold(value=None, color=below), *above])


def _colored(panel: P, colors: Mapping[str, str]) -> P:
    for name, color in colors.items():
        panel.override_by_name(name, [DynamicConfigValue("color", {"mode": "fixed", "fixedColor": color})])
    return panel


def stat(
    title: str,
    description: str,
    *queries: Query,
    unit: str,
    width: int,
    no_data: str = NO_CALLS,
    steps: Steps | None = None,
    below: str = "green",
    decimals: int | None = None,
) -> Panel:
    """A figure in large type, or several with their names. A query that is not ``instant`` shows its trend too."""
    panel = _begun(stats.Panel(), title, description, queries, unit, no_data).span(width).height(4)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    panel.thresholds(_thresholds(steps or {}, below="text" if steps is None else below))
    panel.color_mode(looks.BigValueColorMode.VALUE if steps is None else looks.BigValueColorMode.BACKGROUND)
    trend_too = any(isinstance(query, PromQuery) and query.build().range_val for query in queries)
    panel.graph_mode(looks.BigValueGraphMode.AREA if trend_too else looks.BigValueGraphMode.NONE)
    if len(queries) > 1:
        panel.text_mode(looks.BigValueTextMode.VALUE_AND_NAME)
    if decimals is not None:
        panel.decimals(decimals)
    return panel.build()


def trend(
    title: str,
    description: str,
    *queries: Query,
    unit: str,
    width: int = 12,
    no_data: str = NO_CALLS,
    stacked: bool = False,
    colors: Mapping[str, str] | None = None,
    limit: float | None = None,
) -> Panel:
    """Lines over time, or a stack where the parts make a whole. ``limit`` is drawn as a dashed red line."""
    panel = _begun(timeseries.Panel(), title, description, queries, unit, no_data).span(width).height(8).min(0)
    panel.legend(
        common.VizLegendOptions()
        .display_mode(looks.LegendDisplayMode.TABLE)
        .placement(looks.LegendPlacement.BOTTOM)
        .show_legend(show_legend=True)
        .calcs(["mean", "max", "lastNotNull"])
        .sort_by("Last *")
        .sort_desc(sort_desc=True)
    )
    panel.tooltip(common.VizTooltipOptions().mode(looks.TooltipDisplayMode.MULTI).sort(looks.SortOrder.DESCENDING))
    panel.color_scheme(FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
    panel.line_width(1).show_points(looks.VisibilityMode.NEVER).fill_opacity(40 if stacked else 8)
    if stacked:
        panel.stacking(common.StackingConfig().mode(looks.StackingMode.NORMAL).group("A"))
    if limit is not None:
        panel.thresholds(_thresholds({limit: "red"}, below="transparent"))
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(looks.GraphThresholdsStyleMode.DASHED))
    return _colored(panel, colors or {}).build()


def timeline(
    title: str, description: str, *queries: Query, states: States, width: int = WIDTH, no_data: str = NO_CALLS
) -> Panel:
    """Bars over time, one for each series, that change their colour with what its number stands for."""
    panel = _begun(statetimeline.Panel(), title, description, queries, "none", no_data).span(width).height(8)
    panel.mappings([_mapping(states)]).color_scheme(FieldColor().mode(FieldColorModeId.FIXED).fixed_color("text"))
    panel.show_value(looks.VisibilityMode.AUTO).merge_values(merge_values=True).row_height(0.8).fill_opacity(70)
    panel.legend(common.VizLegendOptions().display_mode(looks.LegendDisplayMode.LIST).show_legend(show_legend=True))
    return panel.build()


def heat(title: str, description: str, metric: str, where: str, *, width: int = 8) -> Panel:
    """A histogram over time: how many calls fell into each of its buckets."""
    expr = gain(f"{metric}_bucket", where, by="le", over="$__rate_interval")
    panel = _begun(heatmap.Panel(), title, description, [buckets(expr)], "s", NO_CALLS).span(width).height(8)
    panel.calculate(calculate=False).cell_gap(1).filter_values(heatmap.FilterValueRange().le(1e-9))
    panel.color(heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges").steps(64).exponent(0.5))
    panel.y_axis(heatmap.YAxisConfig().unit("s").axis_placement(looks.AxisPlacement.LEFT))
    panel.cell_values(heatmap.CellValues().unit("short").decimals(0))
    panel.scale_distribution(common.ScaleDistributionConfig().type(looks.ScaleDistribution.LINEAR))
    panel.mode(looks.TooltipDisplayMode.SINGLE).show_y_histogram().show_legend()
    return panel.build()


def bars(title: str, description: str, *queries: Query, unit: str, width: int = 12) -> Panel:
    """Figures beside each other, named and to scale."""
    panel = _begun(bargauge.Panel(), title, description, queries, unit, NO_CALLS).span(width).height(8).min(0)
    panel.orientation(looks.VizOrientation.HORIZONTAL).display_mode(looks.BarGaugeDisplayMode.BASIC)
    panel.value_mode(looks.BarGaugeValueMode.TEXT).show_unfilled(show_unfilled=False)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    panel.thresholds(_thresholds({}, below="blue"))
    return panel.build()


def table(
    title: str,
    description: str,
    keys: Mapping[str, str],
    columns: Sequence[Column],
    *,
    width: int = 12,
    height: int = 9,
    no_data: str = NO_CALLS,
    links: Mapping[str, DashboardLink] | None = None,
    states: Mapping[str, States] | None = None,
) -> Panel:
    """A table that Prometheus fills, a row for each set of labels; the first column sorts it, the most first.

    ``keys``: labels and how their columns are headed. ``states``: what the numbers below a heading stand for.
    """
    queries = [column(each.expr) for each in columns]
    names = [f"Value #{chr(ord('A') + at)}" for at in range(len(columns))] if len(columns) > 1 else ["Value"]
    headings = dict(keys) | {name: each.title for name, each in zip(names, columns, strict=True)}
    panel = _begun(tables.Panel(), title, description, queries, "short", no_data).span(width).height(height)
    panel.filterable(filterable=True)
    panel.with_transformation(DataTransformerConfig("merge", options={}))
    panel.with_transformation(
        DataTransformerConfig(
            "organize",
            options={
                "excludeByName": {"Time": True},
                "indexByName": {name: at for at, name in enumerate(headings)},
                "renameByName": headings,
            },
        )
    )
    for name, each in (states or {}).items():
        panel.override_by_name(name, [COLORED, DynamicConfigValue("mappings", [_mapping(each)])])
    panel.sort_by([common.TableSortByFieldState().display_name(columns[0].title).desc(desc=True)])
    return _linked(_with_units(panel, {each.title: each.unit for each in columns}), links).build()


def ledger_table(
    title: str,
    description: str,
    keys: Mapping[str, str],
    columns: Sequence[Column],
    *,
    order_by: str,
    where: Sequence[str] = (),
    limit: int = 200,
    width: int = WIDTH,
    height: int = 9,
    links: Mapping[str, DashboardLink] | None = None,
    steps: Mapping[str, Steps] | None = None,
) -> Panel:
    """A table that the ledger fills, a row for each of ``keys``: headings, and the SQL of what stands below.

    ``steps``: thresholds that colour the figures below a heading.
    """
    headings = dict(keys) | {each.title: each.expr for each in columns}
    by = range(1, len(keys) + 1)
    query = SqlQuery(select(headings, where=where, group_by=by, order_by=order_by, limit=limit))
    panel = _begun(tables.Panel(), title, description, [query], "short", NO_LEDGER).span(width).height(height)
    panel.filterable(filterable=True)
    for name, each in (steps or {}).items():
        panel.override_by_name(name, _colored_cells(each))
    return _linked(_with_units(panel, {each.title: each.unit for each in columns}), links).build()


def _linked(panel: tables.Panel, links: Mapping[str, DashboardLink] | None) -> tables.Panel:
    for name, link in (links or {}).items():
        panel.override_by_name(name, [DynamicConfigValue("links", [link])])
    return panel


def _with_units(panel: tables.Panel, units: Mapping[str, str]) -> tables.Panel:
    for name, unit in units.items():
        panel.override_by_name(name, [DynamicConfigValue("unit", unit)])
    return panel


COLORED = DynamicConfigValue("custom.cellOptions", {"type": "color-text"})


def _colored_cells(steps: Steps) -> list[DynamicConfigValue]:
    return [COLORED, DynamicConfigValue("thresholds", _thresholds(steps, below="text").build())]


def _mapping(states: States) -> ValueMap:
    results = {
        str(number): ValueMappingResult(text=text, color=color, index=place)
        for place, (number, (text, color)) in enumerate(states.items())
    }
    return ValueMap(results)
