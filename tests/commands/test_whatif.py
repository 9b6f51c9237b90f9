"""``submeter whatif``: recorded calls at another model's price; every assumption is the asker's."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from store.ledger_rows import PLAIN, START_NS, make_call
from submeter.cli import app
from submeter.core.record import CallRow, TokenClasses
from submeter.store.ledger import Ledger

CONFIG = """
prices:
  - {model: gpt-4o-2024-08-06, usd_per_million: {input: "2.5", cached_input: "1.25", output: "10"}}
  - {model: cheap, usd_per_million: {input: "1", cached_input: "0.1", output: "2"}}
  - {model: gpt-3.5-turbo, usd_per_million: {input: "2", output: "2"}}
"""
# 730 uncached, 200 cached, 70 written, 6 text, 4 reasoning tokens a call
RECORDED = PLAIN.cost_nano_usd
AT_CHEAP = (730 + 70) * 1000 + 200 * 100 + 10 * 2000


TOKENS = TokenClasses(input_uncached=730, cached_read=200, cache_write=70, output_text=6, reasoning=4)


def row(number: int, **changes: Any) -> CallRow:
    return make_call(number, **{"tokens": TOKENS, "fees_nano_usd": 0, **changes})


@pytest.fixture
def ask(tmp_path: Path) -> Any:
    rows = [
        row(0),
        row(1, started_at_ns=START_NS + 86_400 * 10**9),
        row(2, model_served="other"),
        row(3, model_requested="other", model_served="other"),
        row(4, cache="hit", cost_nano_usd=0),
        row(5, cost_state="unpriced", cost_nano_usd=None, costs=None),
        row(6, cost_state="indeterminate", cost_nano_usd=None, costs=None, tokens=None),
    ]
    with Ledger.open(str(tmp_path / "data" / "ledger.sqlite3")) as ledger:
        ledger.migrate()
        ledger.ship(rows, {})
    config = tmp_path / "submeter.yaml"
    config.write_text(CONFIG)

    def run(*arguments: str) -> Result:
        fixed = ["--since", "all", "--config", str(config), "--data-dir", str(tmp_path / "data")]
        return CliRunner().invoke(app, ["whatif", *arguments, *fixed])

    return run


def document(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_every_call_is_priced_at_the_other_model(ask: Any) -> None:
    answer = document(ask("--from", "gpt-4o", "--to", "cheap", "--json"))
    assert answer["calls"] == 3  # asked for as gpt-4o, whatever served them
    assert answer["recorded_nano_usd"] == 3 * RECORDED
    assert answer["whatif_nano_usd"] == 3 * AT_CHEAP
    assert answer["difference_nano_usd"] == 3 * (AT_CHEAP - RECORDED)
    assert (answer["not_priced"], answer["no_price"]) == (2, 0)
    assert answer["rules"] == {"your own cheap (overlay)": 3}
    assert answer["recorded_tokens"]["input_uncached"] == 3 * 730
    assert answer["assumed"] == {
        "tokenizer_ratio": "1",
        "length_ratio": "1",
        "cached_share": None,
        "fewer_input_tokens": 0,
    }


def test_a_glob_takes_several_models(ask: Any) -> None:
    assert document(ask("--from", "*", "--to", "cheap", "--json"))["calls"] == 4


def test_the_ratios_and_the_cache_are_the_askers(ask: Any) -> None:
    arguments = ["--tokenizer-ratio", "1.2", "--length-ratio", "0.5", "--cached-share", "0.5"]
    answer = document(ask("--from", "gpt-4o-2024-08-06", "--to", "cheap", *arguments, "--json"))
    # 876 + 240 + 84 input tokens, half of them cached; 6 × 0.6 = 3.6 and 4 × 0.6 = 2.4 output tokens
    assert answer["whatif_nano_usd"] == answer["calls"] * (600 * 1000 + 600 * 100 + (4 + 2) * 2000)


def test_a_thousand_tokens_less_is_what_a_shorter_prompt_saves(ask: Any) -> None:
    answer = document(ask("--from", "gpt-4o-2024-08-06", "--fewer-input-tokens", "300", "--json"))
    assert answer["to"] == "gpt-4o-2024-08-06"
    assert answer["difference_nano_usd"] == answer["calls"] * -300 * 2500


def test_people_get_a_table_and_the_assumptions(ask: Any) -> None:
    result = ask("--from", "gpt-4o", "--to", "cheap", "--cached-share", "0.25")
    assert result.exit_code == 0, result.output
    for text in ("input_uncached", "25.00 % of the input from the prompt cache", "left out: 2", "per 1,000 calls"):
        assert text in result.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--from", "nobody"], "no call of nobody"),
        (["--from", "gpt-4o", "--to", "no-such-model"], "no price for no-such-model"),
        (["--from", "gpt-4o", "--to", "cheap", "--tokenizer-ratio", "nan"], "a number from 0 to 100"),
        (["--from", "gpt-4o", "--to", "cheap", "--cached-share", "1.5"], "a number from 0 to 1"),
        (["--from", "gpt-4o", "--to", "cheap", "--tier", "flex"], "no price for cheap"),
        (["--from", "gpt-4o", "--to", "gemini-3-flash-preview"], "choose one with --provider"),
    ],
)
def test_what_cannot_be_answered_is_said(ask: Any, arguments: list[str], said: str) -> None:
    result = ask(*arguments)
    assert result.exit_code != 0
    assert said in str(result.exception) + result.output
