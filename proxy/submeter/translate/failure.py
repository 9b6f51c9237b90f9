"""What litellm raises → an error as OpenAI would answer it, with the provider's status.

Whether the provider may bill decides what a relay is told: where nothing was sent or the provider refused, it gets an
error, which costs nothing. Where the provider had begun, it gets none: the connection is cut, as a provider's would
be, and the relay settles the call with bounds (FAULTS 29a, 33).
"""

from collections.abc import Iterator, Mapping

import httpx
import msgspec

from submeter.config import Secret
from submeter.core.errors import BLOCKED, UNREACHABLE, Fault
from submeter.translate.request import CHAT, EMBEDDINGS
from submeter.translate.stream import Incomplete

MAX_WORDS = 2000
FIXED = "The provider answered with an error, and without words that can be passed on."
IN_STREAM = "The provider reported an error in the middle of its answer."
UNTRANSLATABLE = Fault(
    400,
    "untranslatable",
    "The request could not be put into this provider's terms; check its messages, tools and response_format.",
)
UNSUPPORTED = Fault(400, "unsupported_parameter", "The provider has no such parameter; leave it out.")


class Failure(msgspec.Struct, frozen=True):
    status: int
    body: dict[str, dict[str, object]]
    headers: dict[str, str]


def read_failure(error: BaseException, key: Secret | None, *, answered: bool) -> Failure | None:
    """The error to answer with; ``None``: cut the connection, since the call may be billed."""
    for cause in _causes(error):
        if isinstance(cause, httpx.HTTPStatusError):
            return _of_status(cause, key)
        if isinstance(cause, httpx.ConnectError | httpx.ConnectTimeout | httpx.UnsupportedProtocol):
            return of_fault(UNREACHABLE)
        if isinstance(cause, httpx.TransportError):
            return None
    return None if answered else _of_litellm(error, key)


def stream_error(error: BaseException) -> dict[str, dict[str, object]] | None:
    """The error that the provider itself has sent within its stream; ``None``: it just broke off."""
    causes = list(_causes(error))
    broken = any(
        isinstance(cause, Incomplete | httpx.TransportError) or type(cause).__name__ == "APIConnectionError"
        for cause in causes
    )
    status = next((status for cause in causes if (status := _status(cause)) is not None), None)
    if broken or status is None:
        return None
    return {"error": {"message": IN_STREAM, "type": _type(status), "param": None, "code": None}}


def of_fault(fault: Fault, param: str | None = None) -> Failure:
    error: dict[str, object] = {"message": fault.message, "type": fault.type, "param": param, "code": fault.code}
    return Failure(fault.status, {"error": error}, {"x-should-retry": "false"} if fault.no_retry else {})


def _of_status(error: httpx.HTTPStatusError, key: Secret | None) -> Failure:
    status, headers = error.response.status_code, error.response.headers
    if status < 400:
        return of_fault(BLOCKED)
    words, code = _words(_text(error), key)
    kept = {name: headers[name] for name in ("retry-after", "request-id", "x-request-id") if name in headers}
    return Failure(status, {"error": {"message": words, "type": _type(status), "param": None, "code": code}}, kept)


def _of_litellm(error: BaseException, key: Secret | None) -> Failure:
    """Nothing was sent, or by a client that is not httpx."""
    if type(error).__name__ == "UnsupportedParamsError":
        named = (name for name in sorted(CHAT | EMBEDDINGS) if f"'{name}'" in str(error))
        return of_fault(UNSUPPORTED, next(named, None))
    status = _status(error)
    if status in (None, 400, 422, 500):
        return of_fault(UNTRANSLATABLE)
    assert status is not None
    words, code = _words(str(error), key)
    return Failure(status, {"error": {"message": words, "type": _type(status), "param": None, "code": code}}, {})


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        original = getattr(error, "original_exception", None)
        error = original if isinstance(original, BaseException) else error.__cause__ or error.__context__


def _words(text: str, key: Secret | None) -> tuple[str, str | None]:
    """(the provider's message, its code), out of the JSON of its answer; never the key that it may quote."""
    try:
        document = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return FIXED, None
    error = document.get("error", document) if isinstance(document, dict) else None
    if not isinstance(error, Mapping):
        return FIXED, None
    message = error.get("message")
    code = next((code for name in ("status", "type", "code") if isinstance(code := error.get(name), str)), None)
    if not isinstance(message, str):
        return FIXED, code
    if key is not None:
        message = message.replace(key.reveal(), "…")
    return message[:MAX_WORDS], code


def _text(error: httpx.HTTPStatusError) -> str:
    text = getattr(error, "text", None)
    if isinstance(text, bytes):
        return text.decode("utf-8", "replace")
    if isinstance(text, str):
        return text
    try:
        return error.response.text
    except httpx.StreamError:
        return ""


def _status(error: BaseException) -> int | None:
    status = getattr(error, "status_code", None)
    return status if isinstance(status, int) and 400 <= status < 600 else None


def _type(status: int) -> str:
    if status == 429:
        return "rate_limit_error"
    return "server_error" if status >= 500 else "invalid_request_error"
