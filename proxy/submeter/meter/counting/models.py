"""Which tokenizer is a model's own: data, by name. Sources: the model table of tiktoken 0.14; for gpt-oss OpenAI's
model card (its ``o200k_harmony`` differs from ``o200k_base`` in special tokens only, which no text contains).
"""

from fnmatch import fnmatchcase
from typing import Literal

TokenizerName = Literal["o200k_base", "cl100k_base"]

STAND_IN: TokenizerName = "o200k_base"
"""For every other model: its count is an estimate."""

OWN: tuple[tuple[str, TokenizerName], ...] = (
    ("gpt-4o", "o200k_base"),
    ("gpt-4o-*", "o200k_base"),
    ("chatgpt-4o-*", "o200k_base"),
    ("gpt-4.1*", "o200k_base"),
    ("gpt-4.5*", "o200k_base"),
    ("gpt-5*", "o200k_base"),
    ("gpt-6*", "o200k_base"),
    ("gpt-oss-*", "o200k_base"),
    ("o1", "o200k_base"),
    ("o1-*", "o200k_base"),
    ("o3", "o200k_base"),
    ("o3-*", "o200k_base"),
    ("o4-*", "o200k_base"),
    ("gpt-4", "cl100k_base"),
    ("gpt-4-*", "cl100k_base"),
    ("gpt-3.5*", "cl100k_base"),
    ("gpt-35-*", "cl100k_base"),  # as Azure's deployments are named
    ("davinci-002", "cl100k_base"),
    ("babbage-002", "cl100k_base"),
    ("text-embedding-3-*", "cl100k_base"),
    ("text-embedding-ada-002", "cl100k_base"),
)


def tokenizer_of(model: str | None) -> tuple[TokenizerName, bool]:
    """(tokenizer, whether it is the model's own). ``ft:BASE:…`` counts like BASE, ``openai/NAME`` like NAME."""
    name = "" if model is None else model.lower().removeprefix("openai/")
    if name.startswith("ft:"):
        name = name.split(":")[1]
    for pattern, tokenizer in OWN:
        if fnmatchcase(name, pattern):
            return tokenizer, True
    return STAND_IN, False
