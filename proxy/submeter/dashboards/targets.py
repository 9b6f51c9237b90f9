"""Queries: PromQL for the data source ``${prometheus}``, SQL for ``${postgres}``, and the pieces they are made of.

Metrics of several units (hosts, pods) are always summed. Money and counts of a range are ``increase``: Prometheus
extrapolates it to the edges of the range, and does not see a series' first value; exact sums are the ledger's.
"""

from collections.abc import Mapping, Sequence
from typing import Self

from grafana_foundation_sdk.builders import prometheus
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.runtime import UnknownDataquery
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.dashboard import DataSourceRef
from grafana_foundation_sdk.models.prometheus import PromQueryFormat, QueryEditorMode

PromQuery = prometheus.Dataquery

PROMETHEUS = DataSourceRef(type_val="prometheus", uid="${prometheus}")
POSTGRES = DataSourceRef(type_val="grafana-postgresql-datasource", uid="${postgres}")


def prom(expr: str, legend: str, *, instant: bool = False, exemplars: bool = False) -> PromQuery:
    """PromQL over the board's range, or, ``instant``, its newest value only."""
    query = PromQuery().expr(expr).legend_format(legend).datasource(PROMETHEUS).editor_mode(QueryEditorMode.CODE)
    if exemplars:
        query.exemplar(exemplar=True)
    return query.instant() if instant else query.range()


def column(expr: str) -> PromQuery:
    """One figure of a table, for each label set."""
    return prom(expr, "", instant=True).format(PromQueryFormat.TABLE)


def buckets(expr: str) -> PromQuery:
    """A histogram's buckets, for a heat map."""
    return prom(expr, "{{le}}").format(PromQueryFormat.HEATMAP)


class SqlQuery(Builder[Dataquery]):
    """SQL for the ledger: rows for a table or a figure, or ``series``: columns ``time``, ``metric`` and a value.

    The SDK of Grafana 11.6 has no class for it: these are the fields that Grafana saves.
    """

    def __init__(self, text: str, *, series: bool = False) -> None:
        self._query = {
            "refId": "A",
            "datasource": POSTGRES.to_json(),
            "editorMode": "code",
            "format": "time_series" if series else "table",
            "rawQuery": True,
            "rawSql": text,
        }

    def ref_id(self, ref_id: str) -> Self:
        self._query["refId"] = ref_id
        return self

    def build(self) -> Dataquery:
        return UnknownDataquery(dict(self._query))


Query = PromQuery | SqlQuery


# -- PromQL ----------------------------------------------------------------------------------------------------------


def _sum(by: str, expr: str) -> str:
    return f"sum by ({by}) ({expr})" if by else f"sum({expr})"


def _window(metric: str, where: str, over: str, ago: str) -> str:
    return f"{metric}{f'{{{where}}}' if where else ''}[{over}]{f' offset {ago}' if ago else ''}"


def rate(metric: str, where: str = "", by: str = "", *, ago: str = "") -> str:
    """A counter's growth per second, over the step that Grafana picks; ``ago``: as it was so long before."""
    return _sum(by, f"rate({_window(metric, where, '$__rate_interval', ago)})")


def gain(metric: str, where: str = "", by: str = "", *, over: str = "$__range", ago: str = "") -> str:
    """A counter's growth over the board's range, or over a time of its own, which may end some time ``ago``."""
    return _sum(by, f"increase({_window(metric, where, over, ago)})")


def events(metric: str) -> str:
    """As ``gain``, with the first value of a series that was not there in the day before the range.

    For what should never be: the first one counts. Not for money: a Prometheus that is newer than the meter would
    count what was long before it.
    """
    begun = f"{metric} unless last_over_time({metric}[1d] offset $__range)"
    return or_zero(f"sum(({begun}) or increase({metric}[$__range]))")


def or_zero(expr: str) -> str:
    """A labelled counter has no series until its first event: that is a zero, too."""
    return f"({expr}) or vector(0)"


