"""Traces out of files: liberal in what is there, exact in what is read, and never a traceback."""

import csv
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.ledger_rows import make_random_call
from submeter.core.record import TOKEN_CLASSES, CallRow, TokenClasses
from submeter.core.week import Week
from submeter.core.when import parse_moment
from submeter.errors import UsageError
from submeter.report.trace import COST_STATES, Trace, from_ledger
from submeter.report.trace_files import from_csv, read
from submeter.store import queries
from submeter.store.export import TABLES, write_file
from submeter.store.ledger import Ledger

WEEK = Week.parse("2025-W47")
LEAST = "started_at,input_tokens,output_tokens\n"


def _csv(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "calls.csv"
    path.write_text(text, encoding="utf-8")
    return path


def _tokens(trace: Trace, row: int = 0) -> dict[str, int]:
    return {name: count for name, count in zip(TOKEN_CLASSES, trace.tokens[row].tolist(), strict=True) if count}


def _call(number: int, dice: random.Random, *, classes: bool) -> CallRow:
    """A random row whose totals are the sums of its classes, as a relay's are."""
    row = make_random_call(number, dice)
    if row.input_tokens is None:
        return row
    tokens = TokenClasses(
        input_uncached=dice.randrange(1000),
        cached_read=dice.randrange(100),
        cache_write=dice.randrange(100),
        cache_write_1h=dice.randrange(9) if classes else 0,
        input_image=dice.randrange(9) if classes else 0,
        output_text=dice.randrange(200),
        reasoning=dice.randrange(50),
    )
    return msgspec.structs.replace(
        row,
        app=dice.choice(["=web", "-x", "plain, with a comma", None]),
        tokens=tokens,
        input_tokens=tokens.input_total,
        cached_input_tokens=tokens.cached_total,
        cache_write_tokens=tokens.cache_write_total,
        output_tokens=tokens.output_total,
        reasoning_tokens=tokens.reasoning,
    )


@pytest.fixture
def ledger(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Ledger]:
    dice = random.Random(3)
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.sqlite3") as opened:
        opened.migrate()
        opened.ship([_call(number, dice, classes=request.param == "classes") for number in range(300)], {})
        yield opened


def _assert_same(found: Trace, expected: Trace) -> None:
    assert 0 < len(found) == len(expected)
    arrays = [name for name in Trace.__slots__ if name not in ("codes", "names")]
    for name in arrays:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
    for name, places in found.codes.items():
        texts = [found.names[name][place] for place in places]
        assert texts == [expected.names[name][place] for place in expected.codes[name]], name


@pytest.mark.parametrize("ledger", ["totals"], indirect=True)
def test_a_csv_with_the_columns_of_calls_json_is_the_ledgers_trace(ledger: Ledger, tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, queries.CALL_KEYS)
        writer.writeheader()
        writer.writerows(queries.calls(ledger))
    _assert_same(read(path).week(WEEK), from_ledger(ledger, WEEK))


@pytest.mark.parametrize("format", ["csv", "parquet"])
@pytest.mark.parametrize("ledger", ["classes"], indirect=True)
def test_what_export_writes_is_the_ledgers_trace_by_class(ledger: Ledger, tmp_path: Path, format: str) -> None:  # noqa: A002
    path, table = tmp_path / f"calls.{format}", TABLES["calls"]
    write_file(path, format, table.columns, table.rows(ledger, None, None))
    _assert_same(read(path).week(WEEK), from_ledger(ledger, WEEK))


def test_a_time_and_two_counts_are_enough(tmp_path: Path) -> None:
    trace = from_csv(_csv(tmp_path, LEAST + "2025-11-20T08:30:00.5Z,100,7\n"))
    assert trace.started_at_ns[0] == parse_moment("2025-11-20T08:30:00.5Z")
    assert (trace.input_tokens[0], trace.output_tokens[0]) == (100, 7)
    assert _tokens(trace) == {"input_uncached": 100, "output_text": 7}
    assert (trace.answered[0], trace.upstream_call[0], trace.streamed[0]) == (True, True, False)
    assert (COST_STATES[trace.cost_state[0]], trace.cost_nano_usd[0]) == ("unpriced", 0)
    assert {name: texts[trace.codes[name][0]] for name, texts in trace.names.items() if texts[0] is not None} == {}
    assert np.isnan(trace.ttft_ns[0])


def test_the_azure_traces_own_columns_are_known(tmp_path: Path) -> None:
    text = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,4808,10\n"
    trace = from_csv(_csv(tmp_path, text))
    assert trace.started_at_ns[0] == parse_moment("2023-11-16T18:17:03.97996Z")
    assert (trace.input_tokens[0], trace.output_tokens[0]) == (4808, 10)


def test_classes_are_made_of_the_totals(tmp_path: Path) -> None:
    text = (
        "Started_At_NS, input_tokens ,cached_input_tokens,cache_write_tokens,output_tokens,reasoning_tokens,model,x\n"
        "1763596800000000000,100,30,20.0,12,5,gpt-4o,ever\n"
    )
    trace = from_csv(_csv(tmp_path, text))
    assert _tokens(trace) == {
        "input_uncached": 100 - 30 - 20,
        "cached_read": 30,
        "cache_write": 20,
        "output_text": 12 - 5,
        "reasoning": 5,
    }
    assert trace.names["model"] == ("gpt-4o",)


def test_dollars_are_read_to_the_nano_dollar(tmp_path: Path) -> None:
    """As floats, 8,581.74778126 dollars are 8,581,747,781,259 whole nano-dollars."""
    text = "started_at,input_tokens,output_tokens,cost_usd\n2025-11-20,1,1,8581.747781260\n2025-11-20,1,1,\n"
    trace = from_csv(_csv(tmp_path, text))
    assert trace.cost_nano_usd.tolist() == [8_581_747_781_260, 0]
    assert [COST_STATES[state] for state in trace.cost_state] == ["exact", "unpriced"]


def test_an_error_status_is_no_answer(tmp_path: Path) -> None:
    text = "started_at,input_tokens,output_tokens,status,cache\n2025-11-20,1,1,429,\n2025-11-20,1,1,200,hit\n"
    trace = from_csv(_csv(tmp_path, text + "2025-11-20,1,1,,miss\n"))
    assert trace.answered.tolist() == [False, False, True]
    assert trace.upstream_call.tolist() == [True, False, True]


def test_empty_counts_are_missing_and_blank_lines_are_nothing(tmp_path: Path) -> None:
    trace = from_csv(_csv(tmp_path, "\ufeff" + LEAST + "2025-11-20,,3\n\n2025-11-21,0,3\n"))
    assert trace.counted.tolist() == [False, True]
    assert trace.output_tokens.tolist() == [0, 3]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "line 1: no column started_at_ns or started_at: the first line names the columns, separated by commas"),
        ("started_at,input_tokens\n", "line 1: no column output_tokens"),
        (LEAST[:-1] + ",INPUT_TOKENS\n", "line 1: two columns are called input_tokens: keep one"),
        (LEAST + "2025-11-20,1,2\n2025-11-20,1\n", "line 3: 2 cells under 3 columns: quote cells that hold commas"),
        (LEAST + "2025-11-20,1,2\nyesterday,1,2\n", "line 3, column started_at: expected a time such as 2026-11-20T"),
        (LEAST + ",1,2\n", "line 2, column started_at: a call needs its time: fill it in, or take the line out"),
        (LEAST + "2025-11-20,1,two\n", "line 2, column output_tokens: expected a whole number from 0 to 1000000000"),
        (LEAST + "2025-11-20,-1,2\n", "line 2, column input_tokens: expected a whole number"),
        (LEAST + "2025-11-20,1.5,2\n", "line 2, column input_tokens: expected a whole number"),
        (LEAST + "1960-01-01,1,2\n", "line 2, column started_at: expected a time"),
        (LEAST[:-1] + ",cost_usd\n2025-11-20,1,2,1e9999999\n", "column cost_usd: expected dollars from 0 to 10000"),
        (LEAST[:-1] + ",cost_state\n2025-11-20,1,2,sure\n", "column cost_state: expected one of exact, estimated"),
        (LEAST[:-1] + ",cache\n2025-11-20,1,2,yes\n", "column cache: expected one of hit, miss, bypass, coalesced"),
        (LEAST[:-1] + ",stream\n2025-11-20,1,2,maybe\n", "column stream: expected true or false; leave the cell empty"),
        (LEAST[:-1] + ",ttft_ns\n2025-11-20,1,2,nan\n", "column ttft_ns: expected nanoseconds, from 0"),
        (LEAST[:-1] + ",cached_input_tokens\n2025-11-20,1,2,3\n", "column input_tokens: less than its own parts"),
        (LEAST[:-1] + ",part_output_text_tokens\n2025-11-20,1,2,2\n", "are not the sum of the part_*_tokens columns"),
        (LEAST + '2025-11-20,"1,2\n', "is no CSV in UTF-8"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line_column_and_fix(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(UsageError) as raised:
        from_csv(_csv(tmp_path, text))
    assert says in str(raised.value)
    assert "calls.csv" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_call_that_stands_twice_is_an_error_and_its_second_attempt_is_none(tmp_path: Path) -> None:
    """Two exports that overlap, put in one file."""
    header = LEAST[:-1] + ",call_id,attempt\n"
    lines = "2025-11-20,1,2,a,1\n2025-11-20,1,2,a,2\n2025-11-20,1,2,,1\n2025-11-20,1,2,,1\n"
    assert len(from_csv(_csv(tmp_path, header + lines))) == 4
    with pytest.raises(UsageError, match=r"calls.csv: 2 rows have the call_id and attempt of an earlier one: keep one"):
        from_csv(_csv(tmp_path, header + lines + lines))


def test_a_line_far_down_is_named_by_its_own_number_quoted_line_breaks_counted(tmp_path: Path) -> None:
    lines = ['2025-11-20,1,2,"a\nb"'] * 25_000
    path = _csv(tmp_path, LEAST[:-1] + ",app\n" + "\n".join([*lines, "2025-11-20,1,x,c", *lines]))
    with pytest.raises(UsageError, match=r"line 50002, column output_tokens"):
        from_csv(path)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("calls.csv", None, "cannot read .*: No such file or directory; give a CSV of recorded calls"),
        ("calls.parquet", None, "as Parquet: give a file that submeter export has written"),
        ("calls.parquet", b"PAR1 no parquet PAR1", "as Parquet: give a file that submeter export has written"),
        ("calls.csv", b"\xff\xfe\x00", "is no CSV in UTF-8"),
    ],
)
def test_what_is_no_trace_at_all_says_so(tmp_path: Path, name: str, content: bytes | None, says: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=says):
        read(tmp_path / name)


