"""Every format is known by its content; amounts are exact; what cannot be read is said with its row and the fix."""

import json
from decimal import Decimal

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from submeter.errors import UsageError
from submeter.reconcile.lines import Invoice, InvoiceLine, Usage, total_nano_usd
from submeter.reconcile.mapping import InvoiceMap
from submeter.reconcile.pages import LineItem, read_line_item
from submeter.reconcile.read import read_invoice

DAY = 20_301  # 2025-08-01
START = DAY * 86_400


def only(invoice: Invoice) -> InvoiceLine:
    (line,) = invoice.lines
    return line


def openai(*results: dict[str, object], **more: object) -> bytes:
    bucket = {"object": "bucket", "start_time": START, "end_time": START + 86_400, "results": results, **more}
    return json.dumps({"object": "page", "data": [bucket], "has_more": False, "next_page": None}).encode()


def anthropic(*results: dict[str, object]) -> bytes:
    times = {"starting_at": "2025-08-01T00:00:00Z", "ending_at": "2025-08-02T00:00:00Z"}
    return json.dumps({"data": [{**times, "results": results}], "has_more": False, "next_page": None}).encode()


def test_openai_costs() -> None:
    amount = {"value": 0.06, "currency": "usd"}
    fields = {"object": "organization.costs.result", "project_id": None, "api_key_id": "key_1"}
    invoice = read_invoice(openai({**fields, "amount": amount, "line_item": "gpt-4o-2024-08-06, cached input"}))
    assert (invoice.source, invoice.provider, invoice.days) == ("OpenAI costs (JSON)", "openai", (DAY, DAY))
    assert only(invoice) == InvoiceLine(
        row=1, day=DAY, model="gpt-4o-2024-08-06", key="key_1", part="cached_input", amount_usd=Decimal("0.06")
    )


def test_amounts_never_pass_through_a_float() -> None:
    raw = openai({"amount": {"value": 0.5, "currency": "usd"}}).replace(b"0.5", b"0.1000000000000000055511151231257827")
    assert only(read_invoice(raw)).amount_usd == Decimal("0.1000000000000000055511151231257827")
    tiny = openai({"amount": {"value": 5e-07, "currency": "usd"}})
    assert total_nano_usd(read_invoice(tiny).lines) == 500


@pytest.mark.parametrize(
    ("text", "item"),
    [
        ("gpt-4o-2024-08-06, input", LineItem("gpt-4o-2024-08-06", "input")),
        ("gpt-6-astra, input_tokens", LineItem("gpt-6-astra", "input")),
        ("gpt-4.1, cached input", LineItem("gpt-4.1", "cached_input")),
        ("gpt-5.6-sol, cache writes", LineItem("gpt-5.6-sol", "cache_write")),
        ("priority | gpt-5.6-sol, output, long context", LineItem("gpt-5.6-sol", "output", "priority")),
        ("gpt-audio-mini-2025-12-15 audio, input", LineItem("gpt-audio-mini-2025-12-15", "input")),
        ("whisper-1, audio", LineItem("whisper-1")),
        ("text-embedding-3-small", LineItem("text-embedding-3-small")),
        ("web search tool calls", LineItem(other="web search tool calls")),
        ("assistants api | file search", LineItem(other="assistants api | file search")),
        (None, LineItem()),
    ],
)
def test_line_items_of_openai(text: str | None, item: LineItem) -> None:
    assert read_line_item(text) == item


def test_openai_usage_of_completions_and_embeddings() -> None:
    chat = {
        "object": "organization.usage.completions.result",
        "input_tokens": 1000,
        "input_cached_tokens": 800,
        "output_tokens": 500,
        "num_model_requests": 5,
        "model": "gpt-4o-mini-2024-07-18",
        "api_key_id": "key_1",
        "batch": True,
        "service_tier": None,
    }
    embedding = {"object": "organization.usage.embeddings.result", "input_tokens": 16, "num_model_requests": 2}
    images = {"object": "organization.usage.images.result", "images": 2, "num_model_requests": 2}
    invoice = read_invoice(openai(chat, {**embedding, "model": "text-embedding-3-small"}, images))
    first, second = invoice.lines
    assert first == InvoiceLine(
        row=1,
        day=DAY,
        model="gpt-4o-mini-2024-07-18",
        key="key_1",
        tier="batch",
        requests=5,
        usage=Usage(1000, 800, None, 500),
    )
    assert (second.row, second.requests, second.usage) == (2, 2, Usage(16, None, None, None))
    assert invoice.notes == ("1 results without an amount and without tokens are left out",)


def test_anthropic_costs_are_cents() -> None:
    tokens = {
        "currency": "USD",
        "amount": "123.78912",
        "workspace_id": "wrkspc_1",
        "description": "Claude Sonnet 4 Usage - Input Tokens",
        "cost_type": "tokens",
        "context_window": "0-200k",
        "model": "claude-sonnet-4-20250514",
        "service_tier": "standard",
        "token_type": "cache_creation.ephemeral_1h_input_tokens",
    }
    search = {**tokens, "amount": "1", "cost_type": "web_search", "model": None, "description": "Web Search Usage"}
    first, second = read_invoice(anthropic(tokens, search)).lines
    assert (first.amount_usd, first.model, first.part) == (
        Decimal("1.2378912"),
        "claude-sonnet-4-20250514",
        "cache_write",
    )
    assert (second.amount_usd, second.model, second.item) == (Decimal("0.01"), None, "Web Search Usage")


