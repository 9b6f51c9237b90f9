"""Request body -> the texts whose tokens are its input, as far as it is public how providers render one.

A dialogue: 3 tokens around each message, its role, its text, its name and 1 more, and 3 for the reply (OpenAI
cookbook, "How to count tokens with tiktoken"). That is documented for chat; Responses and Messages are taken to be
alike. How images, files, audio, tools and their results, earlier turns and output schemas are rendered is not public:
such a request is not counted.
"""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

MESSAGE_TOKENS = 3
NAME_TOKENS = 1
REPLY_TOKENS = 3

_TEXT_PARTS = frozenset({"text", "input_text", "output_text"})
_TOOL_ROLES = frozenset({"tool", "function"})


class Prompt(NamedTuple):
    """What a request says to the model."""

    texts: list[str]
    more_tokens: int
    """What stands around the texts, or was sent as token numbers."""


class _Part(msgspec.Struct):
    type: str
    text: str = ""


Content = str | list[_Part] | None


class _Message(msgspec.Struct):
    role: str
    content: Content = None
    name: str | None = None
    type: str = "message"
    tool_calls: object = None
    function_call: object = None
    audio: object = None


class _Format(msgspec.Struct):
    type: str = "text"


class _FormatOf(msgspec.Struct):
    format: _Format | None = None


class _Chat(msgspec.Struct):
    messages: list[_Message]
    response_format: _Format | None = None
    tools: object = None
    functions: object = None


class _Messages(msgspec.Struct):
    messages: list[_Message]
    system: Content = None
    tools: object = None
    mcp_servers: object = None
    container: object = None


class _Responses(msgspec.Struct):
    input: str | list[_Message]
    instructions: str | None = None
    text: _FormatOf | None = None
    tools: object = None
    prompt: object = None
    previous_response_id: object = None
    conversation: object = None


_Texts = str | list[str | int | list[int]]
"""A text, texts, the token numbers of one text, or those of several."""


class _Completions(msgspec.Struct):
    prompt: _Texts


class _Embeddings(msgspec.Struct):
    input: _Texts


class _Uncountable(Exception):
    """Something in the request is rendered in a way that is not public."""


def read_prompt(endpoint: str, body: bytes) -> Prompt | None:
    """What a request to a metered endpoint says; ``None`` where that cannot be counted. Takes any bytes."""
    try:
        match endpoint:
            case "chat/completions":
                return _chat(msgspec.json.decode(body, type=_Chat))
            case "messages":
                return _messages(msgspec.json.decode(body, type=_Messages))
            case "responses":
                return _responses(msgspec.json.decode(body, type=_Responses))
            case "completions":
                return _plain(msgspec.json.decode(body, type=_Completions).prompt)
            case "embeddings":
                return _plain(msgspec.json.decode(body, type=_Embeddings).input)
    except (_Uncountable, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    return None


def _chat(body: _Chat) -> Prompt:
    _refuse(body.tools, body.functions, _schema(body.response_format))
    return _dialogue(body.messages)


def _messages(body: _Messages) -> Prompt:
    _refuse(body.tools, body.mcp_servers, body.container)
    first = [] if body.system is None else [_Message("system", body.system)]
    return _dialogue([*first, *body.messages])


def _responses(body: _Responses) -> Prompt:
    _refuse(body.tools, body.prompt, body.previous_response_id, body.conversation)
    _refuse(None if body.text is None else _schema(body.text.format))
    first = [] if body.instructions is None else [_Message("system", body.instructions)]
    turns = [_Message("user", body.input)] if isinstance(body.input, str) else body.input
    return _dialogue([*first, *turns])


def _dialogue(messages: Iterable[_Message]) -> Prompt:
    texts, more = [], REPLY_TOKENS
    for message in messages:
        _refuse(message.tool_calls, message.function_call, message.audio)
        _refuse(message.type != "message", message.role in _TOOL_ROLES)
        texts += [message.role, *_content(message.content)]
        more += MESSAGE_TOKENS
        if message.name is not None:
            texts.append(message.name)
            more += NAME_TOKENS
    return Prompt(texts, more)


def _content(content: Content) -> list[str]:
    if isinstance(content, str):
        return [content]
    parts = [] if content is None else content
    _refuse(any(part.type not in _TEXT_PARTS for part in parts))
    return [part.text for part in parts]


def _plain(texts: _Texts) -> Prompt:
    if isinstance(texts, str):
        return Prompt([texts], 0)
    numbers = sum(len(item) if isinstance(item, list) else 1 for item in texts if not isinstance(item, str))
    return Prompt([item for item in texts if isinstance(item, str)], numbers)


def _schema(form: _Format | None) -> bool:
    return form is not None and form.type == "json_schema"


def _refuse(*present: object) -> None:
    """Raises ``_Uncountable`` where any of these is there; null and empty ones are not."""
    if any(present):
        raise _Uncountable
