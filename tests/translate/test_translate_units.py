"""The parts that need no litellm: what of a body goes on, what is made of usage, and what `submeter serve` starts."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.processes import Provider, Unit, submeter
from submeter.config import Secret, load_settings, translation_from_json, translation_of
from submeter.config.settings import to_json
from submeter.config.translation import behind_translator
from submeter.core.errors import Refusal
from submeter.core.usage import read_chat as read_usage
from submeter.translate.answer import usage_block
from submeter.translate.request import CHAT, LEFT_OUT, read_chat, read_embeddings

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 60), 1 << 60) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(sorted(CHAT | LEFT_OUT | {"api_base", "extra_headers"})) | st.text(max_size=12)
FILE = """
upstreams:
  openai: {translate: gemini, api_key_env: KEY}
  own: {base_url: 'http://h/v1', api_key_env: OTHER}
"""
ENVIRON = {"HOME": "/home/of-a-test", "KEY": "sk-provider", "OTHER": "sk-other"}


def body(**members: Any) -> bytes:
    return msgspec.json.encode({"model": "m", "messages": [{"role": "user", "content": "hi"}], **members})


@given(st.dictionaries(NAMES, JSON, max_size=6) | JSON)
def test_any_body_is_read_or_refused(members: Any) -> None:
    for read in (read_chat, read_embeddings):
        refusal, call = None, None
        try:
            call = read(msgspec.json.encode(members), "gemini")
        except Refusal as why:
            refusal = why
        if refusal is not None:
            assert refusal.fault.status == 400
            assert refusal.param is None or re.fullmatch("[a-z_]+", refusal.param)
        if call is not None:
            assert set(call.params) <= CHAT | {"dimensions", "encoding_format", "input"}
            assert "model" not in call.params


@given(st.binary(max_size=64))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    with pytest.raises(Refusal):
        read_chat(raw, "gemini")


def test_what_goes_on() -> None:
    call = read_chat(
        body(
            model="gemini/gemini-2.5-flash",
            stream=True,
            stream_options={"include_usage": True},
            metadata={"a": "b"},
            top_p=None,
            seed=7,
        ),
        "gemini",
    )
    assert (call.model, call.stream, call.include_usage) == ("gemini-2.5-flash", True, True)
    assert set(call.params) == {"messages", "seed"}


def test_text_may_speak_of_addresses_and_content_may_be_inline() -> None:
    spoken = [
        {"role": "user", "content": "see https://a.example"},
        {"role": "user", "content": [{"type": "text", "text": "http://b.example"}]},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,//8="}}]},
        {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "//uQ", "format": "mp3"}}]},
        {"role": "assistant", "tool_calls": [{"function": {"name": "get", "arguments": '{"url": "http://c"}'}}]},
        {"role": "tool", "tool_call_id": "1", "content": "http://d.example"},
    ]
    assert read_chat(body(messages=spoken), "gemini").params["messages"] == spoken


@given(JSON)
def test_any_usage_becomes_one_that_can_be_read_or_none(usage: Any) -> None:
    block = usage_block(usage, wrote=True)
    if block is not None:
        read_usage(msgspec.json.decode(msgspec.json.encode(block)))


def test_usage_keeps_classes_and_leaves_litellms_own_word_out() -> None:
    block = usage_block(
        {
            "prompt_tokens": 100,
            "completion_tokens": 30,
            "total_tokens": 135,
            "cost": 0.5,
            "prompt_tokens_details": {"cached_tokens": 60, "text_tokens": 40, "tool_use_tokens": 5},
            "completion_tokens_details": {"reasoning_tokens": 10, "text_tokens": 20},
            "server_tool_use": {"web_search_requests": 2},
        },
        wrote=True,
    )
    read = read_usage(block)
    assert read.tokens is not None
    assert (read.tokens.input_uncached, read.tokens.cached_read) == (40, 60)
    assert (read.tokens.output_text, read.tokens.reasoning) == (20, 10)
    assert (read.problem, read.cost_usd, read.web_searches) == (None, None, 2)


@pytest.mark.parametrize(
    ("usage", "wrote"),
    [({"prompt_tokens": 0, "completion_tokens": 5}, True), ({"prompt_tokens": 5, "completion_tokens": 0}, True)],
)
def test_a_zero_that_litellm_put_for_nothing_is_no_usage(usage: dict[str, int], wrote: bool) -> None:
    assert usage_block(usage, wrote=wrote) is None


# -- settings and processes ------------------------------------------------------------------------------------------


def test_the_translator_has_its_providers_key_and_the_relays_have_none(tmp_path: Path) -> None:
    (tmp_path / "submeter.yaml").write_text(FILE)
    settings = load_settings(tmp_path / "submeter.yaml", environ=ENVIRON)
    upstream = settings.upstreams["openai"]
    assert (upstream.base_url, upstream.provider, upstream.api_key) == ("", "gemini", Secret("sk-provider"))
    translation = translation_of(settings, Secret("token"))
    assert translation is not None
    assert b"sk-other" not in to_json(translation)
    assert translation_from_json(to_json(translation)) == translation
    behind = behind_translator(settings, translation, "http://127.0.0.1:5")
    assert behind.upstreams["openai"].base_url == "http://127.0.0.1:5/openai/v1"
    assert b"sk-provider" not in to_json(behind)
    assert behind.upstreams["own"] == settings.upstreams["own"]


def test_without_translated_upstreams_there_is_no_translator(provider: Provider, unit: Unit) -> None:
    assert translation_of(load_settings(environ={"HOME": "/home/of-a-test"}), Secret("token")) is None
    assert unit.pids("submeter.translate") == []
    for pid in (unit.process.pid, *unit.pids("submeter.relay")):
        assert "litellm" not in Path(f"/proc/{pid}/maps").read_text()


@pytest.mark.parametrize(
    ("translate", "missing", "says"),
    [
        ("gemini", True, "pip install 'submeter[translate]'"),
        ("gemni", False, "upstreams.g.translate: litellm knows no such provider; did you mean gemini?"),
    ],
)
def test_serve_says_what_keeps_the_translator_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, translate: str, missing: bool, says: str
) -> None:
    config = tmp_path / "submeter.yaml"
    config.write_text(f"upstreams: {{g: {{translate: {translate}}}}}\n")
    environment = {}
    if missing:
        (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['litellm'] = None\n")
        (tmp_path / "litellm.py").write_text("")
        environment = {"PYTHONPATH": str(tmp_path)}
    run = submeter("serve", "--config", str(config), "--data-dir", str(tmp_path / "data"), **environment)
    assert (run.returncode, says in run.stderr) == (2, True), run.stderr


OFFLINE = """
import os, socket
def dial(*_, **__): raise SystemExit("it dials")
socket.getaddrinfo = socket.socket.connect = dial
os.environ |= {"LITELLM_LOG": "DEBUG", "OPENAI_BASE_URL": "http://x", "GEMINI_API_KEY": "k", "AWS_REGION": "eu"}
from submeter.translate.engine import Engine
Engine()
import litellm
names = ("LITELLM_LOG", "OPENAI_BASE_URL", "GEMINI_API_KEY", "AWS_REGION")
print(litellm.telemetry, litellm.callbacks, litellm.cache, [name in os.environ for name in names])
"""


def test_litellm_is_imported_without_network_and_told_to_keep_quiet() -> None:
    run = subprocess.run([sys.executable, "-c", OFFLINE], capture_output=True, text=True, check=False, timeout=60)
    assert run.stdout.strip() == "False [] None [False, False, False, True]", run.stderr[-500:]
