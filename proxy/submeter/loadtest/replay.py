"""Recorded calls as a plan: their lengths and times are in the ledger, their words are not."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from submeter.core import when
from submeter.errors import UsageError
from submeter.loadtest import texts
from submeter.loadtest.scenario import Call, Replay, Scenario, Setting

DIGITS = 2
"""Lengths are rounded to so many significant digits, so that like calls are one setting."""
MOST_SETTINGS = 1000


def replayed(scenario: Scenario, trace: Replay, rows: Iterable[Mapping[str, Any]]) -> tuple[Scenario, list[Call]]:
    """The scenario with the settings that occur, and its calls. ``rows``: as ``queries.calls`` gives them, in order.

    Calls of other APIs, answers from a cache and calls without token counts are left out. Raises ``UsageError`` if
    nothing is left.
    """
    settings: dict[Setting, int] = {}
    calls: list[Call] = []
    first_ns: int | None = None
    for row in filter(_can_be_asked, rows):
        at_ns = when.parse_moment(row["started_at"])
        first_ns = at_ns if first_ns is None else first_ns
        setting = _setting(row)
        if setting not in settings and len(settings) == MOST_SETTINGS:
            continue
        place = settings.setdefault(setting, len(settings))
        calls.append(Call(len(calls), place, round((at_ns - first_ns) / trace.speed), False))
    if not calls:
        until = "" if trace.until is None else f" until {trace.until}"
        raise UsageError(f"nothing to replay: no chat call with token counts since {trace.since}{until} in the ledger")
    return msgspec.structs.replace(scenario, settings=tuple(settings), warm_up=0), calls


def _can_be_asked(row: Mapping[str, Any]) -> bool:
    counted = row["input_tokens"] is not None and row["output_tokens"] is not None
    return counted and row["endpoint"] == "chat/completions" and row["cache"] in ("miss", "bypass")


def _setting(row: Mapping[str, Any]) -> Setting:
    return Setting(
        input_tokens=max(texts.LEAST_INPUT_TOKENS, _rounded(row["input_tokens"])),
        output_tokens=max(1, _rounded(row["output_tokens"])),
        stream=row["stream"],
    )


def _rounded(count: int) -> int:
    return round(count, DIGITS - len(str(count)))