def test_anthropic_usage_counts_its_classes_apart() -> None:
    result = {
        "uncached_input_tokens": 1500,
        "cache_creation": {"ephemeral_1h_input_tokens": 1000, "ephemeral_5m_input_tokens": 500},
        "cache_read_input_tokens": 200,
        "output_tokens": 500,
        "server_tool_use": {"web_search_requests": 10},
        "api_key_id": "apikey_1",
        "model": "claude-sonnet-4-20250514",
        "service_tier": "standard",
    }
    line = only(read_invoice(anthropic(result)))
    assert line.usage == Usage(1500 + 1000 + 500 + 200, 200, 1000 + 500, 500)
    assert (line.key, line.model, line.requests) == ("apikey_1", "claude-sonnet-4-20250514", None)


def test_openai_dashboard_csv() -> None:
    costs = (
        "start_time,end_time,start_time_iso,end_time_iso,amount_value,amount_currency,line_item,project_id\n"
        f"{START},{START + 86_400},2025-08-01T00:00:00+00:00,2025-08-02T00:00:00+00:00,"
        '0.8958740000000000,usd,"gpt-5-mini-2025-08-07, output",proj_1\n'
        f"{START + 86_400},{START + 2 * 86_400},2025-08-02T00:00:00+00:00,2025-08-03T00:00:00+00:00,,,,\n"
    )
    invoice = read_invoice(b"\xef\xbb\xbf" + costs.encode())
    assert (invoice.source, invoice.days) == ("OpenAI costs (CSV)", (DAY, DAY + 1))
    line = only(invoice)
    assert (line.row, line.model, line.amount_usd) == (2, "gpt-5-mini-2025-08-07", Decimal("0.895874"))
    usage = (
        "start_time\tend_time\tproject_id\tnum_model_requests\tapi_key_id\tmodel\tbatch\tservice_tier\tinput_tokens"
        "\toutput_tokens\tinput_cached_tokens\n"
        f"{START}\t{START + 86_400}\tproj_1\t10.0\tkey_1\tgpt-4o-2024-08-06\tFALSE\tdefault\t59200.0\t10646.0\t5760.0\n"
        f"{START}\t{START + 86_400}\t\t\t\t\t\t\t\t\t\n"
    )
    line = only(read_invoice(usage.encode()))
    assert (line.requests, line.usage, line.tier) == (10, Usage(59_200, 5760, None, 10_646), "default")


def test_anthropic_console_csv_is_in_dollars() -> None:
    costs = (
        "usage_date_utc,model,workspace,api_key,usage_type,context_window,token_type,cost_usd,list_price_usd,cost_type,"
        "inference_geo,speed,api_key_id,api_key_status\n"
        "2025-08-01,Claude Haiku 4.5,Default,demo,message,≤ 200k,input_no_cache,0.05,0.05,token,,,apikey_1,active\n"
    )
    line = only(read_invoice(costs.encode()))
    assert (line.model, line.key, line.part, line.amount_usd) == (
        "claude-haiku-4-5",
        "apikey_1",
        "input",
        Decimal("0.05"),
    )
    usage = (
        "usage_date_utc,model_version,api_key,workspace,usage_type,context_window,usage_input_tokens_no_cache,"
        "usage_input_tokens_cache_write_5m,usage_input_tokens_cache_write_1h,usage_input_tokens_cache_read,"
        "usage_output_tokens,web_search_count,inference_geo,speed\n"
        "2025-08-01 14:00:00,claude-haiku-4-5-20251001,demo,Default,standard,≤ 200k,10,2,3,4,5,0,,\n"
    )
    line = only(read_invoice(usage.encode()))
    assert (line.day, line.key, line.usage) == (DAY, "demo", Usage(19, 4, 5, 5))


COLUMNS = {"day": "Date", "model": "Model", "input_tokens": "In", "output_tokens": "Out", "amount": "Cost"}


