"""``submeter reprice``: new costs beside rows that never change, the difference by model and team, and undoing it."""

import hashlib
import json
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner, Result

from store.ledger_rows import START_NS, make_call
from submeter.cli import app
from submeter.core.pricebook import Origin, PriceBook
from submeter.core.record import CallRow, Finish, Start, TokenClasses
from submeter.core.settle import settle
from submeter.prices import load_book
from submeter.store.ledger import Ledger
from submeter.store.queries import summary
from submeter.store.versions import stored_rows

MODELS = ("gpt-4o-2024-08-06", "gpt-4o-mini", "no-such-model")
TEAMS = ("search", "ads", None)
ORIGINS = {"openai": Origin("openai"), "anthropic": Origin("anthropic")}
SHIPPED = load_book((), Path("nowhere"))
DOUBLE = 'prices: [{model: "*", source: "twice", usd_per_million: {input: "5", cached_input: "2.5", output: "20"}}]'


def settled(number: int, dice: random.Random, book: PriceBook) -> CallRow:
    """A row as the meter makes it."""
    model, team = dice.choice(MODELS), dice.choice(TEAMS)
    cached = dice.randrange(500)
    usage = TokenClasses(
        input_uncached=dice.randrange(5000), cached_read=cached, output_text=dice.randrange(900), reasoning=7
    )
    template = make_call(number, team=team)
    start = Start(
        call_id=template.call_id,
        attempt=1,
        operation_id=template.operation_id,
        endpoint="chat/completions",
        upstream="openai",
        started_at_ns=START_NS + number * 1_000_000,
        team=team,
        model_requested=model,
        max_output_tokens=1000,
        bytes_in=4000,
        cache=dice.choice(["miss", "miss", "hit"]),
    )
    cut = dice.random() < 0.1
    finish = Finish(
        call_id=start.call_id,
        attempt=1,
        outcome="client_gone" if cut else "ok",
        status=200,
        cache=start.cache,
        usage=None if cut and start.cache == "miss" else usage,
        output_bytes=dice.randrange(3000),
        ttfb_ns=1,
    )
    return settle(start, finish, book, ORIGINS)


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    directory = tmp_path / "data"
    dice = random.Random(3)
    with Ledger.open(str(directory / "ledger.sqlite3")) as ledger:
        ledger.migrate()
        ledger.ship([settled(number, dice, SHIPPED) for number in range(300)], {})
    return directory


def run(data_dir: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["reprice", "--since", "all", "--data-dir", str(data_dir), *arguments])


