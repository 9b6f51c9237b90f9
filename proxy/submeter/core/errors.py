"""What the relay itself answers: one row per fault, with fixed text. No byte of the input is ever echoed.

The statuses and codes are a contract (docs/guide/faults.md); the texts name the fix.
"""

from typing import Literal

import msgspec

ErrorType = Literal["invalid_request_error", "server_error"]


class Fault(msgspec.Struct, frozen=True):
    """A fixed answer. ``no_retry`` tells the SDKs not to send the call again: a second one could bill twice."""

    status: int
    code: str
    message: str
    close: bool = False
    no_retry: bool = False
    retry_after_s: int | None = None
    allow: str | None = None

    @property
    def type(self) -> ErrorType:
        return "server_error" if self.status >= 500 and self.status != 505 else "invalid_request_error"


class Refusal(Exception):
    """A call that the relay answers itself, before anything went upstream. ``param`` names a field, never a value."""

    def __init__(self, fault: Fault, param: str | None = None) -> None:
        super().__init__(fault.code)
        self.fault = fault
        self.param = param


BAD_HTTP = Fault(400, "bad_http_request", "The request is not well-formed HTTP/1.1; it was not forwarded.", close=True)
HTTP_VERSION = Fault(
    505,
    "http_version_not_supported",
    "Only HTTP/1.1 and HTTP/1.0 are spoken here; switch HTTP/2 off.",
    close=True,
)
HEADERS_TOO_LARGE = Fault(
    431,
    "headers_too_large",
    "A header line may have 8 KiB, the whole head 64 KiB and 100 headers; send fewer or shorter ones.",
    close=True,
)
REQUEST_TIMEOUT = Fault(408, "request_timeout", "The request did not arrive in time; send it again.", close=True)
TOO_LARGE = Fault(
    413, "request_too_large", "The body is over the limit (limits.body_bytes, 64 MiB by default).", close=True
)
CONTENT_ENCODING = Fault(
    415, "unsupported_content_encoding", "Send the body of a metered endpoint uncompressed.", close=True
)
MEDIA_TYPE = Fault(415, "unsupported_media_type", "Declare the body as Content-Type: application/json.", close=True)
EXPECTATION = Fault(417, "expectation_failed", "Only Expect: 100-continue is understood.", close=True)
METHOD = Fault(405, "method_not_allowed", "This method is not allowed here.", close=True, allow="GET, HEAD, POST")
UNKNOWN_URL = Fault(
    404,
    "unknown_url",
    "Unknown URL: use /v1/..., /by/TEAM/APP/v1/... or /messages as the base URL of the SDK.",
)
INVALID_JSON = Fault(400, "invalid_json", "The body is not one valid JSON object in UTF-8 (RFC 8259).")
MISSING_PARAMETER = Fault(400, "missing_required_parameter", "A required parameter is missing.")
INVALID_VALUE = Fault(
    400,
    "invalid_value",
    "A parameter has a value that is not allowed (type, length, NUL or a lone surrogate).",
)
MODEL_NOT_FOUND = Fault(404, "model_not_found", "The model does not exist or is not available to this caller.")
INVALID_KEY = Fault(
    401,
    "invalid_api_key",
    "This credential is not accepted here. If the model is mapped to an upstream of its own, give that upstream "
    "api_key_env or accepts_caller_key: true.",
)
OVERLOADED = Fault(503, "overloaded", "Too many calls are in flight; try again in a second.", retry_after_s=1)
LEDGER_UNAVAILABLE = Fault(
    503,
    "ledger_unavailable",
    "The call cannot be metered now and when_unmetered is refuse; see the journal's disk.",
    retry_after_s=5,
)
SHUTTING_DOWN = Fault(503, "shutting_down", "This relay is shutting down; connect again.", close=True)
UNREACHABLE = Fault(502, "upstream_unreachable", "The provider could not be reached (name, connection or TLS).")
INCOMPLETE = Fault(
    502,
    "upstream_incomplete",
    "The provider closed the connection before the answer was complete; the call may have been billed.",
    no_retry=True,
)
BLOCKED = Fault(
    502,
    "upstream_blocked",
    "The provider answered with a redirect, which is not followed; check base_url.",
    no_retry=True,
)
AUTH_FAILED = Fault(
    502,
    "upstream_auth_failed",
    "The provider refused the key that is configured for this upstream (api_key_env).",
    no_retry=True,
)
UPSTREAM_TIMEOUT = Fault(504, "upstream_timeout", "The provider did not answer in time.", no_retry=True)
MISDIRECTED = Fault(
    421,
    "misdirected_request",
    "This address answers only to its own host names; add the name to allowed_hosts.",
    close=True,
)

FAULTS: tuple[Fault, ...] = tuple(value for value in list(vars().values()) if isinstance(value, Fault))


def error_body(fault: Fault, *, param: str | None = None, anthropic: bool = False) -> bytes:
    """The JSON body of an error answer, in the caller's dialect."""
    error = {"message": fault.message, "type": fault.type, "param": param, "code": fault.code}
    return msgspec.json.encode({"type": "error", "error": error} if anthropic else {"error": error})


def stream_error(kind: Literal["openai", "responses", "anthropic"]) -> bytes:
    """The last event of a stream that the provider did not end (FAULTS 33)."""
    data = error_body(INCOMPLETE, anthropic=kind == "anthropic")
    if kind == "openai":
        return b"data: " + data + b"\n\n"
    if kind == "responses":
        error = {
            "type": "error",
            "code": INCOMPLETE.code,
            "message": INCOMPLETE.message,
            "param": None,
            "error": {
                "message": INCOMPLETE.message,
                "type": INCOMPLETE.type,
                "param": None,
                "code": INCOMPLETE.code,
            },
        }
        data = msgspec.json.encode(error)
    return b"event: error\ndata: " + data + b"\n\n"
