"""Does every query have an answer? All that the boards and the rules ask is asked of the running stack.

A query of a graph is asked over the time of the traffic, one of a figure at its end. Of a rule: what it records, and
of an alert the signal that it compares, since a quiet alert says nothing.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import psycopg

from harness.stack import Stack
from harness.stack.boards import (
    Query,
    Shown,
    all_values,
    for_postgres,
    for_prometheus,
    label_values,
    load,
    multiple,
    queries,
)
from submeter.dashboards.rules import ALERTS, RECORDED

STEP_S = 15


class Answer(NamedTuple):
    """``samples``: how many series or rows came back; ``trouble``: why none could."""

    query: Query
    samples: int
    trouble: str = ""


def ask_all(stack: Stack, shown: Shown) -> list[Answer]:
    """What every query of every board, and every rule, gets."""
    return [*_ask_boards(stack, shown), *_ask_rules(stack, shown)]


def table(answers: list[Answer]) -> str:
    """One line per board: queries, and those that have data."""
    lines = []
    for board in dict.fromkeys(answer.query.board for answer in answers):
        asked = [answer for answer in answers if answer.query.board == board]
        panels = {answer.query.panel for answer in asked}
        lines.append(
            f"{board:<12}{len(panels):>5} panels or rules {len(asked):>5} queries "
            f"{sum(answer.samples > 0 for answer in asked):>5} with data"
        )
    full = sum(answer.samples > 0 for answer in answers)
    return "\n".join([*lines, f"together: {full} of {len(answers)} queries have data"])


def _ask_boards(stack: Stack, shown: Shown) -> Iterator[Answer]:
    for name, board in load(stack.boards).items():
        chosen: dict[str, list[str]] = {}
        alls, several = all_values(board), multiple(board)
        # Variables first: the others need their values.
        for query in sorted(queries(name, board), key=lambda query: not query.panel.startswith("variable ")):
            answer, values = _ask(stack, query, shown, chosen, alls)
            if query.panel.startswith("variable "):
                variable = query.panel.removeprefix("variable ")
                chosen[variable] = values if variable in several else values[:1]
            yield answer


def _ask_rules(stack: Stack, shown: Shown) -> Iterator[Answer]:
    for recorded in RECORDED:
        yield _ask(stack, Query("rules", recorded.record, "-", "prometheus", recorded.record), shown, {}, {})[0]
    for alert in ALERTS:
        yield _ask(stack, Query("alerts", alert.name, "-", "prometheus", alert.signal), shown, {}, {})[0]


def _ask(
    stack: Stack, query: Query, shown: Shown, chosen: Mapping[str, list[str]], alls: Mapping[str, str | None]
) -> tuple[Answer, list[str]]:
    """The answer, and the values of it that a variable would offer."""
    try:
        if query.kind == "postgres":
            found = rows(stack, for_postgres(query.text, shown, chosen, alls))
            values = [str(row[0]) for row in found if any(value is not None for value in row)]
        else:
            values = _series(stack, for_prometheus(query.text, shown, chosen, alls), query, shown)
    except (ValueError, psycopg.Error) as error:
        return Answer(query, 0, str(error)), []
    return Answer(query, len(values)), values


def _series(stack: Stack, text: str, query: Query, shown: Shown) -> list[str]:
    listed = label_values(text)
    if listed is not None:
        return stack.prometheus.label_values(*listed)
    if query.instant or query.board in ("rules", "alerts"):
        found = stack.prometheus.query(text, shown.end_s)
    else:
        found = stack.prometheus.query_range(text, shown.begin_s, shown.end_s, STEP_S)
    return [str(series["metric"]) for series in found if _says_something(series)]


def _says_something(series: dict[str, Any]) -> bool:
    points = series.get("values") or [series["value"]]
    return any(value != "NaN" for _, value in points)


def rows(stack: Stack, text: str) -> list[tuple[Any, ...]]:
    """Of the ledger."""
    with psycopg.connect(stack.ledger_url) as connection:
        return list(connection.execute(text.encode()).fetchall())
