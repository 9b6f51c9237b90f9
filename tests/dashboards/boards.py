"""The built boards for tests, as JSON and as queries, and what Grafana would put in place of variables and macros."""

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from submeter.dashboards.build import build

Json = dict[str, Any]
"""A piece of a board."""

NAMES = ("buy_vs_build", "cost", "latency", "operations", "prompts")


@cache
def boards() -> dict[str, Json]:
    return {
        path.removeprefix("grafana/").removesuffix(".json"): json.loads(text)
        for path, text in build().items()
        if path.startswith("grafana/")
    }


def panels(board: Json) -> list[Json]:
    """All that show something."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def every_panel() -> Iterator[tuple[str, Json]]:
    for name, board in boards().items():
        for panel in panels(board):
            yield name, panel


def every_target() -> Iterator[tuple[str, Json, Json]]:
    for name, panel in every_panel():
        for target in panel["targets"]:
            yield name, panel, target


def promql(text: str) -> str:
    """As Prometheus gets it, of all models, teams … and an hour."""
    text = text.replace("$__rate_interval", "5m").replace("$__range", "1h")
    return re.sub(r"\$(\w+)", ".*", text)


def sql(text: str, begin_s: int, end_s: int, interval_s: int = 60, prompt: str = "greet", model: str = ".*") -> str:
    """As Postgres gets it. The macros are expanded as Grafana's Postgres data source expands them."""
    quoted = "'" + prompt.replace("'", "''") + "'"
    text = text.replace("${prompt:sqlstring}", quoted).replace("${model:regex}", model)
    text = text.replace("$__interval", f"{interval_s}s")
    within = rf"\1 >= {begin_s * 10**9} AND \1 <= {end_s * 10**9}"
    text = re.sub(r"\$__unixEpochNanoFilter\(([^)]*)\)", within, text)
    text = re.sub(r"\$__unixEpochGroup\(([^),]*), '(\d+)s'\)", r"floor((\1)/\2)*\2", text)
    assert "$__" not in text
    assert "${" not in text
    return text
