"""One kept answer in both forms: the stream and the whole body.

The canonical answer is the provider's whole object. A stream is gathered into it, and it is spread into a stream as
that provider would send it, in few events. What one form says and the other has no place for makes the conversion
``None``: then it is a miss, and never a guess.

    received     a stream as it was received, its usage chunk apart
    members      JSON members, and how pieces become wholes
    events       the events of a stream
    lists        lists that come in pieces
    chunks       what chat and completions share
    chat · completions · messages · responses
"""

from submeter.core.conversion import chunks, messages, responses
from submeter.core.conversion.chat import MessageChoices
from submeter.core.conversion.completions import TextChoices
from submeter.core.conversion.members import Object, Unfaithful, read, write
from submeter.core.conversion.received import without_usage_chunk
from submeter.core.dialect import dialect_for
from submeter.core.kept import Form, KeptAnswer

__all__ = ["as_stream", "as_whole", "content_type"]

_CHOICES: dict[str, chunks.Choices] = {"chat/completions": MessageChoices(), "completions": TextChoices()}
_CONTENT_TYPES: dict[Form, bytes] = {"stream": b"text/event-stream; charset=utf-8", "whole": b"application/json"}


def as_stream(endpoint: str, kept: KeptAnswer, *, include_usage: bool) -> bytes | None:
    """The answer as events: those that were received, else new ones. ``include_usage`` is what the caller of chat or
    completions asked for; elsewhere it says nothing."""
    if kept.form == "stream":
        return kept.body if include_usage or endpoint not in _CHOICES else without_usage_chunk(kept.body)
    try:
        return _spread(endpoint, read(kept.body), include_usage=include_usage)
    except (Unfaithful, RecursionError):
        return None


def as_whole(endpoint: str, kept: KeptAnswer) -> bytes | None:
    """The answer as one JSON body: the one that was received, else a new one that reads the same."""
    if kept.form == "whole":
        return kept.body
    try:
        body = write(_gather(endpoint, kept.body))
    except (Unfaithful, RecursionError):
        return None
    return body if _reads_as(endpoint, body, kept) else None


def content_type(kept: KeptAnswer, form: Form) -> bytes:
    """Of the answer in this form."""
    return kept.content_type if kept.form == form else _CONTENT_TYPES[form]


def _gather(endpoint: str, stream: bytes) -> Object:
    if endpoint in _CHOICES:
        return chunks.gather(stream, _CHOICES[endpoint])
    if endpoint == "messages":
        return messages.gather(stream)
    if endpoint == "responses":
        return responses.gather(stream)
    raise Unfaithful


def _spread(endpoint: str, whole: Object, *, include_usage: bool) -> bytes:
    if endpoint in _CHOICES:
        return chunks.spread(whole, _CHOICES[endpoint], include_usage=include_usage)
    if endpoint == "messages":
        return messages.spread(whole)
    if endpoint == "responses":
        return responses.spread(whole)
    raise Unfaithful


def _reads_as(endpoint: str, body: bytes, kept: KeptAnswer) -> bool:
    """Does it say the usage that metering had read of the stream?"""
    dialect = dialect_for(endpoint)
    dialect.read_whole(body)
    return dialect.answer.usage == kept.usage
