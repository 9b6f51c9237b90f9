"""Request body -> the facts that metering, bounds, attribution and the cache need. The body itself goes on as sent."""

import re

import msgspec

from submeter.core.errors import INVALID_VALUE, MISSING_PARAMETER, Refusal
from submeter.core.jsonbody import JsonBody

Raw = msgspec.Raw
MAX_MODEL_CHARS = 256

_ABSENT = Raw(b"null")  # an absent member and a null one mean the same
_OUTPUT_LIMITS = {"responses": ("max_output_tokens",), "messages": ("max_tokens",), "completions": ("max_tokens",)}
_CHAT_OUTPUT_LIMITS = ("max_completion_tokens", "max_tokens")
_MAX_CHOICES = (1 << 31) - 1
_CALLER_SIDE_TOOLS = frozenset({None, "function", "custom", "local_shell", "apply_patch"})
_UNBOUNDING = frozenset({"web_search_options", "mcp_servers", "plugins", "context_management"})
"""Members by which the provider reads or writes more than the request shows (``plugins``, ``:online``: OpenRouter)."""
_ELSEWHERE = re.compile(
    rb'"(?:image_url|input_image|image|input_audio|audio|video_url|file|input_file|document|file_id|url'
    rb'|container_upload|item_reference)"'
)


class Facts(msgspec.Struct, frozen=True):
    """What a metered request asks for. Wrong types count as absent here: the upstream judges them (FAULTS 17)."""

    model: str
    stream: bool
    temperature: float | None
    n: int
    """How many choices are generated, at most."""
    max_output_tokens: int | None
    tools: bool
    unbounded: bool
    refers_elsewhere: bool
    service_tier: str | None
    user: str | None
    session: str | None
    team: str | None
    app: str | None
    prompt_id: str | None
    prompt_version: str | None
    system_text: str | None
    include_usage: bool
    """The caller asks for the usage chunk, or so oddly that the upstream must judge it."""
    background: bool
    """The provider is asked to take the job and answer later: the answer is metered when it is fetched."""


class _Turn(msgspec.Struct):
    role: Raw = Raw(b"")
    content: Raw = Raw(b"")
    output: Raw = Raw(b"")
    type: Raw = Raw(b"")


class _Tool(msgspec.Struct):
    type: Raw = Raw(b"")


class _Text(msgspec.Struct):
    text: str = ""


_turns = msgspec.json.Decoder(list[_Turn])
_tools = msgspec.json.Decoder(list[_Tool])
_texts = msgspec.json.Decoder(list[_Text])
_raw_members = msgspec.json.Decoder(dict[str, Raw])
_raw_items = msgspec.json.Decoder(list[Raw])


def read_facts(endpoint: str, body: JsonBody, deployment: str | None = None) -> Facts:
    """``deployment``: the model that the path names, where the body names none (Azure).

    Raises ``Refusal`` where a member that is stored or decides the price is missing or odd (FAULTS 15, 16).
    """
    model = _model(body, deployment)
    turns = _read_turns(endpoint, body)
    tools = "tools" in body.members or "functions" in body.members
    unbounded = _server_tools(body)
    metadata = _metadata(body)
    prompt_id, prompt_version = _named_prompt(body)
    return Facts(
        model=model,
        stream=_is_true(body, "stream"),
        temperature=_number(body, "temperature"),
        n=_choices(endpoint, body),
        max_output_tokens=_max_output_tokens(endpoint, body),
        tools=tools,
        unbounded=unbounded,
        refers_elsewhere=_refers_elsewhere(body, turns),
        service_tier=_service_tier(body),
        user=body.text("user") or metadata.get("user_id"),
        session=metadata.get("session_id", metadata.get("session")),
        team=metadata.get("team"),
        app=metadata.get("app"),
        prompt_id=prompt_id or metadata.get("prompt"),
        prompt_version=prompt_version or metadata.get("prompt_version"),
        system_text=_system_text(endpoint, body, turns),
        include_usage=_includes_usage(body),
        background=endpoint == "responses" and _is_true(body, "background"),
    )


def with_usage(body: JsonBody) -> bytes:
    """The body with ``stream_options.include_usage: true``; other stream options and all other bytes stay."""
    options = _mapping(body, "stream_options")
    return body.replaced("stream_options", msgspec.json.encode({**options, "include_usage": Raw(b"true")}))


def _model(body: JsonBody, deployment: str | None) -> str:
    if bytes(body.members.get("model", _ABSENT)) == b"null":
        if deployment is None:
            raise Refusal(MISSING_PARAMETER, "model")
        return deployment
    model = body.text("model", limit=MAX_MODEL_CHARS + 1)
    if model is None or not model or len(model) > MAX_MODEL_CHARS:
        raise Refusal(INVALID_VALUE, "model")
    return model


def _is_true(body: JsonBody, name: str) -> bool:
    raw = body.members.get(name)
    return raw is not None and bytes(raw) == b"true"


def _service_tier(body: JsonBody) -> str | None:
    """The tier asked for; Anthropic's fast mode has prices of its own, and is one here."""
    fast = bytes(body.members.get("speed", _ABSENT)) == b'"fast"'
    return "fast" if fast else body.text("service_tier", limit=64)


