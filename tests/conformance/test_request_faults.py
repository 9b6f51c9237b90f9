"""FAULTS 9, 11-20, 46: well-formed HTTP that asks for what is not served, or says it wrongly."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conformance.kit import CANARY, MESSAGES, FaultUnit, assert_counted, fault_unit, post, refusal, row_of
from harness.processes import Provider, free_port
from harness.raw import ask, chat, request

BODY = chat(user=CANARY)
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def unit(module_dir: Path, provider: Provider) -> Iterator[FaultUnit]:
    yield from fault_unit(module_dir, provider)


@pytest.fixture(autouse=True)
def _nothing_is_dialled(request: pytest.FixtureRequest, provider: Provider) -> Iterator[None]:
    """What is refused has not cost anything."""
    before = len(provider.invoice())
    yield
    if "passes" not in request.node.name:
        assert len(provider.invoice()) == before


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "identity, gzip", CANARY])
@pytest.mark.parametrize("anthropic", [False, True])
def test_9_a_compressed_body(unit: FaultUnit, encoding: str, anthropic: bool) -> None:
    data = post(MESSAGES, "messages" if anthropic else "responses", {"Content-Encoding": encoding})
    refusal(unit, data, 415, "unsupported_content_encoding", anthropic=anthropic)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["chat/completions", "completions", "embeddings", "responses"])
def test_11_methods_of_a_metered_path(unit: FaultUnit, method: str, path: str) -> None:
    answer = refusal(unit, request(method, f"/v1/{path}", {}, BODY), 405, "method_not_allowed")
    assert answer.header("allow") == "GET, HEAD, POST"


def test_11_methods_of_anthropics_path(unit: FaultUnit) -> None:
    for path in ("/v1/messages", "/messages"):
        answer = refusal(unit, request("DELETE", path, {}, MESSAGES), 405, "method_not_allowed", anthropic=True)
        assert answer.header("allow") == "GET, HEAD, POST"


@pytest.mark.parametrize("start", ["CONNECT evil.example:443", "TRACE /v1/models", "TRACE /v1/chat/completions"])
def test_11_connect_and_trace(unit: FaultUnit, start: str) -> None:
    data = f"{start} HTTP/1.1\r\nHost: localhost\r\nx-a: {CANARY}\r\n\r\n".encode()
    answer = refusal(unit, data, 405, "method_not_allowed", kept=False)
    assert answer.header("allow") == "GET, HEAD, POST"


@pytest.mark.parametrize(
    "target",
    [
        "/", "/v1", "/v1/", "/v2/chat/completions", "/chat/completions", "/metrics", "/by/team/v1/models",
        "/by/team/app/v2/models", "/by//app/v1/models", "//v1/models", "/v1//models", "/v1/../models", "/v1/./models",
        "/v1/%2e%2e/models", "/v1/%2E%2E/models", "/v1/models/..", "/v1/a%2fb", "/v1/a\\b", "/v1/a%00b", "/healthz/x",
        "http://evil.example/v1/models", "https://127.0.0.1.evil.example/v1/models", "*", f"/{CANARY}",
    ],
)  # fmt: skip
def test_12_paths_outside(unit: FaultUnit, target: str) -> None:
    refusal(unit, request("GET", target), 404, "unknown_url", kept=True)


def test_12_absolute_form_to_this_host_passes(unit: FaultUnit) -> None:
    assert ask(unit.port, "GET", "http://127.0.0.1/v1/models").status == 200


@pytest.mark.parametrize(
    "media", ["text/plain", "", "application/x-www-form-urlencoded", "multipart/form-data", CANARY]
)
@pytest.mark.parametrize("anthropic", [False, True])
def test_13_not_declared_as_json(unit: FaultUnit, media: str, anthropic: bool) -> None:
    data = post(BODY, "messages" if anthropic else "chat/completions", {"Content-Type": media})
    refusal(unit, data, 415, "unsupported_media_type", anthropic=anthropic)


NOT_JSON = {
    "empty": b"",
    "truncated": json.dumps(BODY).encode()[:-1],
    "trailing": json.dumps(BODY).encode() + b"{}",
    "NaN": b'{"model":"gpt-4o","temperature":NaN}',
    "Infinity": b'{"model":"gpt-4o","temperature":-Infinity}',
    "UTF-16": json.dumps(BODY).encode("utf-16"),
    "BOM": b"\xef\xbb\xbf" + json.dumps(BODY).encode(),
    "invalid UTF-8": b'{"model":"gpt-4o","user":"\xff\xfe"}',
    "overlong UTF-8": b'{"model":"gpt-4o","user":"\xc0\xaf"}',
    "nested": b'{"model":"gpt-4o","messages":' + b"[" * 129 + b"]" * 129 + b"}",
    "nested without end": b'{"model":"gpt-4o","messages":' + b"[" * 90_000,
    "model twice": b'{"model":"gpt-4o-mini","messages":[],"model":"gpt-4o"}',
    "model twice, escaped": b'{"model":"gpt-4o-mini","messages":[],"m\\u006fdel":"gpt-4o"}',
    "beyond int64": b'{"model":"gpt-4o","max_tokens":9223372036854775808}',
    "far beyond int64": b'{"model":"gpt-4o","n":' + b"9" * 5000 + b"}",
    "a list": b"[]",
    "a string": CANARY.join('""').encode(),
    "null": b"null",
    "comment": b'{"model":"gpt-4o"/*x*/}',
    "single quotes": b"{'model':'gpt-4o'}",
    "trailing comma": b'{"model":"gpt-4o",}',
    "control character": b'{"model":"gpt-4o\n"}',
}


@pytest.mark.parametrize("name", NOT_JSON)
def test_14_not_json(unit: FaultUnit, name: str) -> None:
    param = {"beyond int64": "max_tokens", "far beyond int64": "n"}.get(name)
    refusal(unit, post(NOT_JSON[name]), 400, "invalid_json", param=param, kept=True)


def test_14_not_json_in_anthropics_dialect(unit: FaultUnit) -> None:
    refusal(unit, post(NOT_JSON["truncated"], "messages"), 400, "invalid_json", anthropic=True, kept=True)


def test_14_just_nested_enough_passes(unit: FaultUnit) -> None:
    body = b'{"model":"gpt-4o","stop":' + b"[" * 127 + b"]" * 127 + b"}"
    with_messages = body[:-1] + b',"messages":[{"role":"user","content":"x"}]}'
    assert ask(unit.port, "POST", "/v1/chat/completions", JSON, with_messages).json().get("error", {}).get(
        "code"
    ) not in ("invalid_json", "invalid_value")


@pytest.mark.parametrize("anthropic", [False, True])
def test_15_model_missing_or_odd(unit: FaultUnit, anthropic: bool) -> None:
    path = "messages" if anthropic else "chat/completions"
    missing = {name: value for name, value in MESSAGES.items() if name != "model"}
    for body in (missing, missing | {"model": None}):
        data = post(body, path)
        refusal(unit, data, 400, "missing_required_parameter", param="model", anthropic=anthropic, kept=True)
    for model in (7, True, [], {}, "", CANARY + "m" * 256):
        data = post(missing | {"model": model}, path)
        refusal(unit, data, 400, "invalid_value", param="model", anthropic=anthropic, kept=True)


@pytest.mark.parametrize("bad", ["\\u0000", "\\ud800", "\\udfff\\ud800"])
@pytest.mark.parametrize("param", ["model", "user", "metadata"])
def test_16_nul_and_lone_surrogates_in_what_is_stored(unit: FaultUnit, bad: str, param: str) -> None:
    text = f'"{CANARY}{bad}"'
    value = f'{{"user_id":{text}}}' if param == "metadata" else text
    model = "" if param == "model" else '"model":"gpt-4o",'
    data = f'{{{model}"{param}":{value},"messages":[]}}'.encode()
    refusal(unit, post(data), 400, "invalid_value", param=param, kept=True)


def test_16_a_lone_surrogate_in_what_is_not_stored_passes(unit: FaultUnit) -> None:
    data = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"half a pair: \\ud83d"}]}'
    answer = ask(unit.port, "POST", "/v1/chat/completions", JSON, data)
    assert answer.json().get("error", {}).get("code") != "invalid_value"
    assert row_of(unit, answer)["status"] == answer.status


@pytest.mark.parametrize(
    "odd",
    [{"temperature": "hot"}, {"temperature": [0]}, {"n": "2"}, {"n": 1.5}, {"max_tokens": "many"}, {"stream": "yes"}],
    ids=str,
)
def test_17_wrong_types_passes_as_sent(unit: FaultUnit, provider: Provider, odd: dict[str, Any]) -> None:
    direct = ask(provider.port, "POST", "/v1/chat/completions", {}, BODY | {"temperature": 0} | odd)
    relayed = ask(unit.port, "POST", "/v1/chat/completions", {}, BODY | {"temperature": 0} | odd)
    assert (relayed.status, relayed.body) == (direct.status, direct.body)
    assert relayed.header("x-submeter-cache") == "bypass", "not cacheable"
    assert row_of(unit, relayed)["status"] == direct.status


@pytest.mark.parametrize("name", ["api_base", "base_url", "api_key", "custom_host"])
def test_19_a_callers_address_passes_but_is_never_dialled(unit: FaultUnit, name: str) -> None:
    headers = {"x-api-base": "http://127.0.0.1:9", "x-litellm-api-base": "http://127.0.0.1:9"}
    body = BODY | {name: f"http://127.0.0.1:{free_port()}/v1"}
    answer = ask(unit.port, "POST", "/v1/chat/completions", headers, body)
    assert answer.status == 200
    assert row_of(unit, answer)["upstream"] == "openai"


@pytest.mark.parametrize("path", ["chat/completions", "messages"])
def test_46_a_credential_that_would_reach_another_vendor(unit: FaultUnit, path: str) -> None:
    data = post(MESSAGES | {"model": "priv-1"}, path)
    anthropic = path == "messages"
    answer = refusal(unit, data, 401, "invalid_api_key", anthropic=anthropic, kept=True)
    assert answer.header("www-authenticate") == "Bearer"


def test_46_the_upstreams_own_key_passes_in_its_place(unit: FaultUnit) -> None:
    """An upstream that has a key of its own: the caller's stays here."""
    answer = ask(unit.port, "POST", "/v1/chat/completions", {}, BODY | {"model": "own-model"})
    assert answer.status == 200
    assert row_of(unit, answer)["upstream"] == "own-key"


def test_refusals_are_counted_by_code(unit: FaultUnit) -> None:
    refusal(unit, post(MESSAGES | {"model": "priv-1"}), 401, "invalid_api_key")
    assert_counted(unit, "invalid_api_key")
