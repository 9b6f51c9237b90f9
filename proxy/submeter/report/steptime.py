"""How long one iteration of a server takes, and how many tokens its cache holds: a roofline of two terms.

With B decodes whose contexts sum to C, P prompt tokens after c0 earlier ones, n = B + P, tensor parallel over t GPUs:

``T = t0 + L·tL + 2L·tAR·[t>1] + max(W(n)·w / (BW·MBU·t), 2·N_active·n / (F·MFU·t)) + n·comm
      + kv·(C + c0) / (BW·MBU·t) + 4·H·hd·L·P·(c0 + P/2) / (F_bf16·MFU·t)``

Weights are read once an iteration however many rows use them; a mixture of experts reads those that the rows touch,
``W(n) = N_dense + N_experts·(1 − (1 − k/E)ⁿ)`` if the router spreads them evenly. An iteration is bound by memory or
by arithmetic, whichever is slower (Williams et al., "Roofline", CACM 2009). ``comm``: two all-reduces a layer of
``hidden`` values of 2 bytes in a ring of 2(t−1)/t (Shoeybi et al., "Megatron-LM", 2019, section 3).
"""

from bisect import bisect_left
from collections.abc import Sequence

from submeter.report.catalog import Precision, Server
from submeter.report.engine import Limits, StepTime

PUBLISHED_GRAPH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 384, 512, 1024, 2048, 4096, 8192)
"""The batches for which the published TensorRT-LLM runs captured graphs (performance overview, "Reproducing")."""

WEIGHT_BYTES: dict[Precision, float] = {"bf16": 2, "fp8": 1, "fp4": 0.5625}
"""Of one weight; fp4 with its scales: 8 bits for every 16 weights (NVFP4)."""

ACTIVATION_BYTES = 2


class Unfit(ValueError):
    """The weights leave no room in the memory of these GPUs; the text says how many would do."""


def step_time(server: Server) -> StepTime:
    """Weights in a precision that the GPU cannot compute in are read as they are and computed in bf16."""
    gpu, model, rates = server.gpu, server.model, server.efficiency
    shards, arithmetic = server.tensor_parallel, server.gpu.arithmetic(server.precision)
    # Calibration scales what the GPUs do: as if bandwidth, arithmetic and links were so much faster.
    bandwidth = gpu.bandwidth_bytes_per_s * rates.mbu * shards * server.speed
    flops = gpu.flops(arithmetic) * rates.of(arithmetic) * shards * server.speed
    attention_flops = gpu.flops("bf16") * rates.of("bf16") * shards * server.speed
    read_s = WEIGHT_BYTES[server.precision] / bandwidth
    row_s = 2 * model.active_parameters / flops
    reduced_bytes = 2 * model.layers * model.hidden * ACTIVATION_BYTES * 2 * (shards - 1) / shards
    reduce_s = reduced_bytes / (gpu.link_bytes_per_s * rates.link * server.speed)
    all_reduces = 2 * model.layers if shards > 1 else 0
    latency_s = rates.iteration_s + model.layers * rates.layer_s + all_reduces * rates.all_reduce_s
    fixed_s = latency_s / server.speed
    dense, experts, missed = model.dense_parameters, model.expert_parameters, 1 - model.active_share
    sizes = server.graph_sizes

    def base(decodes: int, prompt_tokens: int = 0) -> float:
        rows = decodes + prompt_tokens
        if sizes and not prompt_tokens:
            rows = _captured(rows, sizes)
        weights = dense + experts * (1 - missed**rows) if experts else dense
        return fixed_s + max(weights * read_s, rows * row_s) + rows * reduce_s

    return StepTime(
        base=base,
        kv_s_per_token=_kv_bytes_per_token(server) / bandwidth,
        attention_s=4 * model.heads * model.head_dim * model.attending_layers / attention_flops,
    )


def kv_capacity_tokens(server: Server) -> int:
    """Tokens of context that the memory holds beside the weights. Raises ``Unfit``."""
    free = _free_bytes(server, server.tensor_parallel)
    if free < _kv_bytes_per_token(server):
        raise Unfit(_unfit(server))
    return int(free / _kv_bytes_per_token(server))


def limits(server: Server) -> Limits:
    """Raises ``Unfit``."""
    return Limits(server.slots, kv_capacity_tokens(server), server.chunk_tokens)


def _kv_bytes_per_token(server: Server) -> int:
    return server.model.kv_values_per_token * server.kv_bytes


def _weights_bytes(server: Server) -> float:
    return server.model.parameters * WEIGHT_BYTES[server.precision]


def _free_bytes(server: Server, gpus: int) -> float:
    rates = server.efficiency
    return gpus * (rates.memory_share * server.gpu.memory_bytes - rates.reserved_bytes) - _weights_bytes(server)


def _unfit(server: Server) -> str:
    gpu, weights_gb = server.gpu, _weights_bytes(server) / 1e9
    enough = next((n for n in (1, 2, 4, 8) if n <= gpu.node_gpus and _free_bytes(server, n) > 0), None)
    fix = f"set `tensor_parallel: {enough}`" if enough else "choose a lower precision or a GPU with more memory"
    return (
        f"{server.model.name} in {server.precision} has {weights_gb:.0f} GB of weights, too many for "
        f"{server.tensor_parallel} × {gpu.name} of {gpu.memory_bytes / 1e9:.0f} GB: {fix}"
    )


def _captured(rows: int, sizes: Sequence[int]) -> int:
    """The rows that a graph computes for so many: the next captured size; larger batches run as they are."""
    at = bisect_left(sizes, rows)
    return sizes[at] if at < len(sizes) else rows
