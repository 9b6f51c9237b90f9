"""samples.csv round trips; a bad file is named by line and column; ledger rows become samples."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from submeter.errors import UsageError
from submeter.loadtest.samples import Sample, from_rows, read_csv, write_csv

COUNTS = st.none() | st.integers(0, 2**62)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
NAMES = st.none() | TEXTS.filter(bool)
SAMPLES = st.builds(
    Sample, st.integers(0, 2**62), COUNTS, TEXTS, TEXTS, st.integers(1, 999), *[COUNTS] * 9, *[NAMES] * 3, st.booleans()
)


@given(st.lists(SAMPLES, max_size=5))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, samples: list[Sample]) -> None:
    path = tmp_path_factory.mktemp("s") / "samples.csv"
    write_csv(path, samples)
    assert read_csv(path) == samples


@pytest.mark.parametrize(("old", "new", "said"), [
    ("output_tokens", "x", "line 1: no column output_tokens"),
    ("123456", "12x", "line 2, column e2e_ns"),
    ("True", "maybe", "line 2, column streamed"),
    (",True", "", "line 2: 17 columns, not 18"),
])  # fmt: skip
def test_a_bad_file_is_named_by_line_and_column(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = tmp_path / "samples.csv"
    write_csv(path, [one_sample()])
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(UsageError) as caught:
        read_csv(path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_file_and_no_text(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        read_csv(tmp_path / "none.csv")
    (tmp_path / "b").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="no CSV"):
        read_csv(tmp_path / "b")


def one_sample() -> Sample:
    return Sample(0, None, "s", "m", 1, 10, None, 5, None, None, None, 123456, None, 200, None, None, None, True)


def row(started_at: str, **changes: Any) -> dict[str, Any]:
    plain: dict[str, Any] = dict.fromkeys(
        ("ttfb_ns", "ttft_ns", "first_content_ns", "max_gap_ns", "cached_input_tokens", "upstream_request_id")
    )
    plain |= {"started_at": started_at, "e2e_ns": 3 * 10**9, "cache": "miss", "outcome": "ok", "upstream": "openai"}
    plain |= {"model_served": None, "model_requested": "m", "input_tokens": 1000, "output_tokens": 256}
    return plain | {"status": 200, "call_id": "c", "stream": True} | changes


def test_ledger_rows_that_went_upstream_and_ended_ok_and_how_many_were_in_flight() -> None:
    samples = from_rows([
        row("2026-11-20T00:00:02Z"),
        row("2026-11-20T00:00:00Z", outcome="timeout"),
        row("2026-11-20T00:00:01Z", cache="hit"),
        row("2026-11-20T00:00:04Z", model_served="m-2"),
        row("2026-11-20T00:00:09Z", e2e_ns=None),
    ])  # fmt: skip
    assert [(s.model, s.concurrency) for s in samples] == [("m", 2), ("m-2", 1), ("m", 1)]
    assert samples[0].setting == "in<=1024,out<=256"
