"""What one endpoint's bytes look like: how to read its requests, and how to write answers, events and errors."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from submeter.scripted.answer import Answer, Json, Order, Piece

Request = TypeVar("Request", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event. No data: nothing is sent, but the time of ``piece`` passes and its tokens count."""

    data: bytes
    name: str | None = None
    piece: Piece | None = None
    usage: bool = False
    """It carries the last usage block."""
    last: bool = False
    """It ends the answer."""


@dataclass(frozen=True)
class Dialect:
    endpoint: str
    """The path after ``/v1/``; what the invoice calls the endpoint."""
    read: Callable[[bytes], Order]
    """Raises ``Refusal`` for a body that is no such request."""
    whole: Callable[[Answer], Json]
    events: Callable[[Answer], Iterator[Event]]
    """The stream, up to and with its last event."""
    error: Callable[[int, str], Json]
    """The error body for a status."""
    stream_error: Callable[[str], Event]
    """The error event inside a stream that began well."""
    headers: Callable[[str, float], dict[str, str]]
    """The headers of every answer, for a request id and the milliseconds that processing takes."""


class Refusal(Exception):
    """The request gets an error answer instead of what it asked for."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = {**_retry_after(status), **({} if headers is None else headers)}


def _retry_after(status: int) -> dict[str, str]:
    return {"retry-after": "1"} if status in (429, 503, 529) else {}


def read_json(body: bytes, shape: type[Request]) -> Request:
    """Decode a request body. Raises ``Refusal`` 400 that says which member is wrong."""
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Refusal(400, f"invalid request: {error}") from None


encode = msgspec.json.encode


def openai_error(status: int, message: str) -> Json:
    kind, code = _OPENAI_ERRORS.get(status, ("server_error" if status >= 500 else "invalid_request_error", None))
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def openai_stream_error(message: str) -> Event:
    return Event(encode(openai_error(500, message)))


def openai_headers(request_id: str, processing_ms: float) -> dict[str, str]:
    """Nothing in them but the request id differs between two equal calls, so that answers can be compared."""
    return {
        "x-request-id": request_id,
        "openai-version": "2020-10-01",
        "openai-processing-ms": f"{processing_ms:.0f}",
        "x-ratelimit-limit-requests": "10000",
        "x-ratelimit-remaining-requests": "9999",
        "x-ratelimit-reset-requests": "6ms",
    }


_OPENAI_ERRORS: dict[int, tuple[str, str | None]] = {
    401: ("invalid_request_error", "invalid_api_key"),
    404: ("invalid_request_error", "unknown_url"),
    429: ("requests", "rate_limit_exceeded"),
}
