"""Where two boards differ, and that it is found wherever it is."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from submeter.dashboards.differences import MAX_VALUE, differences

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


def without_nulls(value: object) -> object:
    if isinstance(value, dict):
        return {key: without_nulls(part) for key, part in value.items() if part is not None}
    return [without_nulls(part) for part in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("theirs", "ours", "line"),
    [
        ({"a": 1}, {"a": 2}, "a: 1 → 2"),
        ({"a": True}, {"a": 1}, "a: true → 1"),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1]}}, "a.b[1]: 2 → nothing"),
        ({"a": None}, {"a": "x"}, 'a: nothing → "x"'),
        ({"a": [{"title": "Spend", "x": 1}]}, {"a": [{"title": "Spend", "x": "é"}]}, 'a[Spend].x: 1 → "é"'),
        ({"a": [{"title": "Old"}]}, {"a": [{"title": "New"}]}, 'a[New].title: "Old" → "New"'),
        ({"a": [{"title": "\x1b[31m"}]}, {"a": []}, 'a[0]: {"title": "\\u001b[31m"} → nothing'),
        ({}, {"a": "x" * 500}, f'a: nothing → "{"x" * (MAX_VALUE - 2)}…'),
    ],
)
def test_as_a_line(theirs: object, ours: object, line: str) -> None:
    (found,) = differences(theirs, ours)
    assert str(found) == line


def test_none() -> None:
    assert list(differences({"a": [1, {"b": None}], "c": None}, {"a": [1, {}]})) == []
    assert list(differences({"a": 1.0}, {"a": 1})) == []


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from("abc"), VALUES), st.dictionaries(st.sampled_from("abc"), VALUES))
def test_found_exactly_where_there_is_one(theirs: dict[str, object], ours: dict[str, object]) -> None:
    same = json.dumps(without_nulls(theirs), sort_keys=True) == json.dumps(without_nulls(ours), sort_keys=True)
    assert same == (list(differences(theirs, ours)) == [])
