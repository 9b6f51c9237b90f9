"""Factors from measured points: planted ones are found, and points that cannot be believed are refused."""

import contextlib
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from report.fleets import SERVER
from submeter.errors import UsageError
from submeter.report.calibrate import Calibration, alternatives, calibrate, factor, predicted
from submeter.report.points import COLUMNS, Point, read

LENGTHS = ((200, 100), (1000, 300), (3000, 50))


def point(inputs: int, outputs: int, concurrency: int | None = 16, speed: float = 1.0, engine: str = "vllm") -> Point:
    """What a server that is so much faster than predicted would have measured."""
    blank = Point(2, engine, SERVER, inputs, outputs, concurrency, None, None, None)
    run = predicted(blank._replace(server=msgspec.structs.replace(SERVER, speed=speed)))
    return blank._replace(
        output_tokens_per_s=run.output_tokens_per_s,
        ttft_s=None if concurrency is None else run.ttft_s,
        tpot_s=run.tpot_s,
    )


def only(points: Sequence[Point]) -> Calibration:
    [found] = calibrate(points)
    return found


@settings(max_examples=20)
@given(st.floats(0.4, 2.5), st.sampled_from([None, 1, 16]))
def test_a_planted_speed_is_found(speed: float, concurrency: int | None) -> None:
    found = only([point(*lengths, concurrency, speed) for lengths in LENGTHS])
    assert found.speed == pytest.approx(speed)
    assert found.spread == pytest.approx(1)


@pytest.mark.parametrize("kept", ["output_tokens_per_s", "ttft_s", "tpot_s"])
def test_any_of_the_three_is_enough(kept: str) -> None:
    whole = point(1000, 300, speed=1.3)
    one = whole._replace(**{name: None for name in ("output_tokens_per_s", "ttft_s", "tpot_s") if name != kept})
    assert factor(one) == pytest.approx(1.3)


def test_the_mean_is_geometric_and_its_spread_is_said() -> None:
    speeds = (0.8, 1.0, 1.25)
    found = only([point(*lengths, speed=speed) for lengths, speed in zip(LENGTHS, speeds, strict=True)])
    assert found.speed == pytest.approx(1)
    assert found.spread == pytest.approx(1.25)
    assert found.factors == pytest.approx(speeds)


def test_engines_are_told_apart() -> None:
    mixed = [point(*each, speed=1.2) for each in LENGTHS] + [
        point(*each, speed=0.9, engine="sglang") for each in LENGTHS
    ]
    assert {each.group.engine: round(each.speed, 6) for each in calibrate(mixed)} == {"sglang": 0.9, "vllm": 1.2}


def test_a_client_in_a_loop_keeps_so_many_there() -> None:
    run = predicted(point(1000, 300, 1))
    alone = run.ttft_s - SERVER.host_overhead_s + 299 * run.tpot_s
    assert run.output_tokens_per_s == pytest.approx(300 / alone)
    assert predicted(point(1000, 300, 16)).output_tokens_per_s > 5 * run.output_tokens_per_s


def test_the_lines_for_the_file() -> None:
    found = calibrate([point(*lengths, speed=1.08) for lengths in LENGTHS])
    assert alternatives(found, date(2026, 11, 24)) == (
        "# llama-3.3-70b on h100_sxm, fp8: 3 points on vllm, measured ÷ predicted 1.08 to 1.08, spread × 1.00, "
        "2026-11-24\nspeed: 1.08\n"
    )


# ---- refusals --------------------------------------------------------------------------------------------------------


def refused(points: Sequence[Point]) -> str:
    with pytest.raises(UsageError) as raised:
        calibrate(points)
    return str(raised.value)


def test_two_points_are_too_few() -> None:
    assert refused([point(*lengths) for lengths in LENGTHS[:2]]) == (
        "vllm h100_sxm llama-3.3-70b fp8: 2 points, but a factor needs at least 3: measure other lengths or another "
        "concurrency"
    )
    assert refused([]).startswith("no points")


@pytest.mark.parametrize("speed", [0.29, 3.1])
def test_what_is_beyond_belief(speed: float) -> None:
    text = refused([point(*lengths, speed=speed) for lengths in LENGTHS])
    assert f"measured is {speed:.2f} times what is predicted, which is beyond belief (0.3 to 3)" in text


