"""The boards after the rules of Grafana's dashboard-linter, and our own.

Its rules, and what we do not follow:

- template-datasource: data sources are variables. It wants them named ``prometheus_datasource``; ours are named
  ``prometheus`` and ``postgres``, as provisioning files and ``submeter dashboards push`` name them. Labels are its own.
- template-job, template-instance, target-job, target-instance: each query chosen by ``job`` and ``instance``. Left out:
  a board sums over the units that share a ledger; only *Operations* looks at single ones, and has ``instance``.
- target-counter-agg, target-rate-interval, target-histogram, panel-units, panel-title-description, panel-datasource,
  panel-no-targets, template-on-time-change-reload, template-unused, uneditable: held, as below. A heat map takes the
  buckets themselves (which target-histogram would refuse).
- template-label-promql: in ``test_boards_queries``, with all other PromQL.
"""

import re

import pytest

from dashboards.boards import NAMES, boards, every_panel, every_target, panels

board_names = pytest.mark.parametrize("name", NAMES)

UNITS = {
    *("bool_on_off", "bytes", "cps", "currencyUSD", "dateTimeAsIso", "none"),
    *("percentunit", "reqps", "s", "short", "string"),
}
"""Of Grafana's, those that we use: a name that it does not know would be shown as the text after each figure."""

SENTENCE = re.compile(r"^[A-Z0-9].{19,}[.?]$", re.DOTALL)
RANGE_OF_ITS_OWN = re.compile(r"(?:rate|irate)\([^()]*\[(?!\$__rate_interval\])")
FIRST_VALUE = re.compile(r"\((\w+_total) unless last_over_time\(\1\[1d\] offset \$__range\)\) or ")
IN_A_GROWTH = re.compile(r"(?:rate|increase)\(\w+_total(?:\{[^}]*\})?\[[^\]]+\](?: offset \w+)?\)")


@board_names
def test_a_panel_says_what_it_shows_and_what_when_it_has_nothing(name: str) -> None:
    for panel in panels(boards()[name]):
        assert panel["title"]
        assert SENTENCE.match(panel["description"]), panel["title"]
        assert panel["targets"], panel["title"]
        assert panel["fieldConfig"]["defaults"]["noValue"], panel["title"]


@board_names
def test_a_panel_has_a_unit_that_grafana_knows(name: str) -> None:
    for panel in panels(boards()[name]):
        overrides = [said for each in panel["fieldConfig"]["overrides"] for said in each["properties"]]
        units = {
            panel["fieldConfig"]["defaults"]["unit"],
            *(said["value"] for said in overrides if said["id"] == "unit"),
        }
        assert units <= UNITS, panel["title"]


@board_names
def test_a_panel_reads_one_data_source_and_names_it_by_variable(name: str) -> None:
    for panel in panels(boards()[name]):
        assert panel["datasource"] in (
            {"type": "prometheus", "uid": "${prometheus}"},
            {"type": "grafana-postgresql-datasource", "uid": "${postgres}"},
        )
        assert all(target["datasource"] == panel["datasource"] for target in panel["targets"]), panel["title"]


def test_a_panel_of_the_ledger_says_so_and_where_else_to_look() -> None:
    of_the_ledger = [panel for _, panel in every_panel() if panel["datasource"]["uid"] == "${postgres}"]
    assert len(of_the_ledger) >= 14
    for panel in of_the_ledger:
        assert "Reads the ledger, which must be Postgres" in panel["description"], panel["title"]
        assert re.search(r"[Ww]ith SQLite nothing shows: use submeter \w+", panel["description"]), panel["title"]
        assert "Postgres" in panel["fieldConfig"]["defaults"]["noValue"], panel["title"]


def test_lines_have_legends_with_values_and_sorted_tooltips() -> None:
    lines = [panel for _, panel in every_panel() if panel["type"] == "timeseries"]
    assert len(lines) >= 20
    for panel in lines:
        legend, tooltip = panel["options"]["legend"], panel["options"]["tooltip"]
        assert (legend["displayMode"], legend["showLegend"], legend["calcs"]) == (
            "table",
            True,
            ["mean", "max", "lastNotNull"],
        )
        assert (tooltip["mode"], tooltip["sort"]) == ("multi", "desc")


