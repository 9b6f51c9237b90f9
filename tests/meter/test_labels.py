"""Label values come from bounded sets, whatever clients send."""

from hypothesis import given
from hypothesis import strategies as st

from submeter.meter.labels import LIMIT, OTHER, LabelSets


def test_first_fifty_then_other() -> None:
    labels = LabelSets({}, [])
    shown = [labels.value("team", f"t{number}") for number in range(60)]
    assert shown == [f"t{number}" for number in range(50)] + [OTHER] * 10
    assert labels.value("team", "t3") == "t3"
    assert labels.value("app", "t59") == "t59", "each label has a set of its own"
    assert labels.capped == {"team"}


def test_configured_names_are_the_only_ones() -> None:
    labels = LabelSets({"team": ("search", "ads"), "app": ()}, [])
    assert [labels.value("team", name) for name in ("search", "ads", "legal")] == ["search", "ads", OTHER]
    assert labels.value("app", "any") == "any"


def test_kept_across_restarts() -> None:
    first = LabelSets({}, [])
    first.value("team", "search")
    new = first.take_new()
    assert new == [("team", "search")]
    assert first.take_new() == []
    second = LabelSets({}, [*new, *(("team", f"t{number}") for number in range(LIMIT - 1))])
    assert second.value("team", "search") == "search"
    assert second.value("team", "late") == OTHER


def test_missing_is_empty_and_odd_is_other() -> None:
    labels = LabelSets({}, [])
    assert labels.value("team", None) == ""
    for odd in ("", "a b", 'quote"', "x" * 65, "ä", "line\nbreak", "{}"):
        assert labels.value("team", odd) == OTHER
    assert labels.new == []


def test_a_price_entry_is_shown_whatever_it_looks_like() -> None:
    assert LabelSets({}, []).value("model", "my-model*", ours=True) == "my-model*"
    assert LabelSets({}, []).value("model", "my-model*") == OTHER


@given(st.lists(st.text(max_size=80)))
def test_never_more_than_the_limit(said: list[str]) -> None:
    labels = LabelSets({}, [])
    assert len({labels.value("team", value) for value in said} - {OTHER}) <= LIMIT
