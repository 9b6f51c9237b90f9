"""Prompts of an exact number of tokens, with no tokenizer at hand.

``words.txt`` holds 1,024 words that are one token each, with and without a leading space, in o200k_base and in
cl100k_base (a test holds them to it). Both cut a text before each space, so that N of them are N tokens. Another
model's tokenizer may count differently: what is analysed is what the provider reports.

Ten bits a word: that a prompt begins with the same dozen words as another has a chance of one in 10^36, so that no
provider finds it in its cache, unless the setting asks for a shared beginning.
"""

import random
from importlib.resources import files

INSTRUCTION = "now tell a long story with every one of these words and never stop"
"""Fourteen tokens that make a model talk until it reaches its limit of output tokens."""
CHAT_TOKENS = 7
"""Around one message of the user: 3, its role 1, and 3 for the reply (OpenAI cookbook, "How to count tokens with
tiktoken"), as ``meter.counting.prompt`` counts."""
_AROUND = CHAT_TOKENS + len(INSTRUCTION.split())
LEAST_INPUT_TOKENS = _AROUND + 1

_WORDS = (files(__package__) / "words.txt").read_text().split()


def prompt(input_tokens: int, key: str, *, shared_tokens: int = 0, shared_key: str = "") -> str:
    """The text of a request with one message whose input is ``input_tokens`` in all (``LEAST_INPUT_TOKENS`` or more).

    The same key gives the same text, another key another one from its first word on, behind ``shared_tokens`` words
    that are the same for one ``shared_key``.
    """
    words = input_tokens - _AROUND
    shared = min(shared_tokens, words)
    return " ".join([*_draw(shared_key, shared), *_draw(key, words - shared), INSTRUCTION])


def _draw(key: str, count: int) -> list[str]:
    return random.Random(key).choices(_WORDS, k=count)


def most_bytes(input_tokens: int) -> int:
    """No prompt of so many tokens is longer."""
    return (max(map(len, _WORDS)) + 1) * input_tokens
