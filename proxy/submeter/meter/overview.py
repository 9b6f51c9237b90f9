"""What the page shows, as one value: three sums, tables, points over time, the latest calls. No HTML here."""

from collections.abc import Sequence

import msgspec
from sqlalchemy import func, select

from submeter.core import when
from submeter.meter import documents
from submeter.meter.documents import Document
from submeter.store import queries, schema
from submeter.store.ledger import Ledger
from submeter.store.queries import CostLine, LatencyLine
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
    latency: LatencyLine | None
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
    by_model = queries.cost_by(ledger, ["model"], since_ns)
    total = queries.summary(ledger, since_ns)
    return Overview(
        today=queries.summary(ledger, start_of_day(now_ns)),
        week=queries.summary(ledger, start_of_week(now_ns)),
        total=total,
        latency=next(iter(queries.latency_by(ledger, (), since_ns)), None),
        tables=[
            _table(ledger, "model", ("By model", "Model", "no model named"), since_ns, by_model),
            _table(ledger, "team", ("By team", "Team", "no team given"), since_ns),
            _prompts(ledger, since_ns),
        ],
        unpriced=_unpriced(by_model),
        series=_series(ledger, since_ns, now_ns, total.calls),
        latest=latest,
    )


def _table(
    ledger: Ledger, key: str, words: tuple[str, str, str], since_ns: int, lines: list[CostLine] | None = None
) -> Table:
    lines = queries.cost_by(ledger, [key], since_ns) if lines is None else lines
    ttft = _ttft(ledger, [key], since_ns)
    rows = [Row(line.group[key], line, ttft.get((line.group[key],))) for line in lines[:ROWS_SHOWN]]
    return Table(key, *words, rows=rows, hidden=len(lines) - len(rows))


def _prompts(ledger: Ledger, since_ns: int) -> Table:
    """Prompts, each followed by its versions where it has more than one."""
    keys = ["prompt", "prompt_version"]
    table = _table(ledger, "prompt", ("By prompt and version", "Prompt", "no prompt"), since_ns)
    lines = queries.cost_by(ledger, keys, since_ns)
    ttft = _ttft(ledger, keys, since_ns)
    rows = []
    for row in table.rows:
        versions = [_version(line, ttft) for line in lines if line.group["prompt"] == row.name]
        if len(versions) == 1:
            rows.append(msgspec.structs.replace(row, version=versions[0].name))
        else:
            rows += [row, *versions[:VERSIONS_SHOWN]]
    return msgspec.structs.replace(table, key="prompt,prompt_version", rows=rows)


def _version(line: CostLine, ttft: dict[tuple[str | None, ...], int | None]) -> Row:
    prompt, version = line.group["prompt"], line.group["prompt_version"]
    return Row(version, line, ttft.get((prompt, version)), part=True)


def _ttft(ledger: Ledger, keys: Sequence[str], since_ns: int) -> dict[tuple[str | None, ...], int | None]:
    return {
        tuple(line.group[key] for key in keys): None if line.ttft is None else line.ttft.p50_ns
        for line in queries.latency_by(ledger, keys, since_ns)
    }


def _unpriced(by_model: list[CostLine]) -> list[str | None]:
    lines = sorted((line for line in by_model if line.unpriced_calls), key=lambda line: -line.unpriced_calls)
    return [line.group["model"] for line in lines]


def _series(ledger: Ledger, since_ns: int, now_ns: int, calls: int) -> Document:
    """From the period's first call on: a minute of traffic should fill its chart, not one point of a day."""
    begun_at_ns = schema.calls.c.started_at_ns
    with ledger.reading() as connection:
        first_ns = connection.execute(select(func.min(begun_at_ns)).where(*within(since_ns, None))).scalar()
    start_ns = since_ns if first_ns is None else min(int(first_ns), now_ns)
    points = max(FEWEST_POINTS, min(documents.WANTED_POINTS, calls // CALLS_PER_POINT))
    return documents.series(ledger, start_ns, now_ns, documents.bucket_for(start_ns, now_ns, points))
