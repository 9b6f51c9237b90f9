"""The JSON API: what the page shows, for programs. Read only; the shapes are those of the commands' ``--json``.

Money is integer nano-USD, durations ns, times RFC 3339 UTC; ``null`` is "not known", never 0. ``since`` takes what
``--since`` takes (``7d``, ``24h``, a day, a time, ``all``). Errors: ``{"error": {message, type, param, code}}``.
"""

import time
from collections.abc import Callable
from typing import TypeVar

from aiohttp import web

from submeter.core import when
from submeter.core.errors import Fault, Refusal
from submeter.meter import documents
from submeter.meter.answers import UNREADABLE, json_answer
from submeter.meter.reader import LedgerReader, NothingYet
from submeter.store import queries
from submeter.store.ledger import Ledger, LedgerUnavailable
from submeter.store.queries import GROUP_KEYS, UnknownKeyError
from submeter.store.queries.grouping import check_keys

T = TypeVar("T")

READER: web.AppKey[LedgerReader] = web.AppKey("reader", LedgerReader)

DEFAULT_SINCE = "7d"
DEFAULT_LAST = 50
MAX_LAST = 1000
MAX_BUCKET_S = 31_536_000

NOTHING_YET = Fault(
    503, "nothing_recorded", "No call has been recorded yet: point OPENAI_BASE_URL at the relay.", retry_after_s=2
)
UNKNOWN_CALL = Fault(
    404, "unknown_call", "No such call: /api/calls lists the newest; one that has not ended has no row yet."
)


def bad_parameter(param: str, advice: str) -> Refusal:
    return Refusal(Fault(400, "bad_parameter", f"{param}: {advice}."), param)


async def summary(request: web.Request) -> web.Response:
    """``GET /api/summary?since=7d``: the total. ``{since, until, total: {calls, hits, …, saved_nano_usd}}``"""
    since_ns = _since(request, ("since",))
    return await _answer(request, lambda ledger: documents.summary(ledger, since_ns))


async def cost(request: web.Request) -> web.Response:
    """``GET /api/cost?by=model,team&since=7d``: as ``submeter cost --json``.

    ``{since, until, by, version, lines, total}``
    """
    since_ns, keys = _since(request, ("since", "by")), _keys(request)
    return await _answer(request, lambda ledger: documents.cost(ledger, keys, since_ns))


async def latency(request: web.Request) -> web.Response:
    """``GET /api/latency?by=model&since=7d``: as ``submeter latency --json``. ``{since, until, by, lines}``"""
    since_ns, keys = _since(request, ("since", "by")), _keys(request)
    return await _answer(request, lambda ledger: documents.latency(ledger, keys, since_ns))


async def series(request: web.Request) -> web.Response:
    """``GET /api/series?since=7d&bucket_s=3600``: ``{since, until, bucket_s, points}``, only buckets with calls.

    A point is ``{start, calls, hits, cost_nano_usd, saved_nano_usd, ttft, e2e}``, the last two percentiles or null.
    """
    until_ns = time.time_ns()
    since_ns = _since(request, ("since", "bucket_s"))
    if since_ns is None:
        raise bad_parameter("since", "a series needs a beginning, such as 7d")
    bucket_s = _number(request, "bucket_s", documents.bucket_for(since_ns, until_ns), MAX_BUCKET_S)
    if (until_ns - since_ns) // (bucket_s * when.NS_PER_S) > documents.MAX_POINTS:
        raise bad_parameter("bucket_s", f"more than {documents.MAX_POINTS} points; ask for longer buckets")
    return await _answer(request, lambda ledger: documents.series(ledger, since_ns, until_ns, bucket_s))


async def calls(request: web.Request) -> web.Response:
    """``GET /api/calls?last=50``: a list of the newest calls, oldest first, as ``submeter calls --json``."""
    _only(request, ("last",))
    last = _number(request, "last", DEFAULT_LAST, MAX_LAST)
    return await _answer(request, lambda ledger: list(queries.calls(ledger, last)))


async def call(request: web.Request) -> web.Response:
    """``GET /api/calls/{call_id}``: a list of all its attempts in full, as ``submeter calls show --json``."""
    _only(request, ())
    call_id = request.match_info["call_id"]
    attempts = await _read(request, lambda ledger: queries.call(ledger, call_id))
    if not attempts:
        raise Refusal(UNKNOWN_CALL)
    return json_answer(attempts)


ROUTES = (
    web.get("/api/summary", summary),
    web.get("/api/cost", cost),
    web.get("/api/latency", latency),
    web.get("/api/series", series),
    web.get("/api/calls", calls),
    web.get("/api/calls/{call_id}", call),
)


async def _answer(request: web.Request, query: Callable[[Ledger], object]) -> web.Response:
    return json_answer(await _read(request, query))


async def _read(request: web.Request, query: Callable[[Ledger], T]) -> T:
    try:
        return await request.app[READER].read(query)
    except NothingYet:
        raise Refusal(NOTHING_YET) from None
    except LedgerUnavailable:
        raise Refusal(UNREADABLE) from None


def _only(request: web.Request, known: tuple[str, ...]) -> None:
    """A misspelt parameter must not be taken for its default, nor one of two for both."""
    names = set(request.query)
    if not names <= set(known) or len(request.query) != len(names):
        raise Refusal(
            Fault(400, "bad_parameter", f"The parameters here are {', '.join(known) or 'none'}, each at most once.")
        )


def _since(request: web.Request, known: tuple[str, ...]) -> int | None:
    _only(request, known)
    try:
        return when.parse_since(request.query.get("since", DEFAULT_SINCE), time.time_ns())
    except ValueError:
        raise bad_parameter("since", when.FORMS) from None


def _keys(request: web.Request) -> list[str]:
    keys = [key.strip() for key in request.query.get("by", "model").split(",") if key.strip()]
    try:
        check_keys(keys)
    except UnknownKeyError:
        raise bad_parameter("by", f"comma-separated, each once, of {', '.join(GROUP_KEYS)}") from None
    return keys


def _number(request: web.Request, name: str, default: int, highest: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(highest)) and 1 <= int(text) <= highest):
        raise bad_parameter(name, f"a whole number from 1 to {highest:,}")
    return int(text)
