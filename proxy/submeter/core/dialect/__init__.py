"""What the bytes of an answer mean, per endpoint: first token, content, finish reason, usage, the end.

A dialect is a reader of one answer. ``read_event`` takes the fields of one SSE event, ``read_whole`` a complete
JSON body; both only ever add to ``Answer``. They take any bytes whatever: what cannot be read is skipped, and the
caller's bytes pass all the same (FAULTS 35, 36, 39). Leaves are kept raw: decoding an event costs about 1 us.

    chat        chat/completions, completions, embeddings, and what other providers made of them
    responses   OpenAI's responses
    messages    Anthropic's messages
    reading     what the three have in common
"""

from typing import Protocol

from submeter.core.answer import Answer
from submeter.core.dialect.chat import ChatDialect
from submeter.core.dialect.messages import MessagesDialect
from submeter.core.dialect.reading import ErrorKind, EventKind
from submeter.core.dialect.responses import ResponsesDialect

__all__ = [
    "Answer",
    "ChatDialect",
    "Dialect",
    "ErrorKind",
    "EventKind",
    "MessagesDialect",
    "ResponsesDialect",
    "dialect_for",
]


class Dialect(Protocol):
    """A reader of one endpoint's answers."""

    error_kind: ErrorKind
    answer: Answer

    def read_event(self, name: bytes, data: bytes) -> EventKind:
        """Read one event: is it the one that ends the answer, or a chunk of usage alone?"""
        ...

    def may_end(self, tail: bytes) -> bool:
        """Could this unfinished event, from its first data or event line on, be the one that ends the answer?"""
        ...

    def read_whole(self, body: bytes) -> None: ...


def dialect_for(endpoint: str) -> Dialect:
    """The reader for a metered endpoint, named by its path after ``/v1/``."""
    if endpoint == "messages":
        return MessagesDialect()
    if endpoint == "responses":
        return ResponsesDialect()
    return ChatDialect(embeddings=endpoint == "embeddings")
