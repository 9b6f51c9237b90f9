"""Two units with one Postgres: the same relay names, and yet each has its place in its journal and its own counters."""

from pathlib import Path

from harness.processes import Provider, Unit, submeter, wait_for
from harness.raw import ask, chat
from harness.scraping import scrape, total


def shipped(unit: Unit) -> float:
    return total(scrape(unit), "submeter_ledger_rows_total")


def test_units_that_share_a_ledger_count_for_themselves(tmp_path: Path, provider: Provider, postgres_url: str) -> None:
    directories = [tmp_path / name for name in ("one", "two")]
    for directory in directories:
        directory.mkdir()
    units = [Unit(directory, provider, "--ledger", postgres_url) for directory in directories]
    made = dict.fromkeys(units, 0)
    try:
        for calls in (5, 3):
            for unit, more in zip(units, (calls, 2 * calls), strict=True):
                unit.wait_ops()
                for _ in range(more):
                    assert ask(unit.port, "POST", "/v1/chat/completions", body=chat()).status == 200
                made[unit] += more
            for unit in units:
                wait_for(lambda unit=unit: shipped(unit) == made[unit], "the rows of the unit's calls")
                unit.stop()
                unit.start()
        for unit in units:
            wait_for(lambda unit=unit: unit.log().count("meter ready") == 3, "the third meter")
            assert total(scrape(unit), "submeter_calls_total") == shipped(unit) == made[unit]
        names = {(unit.data_dir / "unit").read_text() for unit in units}
        run = submeter(
            "calls", "--json", "--last", "100", "--ledger", postgres_url, "--data-dir", str(units[0].data_dir)
        )
    finally:
        for unit in units:
            unit.close()
    assert len(names) == 2
    assert len(run.stdout.splitlines()) == sum(made.values()) == 24