def _number(body: JsonBody, name: str) -> float | None:
    body.integer(name)  # refuses what no reader agrees on
    raw = body.members.get(name)
    if raw is None:
        return None
    try:
        value = msgspec.json.decode(raw)
    except msgspec.DecodeError:
        return None
    return float(value) if type(value) in (int, float) else None


def _choices(endpoint: str, body: JsonBody) -> int:
    """Completions may be asked for several prompts at once, and for candidates that are billed but not returned."""
    n = max(1, body.integer("n") or 1)
    if endpoint == "completions":
        n = max(n, body.integer("best_of") or 1) * _prompts(body)
    return min(n, _MAX_CHOICES)


def _prompts(body: JsonBody) -> int:
    raw = body.members.get("prompt", _ABSENT)
    items = _raw_items.decode(raw) if bytes(raw)[:1] == b"[" else []
    return len(items) if items and bytes(items[0])[:1] in (b'"', b"[") else 1  # else one prompt, as token numbers


def output_limits(endpoint: str) -> tuple[str, ...]:
    """The members that limit how much is generated."""
    return _OUTPUT_LIMITS.get(endpoint, _CHAT_OUTPUT_LIMITS)


def _max_output_tokens(endpoint: str, body: JsonBody) -> int | None:
    """The largest limit given: which of two counts is the provider's choice, and this one is a bound."""
    values = [value for name in output_limits(endpoint) if (value := body.integer(name)) is not None and value >= 0]
    return max(values) if values else None


def _mapping(body: JsonBody, name: str) -> dict[str, Raw]:
    raw = body.members.get(name, _ABSENT)
    return _raw_members.decode(raw) if bytes(raw)[:1] == b"{" else {}


def _includes_usage(body: JsonBody) -> bool:
    asked = bytes(body.members.get("stream_options", _ABSENT))
    if asked[:1] == b"{":
        asked = bytes(_mapping(body, "stream_options").get("include_usage", _ABSENT))
    return asked not in (b"null", b"false")


def _metadata(body: JsonBody) -> dict[str, str]:
    """String members of ``metadata``, cut to what may be stored."""
    texts = {name: body.stored_text(raw, "metadata") for name, raw in _mapping(body, "metadata").items()}
    return {name: text for name, text in texts.items() if text}


def _named_prompt(body: JsonBody) -> tuple[str | None, str | None]:
    """Responses' ``prompt: {id, version}``."""
    prompt = _mapping(body, "prompt")
    return (
        body.stored_text(prompt.get("id", _ABSENT), "prompt"),
        body.stored_text(prompt.get("version", _ABSENT), "prompt"),
    )


def _read_turns(endpoint: str, body: JsonBody) -> list[_Turn]:
    raw = body.members.get("input" if endpoint == "responses" else "messages")
    if raw is None or bytes(raw)[:1] != b"[":
        return []
    try:
        return _turns.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return []


def _system_text(endpoint: str, body: JsonBody, turns: list[_Turn]) -> str | None:
    """The operator's part of the prompt: what a prompt version is a version of."""
    parts: list[str] = []
    top = body.members.get("system" if endpoint == "messages" else "instructions")
    if top is not None and endpoint in ("messages", "responses"):
        parts.append(_content_text(top))
    for turn in turns:
        if bytes(turn.role) not in (b'"system"', b'"developer"'):
            break
        parts.append(_content_text(turn.content))
    text = "\n".join(part for part in parts if part)
    return text or None


def _content_text(raw: Raw) -> str:
    """Content as plain text: a string, or the text parts of a list."""
    try:
        if bytes(raw)[:1] == b'"':
            return msgspec.json.decode(raw, type=str)
        return "\n".join(part.text for part in _texts.decode(raw) if part.text)
    except (msgspec.DecodeError, RecursionError):
        return ""


def _server_tools(body: JsonBody) -> bool:
    """Does the provider itself run tools, whose tokens the request does not bound?"""
    searching = bytes(body.members.get("model", _ABSENT)).endswith(b':online"')
    if searching or not _UNBOUNDING.isdisjoint(body.members):
        return True
    raw = body.members.get("tools", _ABSENT)
    if bytes(raw) == b"null":
        return False
    try:
        kinds = [bytes(tool.type) for tool in _tools.decode(raw)]
        return any((None if not kind else msgspec.json.decode(kind)) not in _CALLER_SIDE_TOOLS for kind in kinds)
    except (msgspec.DecodeError, RecursionError, TypeError):
        return True


def _refers_elsewhere(body: JsonBody, turns: list[_Turn]) -> bool:
    """Does the input have tokens that are not text in this body (images, files, an earlier response)?"""
    stateful = ("previous_response_id", "conversation", "container", "mcp_servers")
    if any(bytes(body.members.get(name, _ABSENT)) != b"null" for name in stateful):
        return True
    if bytes(body.members.get("prompt", _ABSENT))[:1] == b"{":
        return True
    return any(_ELSEWHERE.search(part) is not None for turn in turns for part in _structured_parts(turn))


def _structured_parts(turn: _Turn) -> list[bytes]:
    """What of a turn may refer elsewhere: all but the plain texts, in which nothing can be meant."""
    parts = [bytes(part) for part in (turn.content, turn.output)]
    return [bytes(turn.type), *(part for part in parts if part[:1] != b'"')]
