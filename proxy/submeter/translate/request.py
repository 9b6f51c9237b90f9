"""A caller's body → what litellm is called with. Only OpenAI's own request members go on: litellm has others, which
choose hosts, keys, headers and callbacks (FAULTS 19). Nothing in a body may name a place to fetch from, either.
"""

import re
from collections.abc import Iterator, Mapping

import msgspec

from submeter.core.errors import INVALID_JSON, INVALID_VALUE, MISSING_PARAMETER, Fault, Refusal

Json = Mapping[str, object]

FORBIDDEN = Fault(
    400,
    "forbidden_parameter",
    "This parameter is not taken on a translated upstream: only those of OpenAI's API are, content goes inline "
    "(data: URLs), and tools are the caller's own functions.",
)

CHAT = frozenset(
    {
        "audio", "frequency_penalty", "function_call", "functions", "logit_bias", "logprobs", "max_completion_tokens",
        "max_tokens", "messages", "modalities", "model", "n", "parallel_tool_calls", "prediction", "presence_penalty",
        "reasoning_effort", "response_format", "seed", "service_tier", "stop", "stream", "temperature", "tool_choice",
        "tools", "top_logprobs", "top_p", "user", "verbosity", "web_search_options",
    }
)  # fmt: skip
EMBEDDINGS = frozenset({"dimensions", "encoding_format", "input", "model", "user"})
LEFT_OUT = frozenset(
    {"metadata", "prompt_cache_key", "prompt_cache_retention", "safety_identifier", "store", "stream_options"}
)
"""OpenAI's own, but for OpenAI alone: they change no answer. (To litellm, ``metadata`` is a way in.)"""

_NAME = re.compile(r"[a-z_]{1,40}")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:-]*(?:/[A-Za-z0-9][A-Za-z0-9._@:-]*)*")
_SENT_ELSEWHERE = ("replicate", "clarifai", "ft:gpt-3.5-turbo")
"""litellm sends a model whose name holds one of these to that vendor, whatever provider it is told."""
_PROSE = frozenset(
    {
        "annotations", "function_call", "name", "reasoning_content", "refusal", "role", "thinking_blocks",
        "tool_call_id", "tool_calls",
    }
)  # fmt: skip
"""Members of a message in which an address is only spoken of."""


class Call(msgspec.Struct, frozen=True):
    """A request that may go on."""

    model: str
    """As the provider names it."""
    params: dict[str, object]
    """Everything else, by litellm's names, which for these members are OpenAI's."""
    stream: bool = False
    include_usage: bool = False


def read_chat(raw: bytes, provider: str) -> Call:
    """Raises ``Refusal``."""
    body = _read(raw, CHAT)
    _check_messages(body.get("messages"))
    _check_tools(body.get("tools"))
    options = body.get("stream_options")
    return Call(
        _model(body, provider),
        _rest(body),
        stream=body.get("stream") is True,
        include_usage=isinstance(options, dict) and options.get("include_usage") is True,
    )


def read_embeddings(raw: bytes, provider: str) -> Call:
    """Raises ``Refusal``."""
    body = _read(raw, EMBEDDINGS)
    if body.get("input") is None:
        raise Refusal(MISSING_PARAMETER, "input")
    if any(_names_a_place(leaf) for leaf in _leaves(body["input"])):
        raise Refusal(FORBIDDEN, "input")  # multimodal embeddings take addresses for content
    return Call(_model(body, provider), _rest(body))


def _read(raw: bytes, allowed: frozenset[str]) -> Json:
    try:
        body = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise Refusal(INVALID_JSON) from None
    if not isinstance(body, dict):
        raise Refusal(INVALID_JSON)
    for name in body:
        if name not in allowed and name not in LEFT_OUT:
            raise Refusal(FORBIDDEN, name if _NAME.fullmatch(name) else None)
    return body


def _rest(body: Json) -> dict[str, object]:
    skipped = LEFT_OUT | {"model", "stream"}
    return {name: value for name, value in body.items() if name not in skipped and value is not None}


def _model(body: Json, provider: str) -> str:
    model = body.get("model")
    if model is None:
        raise Refusal(MISSING_PARAMETER, "model")
    if not isinstance(model, str) or len(model) > 256:
        raise Refusal(INVALID_VALUE, "model")
    model = model.removeprefix(f"{provider}/")
    elsewhere = any(name in model and name != provider for name in _SENT_ELSEWHERE)
    if elsewhere or _MODEL.fullmatch(model) is None:  # it becomes part of a URL
        raise Refusal(INVALID_VALUE, "model")
    return model


def _check_messages(messages: object) -> None:
    if messages is None:
        raise Refusal(MISSING_PARAMETER, "messages")
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise Refusal(INVALID_VALUE, "messages")
    for message in messages:
        parts = [value for name, value in message.items() if name not in _PROSE and not _is_text(name, value)]
        if any(_names_a_place(leaf) for leaf in _leaves(parts)):
            raise Refusal(FORBIDDEN, "messages")


def _is_text(name: str, value: object) -> bool:
    return name == "content" and isinstance(value, str)


def _check_tools(tools: object) -> None:
    """What litellm would run itself, or have the provider fetch, is not the caller's own function."""
    for tool in tools if isinstance(tools, list) else ():
        if not isinstance(tool, dict) or tool.get("type") not in ("function", "custom"):
            raise Refusal(FORBIDDEN, "tools")


def _leaves(value: object) -> Iterator[str]:
    """The strings of a content part that are not its text, at any depth."""
    stack = [value]
    while stack:
        match stack.pop():
            case str() as text:
                yield text
            case list() as items:
                stack.extend(items)
            case dict() as members:
                stack.extend(item for name, item in members.items() if name != "text")


def _names_a_place(text: str) -> bool:
    """base64 has no colon, so that what is inline is never taken for an address. A bucket (gs:, s3:) is one, too: it
    would be read with the operator's rights."""
    return "://" in text and not text.lstrip().startswith("data:")
