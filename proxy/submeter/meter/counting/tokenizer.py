"""tiktoken over the rank files that are shipped here: nothing is ever downloaded, and any text can be counted.

tiktoken first splits a text into pieces by a regular expression and then makes tokens of each piece, so a text may be
cut between two pieces without changing its count. Long texts are: tiktoken panics on a megabyte of spaces, and a long
count could not be given up in the middle. Where no such place is found, one is made, and the count is only close.
"""

import base64
import hashlib
import lzma
import re
import time
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import NamedTuple

import tiktoken

from submeter.meter.counting.models import TokenizerName

PART_CHARS = 16_384
"""About a millisecond of ordinary text, and ten of the worst."""

_CUT = re.compile(
    r".*[0-9A-Za-z\u3041-\u3096\u30a1-\u30fa\u4e00-\u9fff\uac00-\ud7a3](?=[\s,.;:!?()\[\]{}<>\"=/\\|\u3001\u3002\uff0c])",
    re.DOTALL,
)
"""The longest beginning that may be cut off. Behind a letter or digit every piece ends before white space or such
punctuation, in both expressions, and nothing in them looks back. (An apostrophe is not listed: it may begin a
contraction.)"""


class _Definition(NamedTuple):
    """What makes a tokenizer besides its ranks. Source: tiktoken 0.14, ``tiktoken_ext.openai_public``; the sums are
    those that it expects of its downloads."""

    sha256: str
    pattern: str


_DEFINITIONS: dict[TokenizerName, _Definition] = {
    "o200k_base": _Definition(
        "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    ),
    "cl100k_base": _Definition(
        "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]"
        r"|\s+(?!\S)|\s",
    ),
}


class DamagedRanks(Exception):
    """A rank file is missing, unreadable or not the one that it should be; the text says which."""


class TooSlow(Exception):
    """The deadline has passed, and nobody waits for this count any more."""


class Tokenizer:
    """One of the two vocabularies."""

    def __init__(self, name: TokenizerName, encoding: tiktoken.Encoding) -> None:
        self.name = name
        self._encoding = encoding

    def count(self, text: str, deadline_s: float = float("inf")) -> tuple[int, bool]:
        """(tokens, whether that is exact). What looks like a special token is text like any other. Raises ``TooSlow``
        once ``time.monotonic()`` is past the deadline."""
        tokens, exact = 0, True
        for part, safe in _parts(text):
            if time.monotonic() > deadline_s:
                raise TooSlow
            tokens += len(self._encoding.encode_ordinary(part))
            exact = exact and safe
        return tokens, exact


def load(name: TokenizerName, ranks: Traversable | None = None) -> Tokenizer:
    """Takes 0.3 to 0.8 s and up to 90 MB. ``ranks``: the directory of the rank files. Raises ``DamagedRanks``."""
    directory = files(__package__) / "ranks" if ranks is None else ranks
    definition = _DEFINITIONS[name]
    data = _checked(directory / f"{name}.tiktoken.xz", definition.sha256)
    pairs = (line.split() for line in data.splitlines())
    encoding = tiktoken.Encoding(
        name,
        pat_str=definition.pattern,
        mergeable_ranks={base64.b64decode(token): int(rank) for token, rank in pairs},
        special_tokens={},
    )
    return Tokenizer(name, encoding)


def _checked(path: Traversable, sha256: str) -> bytes:
    try:
        data = lzma.decompress(path.read_bytes())
    except (OSError, lzma.LZMAError):
        raise DamagedRanks(f"{path.name} cannot be read") from None
    if hashlib.sha256(data).hexdigest() != sha256:
        raise DamagedRanks(f"{path.name} is not the file that was shipped (its sha256 differs)")
    return data


def _parts(text: str) -> Iterator[tuple[str, bool]]:
    """(part, whether it could be cut off without changing the count), in order."""
    at = 0
    while len(text) - at > PART_CHARS:
        found = _CUT.match(text, at, at + PART_CHARS)
        end = at + PART_CHARS if found is None else found.end()
        yield text[at:end], found is not None
        at = end
    yield text[at:], True
