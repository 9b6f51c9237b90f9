"""One iteration's seconds as arithmetic by hand, and what fits into a GPU's memory."""

import msgspec
import pytest

from submeter.report import catalog
from submeter.report.catalog import SPEED_OF_LIGHT, Precision, Server
from submeter.report.steptime import PUBLISHED_GRAPH_SIZES, Unfit, kv_capacity_tokens, limits, step_time


def server(model: str, gpu: str, gpus: int = 1, precision: Precision = "fp8", **settings: object) -> Server:
    plain = Server(gpu=catalog.gpu(gpu), model=catalog.model(model), tensor_parallel=gpus, precision=precision)
    return msgspec.structs.replace(plain, **settings)


def test_a_lone_decode_reads_all_weights() -> None:
    # 1.5 ms + 32 layers × 10 µs + 8.03 GB at 75 % of 3.35 TB/s
    assert step_time(server("llama-3.1-8b", "h100_sxm")).base(1) == pytest.approx(
        1.5e-3 + 32 * 10e-6 + 8.03e9 / (3.35e12 * 0.75)
    )


def test_a_full_prompt_is_bound_by_arithmetic_and_links() -> None:
    # 2 × 70.55e9 FLOP a token at half of 2 × 1979 TFLOP/s; 2 × 80 all-reduces of 8192 × 2 bytes, each twice half way.
    rows, step = 8192, step_time(server("llama-3.3-70b", "h100_sxm", 2))
    fixed = 1.5e-3 + 80 * 10e-6 + 160 * 12e-6
    arithmetic = rows * 2 * 70.55e9 / (1979e12 * 0.5 * 2)
    links = rows * 2 * 80 * 8192 * 2 * 2 * 0.5 / (0.7 * 900e9)
    assert step.base(0, rows) == pytest.approx(fixed + arithmetic + links)
    assert step.base(100, rows - 100) == step.base(0, rows)


def test_contexts_and_attention() -> None:
    step = step_time(server("llama-3.3-70b", "h100_sxm", 2, kv_bytes=2))
    assert step.kv_s_per_token == pytest.approx(2 * 80 * 8 * 128 * 2 / (3.35e12 * 0.75 * 2))
    assert step.attention_s == pytest.approx(4 * 64 * 128 * 80 / (989e12 * 0.5 * 2))


def test_a_mixture_reads_the_experts_that_are_touched() -> None:
    model = catalog.model("qwen3-30b-a3b")
    step = step_time(server("qwen3-30b-a3b", "h100_sxm", precision="bf16", efficiency=SPEED_OF_LIGHT))
    for rows in (1, 8):
        touched = model.dense_parameters + model.expert_parameters * (1 - (120 / 128) ** rows)
        assert step.base(rows) == pytest.approx(touched * 2 / 3.35e12)
    assert step.base(0, 100_000) == pytest.approx(100_000 * 2 * model.active_parameters / 989e12)


def test_weights_that_the_gpu_cannot_compute_in_are_small_to_read_and_computed_in_bf16() -> None:
    packed = step_time(server("gpt-oss-120b", "h100_sxm", precision="fp4", efficiency=SPEED_OF_LIGHT))
    plain = step_time(server("gpt-oss-120b", "h100_sxm", 4, precision="bf16", efficiency=SPEED_OF_LIGHT))
    assert packed.base(1) / plain.base(1) == pytest.approx(4 * 0.5625 / 2, rel=0.01)
    assert packed.base(0, 100_000) == pytest.approx(
        100_000 * 2 * catalog.model("gpt-oss-120b").active_parameters / 989e12
    )


def test_captured_graphs_compute_idle_rows_in_iterations_of_decodes_only() -> None:
    plain, padded = (
        step_time(server("llama-3.1-8b", "h100_sxm", graph_sizes=sizes)) for sizes in ((), PUBLISHED_GRAPH_SIZES)
    )
    assert padded.base(1025) == plain.base(2048)
    assert padded.base(1024) == plain.base(1024)
    assert padded.base(9000) == plain.base(9000)
    assert padded.base(1025, 1) == plain.base(1026)


def test_speed_divides_every_second_of_the_gpus() -> None:
    slow, fast = (step_time(server("deepseek-r1", "h200_sxm", 8, speed=speed)) for speed in (1.0, 1.25))
    for decodes, prompt in ((1, 0), (300, 0), (5, 4000)):
        assert slow.base(decodes, prompt) / fast.base(decodes, prompt) == pytest.approx(1.25)
    assert slow.kv_s_per_token / fast.kv_s_per_token == pytest.approx(1.25)
    assert slow.attention_s / fast.attention_s == pytest.approx(1.25)


def test_the_cache_has_what_the_weights_leave() -> None:
    # 90 % of 2 × 80 GB less 2 × 2 GB less 70.55 GB, at 163,840 bytes a token.
    assert kv_capacity_tokens(server("llama-3.3-70b", "h100_sxm", 2)) == int((144e9 - 4e9 - 70.55e9) / 163_840)
    assert limits(server("llama-3.3-70b", "h100_sxm", 2)) == (256, 423_889, 8192)


@pytest.mark.parametrize(
    ("asked", "fix"),
    [
        (server("llama-3.3-70b", "h100_sxm", precision="bf16"), "set `tensor_parallel: 4`"),
        (
            server("llama-3.1-405b", "a100_sxm", 8, precision="bf16"),
            "choose a lower precision or a GPU with more memory",
        ),
    ],
)
def test_what_does_not_fit_names_what_would(asked: Server, fix: str) -> None:
    with pytest.raises(Unfit, match=f"GB of weights, too many for .*{fix}"):
        kv_capacity_tokens(asked)
