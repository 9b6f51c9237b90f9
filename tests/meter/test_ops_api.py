"""The JSON API: the figures, the same documents as the commands print, and parameters that are wrong."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st
from typer.testing import CliRunner

from meter.ops_app import client_of, make_settings, record
from store.ledger_rows import START_NS, make_call, make_call_id
from submeter.cli import app as cli
from submeter.config import Settings

pytestmark = pytest.mark.anyio

Client = TestClient[web.Request, Any]

PLAIN_COST = 730 * 2500 + 200 * 1250 + 70 * 2500 + 10 * 10_000
ROWS = [
    make_call(0),
    make_call(1, team="ads", model_served="claude-x", cost_nano_usd=5_000_000_000, ttft_ns=300_000_000),
    make_call(2, cache="hit", cost_nano_usd=0, saved_nano_usd=PLAIN_COST, ttft_ns=None),
    make_call(3, cost_state="unpriced", cost_nano_usd=None, costs=None),
    make_call(4, outcome="upstream_error", status=500, cost_nano_usd=0),
    make_call(4, attempt=2, started_at_ns=START_NS + 90 * 10**9),
]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = make_settings(tmp_path)
    record(made, ROWS)
    return made


@pytest.fixture
async def client(settings: Settings, now_ns: int) -> AsyncIterator[Client]:
    async with client_of(settings) as made:
        yield made


async def get(client: Client, path: str) -> Any:
    answer = await client.get(path)
    assert answer.status == 200
    return json.loads(await answer.text())


async def test_summary(client: Client) -> None:
    document = await get(client, "/api/summary?since=all")
    assert (document["since"], document["until"]) == (None, None)
    total = document["total"]
    assert (total["calls"], total["hits"], total["unpriced_calls"], total["exact_calls"]) == (6, 1, 1, 4)
    assert (total["coalesced"], total["misses"], total["bypassed"]) == (0, 5, 0)
    assert total["confirmed_nano_usd"] == PLAIN_COST + 5_000_000_000 + 0 + PLAIN_COST
    assert total["saved_nano_usd"] == PLAIN_COST
    assert total["input_tokens"] == 5 * 1000


async def test_since_limits_what_is_counted(client: Client) -> None:
    document = await get(client, "/api/summary?since=2025-11-20T00:01:00Z")
    assert document["since"] == "2025-11-20T00:01:00.000000000Z"
    assert document["total"]["calls"] == 1
    assert (await get(client, "/api/summary?since=11h"))["total"]["calls"] == 0
    assert (await get(client, "/api/summary"))["since"] == "2025-11-13T12:00:00.000000000Z"


async def test_cost_by_two_keys(client: Client) -> None:
    document = await get(client, "/api/cost?by=team,model&since=1d")
    assert document["by"] == ["team", "model"]
    figures = [(line["team"], line["model"], line["calls"], line["confirmed_nano_usd"]) for line in document["lines"]]
    assert figures == [
        ("ads", "claude-x", 1, 5_000_000_000),
        ("search", "gpt-4o-2024-08-06", 5, PLAIN_COST + PLAIN_COST),
    ]


async def test_latency_leaves_out_hits_and_failures(client: Client) -> None:
    document = await get(client, "/api/latency?by=team&since=1d")
    search, ads = document["lines"]
    assert (search["team"], search["n"], search["ttft"]["p50_ns"]) == ("search", 3, 100_000_000)
    assert (ads["team"], ads["n"], ads["ttft"]["p95_ns"]) == ("ads", 1, 300_000_000)


async def test_series(client: Client) -> None:
    document = await get(client, "/api/series?since=2025-11-20&bucket_s=60")
    assert (document["bucket_s"], document["until"]) == (60, "2025-11-20T12:00:00.000000000Z")
    first, second = document["points"]
    assert (first["start"], first["calls"], first["hits"]) == ("2025-11-20T00:00:00.000000000Z", 5, 1)
    assert first["cost_nano_usd"] == PLAIN_COST + 5_000_000_000
    assert first["saved_nano_usd"] == PLAIN_COST
    assert (second["start"], second["calls"]) == ("2025-11-20T00:01:00.000000000Z", 1)
    assert second["ttft"] == {"n": 1, "p50_ns": 100_000_000, "p95_ns": 100_000_000, "p99_ns": 100_000_000}


async def test_series_chooses_its_buckets(client: Client) -> None:
    for since, bucket_s in (("1h", 60), ("24h", 900), ("7d", 7200), ("30d", 28_800)):
        assert (await get(client, f"/api/series?since={since}"))["bucket_s"] == bucket_s


async def test_calls_are_the_newest_oldest_first(client: Client) -> None:
    calls = await get(client, "/api/calls?last=2")
    assert [(call["call_id"], call["attempt"]) for call in calls] == [(make_call_id(4), 1), (make_call_id(4), 2)]
    assert len(await get(client, "/api/calls")) == 6


async def test_one_call_in_full(client: Client) -> None:
    first, second = await get(client, f"/api/calls/{make_call_id(4)}")
    assert (first["attempt"], first["outcome"], second["attempt"], second["outcome"]) == (1, "upstream_error", 2, "ok")
    assert second["tokens"]["input_uncached"] == 730
    assert second["costs_nano_usd"]["input_uncached"] == 730 * 2500


@pytest.mark.parametrize(
    ("path", "command"),
    [
        ("/api/cost?by=team,day&since=2025-11-01", ["cost", "--by", "team,day", "--since", "2025-11-01"]),
        ("/api/cost?since=all", ["cost", "--since", "all"]),
        ("/api/latency?by=model&since=2025-11-01", ["latency", "--by", "model", "--since", "2025-11-01"]),
        (f"/api/calls/{make_call_id(4)}", ["calls", "show", make_call_id(4)]),
    ],
)
async def test_the_commands_print_the_same(settings: Settings, client: Client, path: str, command: list[str]) -> None:
    arguments = [*command, "--json", "--ledger", settings.ledger_url]
    printed = await anyio.to_thread.run_sync(lambda: CliRunner().invoke(cli, arguments))
    assert printed.exit_code == 0, printed.output
    assert await get(client, path) == json.loads(printed.stdout)


@pytest.mark.parametrize(
    ("path", "param", "says"),
    [
        ("/api/summary?since=yesterday", "since", "write 7d, 24h"),
        ("/api/summary?sinse=7d", None, "The parameters here are since"),
        ("/api/summary?since=7d&since=1d", None, "each at most once"),
        ("/api/cost?by=modell", "by", "of model, team, app"),
        ("/api/cost?by=team,team", "by", "each once"),
        ("/api/calls?last=0", "last", "a whole number from 1 to 1,000"),
        ("/api/calls?last=1001", "last", "from 1 to 1,000"),
        ("/api/calls?last=-1", "last", "from 1 to 1,000"),
        ("/api/calls?last=%C2%B2", "last", "from 1 to 1,000"),
        ("/api/calls/x?last=1", None, "The parameters here are none"),
        ("/api/series?since=all", "since", "needs a beginning"),
        ("/api/series?since=30d&bucket_s=1", "bucket_s", "longer buckets"),
        ("/api/series?bucket_s=1.5", "bucket_s", "a whole number"),
    ],
)
async def test_wrong_parameters_are_told_what_to_write(client: Client, path: str, param: str | None, says: str) -> None:
    answer = await client.get(path)
    error = (await answer.json())["error"]
    assert (answer.status, error["code"], error["param"]) == (400, "bad_parameter", param)
    assert says in error["message"]


async def test_before_the_first_call_the_api_says_so(tmp_path: Path) -> None:
    settings = make_settings(tmp_path / "later")
    async with client_of(settings) as client:
        answer = await client.get("/api/calls")
        assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
        assert (await answer.json())["error"]["code"] == "nothing_recorded"
        record(settings, ROWS)
        assert len(await get(client, "/api/calls")) == 6


async def test_a_ledger_that_cannot_be_read(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    (tmp_path / "ledger.sqlite3").write_bytes(b"no database at all" * 100)
    async with client_of(settings) as client:
        answer = await client.get("/api/summary")
        assert (answer.status, (await answer.json())["error"]["code"]) == (503, "ledger_unavailable")


def test_any_parameter_gets_an_answer_that_does_not_quote_it(tmp_path: Path) -> None:
    """One app for all examples: 200 or a 400 of fixed text, never a failure."""
    made = make_settings(tmp_path)
    record(made, ROWS)
    names = st.sampled_from(["since", "by", "last", "bucket_s"])
    pairs = st.lists(st.tuples(names, st.text(max_size=20)), max_size=3)
    paths = st.sampled_from(["summary", "cost", "latency", "series", "calls", "calls/x"])

    async def ask_all() -> None:
        async with client_of(made) as client:

            @limits(max_examples=60, deadline=None)
            @given(paths, pairs)
            def examples(path: str, query: list[tuple[str, str]]) -> None:
                text = "&".join(f"{name}={quote('canary' + value)}" for name, value in query)
                asked.append(f"/api/{path}?{text}")

            asked: list[str] = []
            examples()
            for path in asked:
                answer = await client.get(path)
                assert answer.status in ({200, 400} if "/x?" not in path else {400, 404}), path
                assert b"canary" not in await answer.read()

    anyio.run(ask_all)
