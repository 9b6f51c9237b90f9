"""The committed boards as Grafana reads them: their queries, and what Grafana puts in place of variables and macros.

What Grafana does to a query is written after its documentation: global variables
(grafana.com/docs/grafana/latest/dashboards/variables/add-template-variables), the macros of the Postgres data source
(grafana.com/docs/grafana/latest/datasources/postgres) and ``$__rate_interval`` of the Prometheus data source. No
Grafana runs here: this stands in for it, and is not it.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

Kind = Literal["prometheus", "postgres"]
KINDS: dict[str, Kind] = {
    "prometheus": "prometheus",
    "postgres": "postgres",
    "grafana-postgresql-datasource": "postgres",
}
SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


class Query(NamedTuple):
    """``panel`` is its title, or which variable or annotation it fills."""

    board: str
    panel: str
    ref_id: str
    kind: Kind
    text: str
    instant: bool = False
    """Only its newest value is shown."""

    @property
    def name(self) -> str:
        return f"{self.board} / {self.panel} / {self.ref_id}"


class Shown(NamedTuple):
    """What a person looks at: Unix seconds, and how far apart the points of a graph are."""

    begin_s: int
    end_s: int
    interval_s: int
    scrape_s: int = 30
    """What the data source is told: so that ``$__rate_interval`` has two samples of the synthetic past in it."""

    @property
    def rate_interval_s(self) -> int:
        return max(self.interval_s + self.scrape_s, 4 * self.scrape_s)


def load(directory: Path) -> dict[str, dict[str, Any]]:
    """The boards by the names of their files."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(directory.glob("*.json"))}


