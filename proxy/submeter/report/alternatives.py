"""``alternatives.yaml``: what a week could have been bought, rented or built as. ``load`` reads it.

Everything but what a person has to decide has a default; amounts and ratios are exact decimals, as they were written.
"""

import datetime as dt
from collections.abc import Collection
from decimal import Decimal
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from submeter.config import yamlfile
from submeter.config.nearest import known_or_nearest
from submeter.report import catalog
from submeter.report.alternatives_build import Builder

Policy = Literal["static", "hourly", "reactive"]

Usd: TypeAlias = Annotated[Decimal, Meta(examples=["1500"], extra={"most": 10**9})]
UsdPerHour: TypeAlias = Annotated[Decimal, Meta(examples=["2.95"], extra={"most": 10**4, "above": 0})]
Ratio: TypeAlias = Annotated[Decimal, Meta(examples=["1.04"], extra={"most": 100, "above": 0})]
Amount: TypeAlias = Annotated[Decimal, Meta(examples=["10.2"], extra={"most": 10**6, "above": 0})]
Ms: TypeAlias = Annotated[Decimal, Meta(examples=["2000"], extra={"most": 10**7, "above": 0})]
Prices: TypeAlias = Annotated[
    dict[str, Decimal], Meta(examples=['{input: "0.60", output: "0.80"}'], extra={"prices": True})
]
"""USD per million tokens by token class; written with everyday names."""
Count: TypeAlias = Annotated[int, Meta(ge=0, le=10_000, examples=["1"])]
Text: TypeAlias = Annotated[str, Meta(min_length=1)]
Globs: TypeAlias = Annotated[str, Meta(examples=['"gpt-4o*"'])]


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A mapping of the file: its keys are the fields."""


class Objective(_Part, frozen=True):
    """Latency that must hold on each UTC day of the week, with one replica down."""

    ttft_p95_ms: Ms
    tpot_p95_ms: Annotated[Decimal, Meta(examples=["50"], extra={"most": 10**6, "above": 0})]

    @property
    def ttft_p95_s(self) -> float:
        return float(self.ttft_p95_ms) / 1000

    @property
    def tpot_p95_s(self) -> float:
        return float(self.tpot_p95_ms) / 1000


DEFAULT_OBJECTIVE = Objective(ttft_p95_ms=Decimal(2000), tpot_p95_ms=Decimal(50))
"""What a person waits for an answer to begin, and somewhat more than the pace at which one reads."""


class GpuPrice(_Part, frozen=True):
    usd: UsdPerHour
    low: UsdPerHour | None = None
    """``None``, as ``high``: the price is fixed."""
    high: UsdPerHour | None = None

    def __post_init__(self) -> None:
        low, high = self.range
        if not low <= self.usd <= high:
            raise ValueError("`low` is at most `usd`, and that at most `high`")

    @property
    def range(self) -> tuple[Decimal, Decimal]:
        return self.usd if self.low is None else self.low, self.usd if self.high is None else self.high


class Match(_Part, frozen=True, rename={"klass": "class"}):
    """Globs; a call is taken where all of them fit. ``*`` also fits what has no name."""

    team: Globs = "*"
    app: Globs = "*"
    prompt: Globs = "*"
    prompt_version: Globs = "*"
    model: Globs = "*"
    upstream: Globs = "*"
    klass: Globs = "*"

    def fits(self, **names: str | None) -> bool:
        """``names`` by field; case matters."""
        return all(fnmatchcase("" if name is None else name, getattr(self, field)) for field, name in names.items())


class Buy(_Part, frozen=True):
    """Another API option for the same calls."""

    model: Annotated[str, Meta(min_length=1, examples=["gpt-4o-mini"])]
    provider: Annotated[str, Meta(min_length=1, examples=["openai"])]
    """As in the price book."""
    tier: Text | None = None
    """``None``: as recorded."""
    tokenizer_ratio: Ratio = Decimal(1)
    """Its tokens per recorded token, of the same text."""
    length_ratio: Ratio = Decimal(1)
    """The length of its answers per recorded one."""


class Rent(_Part, frozen=True):
    """A host of the equivalent model, paid per token: by the price book's ``model`` there, or by own prices."""

    host: Annotated[str, Meta(min_length=1, examples=["together_ai"])]
    model: Text | None = None
    usd_per_million: Prices | None = None

    def __post_init__(self) -> None:
        if (self.model is None) == (self.usd_per_million is None):
            raise ValueError("give either `model:`, as the price book has it, or `usd_per_million:`")


class Build(_Part, frozen=True):
    """GPUs for one replica of the equivalent model, and how their number follows the demand."""

    gpu: Annotated[str, Meta(min_length=1, examples=["h100_sxm"])]
    tensor_parallel: Annotated[int, Meta(ge=1, le=64)] = 1
    precision: catalog.Precision = "fp8"
    policy: Policy = "static"
    rent_by: Literal["gpu", "node"] = "gpu"
    """Some hosts only rent whole nodes."""
    speed: Annotated[Decimal, Meta(examples=["1.08"], extra={"most": 10, "above": 0})] = Decimal(1)
    """Measured over predicted throughput: what ``submeter report calibrate`` finds."""