def test_every_query_that_is_drawn_names_its_series() -> None:
    for _, panel, target in every_target():
        if "expr" in target and panel["type"] != "table":
            assert target["legendFormat"], panel["title"]


def test_rates_are_over_the_step_that_grafana_picks() -> None:
    for _, panel, target in every_target():
        assert not RANGE_OF_ITS_OWN.search(target.get("expr", "")), panel["title"]


def test_counters_are_read_by_their_growth() -> None:
    for _, panel, target in every_target():
        expr = FIRST_VALUE.sub("", target.get("expr", ""))  # ``targets.events``
        assert "_total" not in IN_A_GROWTH.sub("", expr), panel["title"]


def test_buckets_are_for_quantiles_and_heat_maps() -> None:
    for _, panel, target in every_target():
        if "_bucket" in target.get("expr", ""):
            assert ("histogram_quantile(" in target["expr"]) != (panel["type"] == "heatmap"), panel["title"]
            assert (target.get("format") == "heatmap") == (panel["type"] == "heatmap")


def test_figures_of_a_range_are_asked_once_and_lines_step_by_step() -> None:
    for _, panel, target in every_target():
        expr = target.get("expr", "")
        if panel["type"] in ("timeseries", "heatmap"):
            assert "$__range" not in expr
            assert not target.get("instant", False)
        elif "$__range" in expr:
            assert target["instant"] is True, panel["title"]


@board_names
def test_a_board_is_not_edited_by_hand_and_tells_what_it_is_for(name: str) -> None:
    board = boards()[name]
    assert board["editable"] is False
    assert board["tags"] == ["submeter"]
    assert SENTENCE.match(board["description"])
    assert (board["refresh"], board["time"]["to"]) == ("1m", "now")
    assert board["schemaVersion"] == 41


@board_names
def test_variables_are_refreshed_used_and_explained(name: str) -> None:
    board = boards()[name]
    asked = " ".join(
        target.get("expr", "") + target.get("rawSql", "") for each in panels(board) for target in each["targets"]
    )
    sources, others = [], []
    for variable in board["templating"]["list"]:
        (sources if variable["type"] == "datasource" else others).append(variable)
    assert [(each["name"], each["label"], each["query"]) for each in sources] == [
        ("prometheus", "Prometheus data source", "prometheus"),
        ("postgres", "Postgres data source", "grafana-postgresql-datasource"),
    ]
    for variable in others:
        assert variable["refresh"] == 2
        assert SENTENCE.match(variable["description"])
        assert re.search(rf"\$\{{?{variable['name']}\b", asked), f"{variable['name']} chooses nothing"
    used = set(re.findall(r"\$\{?([a-z]\w*)", asked))
    assert used <= {each["name"] for each in others}


def test_counts_of_what_should_never_be_are_red_from_the_first() -> None:
    red = {
        panel["title"]: steps
        for _, panel in every_panel()
        if (steps := panel["fieldConfig"]["defaults"].get("thresholds", {}).get("steps", []))[1:]
        and (steps[1]["value"], steps[1]["color"]) == (1e-6, "red")
    }
    assert {"Calls without a price", "Money of unknown end", "Journal damage"} <= red.keys()
    assert {"Rows in quarantine", "Failed batches", "Calls not journalled", "Forged answers"} <= red.keys()


def test_served_model_changes_are_marked_where_they_explain_a_step() -> None:
    marked = {
        name
        for name, board in boards().items()
        for mark in board["annotations"]["list"]
        if mark["name"] == "served model changed"
    }
    assert marked == {"cost", "latency", "prompts"}
    for board in boards().values():
        for mark in board["annotations"]["list"]:
            assert mark["enable"] is True
            assert mark["titleFormat"]
            assert mark["target"]["expr"] == mark["expr"]