def panels(board: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All panels that show something, those within collapsed rows too."""
    for panel in board["panels"]:
        if panel["type"] != "row":
            yield panel
        yield from panel.get("panels", ())


def queries(name: str, board: dict[str, Any]) -> Iterator[Query]:
    """Every query of a board: of its panels, its annotations and its variables."""
    for panel in panels(board):
        for target in panel.get("targets", ()):
            kind = _kind(target.get("datasource") or panel["datasource"])
            text = target["expr"] if kind == "prometheus" else target["rawSql"]
            instant = bool(target.get("instant")) and not target.get("range")
            yield Query(name, panel["title"], target["refId"], kind, text, instant)
    for annotation in board.get("annotations", {}).get("list", ()):
        source = _kind_or_none(annotation.get("datasource"))
        if source is not None:
            text = annotation.get("expr") or annotation.get("rawQuery") or annotation["target"].get("rawSql")
            text = text or annotation["target"]["expr"]
            yield Query(name, f"annotation {annotation['name']}", "-", source, text)
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            asked = variable["query"]
            text = asked if isinstance(asked, str) else asked.get("query") or asked["rawSql"]
            yield Query(name, f"variable {variable['name']}", "-", _kind(variable["datasource"]), text)


def all_values(board: dict[str, Any]) -> dict[str, str | None]:
    """The variables with what they say when a person has chosen "All": the board's own text, or ``None``: every
    value that there is."""
    return {
        variable["name"]: variable.get("allValue") or None
        for variable in board["templating"]["list"]
        if variable["type"] in ("query", "custom", "textbox")
    }


def multiple(board: dict[str, Any]) -> set[str]:
    """The variables of which several values can be chosen."""
    return {variable["name"] for variable in board["templating"]["list"] if variable.get("multi")}


def for_prometheus(text: str, shown: Shown, chosen: Mapping[str, list[str]], alls: Mapping[str, str | None]) -> str:
    """As it is sent. ``chosen``: each variable's values; several become ``(a|b)``, as in a regular expression."""

    def value(name: str) -> str:
        own = alls.get(name)
        if own is not None:
            return own
        values = [re.sub(r"([\\^$.*+?()\[\]{}|])", r"\\\\\1", each) for each in chosen[name]]
        return values[0] if len(values) == 1 else f"({'|'.join(values)})"

    return _replaced(text, _globals(shown), value)


def for_postgres(text: str, shown: Shown, chosen: Mapping[str, list[str]], alls: Mapping[str, str | None]) -> str:
    """As it is sent. Several values become ``'a','b'``."""

    def value(name: str) -> str:
        own = alls.get(name)
        return own if own is not None else ",".join("'" + each.replace("'", "''") + "'" for each in chosen[name])

    return _macros(_replaced(text, _globals(shown), value), shown)


def label_values(text: str) -> tuple[str, str] | None:
    """(the label, the series) of a variable's ``label_values(series, label)``."""
    found = re.fullmatch(r"\s*label_values\(\s*(.+?)\s*,\s*(\w+)\s*\)\s*", text, re.DOTALL)
    return None if found is None else (found[2], found[1])


# -- inside ------------------------------------------------------------------------------------------------------


def _kind(source: dict[str, Any]) -> Kind:
    return KINDS[source["type"]]


def _kind_or_none(source: dict[str, Any] | None) -> Kind | None:
    return None if source is None else KINDS.get(source.get("type", ""))


def _globals(shown: Shown) -> dict[str, str]:
    range_s = shown.end_s - shown.begin_s
    return {
        "__rate_interval": f"{shown.rate_interval_s}s",
        "__interval": f"{shown.interval_s}s",
        "__interval_ms": str(shown.interval_s * 1000),
        "__range": f"{range_s}s",
        "__range_s": str(range_s),
        "__range_ms": str(range_s * 1000),
        "__from": str(shown.begin_s * 1000),
        "__to": str(shown.end_s * 1000),
    }


_VARIABLE = re.compile(r"\$\{(\w+)(?::(\w+))?\}|\[\[(\w+)\]\]|\$(\w+)")


def _replaced(text: str, known: Mapping[str, str], value: Any) -> str:
    def one(match: re.Match[str]) -> str:
        name = match[1] or match[3] or match[4]
        if name in known:
            return known[name]
        if name.startswith("__"):
            return match[0]  # a macro
        return str(value(name))

    return _VARIABLE.sub(one, text)


def _macros(text: str, shown: Shown) -> str:
    begin, end = shown.begin_s, shown.end_s
    fixed = {
        "$__unixEpochNanoFrom()": f"{begin}000000000",
        "$__unixEpochNanoTo()": f"{end}000000000",
        "$__unixEpochFrom()": str(begin),
        "$__unixEpochTo()": str(end),
        "$__timeFrom()": f"to_timestamp({begin})",
        "$__timeTo()": f"to_timestamp({end})",
    }
    for macro, said in fixed.items():
        text = text.replace(macro, said)
    text = re.sub(r"\$__unixEpochNanoFilter\(([^()]+)\)", rf"\1 >= {begin}000000000 AND \1 <= {end}000000000", text)
    text = re.sub(r"\$__unixEpochFilter\(([^()]+)\)", rf"\1 >= {begin} AND \1 <= {end}", text)
    text = re.sub(r"\$__timeFilter\(([^()]+)\)", rf"\1 BETWEEN to_timestamp({begin}) AND to_timestamp({end})", text)
    text = re.sub(r"\$__unixEpochNanoGroup(Alias)?\(([^(),]+),\s*'?(\w+)'?[^()]*\)", _grouped(10**9), text)
    text = re.sub(r"\$__unixEpochGroup(Alias)?\(([^(),]+),\s*'?(\w+)'?[^()]*\)", _grouped(1), text)
    left = re.search(r"\$__\w+", text)
    assert left is None, f"an unknown macro: {left[0] if left else ''}"
    return text


def _grouped(per_second: int) -> Any:
    def one(match: re.Match[str]) -> str:
        number, unit = re.fullmatch(r"(\d+)(\w+)", match[3]).groups()  # type: ignore[union-attr]
        step = round(int(number) * SECONDS[unit] * per_second)
        name = ' AS "time"' if match[1] else ""
        return f"floor(({match[2]})/{step})*{step}{name}"

    return one
