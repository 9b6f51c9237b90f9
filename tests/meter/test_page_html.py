"""The page as it is sent: the figures in it, hostile names, the empty state, what is wrong and what to do."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from msgspec.structs import replace

from meter.ops_app import HEALTHY, client_of, make_settings, record
from store.ledger_rows import START_NS, make_call
from submeter.config import Settings
from submeter.core.record import CallRow
from submeter.meter.ops import Health

pytestmark = pytest.mark.anyio

PLAIN_COST = 730 * 2500 + 200 * 1250 + 70 * 2500 + 10 * 10_000
TUESDAY_NS = START_NS - 2 * 86_400 * 10**9
ROWS = [
    make_call(0),
    make_call(1, ttft_ns=200_000_000),
    make_call(2, ttft_ns=300_000_000),
    make_call(3, cache="hit", cost_nano_usd=0, saved_nano_usd=PLAIN_COST, ttft_ns=None),
    make_call(
        4,
        outcome="client_gone",
        cost_state="estimated",
        cost_nano_usd=500_000_000,
        cost_low_nano_usd=400_000_000,
        cost_high_nano_usd=900_000_000,
    ),
    make_call(
        5,
        outcome="indeterminate",
        cost_state="indeterminate",
        cost_nano_usd=None,
        costs=None,
        cost_low_nano_usd=1_000_000,
        cost_high_nano_usd=70_000_000,
    ),
    make_call(6, cost_state="unpriced", cost_nano_usd=None, costs=None, model_served="new-model"),
    make_call(7, cost_state="unmetered", cost_nano_usd=None, costs=None, model_served=None, model_requested=None),
    make_call(
        8, started_at_ns=TUESDAY_NS, team="ads", prompt="long", prompt_version="v9", cost_nano_usd=10_000_000_000
    ),
]


class Reader(HTMLParser):
    """A page's tags, the text that it shows, and the cells of its tables."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.text = ""
        self._open: str | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        if tag in ("td", "th", "script"):
            self._open = tag

    def handle_endtag(self, tag: str) -> None:
        if tag == self._open:
            self._open = None

    def handle_data(self, data: str) -> None:
        words = " ".join(data.split())
        if not words or self._open == "script":
            return
        self.text += f" {words}"
        if self._open is not None:
            cells = self.tables[-1][-1]
            cells[-1] = f"{cells[-1]} {words}".strip()

    def row(self, name: str) -> list[str]:
        """The first row whose first cell is ``name``, in any table; ``name`` may be followed by its version."""
        [*_, first] = [row for table in reversed(self.tables) for row in reversed(table) if row[0] == name]
        return first


async def page(
    directory: Path, rows: list[CallRow] | None, query: str = "", health: Health = HEALTHY, **changes: object
) -> str:
    settings = make_settings(directory, **changes)
    if rows is not None:
        record(settings, rows)
    async with client_of(settings, health) as client:
        answer = await client.get(f"/{query}")
        assert (answer.status, answer.content_type) == (200, "text/html")
        return await answer.text()


async def test_three_figures_for_today_and_for_the_week(tmp_path: Path, now_ns: int) -> None:
    html = await page(tmp_path, ROWS)
    text = Reader(html).text
    # 3 x PLAIN_COST: $0.007050000
    assert '<dd title="$0.007050000">$0.00705</dd>' in html
    assert "Today since 00:00 UTC Confirmed $0.00705 Estimated $0.500 1 call, $0.400 to $0.900" in text
    assert "Indeterminate $0.0010 to $0.0700 1 call, end unknown" in text
    assert "Covers 6 of 8 calls: 1 has no price, 1 passed through unmetered." in text
    assert '<dd title="$10.007050000">$10.01</dd>' in html
    assert "Covers 7 of 9 calls: 1 has no price, 1 passed through unmetered." in text
    assert "<title>Submeter · $0.507 today</title>" in html


