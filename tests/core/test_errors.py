"""Every answer of our own has the contract's shape (FAULTS.md), in each dialect, with fixed text."""

import json

import pytest

from submeter.core import errors
from submeter.core.errors import FAULTS, Fault, Refusal, error_body, stream_error
from submeter.core.sse import SseScanner, event_fields

CONTRACT = {
    # code: (status, type, close, no retry, Retry-After)
    "bad_http_request": (400, "invalid_request_error", True, False, None),
    "http_version_not_supported": (505, "invalid_request_error", True, False, None),
    "headers_too_large": (431, "invalid_request_error", True, False, None),
    "request_timeout": (408, "invalid_request_error", True, False, None),
    "request_too_large": (413, "invalid_request_error", True, False, None),
    "unsupported_content_encoding": (415, "invalid_request_error", True, False, None),
    "unsupported_media_type": (415, "invalid_request_error", True, False, None),
    "expectation_failed": (417, "invalid_request_error", True, False, None),
    "method_not_allowed": (405, "invalid_request_error", True, False, None),
    "unknown_url": (404, "invalid_request_error", False, False, None),
    "invalid_json": (400, "invalid_request_error", False, False, None),
    "missing_required_parameter": (400, "invalid_request_error", False, False, None),
    "invalid_value": (400, "invalid_request_error", False, False, None),
    "model_not_found": (404, "invalid_request_error", False, False, None),
    "invalid_api_key": (401, "invalid_request_error", False, False, None),
    "overloaded": (503, "server_error", False, False, 1),
    "ledger_unavailable": (503, "server_error", False, False, 5),
    "shutting_down": (503, "server_error", True, False, None),
    "upstream_unreachable": (502, "server_error", False, False, None),
    "upstream_incomplete": (502, "server_error", False, True, None),
    "upstream_blocked": (502, "server_error", False, True, None),
    "upstream_auth_failed": (502, "server_error", False, True, None),
    "upstream_timeout": (504, "server_error", False, True, None),
    "misdirected_request": (421, "invalid_request_error", True, False, None),
}

each_fault = pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.code)


@each_fault
def test_statuses_codes_and_what_goes_with_them(fault: Fault) -> None:
    told = (fault.status, fault.type, fault.close, fault.no_retry, fault.retry_after_s)
    assert told == CONTRACT[fault.code]
    assert (fault.allow is not None) == (fault.status == 405)


def test_every_code_is_there_once() -> None:
    assert sorted(fault.code for fault in FAULTS) == sorted(CONTRACT)


@each_fault
@pytest.mark.parametrize("param", [None, "model"])
def test_the_body_in_both_dialects(fault: Fault, param: str | None) -> None:
    error = {"message": fault.message, "type": fault.type, "param": param, "code": fault.code}
    assert json.loads(error_body(fault, param=param)) == {"error": error}
    assert json.loads(error_body(fault, param=param, anthropic=True)) == {"type": "error", "error": error}
    assert error_body(fault).isascii()
    assert fault.message.endswith(".")


def test_a_refusal_carries_the_fault_and_the_name_of_a_field() -> None:
    refusal = Refusal(errors.INVALID_VALUE, "model")
    assert (refusal.fault, refusal.param, str(refusal)) == (errors.INVALID_VALUE, "model", "invalid_value")


@pytest.mark.parametrize(("kind", "name"), [("openai", b""), ("responses", b"error"), ("anthropic", b"error")])
def test_the_event_that_says_that_a_stream_is_not_whole(kind: str, name: bytes) -> None:
    """FAULTS 33: one whole event in the dialect."""
    [event] = SseScanner().feed(stream_error(kind))  # type: ignore[arg-type]
    told, data = event_fields(event)
    body = json.loads(data)
    assert told == name
    assert body["error"] == {
        "message": errors.INCOMPLETE.message,
        "type": "server_error",
        "param": None,
        "code": "upstream_incomplete",
    }
    assert body.get("type") == (None if kind == "openai" else "error")
    if kind == "responses":
        assert (body["code"], body["message"], body["param"]) == (
            "upstream_incomplete",
            errors.INCOMPLETE.message,
            None,
        )
