"""What the relay answers itself: fixed texts from ``core.errors`` as HTTP."""

from collections.abc import Iterable
from http import HTTPStatus

from submeter.core.errors import Fault, error_body
from submeter.core.headers import write

Header = tuple[bytes, bytes]


def call_headers(call_id: str, cache: str) -> list[Header]:
    """What every answer carries of ours."""
    return [(b"x-submeter-call-id", call_id.encode()), (b"x-submeter-cache", cache.encode())]


def fault_answer(
    fault: Fault,
    call_id: str,
    *,
    param: str | None = None,
    anthropic: bool = False,
    close: bool,
    head_only: bool = False,
) -> bytes:
    """A whole HTTP answer for a fault. ``close``: the connection ends after it, whatever the fault says."""
    body = error_body(fault, param=param, anthropic=anthropic)
    headers: list[Header] = [
        (b"Content-Type", b"application/json"),
        (b"Content-Length", str(len(body)).encode()),
        (b"Cache-Control", b"no-store"),
        *call_headers(call_id, "bypass"),
    ]
    if fault.no_retry:
        headers.append((b"x-should-retry", b"false"))
    if fault.retry_after_s is not None:
        headers.append((b"Retry-After", str(fault.retry_after_s).encode()))
    if fault.allow is not None:
        headers.append((b"Allow", fault.allow.encode()))
    if fault.status == 401:
        headers.append((b"WWW-Authenticate", b"Bearer"))
    if close:
        headers.append((b"Connection", b"close"))
    return answer_head(fault.status, HTTPStatus(fault.status).phrase.encode(), headers) + (b"" if head_only else body)


def answer_head(status: int, reason: bytes, headers: Iterable[Header]) -> bytes:
    return write(b"HTTP/1.1 %d %s" % (status, reason), headers)


def plain_answer(status: int, body: bytes, *, close: bool) -> bytes:
    """A small text answer, for health checks."""
    headers: list[Header] = [(b"Content-Type", b"text/plain"), (b"Content-Length", str(len(body)).encode())]
    if close:
        headers.append((b"Connection", b"close"))
    return answer_head(status, HTTPStatus(status).phrase.encode(), headers) + body


def chunk(data: bytes) -> bytes:
    """One HTTP/1.1 chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
