"""Recorded calls as a plan."""

import pytest

from submeter.errors import UsageError
from submeter.loadtest.replay import replayed
from submeter.loadtest.scenario import Replay, load


def row(at: str, input_tokens: int | None, output_tokens: int | None, **more: object) -> dict[str, object]:
    plain = {"endpoint": "chat/completions", "cache": "miss", "stream": True}
    lengths = {"input_tokens": input_tokens, "output_tokens": output_tokens}
    return {"started_at": f"2026-11-20T08:00:{at}Z", **lengths, **plain, **more}


def test_lengths_and_times_are_those_of_the_ledger() -> None:
    rows = [
        row("00.000000000", 1234, 56),
        row("00.500000000", 900, 0, endpoint="embeddings"),
        row("01.000000000", 1199, 56, cache="bypass"),
        row("02.000000000", 9, 987, stream=False),
        row("03.000000000", 9, 987, cache="hit"),
        row("04.000000000", None, 987),
        row("05.000000000", 9, None),
    ]
    scenario, calls = replayed(load("replay"), Replay(speed=2.0), rows)
    assert [setting.name for setting in scenario.settings] == ["in=1200,out=56", "in=22,out=990,whole"]
    assert [call.setting for call in calls] == [0, 0, 1]
    assert [call.scheduled_ns for call in calls] == [0, 500_000_000, 1_000_000_000]
    assert scenario.is_open


def test_nothing_to_replay() -> None:
    with pytest.raises(UsageError, match="nothing to replay: no chat call with token counts since 1h in the ledger"):
        replayed(load("replay"), Replay(), [row("00", None, None)])