def quantile(q: float, metric: str, where: str = "", by: str = "", *, over: str = "") -> str:
    """A percentile, interpolated within a bucket of the histogram: over the step that Grafana picks, or a time said."""
    window = _window(f"{metric}_bucket", where, over or "$__rate_interval", "")
    growth = f"increase({window})" if over else f"rate({window})"
    return f"histogram_quantile({q:g}, {_sum(f'le, {by}' if by else 'le', growth)})"


def ratio(part: str, whole: str) -> str:
    """One over the other, where there is the other: nothing is not 0 / 0."""
    return f"({part}) / ({whole} > 0)"


def share(part: str, whole: str) -> str:
    """As ``ratio``, of sums without labels: 0, if the part has no series yet."""
    return ratio(or_zero(part), whole)


# -- SQL -------------------------------------------------------------------------------------------------------------

_CALLS = """(
  SELECT c.started_at_ns, c.team, c.app, c.prompt, c.prompt_version, COALESCE(c.price_model, 'other') AS model,
    c.input_tokens, c.output_tokens, c.ttft_ns, c.e2e_ns,
    CASE WHEN c.stream AND c.output_tokens > 1 THEN (c.e2e_ns - c.ttft_ns) / (c.output_tokens - 1) END AS tpot_ns,
    m.cost_usd, COALESCE(m.cost_low_usd, m.cost_usd) AS least_usd, COALESCE(m.cost_high_usd, m.cost_usd) AS most_usd,
    m.saved_usd, m.cost_state,
    c.cache IN ('hit', 'coalesced') AS from_cache,
    c.cache IN ('miss', 'bypass') AND c.cost_state <> 'unmetered' AS upstream,
    c.outcome = 'ok' AS ended_well, c.outcome IN ('upstream_error', 'upstream_incomplete', 'timeout') AS failed
  FROM calls c JOIN call_costs m USING (call_id, attempt)
  WHERE $__unixEpochNanoFilter(c.started_at_ns)
) calls"""
"""The calls of the board's range, with the words that our queries use of them.

The money is that of the selected version of the costs, as ``submeter cost`` shows it: the view ``call_costs`` has it.
The filter is on the column that has an index, which ``$__timeFilter`` of a computed timestamp would not use.
"""

STEP = "$__unixEpochGroup(started_at_ns / 1000000000, '$__interval')"
"""Seconds since 1970, in steps of the width that Grafana picks for the panel."""


def percentile_s(percent: int, column_ns: str) -> str:
    """Nearest-rank percentile of calls that went upstream and ended well, as ``submeter latency``, in seconds."""
    rank = f"percentile_disc({percent / 100:g}) WITHIN GROUP (ORDER BY {column_ns})"
    return f"{rank} FILTER (WHERE upstream AND ended_well) / 1e9"


def count(where: str) -> str:
    return f"count(*) FILTER (WHERE {where})"


def mean(column: str) -> str:
    """Of calls that went upstream."""
    return f"avg({column}) FILTER (WHERE upstream)"


def select(
    columns: Mapping[str, str],
    *,
    where: Sequence[str] = (),
    group_by: Sequence[int] = (),
    order_by: str = "",
    limit: int = 0,
) -> str:
    """A query of the calls in the board's range. ``columns``: headings, and what stands below."""
    listed = ",\n  ".join(f'{expression} AS "{heading}"' for heading, expression in columns.items())
    lines = [f"SELECT\n  {listed}", f"FROM {_CALLS}"]
    if where:
        lines.append(f"WHERE {' AND '.join(where)}")
    if group_by:
        lines.append(f"GROUP BY {', '.join(map(str, group_by))}")
    if order_by:
        lines.append(f"ORDER BY {order_by}")
    if limit:
        lines.append(f"LIMIT {limit}")
    return "\n".join(lines)
