"""The boards as files: the same bytes each time, laid out without gaps, of Grafana's types, linked to each other."""

import json
import types
import typing
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard, GridPos, Panel

from dashboards.boards import NAMES, Json, boards, every_panel, panels
from submeter.dashboards.boards import TITLES, Row, assemble
from submeter.dashboards.build import build

PRODUCTS = Path(__file__).parents[2] / "dashboards"
WIDTH = 24
FORTY = 40
"""What issue 5 asks for at least."""

board_names = pytest.mark.parametrize("name", NAMES)
register_default_plugins()


def test_what_is_committed_is_what_is_built() -> None:
    built = {path: text for path, text in build().items() if path.startswith("grafana/")}
    committed = {f"grafana/{path.name}": path.read_text() for path in (PRODUCTS / "grafana").iterdir()}
    assert sorted(committed) == sorted(built)
    for path, text in built.items():
        assert committed[path] == text, f"{path} is stale: run make dashboards"


def test_building_twice_gives_the_same_bytes() -> None:
    assert build() == build()
    assert all(text.endswith("}\n") for path, text in build().items() if path.endswith(".json"))


def test_there_are_five_boards_with_forty_panels_at_least() -> None:
    assert sorted(boards()) == sorted(NAMES)
    assert len(list(every_panel())) >= FORTY


@board_names
def test_panels_fill_their_lines_and_do_not_overlap(name: str) -> None:
    cells: dict[tuple[int, int], str] = {}
    for panel in boards()[name]["panels"]:
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in cells, f"{panel['title']} lies on {cells[x, y]}"
                cells[x, y] = panel["title"]
    height = max(y for _, y in cells) + 1
    assert len(cells) == WIDTH * height, "a gap, or something outside the grid"


@board_names
def test_numbers_titles_and_refs_are_unique(name: str) -> None:
    board = boards()[name]
    ids = [panel["id"] for panel in board["panels"]]
    titles = [panel["title"] for panel in panels(board)]
    assert len(ids) == len(set(ids))
    assert len(titles) == len(set(titles))
    for panel in panels(board):
        refs = [target["refId"] for target in panel["targets"]]
        assert refs == [chr(ord("A") + at) for at in range(len(refs))]


@board_names
def test_a_board_begins_with_figures_at_a_glance(name: str) -> None:
    board = boards()[name]
    first_two_rows = [panel["type"] for panel in panels(board)][:8]
    assert "stat" in first_two_rows
    assert board["panels"][0]["type"] == "row"


def test_a_line_that_does_not_fill_the_grid_is_refused() -> None:
    row = Row("odd", [Panel(title="one", grid_pos=GridPos(h=4, w=20)), Panel(title="two", grid_pos=GridPos(h=4, w=5))])
    with pytest.raises(ValueError, match="'odd': one, two: 25 columns of 24"):
        assemble("submeter-cost", "", [row], since="now-1h")
    row = Row("odd", [Panel(title="one", grid_pos=GridPos(h=4, w=12)), Panel(title="two", grid_pos=GridPos(h=5, w=12))])
    with pytest.raises(ValueError, match=r"heights \[4, 5\]"):
        assemble("submeter-cost", "", [row], since="now-1h")


# -- links -----------------------------------------------------------------------------------------------------------


def test_uids_are_those_that_links_name() -> None:
    assert {board["uid"]: board["title"] for board in boards().values()} == {
        uid: f"Submeter: {title}" for uid, title in TITLES.items()
    }


@board_names
def test_each_board_links_to_each_other_with_its_time(name: str) -> None:
    board = boards()[name]
    linked = {link["url"] for link in board["links"] if link["keepTime"]}
    assert linked == {f"/d/{uid}" for uid in TITLES} - {f"/d/{board['uid']}"}


def test_links_out_of_tables_lead_to_a_board_and_set_a_variable_that_it_has() -> None:
    by_uid = {board["uid"]: board for board in boards().values()}
    links = [link for _, panel in every_panel() for link in _links_in(panel)]
    assert len(links) >= 3
    for link in links:
        path, _, query = link["url"].partition("?")
        board = by_uid[path.removeprefix("/d/")]
        chosen = {part.partition("=")[0].removeprefix("var-") for part in query.split("&") if part.startswith("var-")}
        assert chosen
        assert chosen <= {variable["name"] for variable in board["templating"]["list"]}


def _links_in(panel: Json) -> Iterator[Json]:
    for override in panel["fieldConfig"]["overrides"]:
        for said in override["properties"]:
            if said["id"] == "links":
                yield from said["value"]


# -- Grafana's own types ---------------------------------------------------------------------------------------------

NOT_IN_THE_SDK = {"step", "target", "textFormat", "titleFormat"}
"""What Grafana saves of an annotation beyond the fields that the SDK of 11.6 has a name for."""


def _without_more(board: Json) -> Json:
    marks = [
        {key: said for key, said in mark.items() if key not in NOT_IN_THE_SDK} for mark in board["annotations"]["list"]
    ]
    return board | {"annotations": {"list": marks}}


@board_names
def test_the_sdk_reads_a_board_and_writes_the_same(name: str) -> None:
    """A key that Grafana 11.6 does not know would be lost on the way."""
    board = _without_more(boards()[name])
    assert json.loads(json.dumps(Dashboard.from_json(board), cls=JSONEncoder)) == board


@board_names
def test_every_field_has_the_type_that_grafana_publishes(name: str) -> None:
    wrong = list(_wrong(Dashboard.from_json(_without_more(boards()[name])), name))
    assert wrong == []


def test_a_field_of_another_type_is_seen() -> None:
    board = _without_more(boards()["cost"]) | {"schemaVersion": "41", "refresh": 60}
    assert list(_wrong(Dashboard.from_json(board), "cost")) == [
        "cost.refresh: 60 is no str | None",
        "cost.schema_version: '41' is no int",
    ]


def _wrong(value: Any, path: str) -> Iterator[str]:
    """Fields of the SDK's classes, all the way down, whose values are not what their annotations say."""
    if isinstance(value, list):
        for at, each in enumerate(value):
            yield from _wrong(each, f"{path}[{at}]")
    elif type(value).__module__.startswith("grafana_foundation_sdk.models") and not isinstance(value, Enum):
        module = vars(__import__(type(value).__module__, fromlist=["*"]))
        for field, hint in sorted(typing.get_type_hints(type(value), module).items()):
            inner = getattr(value, field)
            if not _fits(inner, hint):
                yield f"{path}.{field}: {inner!r} is no {_said(hint)}"
            yield from _wrong(inner, f"{path}.{field}")


def _fits(value: Any, hint: Any) -> bool:
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is typing.Literal:
        return value in parts
    if origin is list:
        return isinstance(value, list) and all(_fits(each, parts[0]) for each in value)
    if origin is dict:
        return isinstance(value, dict)
    if hint in (Any, object):
        return True
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return value in [each.value for each in hint]
    if isinstance(value, dict) and hasattr(hint, "from_json"):  # what the SDK leaves as it was read
        return bool(hint.from_json(value).to_json() == value)
    return isinstance(value, hint) and (hint is not int or not isinstance(value, bool))


def _said(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Union:
        return " | ".join(_said(part) for part in typing.get_args(hint))
    return "None" if hint is type(None) else str(getattr(hint, "__name__", hint))
