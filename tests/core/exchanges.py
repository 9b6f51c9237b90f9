"""Exchanges to test, and what holds of every FINISH."""

from typing import Any

from corpus.recordings import load
from submeter.core.exchange import Exchange
from submeter.core.record import Finish, Start

SSE = [(b"Content-Type", b"text/event-stream"), (b"X-Request-Id", b"req_1")]
JSON = [(b"Content-Type", b"application/json")]
CHAT = load("chat_include_usage")
EVENTS = CHAT.events  # role, "Four", ".", finish, usage, [DONE]


def begin(endpoint: str = "chat/completions", *, strip: bool = False, t0_ns: int = 1000, **start: Any) -> Exchange:
    fields = {"call_id": "c", "attempt": 2, "operation_id": "o", "endpoint": endpoint, "upstream": "u", **start}
    return Exchange(Start(started_at_ns=0, **fields), t0_ns, strip_usage=strip)


def streaming(endpoint: str = "chat/completions", **options: Any) -> Exchange:
    exchange = begin(endpoint, **options)
    exchange.take_head(200, SSE, 1100)
    return exchange


def finish_of(exchange: Exchange) -> Finish:
    """The FINISH, after everything else that may still be called has been."""
    finish = exchange.finish
    assert finish is not None
    exchange.client_left()
    exchange.client_gone()
    exchange.failed("timeout", 504, reached=True)
    exchange.replaced()
    exchange.lost("upstream_incomplete")
    assert exchange.finish is finish, "made once, never changed"
    return finish