class Owned(_Part, frozen=True):
    """Hardware that is bought: written off over its life, and fed, of the nodes that the fleet needs."""

    capex_usd: Annotated[Decimal, Meta(examples=["250000"], extra={"most": 10**9})]
    """Of one node."""
    life_years: Annotated[Decimal, Meta(examples=["4"], extra={"most": 30, "above": 0})]
    power_kw: Annotated[Decimal, Meta(examples=["10.2"], extra={"most": 10**4})]
    """Of one node."""
    pue: Annotated[Decimal, Meta(examples=["1.25"], extra={"most": 10, "above": 0})]
    """Power usage effectiveness: what the building draws per what the node draws."""
    usd_per_kwh: Annotated[Decimal, Meta(examples=["0.12"], extra={"most": 100})]
    colo_usd_per_week: Usd = Decimal(0)
    """Of one node."""


class Quality(_Part, frozen=True):
    """Somebody has looked whether the equivalent model does the work."""

    evidence: Annotated[str, Meta(min_length=1, examples=['"evals/2026-11-support.md"'])]
    """Where to read it."""
    date: Annotated[dt.date, Meta(examples=["2026-11-02"])]
    holds: Annotated[bool, Meta(examples=["true"])]


class Architecture(catalog.Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model that the catalog does not have, by the figures of its ``config.json``."""

    name: str = "architecture"
    """That of the equivalent takes its place."""
    licence: str = ""
    source: str = "alternatives.yaml"
    checked_on: Annotated[dt.date, Meta(examples=["2026-11-02"])]


class Equivalent(_Part, frozen=True):
    """An open-weights model that could take the workload's place, and where it could run."""

    model: Annotated[str, Meta(min_length=1, examples=["llama-3.3-70b"])]
    architecture: Architecture | None = None
    """``None``: the catalog's."""
    tokenizer_ratio: Ratio = Decimal(1)
    length_ratio: Ratio = Decimal(1)
    quality: Quality | None = None
    rent: tuple[Rent, ...] = ()
    build: tuple[Build, ...] = ()
    owned: Owned | None = None

    @property
    def served(self) -> catalog.Model:
        """Raises ``UsageError`` for a model that the catalog does not have."""
        if self.architecture is None:
            return catalog.model(self.model)
        return msgspec.structs.replace(self.architecture, name=self.model)


class WorkloadChoice(_Part, frozen=True):
    """Which calls are one workload, and what could serve them instead."""

    name: Annotated[str, Meta(min_length=1, max_length=100, examples=["support"])]
    match: Match = Match()
    objective: Objective | None = None
    """``None``: that of the file."""
    buy: tuple[Buy, ...] = ()
    equivalents: tuple[Equivalent, ...] = ()


class Alternatives(_Part, frozen=True):
    """The whole file. What is ``None`` has not been decided: without an engineer's share no BUILD is advised."""

    objective: Objective = DEFAULT_OBJECTIVE
    engineer_usd_per_week: Usd | None = None
    migration_usd: Usd = Decimal(0)
    gpu_usd_per_hour: dict[str, GpuPrice] = {}
    """By the catalog's name of the GPU; of the others, the catalog's dated prices hold."""
    staging_replicas: Count = 0
    storage_usd_per_week: Usd = Decimal(0)
    egress_usd_per_gb: Annotated[Decimal, Meta(examples=["0.05"], extra={"most": 100})] = Decimal(0)
    minimum_term_weeks: Annotated[int, Meta(ge=0, le=520)] = 0
    workloads: tuple[WorkloadChoice, ...] = ()

    def __post_init__(self) -> None:
        names = [workload.name for workload in self.workloads]
        twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
        if twice is not None:
            raise ValueError(f"two workloads are called {twice}: rename one")

    def objective_of(self, choice: WorkloadChoice | None) -> Objective:
        return self.objective if choice is None or choice.objective is None else choice.objective


def load(path: Path) -> Alternatives:
    """Raises ``UsageError`` that names the file, the key, the nearest right one and the line to add."""
    values, places = yamlfile.read(path)
    return Builder(path.name, places).build(Alternatives, values)


def check(alternatives: Alternatives, file: str) -> None:
    """Every GPU and model that is named is in the catalogs. Raises ``UsageError`` with the nearest there is."""
    for name in alternatives.gpu_usd_per_hour:
        _known("GPU", name, catalog.gpus(), f"{file}: gpu_usd_per_hour")
    for number, choice in enumerate(alternatives.workloads):
        for place, equivalent in enumerate(choice.equivalents):
            where = f"{file}: workloads[{number}].equivalents[{place}]"
            if equivalent.architecture is None:
                _known("model", equivalent.model, catalog.models(), f"{where} (one of your own needs `architecture:`)")
            for each, build in enumerate(equivalent.build):
                _known("GPU", build.gpu, catalog.gpus(), f"{where}.build[{each}]")


def _known(what: str, name: str, known: Collection[str], where: str) -> None:
    known_or_nearest(name, known, f"{where}: unknown {what} {name!r}")
