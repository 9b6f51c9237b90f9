"""The two API pulls against a server that speaks their documented pages."""

from decimal import Decimal
from typing import Any

import pytest
from aiohttp import web

from reconcile.admin_apis import AdminApi, run
from reconcile.invoices import DAY, Bill, bucket, call
from submeter.core import when
from submeter.errors import UsageError
from submeter.reconcile import anthropic, openai
from submeter.reconcile.lines import Invoice, Usage
from submeter.reconcile.read import read_invoice

DAYS = range(DAY, DAY + 5)
COSTS, CHATS, EMBEDDINGS = (f"/v1/organization/{name}" for name in ("costs", "usage/completions", "usage/embeddings"))


def openai_api(**more: Any) -> AdminApi:
    bill = Bill([call(number, "plain", day) for number, day in enumerate(DAYS)])
    embedding = {"object": "organization.usage.embeddings.result", "input_tokens": 7, "num_model_requests": 1}
    embeddings = {DAY: [{**embedding, "model": "embedding"}]}
    return AdminApi(
        {
            COSTS: [bucket(day, bill.costs[day]) for day in DAYS],
            CHATS: [bucket(day, bill.usage[day]) for day in DAYS],
            EMBEDDINGS: [bucket(day, embeddings.get(day, [])) for day in DAYS],
        },
        **more,
    )


def pull_openai(api: AdminApi, key: str = "admin", days: tuple[int, int] = (DAY, DAY + 5)) -> Invoice:
    found = run(api, lambda base_url: openai.pull(base_url, key, "ADMIN_KEY", *days, sleep=api.sleep))
    assert isinstance(found, Invoice)
    return found


def test_openai_every_page_of_costs_and_usage() -> None:
    api = openai_api()
    invoice = pull_openai(api)
    assert invoice.days == (DAY, DAY + 4)
    assert sum(line.amount_usd for line in invoice.lines if line.amount_usd is not None) == 5 * Decimal("0.00375")
    usages = [line.usage for line in invoice.lines if line.amount_usd is None]
    assert usages == [Usage(1200, 200, None, 100)] * 5 + [Usage(7, None, None, None)]
    costs = [request.query for request in api.requests if request.path == COSTS]
    assert [query.get("page") for query in costs] == [None, "page_2", "page_4"]
    assert costs[0].getall("group_by[]") == ["line_item"]
    assert (costs[0]["bucket_width"], costs[0]["start_time"]) == ("1d", str(DAY * 86_400))
    assert {request.headers["authorization"] for request in api.requests} == {"Bearer admin"}


def test_openai_quantities_of_the_costs_count_no_token_twice() -> None:
    api = openai_api()
    for result in api.buckets[COSTS][0]["results"]:
        result |= {"quantity": 1000, "quantity_unit": "tokens"}
    usages = [line.usage for line in pull_openai(api).lines if line.amount_usd is not None]
    assert set(usages) == {Usage()}


def test_only_the_days_that_are_asked_for() -> None:
    invoice = pull_openai(openai_api(), days=(DAY + 1, DAY + 3))
    assert invoice.days == (DAY + 1, DAY + 2)
    assert {line.day for line in invoice.lines} == {DAY + 1, DAY + 2}


def anthropic_bucket(day: int, *results: dict[str, Any]) -> dict[str, Any]:
    starts, ends = (f"{when.day(number)}T00:00:00Z" for number in (day, day + 1))
    return {"starting_at": starts, "ending_at": ends, "results": list(results)}