async def test_the_period_decides_what_is_summed_up(tmp_path: Path, now_ns: int) -> None:
    today, week = await page(tmp_path, ROWS, "?period=today"), await page(tmp_path, None, "?period=7d")
    assert "Today, since 00:00 UTC" in today
    assert 'aria-current="page">Today</a>' in today
    assert "Calls 8 7,000 tokens in , 70 out" in Reader(today).text
    assert "The last 7 days" in week
    assert "Calls 9 8,000 tokens in , 80 out" in Reader(week).text
    assert "Saved by the cache $0.00235 1 hit, 11.1 % of cacheable calls, 11.1 % of all calls" in Reader(week).text
    assert "ads" not in Reader(today).text
    assert "ads" in Reader(week).text


async def test_tables(tmp_path: Path, now_ns: int) -> None:
    """Model, team, prompt: calls, tokens, cost, cost per 1,000 calls of known cost, median TTFT."""
    found = Reader(await page(tmp_path, ROWS, "?period=7d"))
    models, teams, prompts, _ = found.tables
    # gpt-4o: 3 exact, 1 estimated, 1 hit, 1 indeterminate today, 1 exact on Tuesday: 6 calls with a cost.
    cost = 3 * PLAIN_COST + 500_000_000 + 10_000_000_000
    assert cost == 10_507_050_000
    assert models[1] == [
        *("gpt-4o-2024-08-06", "7", "6,000", "1,200", "60", "~$10.51", ""),
        "$1,751.18",  # 1000 * 10.50705 / 6 = 1751.175
        "100",
    ]
    assert found.row("new-model")[1:6] == ["1", "1,000", "200", "10", "no price"]
    assert found.row("no model named")[5] == "unmetered"
    assert [row[0] for row in teams[1:]] == ["ads", "search"]
    assert found.row("ads")[5] == "$10.00"
    assert found.row("search")[5] == "~$0.51"
    assert [row[0] for row in prompts[1:]] == ["long v9", "greet v1"]
    assert found.row("greet v1")[8] == "100"


async def test_versions_stand_below_their_prompt(tmp_path: Path, now_ns: int) -> None:
    rows = [make_call(0, prompt_version="v1"), make_call(1, prompt_version="v2", cost_nano_usd=9_000_000)]
    rows.append(make_call(2, prompt=None, prompt_version=None))
    prompts = Reader(await page(tmp_path, rows)).tables[2]
    assert [row[:2] for row in prompts[1:]] == [["greet", "2"], ["v2", "1"], ["v1", "1"], ["no prompt", "1"]]


async def test_long_tables_say_what_they_leave_out(tmp_path: Path, now_ns: int) -> None:
    html = await page(tmp_path, [make_call(number, team=f"team-{number}") for number in range(40)])
    assert len(Reader(html).tables[1]) == 1 + 15
    assert "and 25 more: <code>submeter cost --by team</code>" in html


async def test_a_period_without_calls(tmp_path: Path, now_ns: int) -> None:
    text = Reader(await page(tmp_path, [make_call(started_at_ns=TUESDAY_NS)], "?period=24h")).text
    assert "Today since 00:00 UTC Confirmed $0.00 Estimated none Indeterminate none No calls." in text
    assert "No calls in this period." in text
    assert "First token, median – p95 –" in text


async def test_before_the_first_call_the_page_teaches(tmp_path: Path) -> None:
    html = await page(tmp_path / "none", None, port=4567)
    assert "No call has been recorded yet" in html
    assert "export OPENAI_BASE_URL=http://127.0.0.1:4567/v1" in html
    assert "curl http://127.0.0.1:4567/v1/chat/completions" in html
    assert "http://127.0.0.1:4567/by/TEAM/APP/v1" in html
    assert 'data-state="empty"' in html
    assert "No call has been recorded yet" in await page(tmp_path / "migrated", [], host="0.0.0.0")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:4100/v1"),
        ("0.0.0.0", "http://127.0.0.1:4100/v1"),
        ("::", "http://[::1]:4100/v1"),
        ("::1", "http://[::1]:4100/v1"),
        ("10.0.0.7", "http://10.0.0.7:4100/v1"),
        ("meter.internal", "http://meter.internal:4100/v1"),
    ],
)
async def test_the_relay_is_named_as_this_machine_reaches_it(tmp_path: Path, host: str, url: str) -> None:
    assert f"OPENAI_BASE_URL={url}" in await page(tmp_path, None, host=host)


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "{{ 7 * 7 }}{% raw %}",
    "&lt;b&gt;",
    "a\u202eb\u0000c\u2028d",
    "x" * 5000,
]


