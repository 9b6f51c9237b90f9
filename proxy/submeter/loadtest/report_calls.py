"""The calls that the report's charts draw: those that ended well, in ms."""

import re
from collections.abc import Callable, Iterable, Sequence
from math import ceil
from typing import TYPE_CHECKING, NamedTuple

from submeter.core.latency import tpot_ns

if TYPE_CHECKING:
    from submeter.loadtest.samples import Sample

_LENGTHS = re.compile(r"(?:^|,)in=(\d+),out=(\d+)(?:,|$)")


class Call(NamedTuple):
    """One answered call."""

    setting: str
    concurrency: int
    input_tokens: int | None
    uncached_input_tokens: int | None
    output_tokens: int | None
    ttft_ms: float | None
    tpot_ms: float | None
    e2e_ms: float | None


def answered(samples: Iterable["Sample"]) -> list[Call]:
    return [_call(sample) for sample in samples if ended_well(sample)]


def ended_well(sample: "Sample") -> bool:
    """An answer without an error, with or without a status."""
    return sample.error is None and (sample.status is None or 200 <= sample.status < 300)


def _call(sample: "Sample") -> Call:
    tpot = tpot_ns(sample.e2e_ns, sample.ttft_ns, sample.output_tokens, stream=sample.streamed)
    uncached = None
    if sample.input_tokens is not None:
        uncached = sample.input_tokens - (sample.cached_input_tokens or 0)
    return Call(
        sample.setting,
        sample.concurrency,
        sample.input_tokens,
        uncached,
        sample.output_tokens,
        _ms(sample.ttft_ns),
        _ms(tpot),
        _ms(sample.e2e_ns),
    )


def _ms(value_ns: int | None) -> float | None:
    return None if value_ns is None else value_ns / 1e6


def by_setting(calls: Iterable[Call]) -> dict[str, list[Call]]:
    """In the order in which the settings first ended a call."""
    groups: dict[str, list[Call]] = {}
    for call in calls:
        groups.setdefault(call.setting, []).append(call)
    return groups


def lengths(setting: str) -> tuple[int, int] | None:
    """Input and output tokens that a setting asks for, if its name says so: ``in=1000,out=200``."""
    found = _LENGTHS.search(setting)
    return None if found is None else (int(found[1]), int(found[2]))


def present(calls: Iterable[Call], value: Callable[[Call], float | None]) -> list[float]:
    """What was measured, ascending."""
    return sorted(found for call in calls if (found := value(call)) is not None)


def quantile(ordered: Sequence[float], share: float) -> float:
    """Nearest rank: always a value that was measured. ``ordered`` must not be empty."""
    return ordered[max(0, ceil(len(ordered) * share) - 1)]