def test_anthropic_costs_and_usage() -> None:
    cost = {"currency": "USD", "amount": "123.78912", "model": "claude-x", "token_type": "output_tokens"}
    usage = {
        "uncached_input_tokens": 10,
        "cache_creation": {"ephemeral_1h_input_tokens": 1, "ephemeral_5m_input_tokens": 2},
        "cache_read_input_tokens": 3,
        "output_tokens": 4,
        "model": "claude-x",
        "api_key_id": "apikey_1",
    }
    paths = {"/v1/organizations/cost_report": cost, "/v1/organizations/usage_report/messages": usage}
    api = AdminApi({path: [anthropic_bucket(day, result) for day in DAYS] for path, result in paths.items()})
    invoice = run(
        api, lambda base_url: anthropic.pull(base_url, "admin", "K", DAY, DAY + 3, by_key=True, sleep=api.sleep)
    )
    assert (invoice.provider, len(invoice.lines)) == ("anthropic", 6)
    assert {line.amount_usd for line in invoice.lines} == {Decimal("1.2378912"), None}
    assert {line.usage for line in invoice.lines} == {Usage(), Usage(16, 3, 3, 4)}
    first, *_, last = api.requests
    assert first.query.getall("group_by[]") == ["description"]
    assert last.query.getall("group_by[]") == ["model", "api_key_id"]
    assert first.query["ending_at"] == f"{when.day(DAY + 3)}T00:00:00Z"
    assert {request.headers["anthropic-version"] for request in api.requests} == {"2023-06-01"}


def test_busy_and_broken_servers_are_asked_again_as_they_wish() -> None:
    api = openai_api()
    api.troubles = [
        lambda: web.Response(status=429, headers={"Retry-After": "7"}),
        lambda: web.Response(status=503),
        lambda: web.Response(status=429, headers={"Retry-After": "9999"}),
        lambda: web.Response(status=429, headers={"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}),
    ]
    assert len(pull_openai(api).lines) == 5 * 4 + 1
    assert api.waits_s == [7, 2, 60, 8]


def test_patience_ends() -> None:
    api = openai_api()
    api.troubles = [lambda: web.Response(status=429)] * 50
    assert "it answers 429, 6 times in a row" in refused(api)
    assert (len(api.requests), api.waits_s) == (6, [1, 2, 4, 8, 16])


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (lambda: web.Response(status=403), "refuses the key (403): ADMIN_KEY must hold an admin key"),
        (lambda: web.Response(status=404), "it answers 404: check --base-url"),
        (lambda: web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"}), "it answers 302"),
        (lambda: web.Response(text="<html>"), "no page of costs or usage"),
        (lambda: web.Response(body=b"\xff"), "not text"),
        (lambda: web.json_response({"data": [], "has_more": True}), "and not which"),
        (lambda: web.json_response({"data": [{"start_time": 1, "results": []}]}), "page 1"),
    ],
)
def test_what_cannot_pass_is_said_at_once(trouble: Any, words: str) -> None:
    api = openai_api()
    api.troubles = [trouble]
    assert words in refused(api)
    assert api.waits_s == []


def test_a_refused_key_and_its_error_are_never_shown() -> None:
    text = refused(openai_api(), key="wrong-secret")
    assert "refuses the key (401)" in text
    assert "secret" not in text


def test_pages_that_never_end_are_left() -> None:
    api = openai_api()
    again = {"object": "page", "data": [], "has_more": True, "next_page": "page_0"}
    api.troubles = [lambda: web.json_response(again)] * 5
    assert "its pages do not end" in refused(api)


def test_nobody_listening() -> None:
    api = openai_api()

    async def ask() -> None:
        await openai.pull("http://127.0.0.1:1/v1", "admin", "K", DAY, DAY + 1, sleep=api.sleep)

    with pytest.raises(UsageError, match="cannot be reached"):
        run(api, lambda _: ask())
    assert len(api.waits_s) == 5


def refused(api: AdminApi, key: str = "admin") -> str:
    with pytest.raises(UsageError) as error:
        pull_openai(api, key)
    return str(error.value)


def test_a_saved_page_of_the_api_reads_the_same() -> None:
    bill = Bill([call(1, "plain")])
    assert (
        read_invoice(bill.pages()).lines
        == openai.joined(
            [bill.pages().decode().split("\n")[0]], [bill.pages().decode().split("\n")[1]], (DAY, DAY)
        ).lines
    )
