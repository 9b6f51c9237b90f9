"""What ``chat/completions`` and ``completions`` have in common: chunks of choices, usage at the end, ``[DONE]``.

How a choice is cut into pieces and put together again is the endpoint's own matter: ``Choices``.
"""

from collections.abc import Iterator
from typing import Protocol

from submeter.core.conversion.events import DONE, event_data, unnamed
from submeter.core.conversion.members import (
    NOTHING,
    Object,
    Unfaithful,
    as_index,
    as_list,
    as_object,
    as_text,
    read,
    say_once,
    without,
)

_IN_EACH_CHUNK = ("id", "object", "created", "model", "service_tier", "system_fingerprint")
_FIRST = ("id", "object", "created", "model", "choices", "usage")


class Choices(Protocol):
    whole_object: str
    chunk_object: str

    def empty(self, index: int) -> Object: ...

    def add(self, choice: Object, piece: Object) -> None:
        """Put a piece of a choice to what has come of it."""
        ...

    def pieces(self, choice: Object) -> Iterator[Object]:
        """What a stream says of a whole choice, its index and its finish reason apart."""
        ...


def gather(stream: bytes, kind: Choices) -> Object:
    """The whole answer that a stream says."""
    gathered = _Gathered(kind)
    for data in event_data(stream):
        if data.strip() == b"[DONE]":
            return gathered.whole()
        gathered.add(read(data))
    raise Unfaithful


class _Gathered:
    def __init__(self, kind: Choices) -> None:
        self._kind = kind
        self._members: Object = {}
        self._choices: dict[int, Object] = {}
        self._usage: object = None

    def add(self, chunk: Object) -> None:
        for name, value in chunk.items():
            if name == "choices":
                for piece in as_list(value):
                    self._add_choice(as_object(piece))
            elif name == "usage":
                self._take_usage(value)
            elif name == "x_groq":
                self._add_groq(value)
            elif name == "created":  # some write the time of each chunk, or 0 where there is none yet
                self._members[name] = self._members.get(name) or value
            elif name == "error" and value not in NOTHING:
                raise Unfaithful
            elif name not in ("object", "obfuscation"):
                say_once(self._members, name, value)

    def whole(self) -> Object:
        choices = [self._choices[index] for index in sorted(self._choices)]
        if not choices or any(choice["finish_reason"] is None for choice in choices):
            raise Unfaithful
        members = {**self._members, "object": self._kind.whole_object, "choices": choices}
        if self._usage is not None:
            members["usage"] = self._usage
        return {name: members.pop(name) for name in _FIRST if name in members} | members

    def _add_choice(self, piece: Object) -> None:
        """Moonshot's usage stands in the choice that ends."""
        index = as_index(piece.pop("index", None))
        choice = self._choices.setdefault(index, self._kind.empty(index))
        self._take_usage(piece.pop("usage", None))
        say_once(choice, "finish_reason", piece.pop("finish_reason", None))
        self._kind.add(choice, piece)

    def _add_groq(self, value: object) -> None:
        """Groq's has the usage in it, whether that was asked for or not."""
        if isinstance(value, dict):
            self._take_usage(value.get("usage"))
            value = without(value, "usage")
        say_once(self._members, "x_groq", value)

    def _take_usage(self, usage: object) -> None:
        """The last word holds: some repeat it, or count on."""
        self._usage = self._usage if usage is None else as_object(usage)


def spread(whole: Object, kind: Choices, *, include_usage: bool) -> bytes:
    """A stream that says the whole answer. What only some providers have stands in the first chunk."""
    usage, no_answer = whole.get("usage"), whole.get("error") not in NOTHING
    if no_answer or whole.get("object") != kind.whole_object or (include_usage and not isinstance(usage, dict)):
        raise Unfaithful
    head = without(whole, "choices", "usage") | {"object": kind.chunk_object}
    no_usage: Object = {"usage": None} if include_usage else {}
    out: list[bytes] = []
    for index, choice in enumerate(as_list(whole.get("choices"))):
        for piece in _pieces(index, as_object(choice), kind):
            out.append(unnamed({**head, "choices": [piece], **no_usage}))
            head = {name: head[name] for name in _IN_EACH_CHUNK if name in head}
    if not out:
        raise Unfaithful
    if include_usage:
        out.append(unnamed({**head, "choices": [], "usage": usage}))
    return b"".join((*out, DONE))


def _pieces(index: int, choice: Object, kind: Choices) -> Iterator[Object]:
    reason = as_text(choice.get("finish_reason"))
    if choice.get("index") != index or not choice.keys().isdisjoint(("usage", "delta")):
        raise Unfaithful
    *pieces, last = kind.pieces(without(choice, "index", "finish_reason"))
    for piece in pieces:
        yield {"index": index, **piece, "finish_reason": None}
    yield {"index": index, **last, "finish_reason": reason}
