"""Tokens of texts: equal to tiktoken's own and to another implementation, however long the text, and no other file."""

import base64
import lzma
import warnings
from importlib.resources import files
from pathlib import Path

import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st
from tiktoken_ext import openai_public

from submeter.meter.counting import tokenizer
from submeter.meter.counting.models import TokenizerName, tokenizer_of
from submeter.meter.counting.tokenizer import DamagedRanks, Tokenizer, TooSlow, load

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of importlib.resources, in its own reader
    import bpe_openai

    OTHER = {name: bpe_openai.get_encoding(name) for name in ("o200k_base", "cl100k_base")}

NAMES: tuple[TokenizerName, ...] = ("o200k_base", "cl100k_base")
SAMPLES = (
    "",
    "Hello, world. It's the meter's 1234567 tokens!\n\n\tIndented   text  \r\n// path/to/file\n",
    "größe naïve señal žluť ελιά мост שלום 水道 電気 メーター 물길 ☀️ 🚰 e\u0301 \u200d",
    "<|endoftext|> <|im_start|>system<|endofprompt|>",
    '{"location":"Berlin","unit":null,"days":[1,2,3.5e10]}',
    "def count(self, text: str) -> int:\n        return len(text)  # ok\n" * 40,
    "x" * 3000,
    " " * 3000 + "\n" * 3000 + "." * 3000,
)


@pytest.fixture(scope="module")
def tokenizers() -> dict[TokenizerName, Tokenizer]:
    return {name: load(name) for name in NAMES}


def tiktokens_own(name: TokenizerName, monkeypatch: pytest.MonkeyPatch) -> tiktoken.Encoding:
    """As tiktoken makes it itself, but for the download."""
    path = files("submeter.meter.counting") / "ranks" / f"{name}.tiktoken.xz"
    pairs = [line.split() for line in lzma.decompress(path.read_bytes()).splitlines()]
    ranks = {base64.b64decode(token): int(rank) for token, rank in pairs}
    monkeypatch.setattr(openai_public, "load_tiktoken_bpe", lambda *_, **__: ranks)
    return tiktoken.Encoding(**getattr(openai_public, name)())


@pytest.mark.parametrize("name", NAMES)
def test_counts_are_tiktokens_and_another_implementations(
    name: TokenizerName, tokenizers: dict[TokenizerName, Tokenizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    own, other = tiktokens_own(name, monkeypatch), OTHER[name]
    for text in SAMPLES:
        expected = (len(own.encode(text, disallowed_special=())), True)
        assert tokenizers[name].count(text) == expected
        assert len(other.encode_ordinary(text)) == expected[0]


@pytest.mark.parametrize("name", NAMES)
def test_the_expression_and_the_sum_are_those_of_tiktoken(name: TokenizerName, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def remember(url: str, expected_hash: str) -> dict[bytes, int]:
        asked.append(expected_hash)
        return {}

    monkeypatch.setattr(openai_public, "load_tiktoken_bpe", remember)
    definition = tokenizer._DEFINITIONS[name]
    assert getattr(openai_public, name)()["pat_str"] == definition.pattern
    assert asked == [definition.sha256]


@given(
    st.lists(st.sampled_from([*"aZ09 \n\t.,'/(\"", "'s", "\r\n", "水", "é", "e\u0301", "ア", "한", " the", "☀️"])),
    st.integers(1, 12),
)
def test_a_text_that_is_cut_where_it_may_be_counts_the_same(
    tokenizers: dict[TokenizerName, Tokenizer], pieces: list[str], part: int
) -> None:
    text = "".join(pieces)
    whole = {name: tokenizers[name].count(text) for name in NAMES}
    before, tokenizer.PART_CHARS = tokenizer.PART_CHARS, part
    try:
        for name in NAMES:
            tokens, exact = tokenizers[name].count(text)
            assert "".join(cut for cut, _ in tokenizer._parts(text)) == text
            assert not exact or (tokens, exact) == whole[name]
    finally:
        tokenizer.PART_CHARS = before


def test_long_texts(tokenizers: dict[TokenizerName, Tokenizer]) -> None:
    """A megabyte of spaces makes tiktoken panic; of words nothing is lost by cutting."""
    for name in NAMES:
        assert tokenizers[name].count(" " * 1_000_000)[1] is False
        assert tokenizers[name].count(" " * 1_000_000)[0] == pytest.approx(1_000_000 / 128, rel=0.01)
        text = "The meter reads each token. " * 10_000
        assert tokenizers[name].count(text) == (len(OTHER[name].encode_ordinary(text)), True)


def test_a_count_that_nobody_waits_for_is_given_up(tokenizers: dict[TokenizerName, Tokenizer]) -> None:
    with pytest.raises(TooSlow):
        tokenizers["o200k_base"].count("text", deadline_s=0.0)


def test_a_file_that_is_not_the_one_shipped_is_refused(tmp_path: Path) -> None:
    path = files("submeter.meter.counting") / "ranks" / "cl100k_base.tiktoken.xz"
    data = lzma.decompress(path.read_bytes())
    damaged = tmp_path / "cl100k_base.tiktoken.xz"
    for broken, why in (
        (lzma.compress(data.replace(b"IQ== 0", b"IQ== 1", 1), preset=0), "sha256"),
        (path.read_bytes()[:-100], "cannot be read"),
        (b"no xz at all", "cannot be read"),
        (None, "cannot be read"),
    ):
        damaged.unlink(missing_ok=True)
        if broken is not None:
            damaged.write_bytes(broken)
        with pytest.raises(DamagedRanks, match=rf"cl100k_base\.tiktoken\.xz .*{why}"):
            load("cl100k_base", tmp_path)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gpt-4o-mini-2024-07-18", ("o200k_base", True)),
        ("GPT-4o", ("o200k_base", True)),
        ("openai/gpt-4.1-nano", ("o200k_base", True)),
        ("o3", ("o200k_base", True)),
        ("o4-mini", ("o200k_base", True)),
        ("gpt-5.1", ("o200k_base", True)),
        ("gpt-6-mini", ("o200k_base", True)),
        ("gpt-oss-120b", ("o200k_base", True)),
        ("ft:gpt-4o-mini-2024-07-18:org::id", ("o200k_base", True)),
        ("ft:gpt-3.5-turbo:org::id", ("cl100k_base", True)),
        ("gpt-4", ("cl100k_base", True)),
        ("gpt-4-turbo-2024-04-09", ("cl100k_base", True)),
        ("gpt-35-turbo", ("cl100k_base", True)),
        ("text-embedding-3-small", ("cl100k_base", True)),
        ("text-embedding-ada-002", ("cl100k_base", True)),
        ("claude-haiku-4-5", ("o200k_base", False)),
        ("llama-3.1-8b", ("o200k_base", False)),
        ("o3x", ("o200k_base", False)),
        ("ft:", ("o200k_base", False)),
        ("", ("o200k_base", False)),
        (None, ("o200k_base", False)),
    ],
)
def test_whose_tokenizer(model: str | None, expected: tuple[str, bool]) -> None:
    assert tokenizer_of(model) == expected
