"""The meter's look at last week's latency: when it runs, what it shows, and that nothing of it stays behind."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families as read_text

from harness.processes import running, wait_for
from harness.raw import ask
from store.ledger_rows import make_call
from submeter.config import Settings, load_settings
from submeter.core.record import CallRow
from submeter.core.week import Week
from submeter.meter.families import LATENCY_CHANGE, LATENCY_REGRESSED
from submeter.meter.labels import LabelSets
from submeter.meter.metrics import Metrics
from submeter.meter.regressions import Change, ModelChange, RegressionWatch, read_answer
from submeter.store.ledger import Ledger

LAST_WEEK, WEEK = Week.parse("2025-W46"), Week.parse("2025-W47")

WORSE = ModelChange("gpt-4o", (Change("ttft", "same", 1.02), Change("tpot", "regressed", 1.3)))
ANSWER = msgspec.json.encode({"week": "2026-W47", "models": [WORSE]}).decode()


def settings(tmp_path: Path, every_s: float = 0.01, ledger: str | None = None) -> Settings:
    environ = {"HOME": str(tmp_path), "SUBMETER_LATENCY_FIT_EVERY_S": str(every_s)}
    return load_settings(environ=environ, data_dir=tmp_path / "data", ledger=ledger)


def script(tmp_path: Path, body: str) -> tuple[str, str]:
    file = tmp_path / "command.py"
    file.write_text(f"import os, sys, time\n{body}\n")
    return sys.executable, str(file)


class Shown:
    """What was published, and the end of it."""

    def __init__(self) -> None:
        self.all: list[tuple[ModelChange, ...]] = []

    async def until(self, done: Callable[["Shown"], bool]) -> None:
        async with asyncio.timeout(20):
            while not done(self):  # noqa: ASYNC110 - a file is waited for too
                await asyncio.sleep(0.01)


def watched(watch: RegressionWatch, meanwhile: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        watch.start()
        await meanwhile()
        await watch.stop()

    asyncio.run(run())


def look(tmp_path: Path, body: str, times: int = 1, **more: float) -> list[tuple[ModelChange, ...]]:
    shown = Shown()
    watch = RegressionWatch(settings(tmp_path), shown.all.append, command=script(tmp_path, body), **more)
    watched(watch, lambda: shown.until(lambda found: len(found.all) >= times))
    return shown.all


# -- the command -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 1])
def test_what_the_command_found_is_shown_again_and_again(tmp_path: Path, code: int) -> None:
    assert look(tmp_path, f"print({ANSWER!r}); sys.exit({code})", times=2)[:2] == [(WORSE,), (WORSE,)]


@pytest.mark.parametrize(
    "body", [f"print({ANSWER!r}); sys.exit(2)", "print('no JSON')", "print('{}')", "os.kill(os.getpid(), 9)"]
)
def test_a_command_that_fails_shows_nothing_and_says_so(
    tmp_path: Path, body: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert look(tmp_path, body)[0] == ()
    assert "try `submeter latency --fit`" in caplog.text


def test_a_command_that_cannot_be_started_is_tried_again(tmp_path: Path) -> None:
    shown = Shown()
    watch = RegressionWatch(settings(tmp_path), shown.all.append, command=(str(tmp_path / "none"),))
    watched(watch, lambda: shown.until(lambda found: len(found.all) >= 2))
    assert shown.all[:2] == [(), ()]


def test_it_yields_to_everybody_and_knows_the_ledger_but_shows_no_password(tmp_path: Path) -> None:
    url = "postgresql://submeter:hunter2@db/submeter"
    said = tmp_path / "said"
    body = f"""
