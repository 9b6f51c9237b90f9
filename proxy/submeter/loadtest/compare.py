"""Two runs held against each other: did latency become worse?

Per setting, the ratio of medians, after to before; per measure, the geometric mean of the ratios of the settings that
both runs have, weighted by calls, so that another mix of lengths is no regression. Intervals are bootstrap
percentiles. They hold together: 95 % is shared among the measures, and again among all settings (Bonferroni).
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from submeter.core.latency import tpot_ns
from submeter.loadtest.samples import Sample

Floats = NDArray[np.float64]
Verdict = Literal["regressed", "same", "improved"]
Measure = Literal["ttft", "tpot", "e2e"]

RESAMPLES = 2000
MIN_CALLS = 8
"""Of a setting, in each run: below that a bootstrap of its median says nothing."""


class Change(msgspec.Struct, frozen=True):
    """``effect`` is after / before. ``same``: less than the threshold, or not sure."""

    measure: Measure
    setting: str | None
    """``None``: all settings."""
    verdict: Verdict
    effect: float | None
    low: float | None
    high: float | None
    reason: str | None = None
    """Why there is no figure."""


class Comparison(msgspec.Struct, frozen=True):
    measures: tuple[Change, ...]
    settings: tuple[Change, ...]
    threshold: float

    @property
    def regressed(self) -> bool:
        return any(change.verdict == "regressed" for change in self.measures)


_MEASURES: dict[Measure, Callable[[Sample], int | None]] = {
    "ttft": lambda call: call.ttft_ns if call.streamed else None,
    "tpot": lambda call: tpot_ns(call.e2e_ns, call.ttft_ns, call.output_tokens, stream=call.streamed),
    "e2e": lambda call: call.e2e_ns,
}


class _Ratio(msgspec.Struct, frozen=True):
    """Logarithms: of the ratio, and of that ratio in each resample."""

    value: float
    drawn: Floats
    weight: float


def compare(before: Sequence[Sample], after: Sequence[Sample], *, seed: int, threshold: float = 0.05) -> Comparison:
    """``threshold``: a smaller change of the median does not matter (0.05 is 5 %)."""
    chance = np.random.default_rng(seed)
    found = {name: _ratios(_values(before, of), _values(after, of), chance) for name, of in _MEASURES.items()}
    tests = max(1, sum(len(ratios) for ratios in found.values()))
    return Comparison(
        tuple(_overall(name, list(ratios.values()), threshold) for name, ratios in found.items()),
        tuple(
            _change(name, setting, ratio, threshold, tests)
            for name, ratios in found.items()
            for setting, ratio in ratios.items()
        ),
        threshold,
    )


def _values(samples: Sequence[Sample], of: Callable[[Sample], int | None]) -> dict[str, Floats]:
    found: defaultdict[str, list[int]] = defaultdict(list)
    for call in samples:
        value = of(call)
        if call.error is None and value is not None and value > 0:
            found[call.setting].append(value)
    return {setting: np.array(values, dtype=np.float64) for setting, values in found.items()}


def _ratios(before: dict[str, Floats], after: dict[str, Floats], chance: np.random.Generator) -> dict[str, _Ratio]:
    both = sorted(setting for setting in before.keys() & after.keys())
    return {
        setting: _ratio(before[setting], after[setting], chance)
        for setting in both
        if min(len(before[setting]), len(after[setting])) >= MIN_CALLS
    }


def _ratio(before: Floats, after: Floats, chance: np.random.Generator) -> _Ratio:
    value = float(np.log(np.median(after) / np.median(before)))
    return _Ratio(value, _log_medians(after, chance) - _log_medians(before, chance), min(len(before), len(after)))


def _log_medians(values: Floats, chance: np.random.Generator) -> Floats:
    drawn = values[chance.integers(len(values), size=(RESAMPLES, len(values)))]
    return np.asarray(np.log(np.median(drawn, axis=1)), dtype=np.float64)


def _overall(measure: Measure, ratios: Sequence[_Ratio], threshold: float) -> Change:
    if not ratios:
        reason = f"no setting has {MIN_CALLS} answered calls with this measure in both runs"
        return Change(measure, None, "same", None, None, None, reason)
    total = sum(ratio.weight for ratio in ratios)
    value = sum(ratio.weight * ratio.value for ratio in ratios) / total
    drawn = np.sum([ratio.weight / total * ratio.drawn for ratio in ratios], axis=0)
    return _change(measure, None, _Ratio(value, drawn, total), threshold, len(_MEASURES))


def _change(measure: Measure, setting: str | None, ratio: _Ratio, threshold: float, tests: int) -> Change:
    out = 0.05 / tests / 2
    low, high = (float(edge) for edge in np.exp(np.quantile(ratio.drawn, (out, 1 - out))))
    effect = float(np.exp(ratio.value))
    return Change(measure, setting, _verdict(effect, low, high, threshold), effect, low, high)


def _verdict(effect: float, low: float, high: float, threshold: float) -> Verdict:
    if low > 1 and effect > 1 + threshold:
        return "regressed"
    if high < 1 and effect < 1 / (1 + threshold):
        return "improved"
    return "same"