def document(data_dir: Path, *arguments: str) -> Any:
    result = run(data_dir, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def rows(data_dir: Path, version: str | None = None) -> list[CallRow]:
    with Ledger.open(str(data_dir / "ledger.sqlite3"), read_only=True) as ledger:
        return list(stored_rows(ledger, version=version))


def fingerprint(data_dir: Path) -> str:
    return hashlib.sha256(msgspec.msgpack.encode(rows(data_dir, "original"))).hexdigest()


def confirmed(data_dir: Path) -> int:
    with Ledger.open(str(data_dir / "ledger.sqlite3"), read_only=True) as ledger:
        return summary(ledger).confirmed_nano_usd


def at_other_prices(tmp_path: Path) -> str:
    (tmp_path / "submeter.yaml").write_text(DOUBLE)
    return str(tmp_path / "submeter.yaml")


def test_repricing_changes_no_row_and_is_undone_by_selecting_the_original(data_dir: Path, tmp_path: Path) -> None:
    originals, before = fingerprint(data_dir), confirmed(data_dir)
    made = document(data_dir, "--config", at_other_prices(tmp_path), "--note", "what if")
    assert made["version"] == "v1"
    assert "overlay" in made["price_snapshot"]
    exact = [row for row in rows(data_dir) if row.cost_state == "exact" and row.cache == "miss"]
    expected = 0
    for row in exact:
        tokens = row.tokens
        assert tokens is not None
        expected += tokens.input_uncached * 5000 + tokens.cached_read * 2500
        expected += (tokens.output_text + tokens.reasoning) * 20_000
    assert confirmed(data_dir) == expected != before
    assert fingerprint(data_dir) == originals
    assert document(data_dir, "--select", "original")["selected"] == "original"
    assert confirmed(data_dir) == before
    assert document(data_dir, "--select", "v1")["selected"] == "v1"
    assert confirmed(data_dir) == expected


def test_the_difference_is_told_by_model_and_team(data_dir: Path, tmp_path: Path) -> None:
    before = {(row.call_id, row.attempt): row for row in rows(data_dir)}
    made = document(data_dir, "--config", at_other_prices(tmp_path))
    after = {(row.call_id, row.attempt): row for row in rows(data_dir)}
    lines = {(line["model"], line["team"]): line for line in made["lines"]}
    assert set(lines) == {(model, team) for model in MODELS for team in TEAMS}
    for (model, team), line in lines.items():
        mine = [key for key, row in before.items() if (row.model_requested, row.team) == (model, team)]
        assert line["calls"] == len(mine)
        for name, side in (("before_nano_usd", before), ("after_nano_usd", after)):
            assert line[name] == sum(side[key].cost_nano_usd or 0 for key in mine)
        assert line["difference_nano_usd"] == line["after_nano_usd"] - line["before_nano_usd"]
    unknown = [line for line in made["lines"] if line["model"] == "no-such-model"]
    assert sum(line["unpriced_before"] for line in unknown) > 0
    assert sum(line["unpriced_after"] for line in made["lines"]) == 0


def test_repricing_at_the_same_prices_changes_no_figure(data_dir: Path) -> None:
    before = rows(data_dir)
    made = document(data_dir)
    assert made["total"]["changed"] == 0
    assert made["total"]["difference_nano_usd"] == 0
    assert rows(data_dir) == before


def test_a_dry_run_writes_nothing(data_dir: Path, tmp_path: Path) -> None:
    before = rows(data_dir)
    result = run(data_dir, "--config", at_other_prices(tmp_path), "--dry-run")
    assert result.exit_code == 0, result.output
    assert "nothing was written" in result.stdout
    assert rows(data_dir) == before
    assert document(data_dir, "--list") == {"selected": "original", "versions": []}


def test_the_versions_are_listed_with_their_notes(data_dir: Path, tmp_path: Path) -> None:
    config = at_other_prices(tmp_path)
    assert run(data_dir, "--config", config, "--note", "[bold]contract 17").exit_code == 0
    assert run(data_dir, "--config", config, "--until", "2025-11-20T00:00:01Z").exit_code == 0
    listed = document(data_dir, "--list")
    assert listed["selected"] == "v2"
    assert [(each["id"], each["note"], each["calls"]) for each in listed["versions"]] == [
        ("v1", "[bold]contract 17", 300),
        ("v2", "", 300),
    ]
    shown = run(data_dir, "--list")
    assert "[bold]contract 17" in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--select", "v9"], "v9"),
        (["--list", "--select", "v1"], "exclude each other"),
        (["--snapshot", "no-such-snapshot"], "no-such-snapshot"),
        (["--until", "soon"], "--until"),
    ],
)
def test_what_cannot_be_done_is_said(data_dir: Path, arguments: list[str], said: str) -> None:
    result = run(data_dir, *arguments)
    assert result.exit_code != 0
    assert said in str(result.exception)


def test_an_absent_ledger_is_not_made(tmp_path: Path) -> None:
    result = run(tmp_path / "nowhere")
    assert "no ledger" in str(result.exception)
    assert not (tmp_path / "nowhere").exists()


def test_a_discount_takes_its_fraction_off_every_part(data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "submeter.yaml").write_text('prices: [{model: "gpt-4o*", source: "less", discount_percent: "50"}]')
    made = document(data_dir, "--config", str(tmp_path / "submeter.yaml"))
    halves = [row for row in rows(data_dir) if row.model_requested == "gpt-4o-mini" and row.cost_state == "exact"]
    originals = {row.call_id: row for row in rows(data_dir, "original")}
    assert halves
    for row in halves:
        was = originals[row.call_id]
        assert row.cost_nano_usd is not None
        assert was.cost_nano_usd is not None
        assert abs(row.cost_nano_usd - was.cost_nano_usd * Decimal("0.5")) <= 2  # each part rounds once
        assert row.price_rule == "exact, 50 % off by overlay glob" or row.cache == "hit"
    assert made["total"]["after_nano_usd"] < made["total"]["before_nano_usd"]
