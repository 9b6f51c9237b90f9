"""What the page shows, as one value: three sums, tables, points over time, the latest calls. No HTML here."""

import msgspec
from sqlalchemy import func, select

from submeter.core import when
from submeter.meter import documents
from submeter.meter.documents import Document
from submeter.meter.rollup import Latency, Rollup, Values
from submeter.store import queries, schema
from submeter.store.ledger import Ledger
from submeter.store.queries import CostLine
from submeter.store.queries.grouping import within

ROWS_SHOWN = 15
"""Groups per table; the CLI lists all of them."""
VERSIONS_SHOWN = 5
LATEST_CALLS = 50
CALLS_PER_POINT = 4
FEWEST_POINTS = 20


class Period(msgspec.Struct, frozen=True):
    key: str
    """As in the query string."""
    name: str
    title: str

    def since_ns(self, now_ns: int) -> int:
        return start_of_day(now_ns) if self.key == "today" else now_ns - _LENGTHS_NS[self.key]


PERIODS = (
    Period("today", "Today", "Today, since 00:00 UTC"),
    Period("24h", "24 h", "The last 24 hours"),
    Period("7d", "7 d", "The last 7 days"),
    Period("30d", "30 d", "The last 30 days"),
)
DEFAULT_PERIOD = PERIODS[1]
_LENGTHS_NS = {"24h": when.DAY_NS, "7d": 7 * when.DAY_NS, "30d": 30 * when.DAY_NS}


def start_of_day(now_ns: int) -> int:
    return now_ns - now_ns % when.DAY_NS


def start_of_week(now_ns: int) -> int:
    """The Monday, as ISO weeks begin; 1970-01-01 was a Thursday."""
    days = now_ns // when.DAY_NS
    return (days - (days + 3) % 7) * when.DAY_NS


class Row(msgspec.Struct, frozen=True):
    """One group of a table; ``part`` is one of the group above it."""

    name: str | None
    cost: CostLine
    ttft_p50_ns: int | None
    version: str | None = None
    """The one version that a prompt has, if it has just one."""
    part: bool = False


class Table(msgspec.Struct, frozen=True):
    key: str
    """As after ``submeter cost --by``."""
    title: str
    heading: str
    unnamed: str
    """What stands where callers gave no name."""
    rows: list[Row]
    hidden: int
    """Groups that there is no room for."""


class Overview(msgspec.Struct, frozen=True):
    today: CostLine
    week: CostLine
    total: CostLine
    """Of the period, as is all that follows but the latest calls."""
    latency: Latency
    tables: list[Table]
    unpriced: list[str | None]
    """Models without a price, the most used first."""
    series: Document
    latest: list[Document]


def read_overview(ledger: Ledger, period: Period, now_ns: int) -> Overview | None:
    """``None`` while no call was ever recorded. Raises ``LedgerUnavailable``."""
    latest = list(queries.calls(ledger, LATEST_CALLS))
    if not latest:
        return None
    since_ns = period.since_ns(now_ns)
    rollup = Rollup(ledger, since_ns)
    total = rollup.total()
    return Overview(
        today=queries.summary(ledger, start_of_day(now_ns)),
        week=queries.summary(ledger, start_of_week(now_ns)),
        total=total,
        latency=rollup.latencies().get((), Latency()),
        tables=[
            _table(rollup, "model", "By model", "Model", "no model named"),
            _table(rollup, "team", "By team", "Team", "no team given"),
            _prompts(rollup),
        ],
        unpriced=_unpriced(rollup),
        series=_series(ledger, since_ns, now_ns, total.calls),
        latest=latest,
    )


def _table(rollup: Rollup, key: str, title: str, heading: str, unnamed: str) -> Table:
    lines, latencies = rollup.costs(key), rollup.latencies(key)
    rows = [_row(line, line.group[key], latencies) for line in lines[:ROWS_SHOWN]]
    return Table(key, title, heading, unnamed, rows, hidden=len(lines) - len(rows))


def _row(line: CostLine, name: str | None, latencies: dict[Values, Latency], *, part: bool = False) -> Row:
    ttft = latencies.get(tuple(line.group.values()), Latency()).ttft
    return Row(name, line, None if ttft is None else ttft.p50_ns, part=part)


def _prompts(rollup: Rollup) -> Table:
    """Prompts, each followed by its versions where it has more than one."""
    table = _table(rollup, "prompt", "By prompt and version", "Prompt", "no prompt")
    latencies = rollup.latencies("prompt", "prompt_version")
    versions: dict[str | None, list[Row]] = {}
    for line in rollup.costs("prompt", "prompt_version"):
        prompt, version = line.group["prompt"], line.group["prompt_version"]
        versions.setdefault(prompt, []).append(_row(line, version, latencies, part=True))
    rows = [row for prompt in table.rows for row in _with_versions(prompt, versions[prompt.name])]
    return msgspec.structs.replace(table, key="prompt,prompt_version", rows=rows)


def _with_versions(prompt: Row, versions: list[Row]) -> list[Row]:
    if len(versions) == 1:
        return [msgspec.structs.replace(prompt, version=versions[0].name)]
    return [prompt, *versions[:VERSIONS_SHOWN]]


def _unpriced(rollup: Rollup) -> list[str | None]:
    lines = [line for line in rollup.costs("model") if line.unpriced_calls]
    return [line.group["model"] for line in sorted(lines, key=lambda line: -line.unpriced_calls)]


def _series(ledger: Ledger, since_ns: int, now_ns: int, calls: int) -> Document:
    """From the period's first call on: a minute of traffic should fill its chart, not one point of a day."""
    begun_at_ns = schema.calls.c.started_at_ns
    with ledger.reading() as connection:
        first_ns = connection.execute(select(func.min(begun_at_ns)).where(*within(since_ns, None))).scalar()
    start_ns = since_ns if first_ns is None else min(int(first_ns), now_ns)
    points = max(FEWEST_POINTS, min(documents.WANTED_POINTS, calls // CALLS_PER_POINT))
    return documents.series(ledger, start_ns, now_ns, documents.bucket_for(start_ns, now_ns, points))
