"""Every query of the boards: of metrics that there are, with labels that they have, and right on a real database."""

import re
import subprocess
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import msgspec
import psycopg
import psycopg.rows
import pytest
import yaml

from dashboards.boards import boards, every_target, promql, sql
from store.ledger_rows import START_NS, make_call
from submeter.core.record import CallRow
from submeter.dashboards.build import Query, queries
from submeter.dashboards.cost import KNOWN_PRICES, LIST_PRICES
from submeter.dashboards.rules import RECORDED
from submeter.meter.families import LABELLED_GAUGES
from submeter.meter.labels import LabelSets
from submeter.meter.metrics import COUNTERS, HISTOGRAMS, Metrics, State
from submeter.prices.load import load_snapshot
from submeter.store.ledger import Ledger
from submeter.store.versions import NewCost, add_version

ALL = queries()
OF_THE_SCRAPE = {"instance", "job"}
SELECTOR = re.compile(r"\b((?:submeter|gen_ai)[\w:]*)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"')
GROUPING = re.compile(r"\b(?:by|on) \(([^)]*)\)")
LABEL_VALUES = re.compile(r"label_values\(([^,]+), (\w+)\)")
START_S = START_NS // 10**9
GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "dashboards.md"


def metrics() -> dict[str, set[str]]:
    """Names as they are scraped, and their labels."""
    found = {f"{family.name}_total": set(family.labels) for family in COUNTERS}
    for family in HISTOGRAMS:
        found |= {f"{family.name}_{part}": set(family.labels) for part in ("count", "sum")}
        found[f"{family.name}_bucket"] = {*family.labels, "le"}
    found |= {family.name: set(family.labels) for family in LABELLED_GAUGES}
    exposed = Metrics(LabelSets({}, ()))
    exposed.state = State(price_snapshot_age_s=1.0)
    body, _ = exposed.exposition()
    for line in body.decode().splitlines():
        if not line.startswith("#"):
            name, _, labels = line.partition("{")
            found.setdefault(name.split()[0], set()).update(re.findall(r'(\w+)="', labels))
    return found | recorded()


def recorded() -> dict[str, set[str]]:
    """Recorded series and the labels that they can have: what is grouped by, here or in what they are made of."""
    found: dict[str, set[str]] = {}
    for rule in RECORDED:
        grouped = {label.strip() for labels in GROUPING.findall(rule.expr) for label in labels.split(",")}
        inner = [found[name] for name, _ in SELECTOR.findall(rule.expr) if name in found]
        found[rule.record] = (grouped - {"le"}).union(*inner)
    return found


def of_kind(kind: str) -> list[Query]:
    return [query for query in ALL if query.kind == kind]


def test_the_list_of_queries_is_that_of_the_files() -> None:
    said = {(query.board, query.panel, query.ref_id, query.text) for query in ALL}
    targets = {
        (name, panel["title"], target["refId"], target.get("expr") or target["rawSql"])
        for name, panel, target in every_target()
    }
    assert targets < said
    others = {(board, what) for board, what, _, _ in said - targets}
    marks = {
        (name, f"annotation {mark['name']}")
        for name, board in boards().items()
        for mark in board["annotations"]["list"]
    }
    variables = {
        (name, f"variable {each['name']}")
        for name, board in boards().items()
        for each in board["templating"]["list"]
        if each["type"] == "query"
    }
    assert others == marks | variables
    assert len(said) == len(ALL)


def test_metrics_and_their_labels_exist() -> None:
    known = metrics()
    asked = of_kind("prometheus")
    assert len(asked) > 100
    assert [problem for query in asked for problem in problems(query, known)] == []


def test_an_unknown_metric_or_label_is_seen() -> None:
    known = {"submeter_calls_total": {"model"}}
    text = 'sum by (team) (rate(submeter_calls_total{app="x", model=~"y", job="z"}[5m])) / submeter_other'
    assert list(problems(Query("b", "p", "A", "prometheus", text), known)) == [
        "p: submeter_calls_total has no label app",
        "p: there is no metric submeter_other",
        "p: no metric there has a label team",
    ]


def problems(query: Query, known: dict[str, set[str]]) -> Iterator[str]:
    variable = LABEL_VALUES.fullmatch(query.text)
    text = f"sum by ({variable[2]}) ({variable[1]})" if variable else query.text
    there = set(OF_THE_SCRAPE)
    for name, matchers in SELECTOR.findall(text):
        if name not in known:
            yield f"{query.panel}: there is no metric {name}"
            continue
        there |= known[name]
        for label in sorted(set(MATCHER.findall(matchers)) - known[name] - OF_THE_SCRAPE):
            yield f"{query.panel}: {name} has no label {label}"
    grouped = {label.strip() for labels in GROUPING.findall(text) for label in labels.split(",")}
    for label in sorted(grouped - there):
        yield f"{query.panel}: no metric there has a label {label}"


def test_prometheus_reads_every_expression(tmp_path: Path) -> None:
    """promtool 2.42 has no command for one expression: as recording rules they are all read."""
    expressions = [query.text for query in of_kind("prometheus") if not LABEL_VALUES.fullmatch(query.text)]
    rules = [{"record": f"query:{at}:board", "expr": promql(text)} for at, text in enumerate(expressions)]
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "boards", "rules": rules}]}))
    checked = subprocess.run(["promtool", "check", "rules", str(path)], capture_output=True, text=True, timeout=30)
    assert checked.returncode == 0, checked.stderr
    assert f"SUCCESS: {len(rules)} rules found" in checked.stdout


