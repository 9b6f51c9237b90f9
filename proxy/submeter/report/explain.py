"""What changed since last week, in USD by factor: Shapley values of the difference between two weeks.

A figure is a function of eight factors. From last week's values to this week's they can be switched in any order, and a
factor's part is what its switch does, averaged over all orders (Shapley's value for n-person games, 1953): parts sum to
the difference, a factor that does nothing has none, and two that do the same have the same. Eight factors have 256
combinations, so the average is exact and nothing is sampled; those that did not change are not switched.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import combinations
from math import factorial
from typing import Literal, get_args

from submeter.report.document import Explained, Part
from submeter.report.money import nano, usd

Factor = Literal["api price", "gpu price", "volume", "mix", "lengths", "objective", "cache", "estimator"]
FACTORS: tuple[Factor, ...] = get_args(Factor)

Inputs = Mapping[Factor, object]
"""Of one week, each comparable by ``==`` with that of the other."""


def explain(
    figure: str, before: Inputs, after: Inputs, value_usd: Callable[[Inputs], Decimal | None]
) -> Explained | None:
    """``value_usd`` is asked once for each combination of the factors that changed: 2 to their number.

    ``None``: it did not know one of them, as where no fleet meets the objective. The parts are whole nano-USD; what
    rounding leaves over is in the largest, so that they sum to the difference exactly.
    """
    changed = [factor for factor in FACTORS if before[factor] != after[factor]]
    values = _values(changed, before, after, value_usd)
    if values is None:
        return None
    parts = _parts(changed, values)
    first, last = values[frozenset()], values[frozenset(changed)]
    if parts:
        parts[max(changed, key=lambda factor: abs(parts[factor]))] += last - first - sum(parts.values())
    return Explained(
        figure=figure,
        before_usd=usd(first),
        after_usd=usd(last),
        parts=tuple(Part(factor, usd(parts[factor])) for factor in changed),
    )


_Values = dict[frozenset[Factor], int]
"""Nano-USD with so many factors at this week's values and the others at last week's."""


def _values(
    changed: Sequence[Factor], before: Inputs, after: Inputs, value_usd: Callable[[Inputs], Decimal | None]
) -> _Values | None:
    values: _Values = {}
    for switched in _subsets(changed):
        amount = value_usd({factor: (after if factor in switched else before)[factor] for factor in FACTORS})
        if amount is None:
            return None
        values[switched] = nano(amount)
    return values


def _subsets(factors: Sequence[Factor]) -> Iterator[frozenset[Factor]]:
    for size in range(len(factors) + 1):
        yield from map(frozenset, combinations(factors, size))


def _parts(changed: Sequence[Factor], values: _Values) -> dict[Factor, int]:
    """Each rounded half-even."""
    orders = factorial(len(changed))
    return {factor: _over(_sum_over_orders(factor, changed, values), orders) for factor in changed}


def _sum_over_orders(factor: Factor, changed: Sequence[Factor], values: _Values) -> int:
    """What its switch does, summed over all orders: as many have the same factors before it, and so after it."""
    others = [each for each in changed if each != factor]
    total = 0
    for earlier in _subsets(others):
        orders = factorial(len(earlier)) * factorial(len(others) - len(earlier))
        total += orders * (values[earlier | {factor}] - values[earlier])
    return total


def _over(numerator: int, denominator: int) -> int:
    whole, rest = divmod(numerator, denominator)
    return whole + (2 * rest > denominator or (2 * rest == denominator and whole % 2 == 1))
