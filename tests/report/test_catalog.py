"""The dated catalogs: recomputed from other figures of the same sources; errors name the nearest."""

from datetime import date

import pytest

from submeter.errors import UsageError
from submeter.report import catalog
from submeter.report.catalog import Model, Server

WIDTHS = {
    # Dense layers' inner width, vocabulary; query and key-value projections follow from the heads.
    "llama-3.1-8b": (14336, 128256),
    "llama-3.3-70b": (28672, 128256),
    "llama-3.1-405b": (53248, 128256),
    "llama-2-70b": (28672, 32000),
    "qwen2.5-72b": (29568, 152064),
    "mistral-small-24b": (32768, 131072),
    "qwen3-30b-a3b": (0, 151936),
    "qwen3-235b-a22b": (0, 151936),
    "gpt-oss-20b": (0, 201088),
    "gpt-oss-120b": (0, 201088),
}


@pytest.mark.parametrize("name", WIDTHS)
def test_parameters_follow_from_the_configuration(name: str) -> None:
    model, (width, vocabulary) = catalog.model(name), WIDTHS[name]
    assert model.kv_heads is not None
    projections = 2 * model.hidden * model.head_dim * (model.heads + model.kv_heads)
    layers = model.layers * (projections + 3 * model.hidden * width)
    counted = layers + model.expert_parameters + 2 * vocabulary * model.hidden
    assert counted == pytest.approx(model.parameters, rel=2e-3)


@pytest.mark.parametrize(
    ("name", "active"),
    [("qwen3-30b-a3b", 3.3e9), ("qwen3-235b-a22b", 22e9), ("deepseek-v3", 37e9), ("gpt-oss-20b", 3.6e9 + 0.58e9)],
)
def test_a_mixture_has_the_active_parameters_that_its_makers_state(name: str, active: float) -> None:
    """OpenAI counts without the input embedding of 201,088 × 2,880."""
    assert catalog.model(name).active_parameters == pytest.approx(active, rel=0.02)


def test_a_dense_model_is_all_active() -> None:
    model = catalog.model("llama-3.3-70b")
    assert model.active_parameters == model.dense_parameters == model.parameters


def test_what_is_kept_of_a_token() -> None:
    assert catalog.model("llama-3.3-70b").kv_values_per_token == 2 * 80 * 8 * 128
    assert catalog.model("deepseek-v3").kv_values_per_token == 61 * (512 + 64)
    # Every second layer forgets all but 128 tokens.
    assert catalog.model("gpt-oss-120b").kv_values_per_token == 2 * 18 * 8 * 64


def test_everything_has_a_source_and_the_day_it_was_checked() -> None:
    for item in (*catalog.gpus().values(), *catalog.models().values()):
        assert len(item.source) > 20
        assert date(2026, 1, 1) < item.checked_on < date(2027, 1, 1)


def test_gpus_compute_in_what_they_have_and_unpack_the_rest_to_bf16() -> None:
    arithmetic = {name: [gpu.arithmetic(p) for p in ("bf16", "fp8", "fp4")] for name, gpu in catalog.gpus().items()}
    assert arithmetic == {
        "a100_sxm": ["bf16", "bf16", "bf16"],
        "h100_sxm": ["bf16", "fp8", "bf16"],
        "h200_sxm": ["bf16", "fp8", "bf16"],
        "b200_sxm": ["bf16", "fp8", "fp4"],
    }


@pytest.mark.parametrize(
    ("name", "nearest"), [("llama-3.3-70B", "llama-3.3-70b"), ("llama-3.3-70b-instruct", "llama-3.3-70b"), ("x", "")]
)
def test_an_unknown_model_names_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(UsageError, match=f"unknown model '{name}': nearest is '{nearest}"):
        catalog.model(name)


@pytest.mark.parametrize("name", ["h100", "H100-SXM", "h100_sxm5"])
def test_an_unknown_gpu_names_the_nearest(name: str) -> None:
    with pytest.raises(UsageError, match=f"unknown GPU '{name}': nearest is 'h100_sxm'; known are a100_sxm, b200_sxm"):
        catalog.gpu(name)


def test_a_model_says_how_it_keeps_its_context() -> None:
    with pytest.raises(ValueError, match="m: either `kv_heads` or both"):
        Model(
            name="m",
            layers=1,
            hidden=1,
            heads=1,
            head_dim=1,
            kv_latent=1,
            parameters=1,
            licence="",
            source="",
            checked_on=date(2026, 11, 24),
        )


def test_a_server_is_one_gpu_with_fp8_unless_said_otherwise() -> None:
    server = Server(gpu=catalog.gpu("h100_sxm"), model=catalog.model("llama-3.1-8b"))
    assert (server.tensor_parallel, server.precision, server.slots, server.chunk_tokens) == (1, "fp8", 256, 8192)
