"""The whole unit with its ledger in Postgres: calls in, rows out, and what they cost is the invoice."""

import json
from pathlib import Path
from typing import Any

from harness.processes import running, submeter
from harness.raw import ask, chat

CALLS = 6


def output(*arguments: str) -> str:
    run = submeter(*arguments)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_a_unit_meters_into_postgres(tmp_path: Path, postgres_url: str) -> None:
    with running(tmp_path, "--ledger", postgres_url) as (provider, unit):
        for number in range(CALLS):
            body = chat(stream=number % 2 == 0, user=f"u{number}")
            assert ask(unit.port, "POST", "/by/search/web/v1/chat/completions", body=body).status == 200
        unit.wait_ops()
        where = ("--data-dir", str(unit.data_dir), "--ledger", postgres_url)
        rows = [json.loads(line) for line in output("calls", "--settled", "--json", *where).splitlines()]
        invoice = provider.invoice()
        total: dict[str, Any] = json.loads(output("cost", "--by", "team,app", "--json", *where))["total"]
        page = ask(unit.ops_port, "GET", "/")

    assert [row["user"] for row in rows] == [f"u{number}" for number in range(CALLS)]
    assert {row["cost_state"] for row in rows} == {"exact"}
    billed = {line["request_id"]: line["cost_nano_usd"] for line in invoice}
    assert {row["upstream_request_id"]: row["cost_nano_usd"] for row in rows} == billed
    assert len(billed) == CALLS
    assert total["confirmed_nano_usd"] == sum(billed.values())
    assert not (unit.data_dir / "ledger.sqlite3").exists()
    assert page.status == 200
    assert b"search" in page.body
