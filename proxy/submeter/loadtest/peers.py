"""What a hop adds: the same calls at several targets, and how much later each answers than the first of them.

Two targets are compared within a round only, in which each has had the same calls in a short block of its own: a
machine or a provider that is slower for a while is so for both, and their difference does not know of it. A round gives
one difference of medians per setting; the figure is the median of the rounds, and its 95 % interval is a bootstrap over
whole rounds, one fewer than there are and widened, as in ``fit``. So a stalled call, and a bad round, count once.
"""

from collections.abc import Callable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from submeter.loadtest.fit import Coefficient
from submeter.loadtest.samples import Sample

Floats = NDArray[np.float64]
Round = Sequence[Sample]
"""One target's block in it."""

LEAST_ROUNDS = 6
"""Of fewer, even the interval from the least to the greatest holds the median in less than 95 %."""
RESAMPLES = 2000
NS_PER_MS = 1e6


class Added(msgspec.Struct, frozen=True):
    """What a target adds to the first one's latency; ``None``: not measured in rounds enough."""

    setting: str | None
    """``None``: the mean over all settings."""
    rounds: int
    """In which both targets answered in this setting (in all of them)."""
    ttft_ms: Coefficient | None
    ttfb_ms: Coefficient | None
    e2e_ms: Coefficient | None


MEASURES: dict[str, Callable[[Sample], int | None]] = {
    "ttft_ms": lambda call: call.ttft_ns if call.streamed else None,
    "ttfb_ms": lambda call: call.ttfb_ns,
    "e2e_ms": lambda call: call.e2e_ns,
}


def added(base: Sequence[Round], target: Sequence[Round], settings: Sequence[str], *, seed: int) -> list[Added]:
    """All settings first, then each. Both have a block for every round; calls that failed are left out."""
    chance = np.random.default_rng(seed)
    found = {name: _differences(base, target, settings, of) for name, of in MEASURES.items()}
    lines: list[tuple[str | None, dict[str, Floats]]] = [
        (None, {name: each.mean(axis=0) for name, each in found.items()})
    ]
    lines += [(setting, {name: each[at] for name, each in found.items()}) for at, setting in enumerate(settings)]
    return [
        Added(
            setting,
            int(np.isfinite(differences["e2e_ms"]).sum()),
            **{name: _interval(values, chance) for name, values in differences.items()},
        )
        for setting, differences in lines
    ]


def _differences(
    base: Sequence[Round], target: Sequence[Round], settings: Sequence[str], of: Callable[[Sample], int | None]
) -> Floats:
    """(settings, rounds) in ms; NaN where one of the two has no answer."""
    medians = [
        [[_median_ms(block, setting, of) for block in rounds] for setting in settings] for rounds in (base, target)
    ]
    before, after = np.array(medians, dtype=np.float64)
    return np.asarray(after - before, dtype=np.float64)


def _median_ms(block: Round, setting: str, of: Callable[[Sample], int | None]) -> float:
    values = [of(call) for call in block if call.setting == setting and call.error is None]
    known = [value for value in values if value is not None]
    return float(np.median(known)) / NS_PER_MS if known else float("nan")


def _interval(differences: Floats, chance: np.random.Generator) -> Coefficient | None:
    known = differences[np.isfinite(differences)]
    if len(known) < LEAST_ROUNDS:
        return None
    value, n = float(np.median(known)), len(known)
    drawn = np.median(known[chance.integers(n, size=(RESAMPLES, n - 1))], axis=1)
    low, high = (value + (float(edge) - value) * (n / (n - 1)) ** 0.5 for edge in np.quantile(drawn, (0.025, 0.975)))
    return Coefficient(value, low, high)