time.sleep(0.3)
words = [os.getpriority(os.PRIO_PROCESS, 0), os.environ["SUBMETER_LEDGER"], *sys.argv]
open({str(said)!r}, "w").write(repr(words))"""
    shown = Shown()
    watch = RegressionWatch(settings(tmp_path, ledger=url), shown.all.append, command=script(tmp_path, body))
    watched(watch, lambda: shown.until(lambda found: len(found.all) >= 1))
    assert said.read_text() == repr([19, url, str(tmp_path / "command.py")])


def test_a_command_that_takes_too_long_is_killed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pid = tmp_path / "pid"
    body = f"open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    assert look(tmp_path, body, deadline_s=1.0)[0] == ()
    assert "over 1 s" in caplog.text
    assert is_gone(int(pid.read_text()))


def test_a_meter_that_leaves_takes_it_along(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    body = f"open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    shown = Shown()
    begun = time.monotonic()
    watch = RegressionWatch(settings(tmp_path), shown.all.append, command=script(tmp_path, body))
    watched(watch, lambda: shown.until(lambda _: pid.exists() and pid.read_text() != ""))
    assert shown.all == []
    assert is_gone(int(pid.read_text()))
    assert time.monotonic() - begun < 60


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_nothing_is_started_where_it_is_switched_off(tmp_path: Path) -> None:
    shown = Shown()
    command = script(tmp_path, f"print({ANSWER!r})")
    watched(RegressionWatch(settings(tmp_path, 0), shown.all.append, command=command), lambda: asyncio.sleep(0.5))
    assert shown.all == []


def test_the_meter_itself_never_carries_numpy() -> None:
    child = "import sys, submeter.meter.process; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", child], check=False).returncode == 0


# -- what is shown ---------------------------------------------------------------------------------------------------


def lines(found: tuple[ModelChange, ...]) -> dict[tuple[str, str, str], float]:
    metrics = Metrics(LabelSets({}, []))
    metrics.latency_changes = found
    return of_latency(metrics.exposition()[0].decode())


def of_latency(exposition: str) -> dict[tuple[str, str, str], float]:
    return {
        (sample.name.removeprefix("submeter_latency_"), sample.labels["model"], sample.labels["measure"]): sample.value
        for family in read_text(exposition)
        for sample in family.samples
        if sample.name.startswith("submeter_latency_")
    }


def test_changes_are_gauges() -> None:
    assert lines((WORSE,)) == {
        ("change_ratio", "gpt-4o", "ttft"): 1.02,
        ("change_ratio", "gpt-4o", "tpot"): 1.3,
        ("regressed", "gpt-4o", "ttft"): 0,
        ("regressed", "gpt-4o", "tpot"): 1,
    }
    assert lines(()) == {}


def test_only_the_busiest_models_with_figures_and_names_are_shown() -> None:
    odd = [ModelChange(name, WORSE.measures) for name in ("two words", 'a"b\n', "x" * 65, "")]
    silent = ModelChange("silent", (Change("ttft", "same", None), Change("tpot", "same", None)))
    half = ModelChange("half", (Change("ttft", "same", None), Change("tpot", "improved", 0.8)))
    unknown = ModelChange("unknown", (Change("e2e", "regressed", 2.0),))
    many = [ModelChange(f"m{number}", WORSE.measures) for number in range(9)]
    found = read_answer(msgspec.json.encode({"models": [*odd, silent, unknown, half, *many]}))
    assert [each.model for each in found] == ["half", "m0", "m1", "m2", "m3"]
    assert found[0].measures == (Change("tpot", "improved", 0.8),)
    shown = read_answer(msgspec.json.encode({"models": many}))
    assert len(lines(shown)) == LATENCY_CHANGE.most + LATENCY_REGRESSED.most == 20


# -- the whole of it -------------------------------------------------------------------------------------------------


def test_a_regression_in_the_ledger_is_on_metrics_without_anyone_asking(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir(mode=0o700)
    with Ledger.open(str(data_dir / "ledger.sqlite3")) as ledger:
        ledger.migrate()
        ledger.ship([*week_of_calls(LAST_WEEK, 0, tpot_ns=10_000_000), *week_of_calls(WEEK, 1, tpot_ns=13_000_000)], {})
    with running(tmp_path, config="{latency_fit_every_s: 1}") as (_, unit):
        unit.wait_ops()
        found: dict[tuple[str, str, str], float] = {}

        def shown() -> bool:
            found.update(of_latency(ask(unit.ops_port, "GET", "/metrics").body.decode()))
            return bool(found)

        wait_for(shown, "the first look at last week")
        assert found[("regressed", "gpt-4o-2024-08-06", "tpot")] == 1
        assert found[("regressed", "gpt-4o-2024-08-06", "ttft")] == 0
        assert found[("change_ratio", "gpt-4o-2024-08-06", "tpot")] == pytest.approx(1.3, rel=0.01)


def week_of_calls(week: Week, number: int, tpot_ns: int) -> list[CallRow]:
    return [
        make_call(
            1000 * number + at,
            started_at_ns=week.start_ns + at * 10**12,
            input_tokens=600 + at,
            output_tokens=100 + at % 7,
            ttft_ns=(200 + at % 11) * 10**6,
            e2e_ns=(200 + at % 11) * 10**6 + (99 + at % 7) * (tpot_ns + at % 13 * 10_000),
        )
        for at in range(60)
    ]
