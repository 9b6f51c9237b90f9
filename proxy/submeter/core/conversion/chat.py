"""``chat/completions``: a choice is a message, and a stream says it by deltas.

Members that other providers add to a message (images …) are carried over where they are said once. Sound is not: a
stream has it raw, a whole answer in a file format.
"""

from collections.abc import Iterator

from submeter.core.conversion.lists import add_content, add_details
from submeter.core.conversion.members import (
    NOTHING,
    Object,
    Unfaithful,
    add_lists,
    add_text,
    as_index,
    as_list,
    as_object,
    as_text,
    say_once,
    without,
)

_REASONING = ("reasoning", "reasoning_content")
_TEXTS = (*_REASONING, "refusal")
_SAID = {*_TEXTS, "content"}
_TOOLS = {"function": "arguments", "custom": "input"}


class MessageChoices:
    whole_object = "chat.completion"
    chunk_object = "chat.completion.chunk"

    def empty(self, index: int) -> Object:
        return {"index": index, "message": {"role": "assistant", "content": None}, "finish_reason": None}

    def add(self, choice: Object, piece: Object) -> None:
        for name, value in piece.items():
            if name == "delta":
                _add_delta(as_object(choice["message"]), {} if value is None else as_object(value))
            elif name == "logprobs":
                add_lists(choice, name, value)
            else:
                say_once(choice, name, value)

    def pieces(self, choice: Object) -> Iterator[Object]:
        """The log probabilities go with the text that they are of; the first piece has what is not known here."""
        deltas = list(_deltas(as_object(choice.get("message"))))
        of_text = max((at for at, delta in enumerate(deltas) if at and not _SAID.isdisjoint(delta)), default=0)
        more = without(choice, "message", "logprobs")
        for at, delta in enumerate(deltas):
            piece: Object = {"delta": delta}
            if "logprobs" in choice:
                piece["logprobs"] = choice["logprobs"] if at == of_text else None
            yield piece | more
            more = {}


# ---- from deltas to the message --------------------------------------------------------------------------------


def _add_delta(message: Object, delta: Object) -> None:
    for name, value in delta.items():
        if name in _TEXTS:
            add_text(message, name, value)
        elif name == "content":
            add_content(message, value)
        elif name == "reasoning_details" and value:
            add_details(message, name, as_list(value))
        elif name == "tool_calls" and value:
            _add_calls(message, as_list(value))
        elif name == "function_call" and value:
            _add_pieces(message, name, value, "arguments")
        elif name == "audio" and value not in NOTHING:
            raise Unfaithful
        else:
            say_once(message, name, value)


def _add_calls(message: Object, pieces: list[object]) -> None:
    """A call's index in a stream is its place in the whole."""
    calls = as_list(message.get("tool_calls") or [])
    for piece in map(as_object, pieces):
        index = as_index(piece.get("index"))
        if index > len(calls):
            raise Unfaithful
        if index == len(calls):
            calls.append({})
        _add_call(as_object(calls[index]), without(piece, "index"))
    message["tool_calls"] = calls


def _add_call(call: Object, piece: Object) -> None:
    for name, value in piece.items():
        if name in _TOOLS:
            _add_pieces(call, name, value, _TOOLS[name])
        else:
            say_once(call, name, value)


def _add_pieces(into: Object, name: str, piece: object, text: str) -> None:
    """A function, or a custom tool: its name is said once, its arguments or input in pieces."""
    tool = as_object(into.setdefault(name, {}))
    for member, value in as_object(piece).items():
        if member == text:
            add_text(tool, member, value)
        else:
            say_once(tool, member, value)


# ---- from the message to deltas --------------------------------------------------------------------------------


def _deltas(message: Object) -> Iterator[Object]:
    """The role first, then reasoning, content, refusal and tool calls; at the end an empty one."""
    if message.get("audio") not in NOTHING:
        raise Unfaithful
    said = {name: _said(name, value) for name, value in message.items() if name in _SAID and value not in (None, "")}
    yield _opening(message, said)
    for names in (_REASONING, ("content",), ("refusal",)):
        if delta := {name: said[name] for name in names if name in said}:
            yield delta
    for index, call in enumerate(as_list(message.get("tool_calls") or [])):
        yield from _call_deltas(index, as_object(call))
    if function := message.get("function_call"):
        for piece in _tool_pieces(as_object(function), "arguments"):
            yield {"function_call": piece}
    yield {}


def _said(name: str, value: object) -> object:
    """A text; content may be a list of parts."""
    if name != "content" or not isinstance(value, list):
        return as_text(value)
    for part in value:
        as_text(as_object(part).get("type"))
    return value


def _opening(message: Object, said: Object) -> Object:
    opening: Object = {"role": message.get("role", "assistant")}
    for name, value in message.items():
        if name == "content":
            opening[name] = "" if name in said else value
        elif name == "refusal":
            opening[name] = None if name in said else value
        elif name not in said and not (name in ("tool_calls", "function_call") and value):
            opening[name] = value
    return opening


def _call_deltas(index: int, call: Object) -> Iterator[Object]:
    if call.get("index", index) != index:
        raise Unfaithful
    for kind, text in _TOOLS.items():
        if kind in call:
            known = without(call, "index", kind)
            for piece in _tool_pieces(as_object(call[kind]), text):
                yield {"tool_calls": [{"index": index, **known, kind: piece}]}
                known = {}
            return
    raise Unfaithful


def _tool_pieces(tool: Object, text: str) -> Iterator[Object]:
    arguments = as_text(tool.get(text))
    yield {**tool, text: ""}
    if arguments:
        yield {text: arguments}
