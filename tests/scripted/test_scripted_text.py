"""Text and counting: pure functions, the same on every machine."""

import hashlib
import importlib.util
from pathlib import Path

import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st

from scripted.harness import CHAT_STREAM, MESSAGES, Provider
from submeter.scripted.script import KEYS, Script, ScriptError, parse, with_keys
from submeter.scripted.text import as_inputs, count_tokens, text_of, transcript, words
from submeter.scripted.wire import Cutter, every, inside_character

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["text", "content", "x"]), inner),
    max_leaves=12,
)


def test_words_never_change() -> None:
    """The demo's figures and recorded answers depend on them."""
    assert "".join(words("key", 4)) == "house last floor new"
    assert "".join(words("key", 3, "unicode")) == "ελιά 水道 שלום"


@given(st.text(), st.integers(0, 50), st.integers(0, 50))
def test_a_shorter_answer_is_a_prefix_of_a_longer_one(key: str, short: int, more: int) -> None:
    assert words(key, short + more)[:short] == words(key, short)


@pytest.mark.parametrize("encoding", ["o200k_base", "cl100k_base"])
def test_each_ascii_word_is_one_token_of_the_models_own_tokenizer(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec("litellm")  # its wheel carries the rank files; found without importing it
    assert found is not None
    assert found.origin is not None
    ranks = Path(found.origin).parent / "litellm_core_utils" / "tokenizers"
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(ranks))
    text = "".join(words("every word of the vocabulary will be here", 2_000))
    assert len(tiktoken.get_encoding(encoding).encode(text)) == 2_000


@given(st.text())
def test_a_token_is_four_bytes_or_the_rest(text: str) -> None:
    size = len(text.encode())
    assert (count_tokens(text) - 1) * 4 <= size <= max(count_tokens(text) * 4, 0)
    assert count_tokens(text) >= 1


@given(JSON)
def test_text_of_takes_any_json(value: object) -> None:
    assert isinstance(text_of(value), str)


def test_transcript() -> None:
    messages: list[dict[str, object]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Hello"}, {"type": "image_url", "image_url": {}}]},
        {"role": "assistant", "tool_calls": [{"id": "x", "function": {"name": "f", "arguments": "{}"}}]},
    ]
    assert transcript(messages) == "system: Be brief.\nuser: Hello\nassistant: {}"


def test_inputs() -> None:
    assert as_inputs("abcde") == [("abcde", 2)]
    assert as_inputs(["a", "abcde"]) == [("a", 1), ("abcde", 2)]
    assert [one.tokens for one in as_inputs([1, 2, 3])] == [3]
    assert [one.tokens for one in as_inputs([[1, 2], [3]])] == [2, 1]
    assert as_inputs([]) == []


@given(st.binary(max_size=200), st.lists(st.integers(0, 60), max_size=8), st.integers(1, 9))
def test_cutters_change_no_byte(data: bytes, feeds: list[int], size: int) -> None:
    for cut in (every(size), inside_character):
        cutter, written, start = Cutter(cut), [], 0
        for length in [*feeds, len(data)]:
            written += cutter.feed(data[start : start + length])
            start += length
        assert b"".join(written) + cutter.rest() == data
        assert all(written)


def test_a_script_is_parsed_key_by_key() -> None:
    script = parse(Script(seed=3), " ttft_ms = 1.5 ; fixed_ids ; output_tokens=2;output_tokens=3;; done=0")
    assert script == Script(seed=3, ttft_ms=1.5, fixed_ids=True, output_tokens=3, done=False)
    assert with_keys(Script(), {"gap_ms": 2, "gzip": True}) == Script(gap_ms=2, gzip=True)


@given(st.text() | st.builds("{}={}".format, st.sampled_from(KEYS), st.text()))
def test_any_script_is_taken_or_refused_by_name(text: str) -> None:
    try:
        parse(Script(), text)
    except ScriptError as error:
        said = str(error)
    else:
        return
    assert said.startswith("x-scripted: ")


@pytest.mark.anyio
async def test_the_answer_is_a_function_of_seed_model_and_prompt(server: Provider) -> None:
    async def text(script: str = "", **members: object) -> str:
        return str((await server.chat(script, **members)).json["choices"][0]["message"]["content"])

    first = await text(temperature=0, max_tokens=100, user="a")
    assert await text(temperature=1, user="b") == first
    assert await text("seed=1") != first
    assert await text(model="gpt-4o") != first
    assert await text(messages=[{"role": "user", "content": "else"}]) != first


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["chat/completions", "messages"])
async def test_fixed_ids_make_equal_requests_equal_bytes(server: Provider, path: str) -> None:
    body = CHAT_STREAM if path == "chat/completions" else {**MESSAGES, "stream": True}
    one, other = [await server.post(f"/v1/{path}", body, "fixed_ids;ttft_ms=2") for _ in range(2)]
    assert hashlib.sha256(one.body).digest() == hashlib.sha256(other.body).digest()
    differing = {name for name in one.headers if one.headers[name] != other.headers[name]}
    assert differing - {"date"} == {"request-id" if path == "messages" else "x-request-id"}