def _read(content: bytes, name: str = "calls.csv") -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / name
        path.write_bytes(content)
        try:
            trace = read(path)
        except UsageError as error:
            text = str(error)
            assert "\n" not in text.replace(directory, "")
            return
    assert (trace.tokens.sum(axis=1) == trace.input_tokens + trace.output_tokens).all()
    assert (trace.tokens >= 0).all()
    assert (np.diff(trace.started_at_ns) >= 0).all()


@settings(max_examples=150)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_trace_or_a_clear_error(content: bytes) -> None:
    _read(content)
    _read(b"started_at_ns,input_tokens,output_tokens,app\n" + content)


_CELL = st.one_of(
    st.text(max_size=6),
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(["", "true", "1e99", "2025-11-20"]),
)


@settings(max_examples=150)
@given(
    st.lists(st.sampled_from([*queries.CALL_KEYS, "started_at_ns", "cost_usd", "part_reasoning_tokens"]), unique=True),
    st.lists(st.lists(_CELL, max_size=12), max_size=4),
)
def test_any_cells_under_known_columns_are_a_trace_or_a_clear_error(names: list[str], rows: list[list[str]]) -> None:
    names = [name for name in names if name not in ("started_at_ns", "input_tokens", "output_tokens")]
    with tempfile.TemporaryFile("w+", newline="", encoding="utf-8", errors="surrogatepass") as file:
        writer = csv.writer(file)
        writer.writerow(["started_at_ns", "input_tokens", "output_tokens", *names])
        for number, row in enumerate(rows):
            writer.writerow([number, 10, 3, *(row + [""] * len(names))[: len(names)]])
        file.seek(0)
        _read(file.read().encode("utf-8", "surrogatepass"))


@settings(max_examples=60)
@given(st.binary(max_size=100))
def test_any_bytes_called_parquet_are_a_clear_error(content: bytes) -> None:
    _read(b"PAR1" + content + b"PAR1", "calls.parquet")
