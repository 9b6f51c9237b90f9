"""What becomes of calls that fail, and of calls that must not be made at all."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import APIError, APIStatusError, OpenAI

from harness.processes import FAULT_OF_OURS, Unit, wait_for
from translate.conftest import CALLER_KEY, PROVIDER_KEY
from translate.emulator import Emulator

CANARY = "prompt-canary-4711"
USER: Any = [{"role": "user", "content": CANARY}]
PLACE = "https://metadata.example/latest"
FORBIDDEN: dict[str, tuple[dict[str, Any], str | None]] = {
    name: ({name: value}, name)
    for name, value in {
        "api_base": PLACE,
        "base_url": PLACE,
        "api_key": "k",
        "api_version": "1",
        "aws_secret_access_key": "k",
        "vertex_credentials": "{}",
        "custom_llm_provider": "openai",
        "extra_headers": {"Host": "metadata.example"},
        "extra_body": {},
        "mock_response": "free",
        "fallbacks": ["gpt-4o"],
        "num_retries": 3,
        "callbacks": ["langfuse"],
        "model_list": [],
        "thinking": {"type": "enabled"},
    }.items()
} | {
    "image by address": (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": PLACE}}]}]},
        "messages",
    ),
    "file in a bucket": (
        {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "gs://b/o"}}]}]},
        "messages",
    ),
    "image of the assistant": ({"messages": [{"role": "assistant", "images": [{"url": PLACE}]}]}, "messages"),
    "tool server": ({"tools": [{"type": "mcp", "server_url": PLACE}]}, "tools"),
    "name that is none": ({"sk-1234": 1}, None),
}


@pytest.mark.parametrize("case", FORBIDDEN)
@pytest.mark.parametrize("stream", [False, True])
def test_no_caller_chooses_hosts_keys_or_callbacks(
    client: OpenAI, emulator: Emulator, translating: Unit, case: str, stream: bool
) -> None:
    members, param = FORBIDDEN[case]
    before = len(emulator.calls)
    body = {"model": "gemini-2.5-flash", "messages": USER, "stream": stream, **members}
    with pytest.raises(APIStatusError) as caught:
        client.post("/chat/completions", body=body, cast_to=object)
    error = json.loads(caught.value.response.text)["error"]
    assert (caught.value.status_code, error["code"], error["param"]) == (400, "forbidden_parameter", param)
    assert error["type"] == "invalid_request_error"
    assert emulator.calls[before:] == []


@pytest.mark.parametrize(
    "model",
    ["azure/../../x", "evil/../v1beta", "evil?key=", "evil/replicate", "evil-clarifai", "evil%2e", "evil ft", "evil/"],
)
def test_no_model_name_leads_elsewhere(client: OpenAI, emulator: Emulator, model: str) -> None:
    before = len(emulator.calls)
    with pytest.raises(APIStatusError) as caught:
        client.chat.completions.create(model=model, messages=USER)
    assert (caught.value.status_code, caught.value.body["code"], caught.value.body["param"]) == (
        *(400, "invalid_value"),
        "model",
    )
    assert emulator.calls[before:] == []


@pytest.mark.parametrize("model", ["azure/command-r", "openai/gpt-4o", "groq/llama", "perplexity/sonar"])
def test_a_vendor_in_the_models_name_is_only_a_name(client: OpenAI, emulator: Emulator, model: str) -> None:
    before = len(emulator.calls)
    with pytest.raises(APIStatusError):
        client.chat.completions.create(model=model, messages=USER)
    paths = [path for path, _, _ in emulator.calls[before:]]
    assert paths == [f"/v1beta/models/{model}:generateContent"]


@pytest.mark.parametrize("model", ["claude-x", "gemini-x"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("what", "status", "kind"),
    [
        ("refuse", 400, "invalid_request_error"),
        ("overload", 529, "server_error"),
        ("limit", 429, "rate_limit_error"),
        ("unauthorised", 502, "server_error"),  # the operator's key is wrong, not the caller's
        ("redirect", 502, "server_error"),
    ],
)
def test_the_providers_errors(
    client: OpenAI, emulator: Emulator, translating: Unit, model: str, stream: bool, what: str, status: int, kind: str
) -> None:
    before = len(emulator.calls)
    with pytest.raises(APIStatusError) as caught:
        client.chat.completions.create(model=f"{model}-does-{what}", messages=USER, stream=stream)
    text = caught.value.response.text
    error = json.loads(text)["error"]
    assert (caught.value.status_code, error["type"]) == (status, kind)
    assert PROVIDER_KEY not in text
    if what == "refuse":
        assert error["message"] == "max_tokens: 99 is too many (…)"
    if what == "limit":
        assert caught.value.response.headers["retry-after"] == "7"
    assert len(emulator.calls) == before + 1  # neither again nor elsewhere
    row = translating.rows()[-1]
    assert (row["outcome"], row["cost_nano_usd"]) == ("upstream_error", 0)


def test_a_provider_that_cannot_be_reached_costs_nothing(client: OpenAI, translating: Unit) -> None:
    for stream in (False, True):
        with pytest.raises(APIStatusError) as caught:
            client.chat.completions.create(model="nobody-1", messages=USER, stream=stream)
        assert (caught.value.status_code, caught.value.body["code"]) == (502, "upstream_unreachable")
        assert translating.rows()[-1]["cost_nano_usd"] == 0


@pytest.mark.parametrize("model", ["claude-haiku-4-5", "gemini-2.5-flash"])
@pytest.mark.parametrize(("what", "stream"), [("drop", False), ("drop", True), ("garble", False)])
def test_an_answer_that_is_lost_may_have_been_billed(
    client: OpenAI, emulator: Emulator, translating: Unit, model: str, what: str, stream: bool
) -> None:
    before = len(emulator.calls)
    with pytest.raises(APIStatusError) as caught:
        client.chat.completions.create(model=f"{model}-does-{what}", messages=USER, stream=stream)
    assert (caught.value.status_code, caught.value.body["code"]) == (502, "upstream_incomplete")
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert len(emulator.calls) == before + 1
    assert translating.rows()[-1]["cost_state"] in ("indeterminate", "unpriced")


@pytest.mark.parametrize("model", ["claude-haiku-4-5", "gemini-2.5-flash"])
@pytest.mark.parametrize("what", ["break", "end", "fail"])
def test_a_stream_that_breaks_off_is_no_whole_answer(client: OpenAI, translating: Unit, model: str, what: str) -> None:
    seen: list[Any] = []
    stream = client.chat.completions.create(model=f"{model}-does-{what}", messages=USER, stream=True)
    with pytest.raises((APIError, httpx.TransportError)):
        seen.extend(stream)  # what came before the end stays in it
    assert seen
    assert all(choice.finish_reason is None for chunk in seen for choice in chunk.choices)
    row = translating.rows()[-1]
    # The SDK leaves as soon as it has read an error within the stream.
    assert row["outcome"] in (("upstream_error", "client_gone") if what == "fail" else ("upstream_incomplete",))
    assert row["cost_state"] != "exact"


@pytest.mark.parametrize("model", ["claude-haiku-4-5", "gemini-2.5-flash"])
def test_when_the_caller_goes_the_provider_is_stopped(
    client: OpenAI, emulator: Emulator, translating: Unit, model: str
) -> None:
    before = emulator.closed
    stream = client.chat.completions.create(model=f"{model}-does-hang", messages=USER, stream=True)
    next(iter(stream))
    stream.close()
    wait_for(lambda: emulator.closed > before, "the provider's stream to be closed")
    assert translating.rows()[-1]["outcome"] == "client_gone"


def test_a_parameter_that_the_provider_does_not_have(client: OpenAI) -> None:
    with pytest.raises(APIStatusError) as caught:
        client.chat.completions.create(model="claude-haiku-4-5", messages=USER, logit_bias={"1": 5})
    assert (caught.value.status_code, caught.value.body["code"], caught.value.body["param"]) == (
        *(400, "unsupported_parameter"),
        "logit_bias",
    )


def test_only_relays_may_use_the_translator(translating: Unit, emulator: Emulator) -> None:
    port = _translator_port(translating)
    before = len(emulator.calls)
    for key in (CALLER_KEY, PROVIDER_KEY):
        direct = OpenAI(base_url=f"http://127.0.0.1:{port}/google/v1", api_key=key, max_retries=0)
        with direct, pytest.raises(APIStatusError) as caught:
            direct.chat.completions.create(model="gemini-2.5-flash", messages=USER)
        assert (caught.value.status_code, caught.value.body["code"]) == (401, "invalid_api_key")
    assert emulator.calls[before:] == []


def test_it_is_started_again_when_it_dies(client: OpenAI, translating: Unit) -> None:
    [pid] = translating.pids("submeter.translate")
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: translating.pids("submeter.translate") not in ([], [pid]), "another translator")
    answer = client.chat.completions.create(model="gemini-2.5-flash", messages=USER)
    assert answer.choices[0].message.content


def test_nothing_of_prompts_or_keys_is_logged(translating: Unit) -> None:
    log = translating.log()
    for secret in (CANARY, PROVIDER_KEY, CALLER_KEY):
        assert secret not in log
    assert FAULT_OF_OURS.search(log) is None


def _translator_port(unit: Unit) -> int:
    """By the socket that the translator listens on, as another process of this machine would find it."""
    [pid] = unit.pids("submeter.translate")
    inodes = {link.readlink().name for link in Path(f"/proc/{pid}/fd").iterdir() if "socket" in str(link.readlink())}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
            return int(fields[1].partition(":")[2], 16)
    raise AssertionError("the translator does not listen")
