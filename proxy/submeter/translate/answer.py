"""litellm's answers → OpenAI's. What litellm adds (its own idea of the cost, its guesses) stays behind."""

import base64
import struct
from collections.abc import Mapping

Json = Mapping[str, object]

_TOP = ("id", "object", "created", "service_tier", "system_fingerprint")
_CHOICE = ("index", "message", "delta", "logprobs")
_USAGE = ("prompt_tokens", "completion_tokens", "server_tool_use", "inference_geo")
_PROMPT = (
    *("cached_tokens", "cached_tokens_details", "audio_tokens", "image_tokens"),
    *("cache_write_tokens", "cache_creation_token_details"),
)
_COMPLETION = ("reasoning_tokens", "audio_tokens", "image_tokens")


def chat_answer(answer: Json, model: str, usage: Json | None) -> dict[str, object]:
    """A whole answer, or a chunk of a stream. ``usage`` is left out where it is not known."""
    choices = answer.get("choices")
    listed = [_choice(choice) for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []
    body: dict[str, object] = {**_picked(answer, _TOP), "model": model, "choices": listed}
    return body if usage is None else {**body, "usage": usage}


def embeddings_answer(answer: Json, model: str, usage: Json | None, *, as_base64: bool) -> dict[str, object]:
    data = answer.get("data")
    items = [item for item in data if isinstance(item, dict)] if isinstance(data, list) else []
    if as_base64:
        items = [{**item, "embedding": _base64(item.get("embedding"))} for item in items]
    body: dict[str, object] = {"object": "list", "data": items, "model": model}
    return body if usage is None else {**body, "usage": usage}


def usage_block(usage: object, *, wrote: bool) -> dict[str, object] | None:
    """Usage in the shapes that ``core.usage.read_chat`` reads; ``None`` where litellm has none of the provider's.

    litellm writes 0 for what it was not told (its own tokenizer is switched off, see ``engine``): a prompt of no
    tokens, or a text (``wrote``) of none, is no usage but the lack of it. prompt_tokens include what was read from
    and written to a cache, completion_tokens the reasoning.
    """
    if not isinstance(usage, Mapping) or not usage.get("prompt_tokens"):
        return None
    if wrote and not usage.get("completion_tokens"):
        return None
    prompt, completion = _members(usage, "prompt_tokens_details"), _members(usage, "completion_tokens_details")
    return {
        **_picked(usage, _USAGE),
        **_total(usage, prompt),
        "prompt_tokens_details": _picked(prompt, _PROMPT),
        "completion_tokens_details": _picked(completion, _COMPLETION),
    }


def service_tier(answer: Json, usage: object) -> str | None:
    """The one served. Anthropic says it in its usage, and names its fast mode apart."""
    if isinstance(usage, Mapping):
        if usage.get("speed") == "fast":
            return "fast"
        if isinstance(usage.get("service_tier"), str):
            return str(usage["service_tier"])
    tier = answer.get("service_tier")
    return tier if isinstance(tier, str) else None


def _total(usage: Json, prompt: Json) -> dict[str, int]:
    """The provider's total, which tells whether anything was missed; less the tokens of Gemini's own searches, where
    litellm has left them out of the prompt because they are not billed."""
    total, counted = _count(usage, "total_tokens"), _count(usage, "prompt_tokens") + _count(usage, "completion_tokens")
    if not total:
        return {}
    unbilled = _count(prompt, "tool_use_tokens")
    return {"total_tokens": counted if total == counted + unbilled else total}


def _choice(choice: Json) -> dict[str, object]:
    picked = {name: _without_extras(value) for name, value in _picked(choice, _CHOICE).items()}
    return {**picked, "finish_reason": choice.get("finish_reason")}


def _without_extras(value: object) -> object:
    if not isinstance(value, dict):
        return value
    return {name: member for name, member in value.items() if name != "provider_specific_fields"}


def _base64(vector: object) -> object:
    """What OpenAI's SDKs ask for, and few other providers give: 32-bit floats, little-endian."""
    if not isinstance(vector, list):
        return vector
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")


def _picked(members: Json, names: tuple[str, ...]) -> dict[str, object]:
    return {name: members[name] for name in names if members.get(name) is not None}


def _members(value: Json, name: str) -> Json:
    found = value.get(name)
    return found if isinstance(found, Mapping) else {}


def _count(members: Json, name: str) -> int:
    value = members.get(name)
    return value if isinstance(value, int) else 0