def test_a_first_token_before_the_request_was_read() -> None:
    early = [point(*lengths)._replace(ttft_s=0.03) for lengths in LENGTHS]
    assert refused(early) == (
        "line 2: ttft_ms 30 is less than what a host takes besides the GPU (35 ms): leave it out, or give it in "
        "milliseconds"
    )


# ---- the file --------------------------------------------------------------------------------------------------------

HEADER = (
    "gpu,model,tensor_parallel,precision,engine,input_tokens,output_tokens,concurrency,"
    "output_tokens_per_s,ttft_ms,tpot_ms"
)
GOOD = "h100_sxm,llama-3.3-70b,2,fp8,vllm 0.11,1000,300,16,900.5,250,17.5"


def file(path: Path, *lines: str, header: str = HEADER) -> Path:
    path = path / "points.csv"
    path.write_text("\n".join((header, *lines)) + "\n", encoding="utf-8")
    return path


def test_a_line_is_a_point(tmp_path: Path) -> None:
    saturated = "h100_sxm,llama-3.3-70b,2,fp8,,1000,300,,2100,,"
    assert read(file(tmp_path, GOOD, saturated)) == (
        Point(2, "vllm 0.11", SERVER, 1000, 300, 16, 900.5, 0.25, 0.0175),
        Point(3, "", SERVER, 1000, 300, None, 2100.0, None, None),
    )


def test_columns_that_are_not_needed_may_be_missing(tmp_path: Path) -> None:
    path = file(
        tmp_path,
        "llama-3.3-70b,h100_sxm,2,fp8,128,128,2000",
        header="model,gpu,tensor_parallel,precision,input_tokens,output_tokens,output_tokens_per_s",
    )
    assert read(path)[0].output_tokens_per_s == 2000


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("h100_sxm", "h100", "points.csv, line 2: unknown GPU 'h100': nearest is 'h100_sxm'"),
        ("llama-3.3-70b", "llama-3-70b", "line 2: unknown model 'llama-3-70b'"),
        ("fp8", "int8", "line 2: precision is one of bf16, fp8, fp4, not 'int8'"),
        (",2,", ",1,", "set `tensor_parallel: 2`"),
        (",2,", ",65,", "line 2: tensor_parallel is at most 64, not 65"),
        (",2,", ",1.5,", "line 2: tensor_parallel is a whole number, not 1.5"),
        (",2,", ",,", "line 2: tensor_parallel is missing"),
        ("900.5", "fast", "line 2: output_tokens_per_s is a number above 0, not 'fast'"),
        ("900.5", "nan", "not 'nan'"),
        ("900.5", "-1", "not '-1'"),
        ("900.5,250,17.5", ",,", "line 2: nothing was measured"),
        (",16,", ",,", "line 2: ttft_ms needs the concurrency"),
        (",16,", ",99999,", "line 2: a concurrency of 99,999 is above 10,000: leave it blank"),
        ("1000,300", "1000,1", "line 2: an answer of one token has no tpot_ms"),
        ("1000,300", "9000000,300", "line 2: one request is longer than"),
        ("17.5", "17.5,1", "line 2: more values than columns"),
    ],
)
def test_a_wrong_value_is_named_with_its_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        read(file(tmp_path, GOOD.replace(old, new, 1)))
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("gpu,model", "points.csv: no column tensor_parallel"),
        (HEADER.replace("ttft_ms", "ttft"), "unknown column 'ttft'"),
    ],
)
def test_wrong_columns_are_named(tmp_path: Path, header: str, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        read(file(tmp_path, GOOD, header=header))
    assert said in str(raised.value)
    assert ", ".join(COLUMNS) in str(raised.value)


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^none\.csv: .*: a CSV file in UTF-8 is needed$"):
        read(tmp_path / "none.csv")
    path = tmp_path / "points.csv"
    path.write_bytes(b"gpu,\xff\n")
    with pytest.raises(UsageError, match=r"^points\.csv: .*: a CSV file in UTF-8 is needed$"):
        read(path)


@given(st.binary(max_size=60))
def test_any_bytes_are_points_or_a_clear_refusal(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(HEADER.encode() + b"\n" + data)
    with contextlib.suppress(UsageError):
        read(path)
