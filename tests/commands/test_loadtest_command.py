"""``submeter loadtest``: what it refuses, in one line, before anything is asked or written."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from submeter.commands.loadtest import app
from submeter.errors import UsageError

PLAIN = {"--target": "http://127.0.0.1:9/v1", "--model": "gpt-4o-mini"}


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"SUBMETER_CONFIG": ""})


def refused(tmp_path: Path, scenario: str = "article", **options: str) -> str:
    given = PLAIN | {f"--{name.replace('_', '-')}": value for name, value in options.items()}
    flags = [word for pair in given.items() for word in pair]
    result = run(scenario, *flags, "--out", str(tmp_path / "out"))
    assert isinstance(result.exception, UsageError), result.output
    assert not (tmp_path / "out").exists()
    return str(result.exception)


def test_a_scenario_that_is_not_known(tmp_path: Path) -> None:
    said = refused(tmp_path, "saturate")
    assert said == "no scenario saturate, nor a file *.toml; did you mean saturation?"


@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        ("localhost:4100", "--target localhost:4100 is no URL: give one such as http://127.0.0.1:4100/v1"),
        ("http://", "--target http:// is no URL: give one such as http://127.0.0.1:4100/v1"),
        ("http://me:secret@h/v1", "--target must not hold a credential: put the key into OPENAI_API_KEY"),
        ("http://h/v1?api-version=1", "--target ends with its path, such as /v1"),
    ],
)
def test_a_target_that_is_none(tmp_path: Path, target: str, complaint: str) -> None:
    assert refused(tmp_path, target=target) == complaint


def test_a_budget_needs_a_price(tmp_path: Path) -> None:
    said = refused(tmp_path, model="nobody-prices-this", max_usd="1.00", data_dir=str(tmp_path))
    assert said == (
        "--max-usd needs a price, and nobody-prices-this has none: name its --provider, or write it under prices: in "
        "submeter.yaml"
    )


@pytest.mark.parametrize("amount", ["-1", "nan", "one"])
def test_a_budget_is_an_amount(tmp_path: Path, amount: str) -> None:
    result = run("article", *(word for pair in PLAIN.items() for word in pair), "--out", "x", "--max-usd", amount)
    assert result.exit_code == 2
    assert "an amount in USD, such as 1.00" in result.output


def test_compare_needs_two_runs(tmp_path: Path) -> None:
    result = run("compare", str(tmp_path), str(tmp_path))
    assert isinstance(result.exception, UsageError)
    assert str(result.exception) == (
        f"cannot read {tmp_path}/samples.csv: No such file or directory; give the --out of a load test"
    )


def test_a_scenario_may_stand_after_its_options(tmp_path: Path) -> None:
    flags = [word for pair in PLAIN.items() for word in pair]
    result = run(*flags, "--out", str(tmp_path / "out"), "saturate")
    assert "did you mean saturation?" in str(result.exception)