def test_prices_that_people_know() -> None:
    """Huyen's figures of 2023, by hand; the second as corrected (the article prints $0.004 a call)."""
    usd_per_1000 = [eval(each.usd_per_1000) for each in KNOWN_PRICES]  # noqa: S307 - arithmetic of our own
    assert usd_per_1000 == [1000 * 0.624, 1000 * 0.016]


def test_list_prices_are_those_of_the_snapshot() -> None:
    """A newer snapshot that says otherwise wants the board built anew."""
    entries = {entry.model: entry for entry in load_snapshot().entries if entry.provider in ("openai", "anthropic")}
    for each in LIST_PRICES:
        prices = entries[each.model].tiers["standard"][-1].usd_per_million
        assert (Decimal(each.input), Decimal(each.output)) == (prices["input_uncached"], prices["output_text"]), (
            each.model
        )


# -- SQL, on a real Postgres -----------------------------------------------------------------------------------------

MS = 10**6
HOUR_S = 3600
MONEY = {"cost_nano_usd": 2_000_000, "costs": None, "tokens": None}


def rows() -> Iterator[CallRow]:
    """Prompt greet: three calls of v1 (one a hit, one failed), an hour later two of v2; one call of another prompt."""
    later = {"started_at_ns": START_NS + HOUR_S * 10**9, "prompt_version": "v2"}
    yield make_call(1, **MONEY, ttft_ns=100 * MS, input_tokens=1000, output_tokens=10)
    yield make_call(2, **MONEY | {"cost_nano_usd": 0}, cache="hit", saved_nano_usd=2_000_000)
    yield make_call(3, **MONEY | {"cost_nano_usd": None}, cost_state="unpriced", outcome="upstream_error", status=503)
    yield make_call(4, **MONEY | {"cost_nano_usd": 3_000_000}, **later, ttft_ns=120 * MS, input_tokens=1500)
    yield make_call(5, **MONEY | {"cost_nano_usd": 5_000_000}, **later, ttft_ns=150 * MS, input_tokens=1500)
    bounds = {"cost_nano_usd": None, "cost_low_nano_usd": 1_000_000, "cost_high_nano_usd": 9_000_000}
    yield make_call(
        6, **MONEY | bounds, prompt="other 'quoted'", team="ads", cost_state="indeterminate", outcome="indeterminate"
    )
    yield make_call(7, **MONEY, started_at_ns=START_NS + 10 * HOUR_S * 10**9)  # out of the range


@pytest.fixture
def connection(postgres_url: str) -> Iterator[psycopg.Connection]:
    with Ledger.open(postgres_url) as ledger:
        ledger.migrate()
        ledger.ship(list(rows()), {})
    with psycopg.connect(postgres_url) as connected:
        yield connected


def answer(connection: psycopg.Connection, query: Query, prompt: str = "greet") -> list[dict[str, object]]:
    asked = sql(query.text, START_S - 60, START_S + 2 * HOUR_S, prompt=prompt)
    with connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        return cursor.execute(asked).fetchall()


def panel(title: str, board: str = "prompts") -> Query:
    (found,) = (query for query in ALL if (query.board, query.panel) == (board, title))
    return found


def test_every_query_of_the_ledger_runs_and_returns_something(connection: psycopg.Connection) -> None:
    asked = of_kind("postgres")
    assert len(asked) >= 14
    for query in asked:
        assert answer(connection, query), query.panel