@pytest.mark.parametrize("evil", HOSTILE)
async def test_names_from_clients_are_text_and_nothing_else(tmp_path: Path, now_ns: int, evil: str) -> None:
    names = ("team", "app", "user", "session", "prompt", "prompt_version", "model_served", "finish_reason")
    plain = Reader(await page(tmp_path / "plain", [make_call(cost_state="unpriced", cost_nano_usd=None, costs=None)]))
    rows = [make_call(0, cost_state="unpriced", cost_nano_usd=None, costs=None, **dict.fromkeys(names, evil))]
    html = await page(tmp_path / "evil", rows)
    found = Reader(html)
    assert found.tags == plain.tags
    assert "<script>alert" not in html
    assert "<img src=x" not in html
    shown = re.sub(r'<script type="application/json".*?</script>', "", html)
    assert "\u202e" not in shown
    assert "\x00" not in shown
    if evil.isprintable():
        assert found.tables[1][1][0] == " ".join(evil.split())
    else:
        assert found.tables[1][1][0] == "a\\x202eb\\x00c\\x2028d"


async def test_unpriced_models_are_named_with_what_to_do(tmp_path: Path, now_ns: int) -> None:
    unpriced = {"cost_state": "unpriced", "cost_nano_usd": None, "costs": None}
    rows = [make_call(number, model_served=f"m{number % 5}", **unpriced) for number in range(9)]
    text = Reader(await page(tmp_path, rows)).text
    assert "9 calls of this period have no price and so are in no cost figure." in text
    assert "Models: m0, m1, m2 and 2 more. Write their prices under prices: in submeter.yaml" in text
    assert "submeter prices import" in text


DEGRADED = replace(HEALTHY, degraded=True, reason="the ledger cannot be written")


@pytest.mark.parametrize(
    ("health", "says"),
    [
        (DEGRADED, "Degraded: the ledger cannot be written. No call is lost"),
        (replace(HEALTHY, ready=False), "Degraded: the meter is starting."),
        (replace(HEALTHY, lag_s=12.4, lag_bytes=9_000), "The figures are 12 s behind. 9,000 bytes of the journal"),
    ],
)
async def test_what_is_wrong_with_the_meter_stands_on_top(
    tmp_path: Path, now_ns: int, health: Health, says: str
) -> None:
    text = Reader(await page(tmp_path, [make_call()], health=health)).text
    assert says in text
    assert "submeter doctor" in text


async def test_the_header_tells_the_state(tmp_path: Path, now_ns: int) -> None:
    assert "metering in flight 3 journal lag 0.2 s" in Reader(await page(tmp_path, [make_call()])).text
    html = await page(tmp_path, None, health=DEGRADED)
    assert 'class="state bad"' in html


async def test_a_ledger_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite3").write_bytes(b"no database at all" * 100)
    text = Reader(await page(tmp_path, None)).text
    assert "The ledger cannot be read now. Calls go on and wait in the journal." in text
    assert "No call has been recorded yet" not in text


async def test_a_note_stands_on_top(tmp_path: Path, now_ns: int) -> None:
    from aiohttp.test_utils import TestClient, TestServer

    from submeter.meter.ops import make_app

    settings: Settings = make_settings(tmp_path)
    app = make_app(settings, exposition=lambda: (b"", "text/plain"), health=lambda: HEALTHY, note="Synthetic data")
    async with TestClient(TestServer(app)) as client:
        assert '<p class="note">Synthetic data</p>' in await (await client.get("/")).text()


async def test_nothing_on_the_page_comes_from_elsewhere(tmp_path: Path, now_ns: int) -> None:
    html = await page(tmp_path, ROWS)
    assert "style=" not in html
    assert "onclick" not in html
    assert "http://" not in html.replace("http://127.0.0.1", "")
    assert "https://" not in html
