"""What the dialects have in common: taking a usage block, and telling an end by its first bytes."""

import re
from typing import Literal

from submeter.core.answer import Answer
from submeter.core.usage import Usage

ErrorKind = Literal["openai", "responses", "anthropic"]
EventKind = Literal["", "end", "usage_chunk"]


def take_usage(answer: Answer, read: Usage) -> None:
    """A usage block into the answer, with what stands in it beside the tokens."""
    answer.take(read)
    if read.web_searches is not None:
        answer.web_searches = read.web_searches
    if read.region is not None:
        answer.region = read.region


def begins_field(line: bytes) -> bool:
    """Could this beginning of a line become a data or an event line?"""
    return b"data:".startswith(line[:5]) or b"event:".startswith(line[:6])


def may_be_named(tail: bytes, names: tuple[str, ...]) -> bool:
    """Could an event that begins like this bear one of these names, in its event line or its data's type?"""
    first, *others = re.split(rb"[\r\n]", tail, maxsplit=1)
    if first.startswith(b"event:"):
        name = first[6:].strip()
        if others:
            return name.decode("ascii", "replace") in names
        return any(known.encode().startswith(name) for known in names)
    if not first.startswith(b"data:"):
        return begins_field(first)
    start = first.find(b'"type"')
    value = first[start + 6 : start + 70].lstrip(b" :").removeprefix(b'"')
    if start < 0 or not value:
        return len(first) < 256
    return any(known.encode().startswith(value[: len(known)]) for known in names)
