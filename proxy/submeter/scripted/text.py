"""What a scripted model says, and how the scripted provider counts.

Text is a pure function of a key, so the same question gets the same answer on every machine. Counting is this
provider's own rule, and simple on purpose: **one token per four UTF-8 bytes of prompt text, rounded up, at least
one; one token per word of output.**
"""

import hashlib
from collections.abc import Iterable
from typing import Literal, NamedTuple

Alphabet = Literal["ascii", "unicode"]

_VOCABULARY: dict[Alphabet, str] = {
    # Each word, with or without a leading space, is one token in o200k_base and in cl100k_base too: a client
    # that counts the answer with the model's own tokenizer gets the provider's figure.
    "ascii": """
        the meter reads each token that flows from model to reader and writes a line for it with care small water
        light power house flat floor pipe month week day hour cost price count total bill paper table number answer
        question river stone green quiet early winter summer open close before after under over near every other
        first last next same new long short
    """,
    # Each word holds characters of two, three or four bytes.
    "unicode": "größe naïve déjà señal žluť ørret łódź ελιά мост שלום 水道 電気 メーター 물길 ☀️ 🚰",
}
_WORDS = {alphabet: vocabulary.split() for alphabet, vocabulary in _VOCABULARY.items()}

_TEXT_MEMBERS = ("text", "content", "output", "thinking", "tool_calls", "function", "arguments")

Inputs = str | list[str | int | list[int]]
"""What completions and embeddings take: a text, texts, the tokens of one text, or the tokens of several."""


class Input(NamedTuple):
    text: str
    tokens: int


def words(key: str, count: int, alphabet: Alphabet = "ascii") -> list[str]:
    """``count`` words, all but the first with a leading space; a shorter answer is a prefix of a longer one."""
    vocabulary = _WORDS[alphabet]
    drawn = hashlib.shake_256(key.encode("utf-8", "surrogatepass")).digest(count)
    picked = [vocabulary[byte % len(vocabulary)] for byte in drawn]
    return [word if place == 0 else f" {word}" for place, word in enumerate(picked)]


def digest(*parts: object) -> str:
    """64 hexadecimal digits that stand for ``parts``."""
    joined = "\0".join(str(part) for part in parts)
    return hashlib.sha256(joined.encode("utf-8", "surrogatepass")).hexdigest()


def count_tokens(text: str) -> int:
    """Tokens of prompt text by this provider's rule."""
    return max(1, -(-len(text.encode("utf-8", "surrogatepass")) // 4))


def text_of(value: object) -> str:
    """The prompt text in a JSON value of any dialect: strings, lists of parts, and the members that hold text."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "\n".join(filter(None, map(text_of, value)))
    if isinstance(value, dict):
        return text_of([value[name] for name in _TEXT_MEMBERS if name in value])
    return ""


def transcript(messages: Iterable[dict[str, object]]) -> str:
    """The canonical prompt text of a conversation: one ``role: text`` paragraph per message."""
    return "\n".join(f"{message.get('role')}: {text_of(message)}" for message in messages)


def as_inputs(value: Inputs) -> list[Input]:
    """One entry per text. Tokens that the caller made count as they are."""
    if isinstance(value, str):
        return [Input(value, count_tokens(value))]
    if value and all(isinstance(item, int) for item in value):
        return [Input(str(value), len(value))]
    return [Input(str(item), len(item)) if isinstance(item, list) else _as_text(item) for item in value]


def _as_text(item: str | int) -> Input:
    return Input(str(item), count_tokens(str(item)))
