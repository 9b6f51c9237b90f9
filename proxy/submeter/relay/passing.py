"""Paths that are not metered: streamed both ways, timed and counted; WebSockets as a tunnel.

A POST has a row, whose cost nobody knows here (``unmetered``); any other method only a counter. Except for a GET that
brings answers asked for earlier: each of these has a row (``collecting``).
"""

import time
from typing import TYPE_CHECKING

import msgspec

from submeter.core import errors, headers
from submeter.core.attribution import attribute, keyed
from submeter.core.collected import derived_id, reader_of, source_of
from submeter.core.errors import Refusal
from submeter.core.exchange import Exchange
from submeter.core.record import Start
from submeter.core.routes import Route
from submeter.relay.answers import LAST_CHUNK, call_headers, chunk
from submeter.relay.collecting import Fetch
from submeter.relay.forward import ForwardedAnswer
from submeter.relay.journalling import CallJournal
from submeter.relay.tunnel import Tunnel
from submeter.relay.upstream import Unreachable
from submeter.tasks import spawn

if TYPE_CHECKING:
    from submeter.relay.handler import HandledCall

MAX_PATH_CHARS = 256
SKIPPED = "unread answer"
"""Fetched answers that could not be metered, as a metric label."""

_KNOWN_PATHS = frozenset(
    {
        "assistants",
        "audio",
        "batches",
        "containers",
        "conversations",
        "files",
        "fine_tuning",
        "images",
        "models",
        "moderations",
        "organization",
        "realtime",
        "threads",
        "uploads",
        "vector_stores",
        "videos",
    }
)


async def pass_through(call: "HandledCall", route: Route) -> None:
    relay, request = call.relay, call.request
    upstream, is_default = relay.choose_upstream(route, request.headers, None)
    credential = headers.credential(request.headers)
    api_key = call.key_for(upstream, credential, is_default)
    who = attribute(route, request.headers, None, b"", credential, relay.keys.attribution)
    t0_ns = time.monotonic_ns()
    start = call.begun(route.endpoint[:MAX_PATH_CHARS], upstream, who, t0_ns)
    fetch = _fetch(call, route, start, t0_ns)
    exchange = Exchange(start, t0_ns) if fetch is None else fetch
    journal: CallJournal = relay.journal.nowhere
    if request.method == b"POST":
        journal = relay.journal if relay.journal.start(start) else journal
    pool = relay.pool(upstream)
    connection = await call.connect(pool, exchange, journal)
    if connection is None:
        return
    head = headers.upstream_request(
        request.headers,
        host=pool.host_header,
        identity=fetch is not None,
        api_key=api_key,
        key_header=call.key_header,
    )
    chunked = request.length is None and not request.complete
    if request.length is not None:
        head.append((b"Content-Length", str(request.length).encode()))
    elif chunked or request.received:
        head.append((b"Transfer-Encoding", b"chunked"))
        chunked = True
    answer = call.answer = ForwardedAnswer(
        call.client,
        connection,
        exchange,
        journal,
        our_headers=call_headers(call.call_id, "bypass"),
        chunked=request.version == "1.1",
        close=not call.keep_alive,
        head_only=request.method == b"HEAD",
        configured_key=api_key is not None,
        injected="",
        pause_request=call.pause_request,
    )
    call.upstream = upstream
    target = f"{pool.base_path}{route.target}".encode()
    connection.send(headers.write(b"%b %b HTTP/1.1" % (request.method, target), head), answer)
    exchange.sent(time.monotonic_ns())
    if request.length or chunked:
        answer.uploading = True
        spawn(_upload(call, answer, chunked=chunked), "upload")
    end = await answer.ended
    _count(call, route, fetch)
    call.conclude(None, end)


def _fetch(call: "HandledCall", route: Route, start: Start, t0_ns: int) -> Fetch | None:
    """The exchange of a GET that may bring answers asked for earlier."""
    source = source_of(route.endpoint) if call.request.method == b"GET" else None
    if source is None:
        return None
    if source.kind == "response":
        call.call_id = derived_id(start.upstream, source.id)  # the one that its row will have
    else:
        download = keyed(call.relay.keys.attribution, "operation", f"{start.upstream}/{source.id}".encode())[:32]
        start = msgspec.structs.replace(start, operation_id=download)
    return Fetch(start, t0_ns, reader_of(source), call.relay.journal)


def _count(call: "HandledCall", route: Route, fetch: Fetch | None) -> None:
    """What leaves no row is counted."""
    journal = call.relay.journal
    if call.request.method != b"POST" and (fetch is None or not fetch.rows):
        journal.passed(_path_class(route.endpoint))
    if fetch is not None and fetch.reader.skipped:
        journal.passed(SKIPPED, fetch.reader.skipped)


async def _upload(call: "HandledCall", answer: ForwardedAnswer, *, chunked: bool) -> None:
    """The request's body on its way up, for as long as the upstream listens."""
    try:
        await call.request.stream(lambda data: answer.send(chunk(data) if chunked else data))
    except Refusal:
        answer.abandon()  # the caller stopped in the middle: the upstream must not take it for the whole
        return
    if chunked:
        answer.send(LAST_CHUNK)
    answer.uploading = False


async def tunnel(call: "HandledCall", route: Route) -> None:
    """WebSockets: once the upstream agrees, bytes both ways, read by nobody."""
    relay, request = call.relay, call.request
    upstream, is_default = relay.choose_upstream(route, request.headers, None)
    api_key = call.key_for(upstream, headers.credential(request.headers), is_default)
    relay.journal.passed("websocket")
    pool = relay.pool(upstream)
    try:
        connection = await pool.dial()
    except Unreachable:
        raise Refusal(errors.UNREACHABLE) from None
    if call.client.closing:  # meanwhile
        connection.close()
        return
    head = headers.upstream_request(request.headers, host=pool.host_header, api_key=api_key, upgrade=True)
    target = f"{pool.base_path}{route.target}".encode()
    call.tunnel = Tunnel(call.client, connection, call_headers(call.call_id, "bypass"))
    call.tunnel.open(headers.write(b"GET %b HTTP/1.1" % target, head), call.early)
    if await call.tunnel.ended:
        raise Refusal(errors.INCOMPLETE)
    call.client.done(request, keep=False)


def _path_class(endpoint: str) -> str:
    """A path as a metric label: from a closed set."""
    first = endpoint.partition("/")[0]
    if first in _KNOWN_PATHS:
        return first
    return "metered path" if first in ("chat", "completions", "embeddings", "responses", "messages") else "other"
