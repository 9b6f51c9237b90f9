"""The nearest published benchmark, and what the model makes of it."""

import csv

import msgspec
import pytest

from report.fleets import SERVER
from report.measured import TRTLLM, trtllm
from submeter.report import catalog
from submeter.report.benchmark import benchmark, mean_error, nearest, published
from submeter.report.catalog import PRIORS, Efficiency
from submeter.report.steptime import PUBLISHED_GRAPH_SIZES


def test_the_table_is_that_of_the_shared_data() -> None:
    if not TRTLLM.exists():
        pytest.skip(f"no {TRTLLM.name}: ../shared/data lies beside this repository's clone, which stands alone here")
    with TRTLLM.open() as file:
        shared = [tuple(row.values()) for row in csv.DictReader(file)]
    assert [
        tuple(f"{value:.0f}" if isinstance(value, float) else str(value) for value in row[:7]) for row in published()
    ] == shared


def test_a_row_is_run_as_the_check_of_the_model_runs_it() -> None:
    for place, point in enumerate(trtllm()[::16]):
        row = published()[16 * place]
        assert row.requests == point.requests
        assert (row.tuned is not None) == point.tuned
        assert benchmark(row).predicted == point.predicted(PRIORS, PUBLISHED_GRAPH_SIZES)


def test_over_all_rows_the_mean_error_is_below_15_percent() -> None:
    every = [benchmark(row) for row in published()]
    assert len(every) == 80
    assert mean_error(every) <= 0.15
    assert mean_error([each for each in every if each.row.tuned is None]) <= 0.15


def test_what_a_fitted_constant_is_called() -> None:
    assert {row.tuned for row in published()} - {None} <= set(Efficiency.__struct_fields__)


def test_the_nearest_of_the_same_model_gpu_and_precision_is_by_lengths() -> None:
    found = nearest(SERVER, 1900, 150)
    assert (found.row.model, found.row.gpu, found.row.tensor_parallel, found.row.precision) == (
        *("llama-3.3-70b", "h100_sxm"),
        *(2, "fp8"),
    )
    assert (found.row.input_tokens, found.row.output_tokens) == (2048, 128)
    assert found.text.startswith(
        "llama-3.3-70b on 2 × h100_sxm, fp8, 2,048 tokens in and 128 out: "
        f"{found.row.output_tokens_per_s:,.0f} output tokens/s published, {found.predicted:,.0f} predicted "
        f"({found.error:+.0%}; NVIDIA/TensorRT-LLM"
    )


def test_a_model_that_nobody_published_has_the_nearest_in_size() -> None:
    other = msgspec.structs.replace(SERVER, model=catalog.model("qwen2.5-72b"))
    assert nearest(other, 1900, 150).row.model == "llama-3.3-70b"


def test_the_same_gpu_comes_before_a_nearer_speed() -> None:
    """One H100 is nearer to one H200 than to two H100 in all but name."""
    assert nearest(msgspec.structs.replace(SERVER, tensor_parallel=1, precision="fp4"), 128, 128).row.gpu == "h100_sxm"


def test_a_fitted_row_says_so() -> None:
    server = msgspec.structs.replace(SERVER, gpu=catalog.gpu("b200_sxm"), tensor_parallel=1, precision="fp4")
    assert nearest(server, 128, 128).text.endswith("; mfu_fp4 was fitted to it)")


def test_calls_without_tokens_have_a_nearest_too() -> None:
    assert nearest(SERVER, 0, 0).row.input_tokens == 128