def test_any_csv_with_a_column_map() -> None:
    mapping = InvoiceMap(columns=COLUMNS, models={"Our GPT": "gpt-4o"})
    raw = b"Date;Model;In;Out;Cost\n2025-08-01;Our GPT;1000;10;-0.25\n\n"
    line = only(read_invoice(raw, mapping))
    assert line == InvoiceLine(
        row=2, day=DAY, model="gpt-4o", usage=Usage(1000, None, None, 10), amount_usd=Decimal("-0.25")
    )
    cents = msgspec.structs.replace(mapping, columns={"day": "Date", "amount_cents": "Cost"})
    assert only(read_invoice(raw, cents)).amount_usd == Decimal("-0.0025")


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "empty"),
        (b"\xff\xfe1\x00", "not UTF-8"),
        (b"{", "line 1: no valid JSON"),
        (b'{"data": [{"results": []}]}', "page 1: its buckets name no start"),
        (b'{"daily_costs": []}', "page 1: no cost or usage page"),
        (b'{"data": []}', "no day in it"),
        (b"a,b\n1,2\n", "--columns"),
        (b'start_time,amount_value\n"1', "line 2: no CSV"),
        (b"start_time,amount_value\nyesterday,1\n", "line 2: start_time is no date"),
        (b"start_time,amount_value\n1730419200000,1\n", "line 2: start_time is no date"),
        (b'start_time,amount_value\n1730419200,"1,5"\n', "line 2: the amount has a comma"),
        (b"start_time,amount_value\n1730419200,$1\n", "line 2: the amount is not a plain number"),
        (b"start_time,amount_value\n1730419200,nan\n", "line 2: the amount is not a plain number"),
        (b"start_time,amount_value,amount_currency\n1730419200,1,eur\n", "line 2: the amount is not in USD"),
        (b"start_time,amount_value\n1730419200,1,2,3\n", "line 2: 4 cells under a header of 2"),
        (openai({"input_tokens": -1, "num_model_requests": 1}), "result 1: input_tokens is not a count"),
        (openai({"input_tokens": 1.5, "num_model_requests": 1}), "result 1: input_tokens is not a count"),
        (openai({"amount": {"value": [], "currency": "usd"}}), "result 1: the amount is not a number"),
        (openai(end_time=START + 90_000), "page 1: a bucket is not within one day of UTC"),
        (openai() + anthropic(), "reconcile them one after the other"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_place(raw: bytes, words: str) -> None:
    with pytest.raises(UsageError) as error:
        read_invoice(raw)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_page_is_a_note() -> None:
    raw = openai({"amount": {"value": 1, "currency": "usd"}}).replace(b'"has_more": false', b'"has_more": true')
    assert "save every page" in read_invoice(raw).notes[0]


def test_the_unit_of_an_export_is_the_last_place_it_writes() -> None:
    def unit(*amounts: str) -> object:
        text = "usage_date_utc,cost_usd\n" + "".join(f"2025-08-01,{amount}\n" for amount in amounts)
        return read_invoice(text.encode()).unit_nano_usd

    assert unit("1", "2") == unit("0.05") == 10_000_000
    assert unit("0.05", "0.123456") == 1000


HEADERS = [
    b"start_time,end_time,amount_value,amount_currency,line_item\n",
    b"start_time,num_model_requests,input_tokens,output_tokens,model\n",
    b"usage_date_utc,model,token_type,cost_usd\n",
    b"usage_date_utc,model_version,usage_input_tokens_no_cache,usage_output_tokens\n",
    b"Date,Model,In,Out,Cost\n",
    b"",
]
CELLS = st.sampled_from(
    [b"1730419200", b"2025-08-01", b"1", b"-1", b"1e9", b"9" * 30, b"0.1", b"nan", b'"', b"'", b",", b"\n", b"\x00"]
)


@given(
    header=st.sampled_from(HEADERS),
    body=st.one_of(st.binary(max_size=200), st.lists(CELLS, max_size=30).map(b",".join)),
    mapped=st.booleans(),
)
def test_any_bytes_after_any_header_are_read_or_refused(header: bytes, body: bytes, mapped: bool) -> None:
    read_or_refuse(header + body, InvoiceMap(columns=COLUMNS) if mapped else InvoiceMap())


LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.just("2025-08-01"), st.just(START)
)
NAMES = st.sampled_from(
    [
        *("data", "results", "start_time", "end_time", "starting_at", "amount", "value", "currency", "line_item"),
        *("input_tokens", "output_tokens", "model", "uncached_input_tokens", "cache_creation", "quantity"),
        *("quantity_unit", "has_more", "object", "cost_type", "batch"),
    ]
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=6), max_leaves=12
)


@given(result=st.dictionaries(NAMES, VALUES, max_size=8), bucket=st.dictionaries(NAMES, VALUES, max_size=2))
@example(result={"amount": {"value": 1, "currency": "usd"}, "line_item": "\ud800"}, bucket={})
@example(result={"amount": {"value": 10**400, "currency": "usd"}}, bucket={})
def test_any_json_whatever_is_read_or_refused(result: dict[str, object], bucket: dict[str, object]) -> None:
    read_or_refuse(openai(result, **bucket), InvoiceMap())
    read_or_refuse(anthropic(result), InvoiceMap())
    read_or_refuse(json.dumps(bucket).encode(), InvoiceMap())


def test_json_that_nests_too_deep_is_refused() -> None:
    read_or_refuse(b"[" * 100_000, InvoiceMap())
    read_or_refuse(b'{"data":' * 50_000, InvoiceMap())


def read_or_refuse(raw: bytes, mapping: InvoiceMap) -> None:
    try:
        invoice = read_invoice(raw, mapping)
    except UsageError:
        return
    total_nano_usd(invoice.lines)
    assert invoice.unit_nano_usd > 0
    msgspec.json.encode(invoice)