def test_what_the_guide_grants_is_enough_and_no_more(connection: psycopg.Connection) -> None:
    (grant,) = re.findall(r"^GRANT .* TO grafana;$", GUIDE.read_text(), re.MULTILINE)
    connection.execute("CREATE ROLE grafana")
    connection.execute(grant)
    connection.execute("SET LOCAL ROLE grafana")
    for query in of_kind("postgres"):
        assert answer(connection, query), query.panel
    for other in ("quarantine", "cursors", "versioned_costs"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
            connection.execute(f"TABLE {other}")
    connection.rollback()  # and the role with it, which is of the whole server


def test_versions_side_by_side(connection: psycopg.Connection) -> None:
    newest, oldest = answer(connection, panel("Versions, the newest first"))
    assert (newest["Version"], newest["Calls"], oldest["Version"], oldest["Calls"]) == ("v2", 2, "v1", 3)
    assert newest["Per 1,000 calls"] == Decimal(1000) * (Decimal("0.003") + Decimal("0.005")) / 2
    assert oldest["Per 1,000 calls"] == Decimal(1000) * Decimal("0.002")
    assert (newest["TTFT p50"], newest["TTFT p95"]) == (Decimal("0.120"), Decimal("0.150"))
    assert (oldest["Failed"], newest["Failed"]) == (1 / 2, 0)  # of those that went upstream
    assert (oldest["From the cache"], newest["From the cache"]) == (1 / 3, 0)
    assert (newest["First seen"].timestamp(), oldest["First seen"].timestamp()) == (START_S + HOUR_S, START_S + 1e-6)


def test_a_version_against_the_one_before(connection: psycopg.Connection) -> None:
    newest, oldest = answer(connection, panel("Each version against the one before"))
    assert (newest["Instead of"], newest["Calls before"]) == ("v1", 3)
    assert newest["Cost per call"] == Decimal("0.004") / Decimal("0.002") - 1
    assert newest["Tokens in"] == Decimal(1500) / 1000 - 1
    assert newest["TTFT p50"] == Decimal("0.120") / Decimal("0.100") - 1
    assert newest["Failed, points"] == 0 - 1 / 2
    assert (oldest["Instead of"], oldest["Cost per call"]) == (None, None)


def test_versions_over_time_are_series_in_order(connection: psycopg.Connection) -> None:
    found = answer(connection, panel("Calls, by version"))
    assert [tuple(row.values()) for row in found] == [(START_S, "v1", 3), (START_S + HOUR_S, "v2", 2)]


def test_prompts_have_any_name(connection: psycopg.Connection) -> None:
    (spend,) = answer(connection, panel("Spend"), prompt="other 'quoted'")
    assert spend == {"Spend": None}, "its cost is not known"
    (found,) = answer(connection, panel("Versions, the newest first"), prompt="other 'quoted'")
    assert found["Calls"] == 1
    names = [row["prompt"] for row in answer(connection, panel("variable prompt"))]
    assert names == ["greet", "other 'quoted'"]


def test_sums_to_the_cent_and_what_is_in_none(connection: psycopg.Connection) -> None:
    search, ads = answer(connection, panel("The ledger's own sums, by team and app", "cost"))
    assert (search["Team"], search["App"], search["Calls"], search["Unpriced"]) == ("search", "web", 5, 1)
    assert search["Spend"] == Decimal("0.002") + Decimal("0.003") + Decimal("0.005")
    assert (search["At least"], search["At most"]) == (search["Spend"], search["Spend"])
    assert search["Saved"] == Decimal("0.002")
    assert search["Per 1,000 calls"] == 1000 * search["Spend"] / 5
    assert (ads["Spend"], ads["At least"], ads["At most"]) == (None, Decimal("0.001"), Decimal("0.009"))
    assert ads["Unknown end"] == 1


def test_money_is_that_of_the_selected_version_of_the_costs(connection: psycopg.Connection, postgres_url: str) -> None:
    with Ledger.open(postgres_url) as ledger:
        dearer = [msgspec.structs.replace(NewCost.of(row), cost_nano_usd=7_000_000) for row in rows()][:1]
        add_version(ledger, "reprice", "", None, None, None, dearer, select=True)
    (spend,) = answer(connection, panel("Spend"))
    assert spend["Spend"] == Decimal("0.007") + Decimal("0.003") + Decimal("0.005")


def test_length_classes_are_in_order_and_of_calls_that_ended_well(connection: psycopg.Connection) -> None:
    found = answer(connection, panel("How soon answers begin, by input length", "latency"))
    assert [(row["Input tokens"], row["Calls"]) for row in found] == [("below 4,000", 3)]
    assert found[0]["TTFT p50"] == Decimal("0.120")
    (by_output,) = answer(connection, panel("How long answers take, by output length", "latency"))
    assert (by_output["Output tokens"], by_output["End to end p50"]) == ("below 50", Decimal(1))
    assert by_output["Per token p50"] == Decimal((10**9 - 120 * MS) // 9) / 10**9


def test_a_model_chosen_chooses_rows(connection: psycopg.Connection) -> None:
    query = panel("How soon answers begin, by input length", "latency")
    asked = sql(query.text, START_S, START_S + 2 * HOUR_S, model=r"(gpt-4\.1|o4)")
    assert connection.execute(asked).fetchall() == []
