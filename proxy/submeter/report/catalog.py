"""What can be bought or rented, and what can run on it: dated GPUs and open-weights models, each with its source.

``gpus()`` and ``models()`` are the catalogs by name (``data/gpus.toml``, ``data/models.toml``); ``gpu`` and ``model``
look one up and name the nearest there are. A ``Server`` is one replica: a model in some precision on one or more GPUs.
"""

from collections.abc import Mapping
from datetime import date
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import Literal, TypeVar

import msgspec

from submeter.errors import UsageError

Precision = Literal["bf16", "fp8", "fp4"]

_Item = TypeVar("_Item")


class Gpu(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One accelerator as its data sheet has it: dense arithmetic, without sparsity."""

    name: str
    bandwidth_bytes_per_s: float
    flops_bf16: float
    flops_fp8: float | None = None
    """``None``: no arithmetic in this precision, only weights kept in it."""
    flops_fp4: float | None = None
    memory_bytes: float
    link_bytes_per_s: float
    """Between the GPUs of a node, both directions together."""
    node_gpus: int
    source: str
    checked_on: date

    def arithmetic(self, precision: Precision) -> Precision:
        """What weights of this precision are computed in: where the GPU lacks it they are unpacked to bf16."""
        have = {"bf16": self.flops_bf16, "fp8": self.flops_fp8, "fp4": self.flops_fp4}
        return "bf16" if have[precision] is None else precision

    def flops(self, precision: Precision) -> float:
        """In a precision that ``arithmetic`` gives."""
        rate = {"bf16": self.flops_bf16, "fp8": self.flops_fp8, "fp4": self.flops_fp4}[precision]
        assert rate is not None, f"{self.name} has no {precision} arithmetic"
        return rate


class Experts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The routed experts of a mixture; shared ones count as dense."""

    number: int
    active: int
    """Of which a token passes so many, in each of ``layers`` layers."""
    layers: int
    width: int
    """The inner width of one: three matrices of ``hidden`` × ``width``."""


class Model(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A decoder-only transformer with public weights, by the figures of its ``config.json``."""

    name: str
    layers: int
    hidden: int
    heads: int
    head_dim: int
    """For MLA: (query-key + value width) / 2, what a pair of tokens costs on average."""
    context_layers: int | None = None
    """Those that attend to the whole context, where others see a short window only; ``None``: all."""
    kv_heads: int | None = None
    """Grouped-query attention: keys and values of so many heads are kept."""
    kv_latent: int | None = None
    """Multi-head latent attention: one compressed vector of this width is kept …"""
    kv_rope: int | None = None
    """… and one rotary key of this."""
    parameters: float
    experts: Experts | None = None
    licence: str
    source: str
    checked_on: date

    def __post_init__(self) -> None:
        if (self.kv_heads is None) == (self.kv_latent is None or self.kv_rope is None):
            raise ValueError(f"{self.name}: either `kv_heads` or both `kv_latent` and `kv_rope`")

    @property
    def expert_parameters(self) -> float:
        experts = self.experts
        return 0 if experts is None else experts.layers * experts.number * 3 * self.hidden * experts.width

    @property
    def dense_parameters(self) -> float:
        """Those that every token passes."""
        return self.parameters - self.expert_parameters

    @property
    def active_share(self) -> float:
        """Of the experts, those that one token passes."""
        return 0 if self.experts is None else self.experts.active / self.experts.number

    @property
    def active_parameters(self) -> float:
        return self.dense_parameters + self.expert_parameters * self.active_share

    @property
    def attending_layers(self) -> int:
        """The layers whose cost grows with the context. A short window's share is left out."""
        return self.layers if self.context_layers is None else self.context_layers

    @property
    def kv_values_per_token(self) -> int:
        """Kept for every token of the context."""
        if self.kv_heads is not None:
            return 2 * self.attending_layers * self.kv_heads * self.head_dim
        assert self.kv_latent is not None
        assert self.kv_rope is not None
        return self.attending_layers * (self.kv_latent + self.kv_rope)


class Efficiency(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a server reaches of the data sheet. The defaults are priors, set before they were scored (see the guide).

    Only ``mfu_fp4`` was fitted, to the 20 fp4 rows of the published throughputs; all other rows test it untouched.
    """

    mbu: float = 0.75
    """Of the memory bandwidth."""
    mfu: float = 0.50
    """Of the arithmetic."""
    mfu_fp4: float = 0.38
    link: float = 0.70
    iteration_s: float = 1.5e-3
    """Scheduling and sampling of one iteration."""
    layer_s: float = 10e-6
    all_reduce_s: float = 12e-6
    """The latency of one; two a layer."""
    memory_share: float = 0.90
    """Of a GPU's memory, what weights, cache and ``reserved_bytes`` may take."""
    reserved_bytes: float = 2e9
    """Of each GPU, for activations and graphs."""

    def of(self, precision: Precision) -> float:
        """The share of the arithmetic in this precision."""
        return self.mfu_fp4 if precision == "fp4" else self.mfu


PRIORS = Efficiency()

SPEED_OF_LIGHT = Efficiency(
    mbu=1, mfu=1, mfu_fp4=1, link=1, iteration_s=0, layer_s=0, all_reduce_s=0, memory_share=1, reserved_bytes=0
)
"""The data sheet without any loss: no real server is faster."""


class Server(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One replica: ``tensor_parallel`` GPUs that share one copy of the model, and the settings of its engine."""

    gpu: Gpu
    model: Model
    tensor_parallel: int = 1
    precision: Precision = "fp8"
    """Of weights and arithmetic."""
    kv_bytes: int = 1
    """Of one value in the key-value cache: 1 for fp8, 2 for bf16."""
    slots: int = 256
    """The most sequences that run at once (vLLM ``--max-num-seqs``)."""
    chunk_tokens: int = 8192
    """Tokens computed in one iteration (vLLM ``--max-num-batched-tokens``)."""
    graph_sizes: tuple[int, ...] = ()
    """Batch sizes of captured CUDA graphs: an iteration of decodes only computes the rows of the next size.

    Left out unless stated. vLLM captures every 8 up to 256 rows and every 16 up to 512, and runs larger batches as they
    are: at most 15 idle rows, in batches whose time is that of reading the weights.
    """
    speed: float = 1.0
    """True throughput ÷ predicted, from a calibration or a band: all times of the GPUs are divided by it."""
    host_overhead_s: float = 0.035
    """Tokenising, scheduling and the network, once a call, in its time to first token."""
    efficiency: Efficiency = PRIORS


@cache
def gpus() -> Mapping[str, Gpu]:
    return {gpu.name: gpu for gpu in _read("gpus.toml", Gpu)}


@cache
def models() -> Mapping[str, Model]:
    return {model.name: model for model in _read("models.toml", Model)}


def gpu(name: str) -> Gpu:
    """Raises ``UsageError`` that names the nearest known."""
    return _named("GPU", name, gpus())


def model(name: str) -> Model:
    """Raises ``UsageError`` that names the nearest known."""
    return _named("model", name, models())


def _read(file: str, kind: type[_Item]) -> list[_Item]:
    """The tables of a catalog; a table's key is the item's name."""
    tables: dict[str, dict[str, object]] = msgspec.toml.decode(
        files("submeter.report").joinpath("data", file).read_bytes()
    )
    return [msgspec.convert({"name": name, **table}, kind) for name, table in tables.items()]


def _named(what: str, name: str, known: Mapping[str, _Item]) -> _Item:
    if name in known:
        return known[name]
    near = get_close_matches(name.lower().replace("_", "-"), known, 1, 0.4) or get_close_matches(name, known, 1, 0.0)
    raise UsageError(f"unknown {what} {name!r}: nearest is {near[0]!r}; known are {', '.join(sorted(known))}")
