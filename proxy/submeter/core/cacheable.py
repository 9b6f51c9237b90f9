"""Which calls the cache may answer, and which answers it may keep: only what would come again, and only what is whole.

The operator's word comes first (``Rules``), then what the request is, then what its caller wishes (``Wishes``).
"""

import re
from typing import Final

import msgspec

from submeter.core.facts import Facts, output_limits
from submeter.core.headers import Headers, find
from submeter.core.jsonbody import JsonBody
from submeter.core.record import Finish

TTL_HEADER = b"x-submeter-cache-ttl"
LONGEST_S = (1 << 31) - 1

_ENDED_BY_ITSELF = frozenset({"stop", "end_turn", "stop_sequence", "completed"})
_CALLED_TOOLS = frozenset({"tool_calls", "function_call", "tool_use"})
_STATEFUL = ("previous_response_id", "conversation", "container")
_PLAIN_FLAG = (b"true", b"false", b"null")
_NULL: Final = msgspec.Raw(b"null")  # an absent member and a null one mean the same

_DIRECTIVE = re.compile(rb'[ \t,]*+([^\s,="]++)(?:=("(?:[^"\\]|\\.)*+"|[^\s,"]*+))?[^,]*+', re.DOTALL)
_SECONDS = re.compile(rb"[0-9]{1,10}")
_FINGERPRINT = re.compile(rb'"system_fingerprint"[ \t\r\n]*:[ \t\r\n]*"([^"\\]{1,256})"')
"""Within a text its quotes would be escaped."""
_texts = msgspec.json.Decoder(list[str])


class Rules(msgspec.Struct, frozen=True):
    """What the operator says about the calls of one model at one endpoint."""

    enabled: bool
    ttl_s: float
    tools: bool
    """Also calls that offer functions, and answers that call them."""


class Wishes(msgspec.Struct, frozen=True):
    """What a caller says about one call."""

    read: bool = True
    keep: bool = True
    max_age_s: int | None = None
    """Only an answer that is not older."""
    ttl_s: int | None = None


# -- the caller's word -----------------------------------------------------------------------------------------------


def read_wishes(headers: Headers) -> Wishes:
    """``Cache-Control`` (RFC 9111, 5.2.1; other directives change nothing) and ``x-submeter-cache-ttl``."""
    directives = _directives(b",".join(value for name, value in headers if name.lower() == b"cache-control"))
    stored = b"no-store" not in directives
    ttl_s = _seconds(find(headers, TTL_HEADER) or b"")
    ages = directives.get(b"max-age")
    return Wishes(
        read=stored and b"no-cache" not in directives,
        keep=stored and ttl_s != 0,
        max_age_s=None if ages is None else min(_seconds(age) or 0 for age in ages),
        ttl_s=ttl_s,
    )


def _directives(value: bytes) -> dict[bytes, list[bytes]]:
    """Lower-case name → its arguments, without quotes. One that is not well-formed still counts by its name."""
    found: dict[bytes, list[bytes]] = {}
    for name, argument in _DIRECTIVE.findall(value):
        found.setdefault(name.lower(), []).append(argument.strip(b'"'))
    return found


def _seconds(text: bytes) -> int | None:
    """Of more than ten digits the first ten: longer than anything is kept."""
    digits = text.strip()
    return min(int(digits[:10]), LONGEST_S) if digits.isdigit() and _SECONDS.match(digits) else None


def ttl_s(rules: Rules, wishes: Wishes) -> float:
    """How long to keep: the caller's wish, at most the operator's."""
    return rules.ttl_s if wishes.ttl_s is None else min(float(wishes.ttl_s), rules.ttl_s)


# -- the request -----------------------------------------------------------------------------------------------------


def may_ask(endpoint: str, body: JsonBody, facts: Facts, rules: Rules) -> bool:
    """Would the same request get the same answer, and nothing but the answer?"""
    if not rules.enabled or _odd(endpoint, body):
        return False
    if endpoint == "embeddings":
        return True
    one_choice = facts.n == 1 and bytes(body.members.get("n", _NULL)) in (b"1", b"null")
    return (
        facts.temperature == 0
        and one_choice
        and (rules.tools or not _is_there(body, "tools", "functions"))
        and not facts.unbounded  # tools that the provider runs
        and not _leaves_or_needs_state(body)
        and _answers_in_text(body)
    )


def _is_there(body: JsonBody, *names: str) -> bool:
    return any(bytes(body.members.get(name, _NULL)) != b"null" for name in names)


def _odd(endpoint: str, body: JsonBody) -> bool:
    """How to stream, or an output limit, that only the upstream can judge (FAULTS 17)."""
    if bytes(body.members.get("stream", _NULL)) not in _PLAIN_FLAG:
        return True
    options = bytes(body.members.get("stream_options", _NULL))
    if options != b"null" and options[:1] != b"{":
        return True
    limits = (name for name in output_limits(endpoint) if bytes(body.members.get(name, _NULL)) != b"null")
    return any(body.integer(name) is None for name in limits)


def _leaves_or_needs_state(body: JsonBody) -> bool:
    """Is something stored with the provider, or is its answer made of what is? A stored prompt may be edited there."""
    members = body.members
    if any(bytes(members.get(name, _NULL)) not in (b"false", b"null") for name in ("store", "background")):
        return True
    if bytes(members.get("prompt", _NULL))[:1] == b"{":
        return True
    return _is_there(body, *_STATEFUL)


def _answers_in_text(body: JsonBody) -> bool:
    if _is_there(body, "audio"):
        return False
    modalities = body.members.get("modalities", _NULL)
    if bytes(modalities) == b"null":
        return True
    try:
        return _texts.decode(modalities) == ["text"]
    except msgspec.DecodeError:
        return False


# -- the answer ------------------------------------------------------------------------------------------------------


def may_keep(endpoint: str, finish: Finish, *, complete: bool, tool_calls: bool, rules: Rules) -> bool:
    """``complete``: the answer's own end was seen, and no error in it; ``tool_calls``: it calls functions."""
    if not complete or finish.status != 200 or finish.outcome != "ok" or finish.usage is None or finish.deferred:
        return False
    if tool_calls or finish.finish_reason in _CALLED_TOOLS:
        return rules.tools and finish.finish_reason in _ENDED_BY_ITSELF | _CALLED_TOOLS
    ended = finish.finish_reason in _ENDED_BY_ITSELF
    return ended or (endpoint == "embeddings" and finish.finish_reason is None)


def fingerprint(body: bytes) -> str | None:
    """The ``system_fingerprint`` that a whole answer or the first events of a stream name."""
    found = _FINGERPRINT.search(body)
    return None if found is None else found[1].decode("utf-8", "replace")
