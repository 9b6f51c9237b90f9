"""What the report reads of a ``result.json``. Whatever a run could not tell is ``None`` or empty."""

from collections.abc import Mapping

import msgspec

from submeter.loadtest.fit import Coefficient, Residuals


class Latency(msgspec.Struct, frozen=True):
    """End to end = a + b x uncached input tokens + c x output tokens."""

    a_ms: Coefficient
    b_ms_per_input_token: Coefficient
    c_ms_per_output_token: Coefficient
    r2: float | None = None
    n: int | None = None
    residuals: Residuals | None = None
    ttft: object = None
    tpot: object = None
    warnings: tuple[str, ...] = ()

    def predicted_ms(self, uncached_input_tokens: float, output_tokens: float) -> float:
        per_input, per_output = self.b_ms_per_input_token.value, self.c_ms_per_output_token.value
        return self.a_ms.value + per_input * uncached_input_tokens + per_output * output_tokens


class Percentiles(msgspec.Struct, frozen=True):
    """In ms."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


class Setting(msgspec.Struct, frozen=True):
    """One row of the table."""

    setting: str
    n: int = 0
    errors: int = 0
    ttft_ms: Percentiles | None = None
    tpot_ms: Percentiles | None = None
    e2e_ms: Percentiles | None = None


class Step(msgspec.Struct, frozen=True):
    """A stretch of load, and how it was answered."""

    rate_per_s: float
    """Asked for."""
    throughput_per_s: float
    p50_ms: float | None = None
    p95_ms: float | None = None


class Result(msgspec.Struct, frozen=True):
    """One run."""

    scenario: str
    target: str
    model: str
    started_at: str
    description: str | None = None
    seed: int | None = None
    settings: tuple[Setting, ...] = ()
    fit: Latency | None = None
    fit_missing: str | None = None
    """Why there is no fit."""
    steps: tuple[Step, ...] = ()
    cost_usd: str | None = None
    cost_source: str | None = None
    generator_limited: bool = False
    coordinated_omission: str | None = None
    warnings: tuple[str, ...] = ()
    note: str | None = None
    """A line that stands on top, such as that the data are made up."""


def intervals(model: object) -> dict[str, Coefficient]:
    """The coefficients of a part's model by their names, less the units in them."""
    if not isinstance(model, Mapping):
        return {}
    found = {name: _interval(value) for name, value in model.items()}
    return {str(name).partition("_ms")[0]: interval for name, interval in found.items() if interval is not None}


def _interval(value: object) -> Coefficient | None:
    try:
        return msgspec.convert(value, Coefficient)
    except msgspec.ValidationError:
        return None


def read(result: Mapping[str, object]) -> Result:
    """Members that the report does not know are passed over. Raises ``msgspec.ValidationError``."""
    return msgspec.convert(msgspec.to_builtins(dict(result)), Result)
