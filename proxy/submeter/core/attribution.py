"""Who is calling: from the URL, the headers and the body; fingerprints where nobody gave a name.

A header wins over the URL, the URL over the body. Fingerprints are keyed hashes: they tell two prompts apart
without saying anything of either.
"""

import hashlib
import hmac
import re
from collections.abc import Sequence

import msgspec

from submeter.core.errors import INVALID_VALUE, Refusal
from submeter.core.facts import Facts
from submeter.core.headers import find
from submeter.core.routes import Route

MAX_CHARS = 256
FIELDS = ("team", "app", "user", "session", "prompt", "prompt-version", "class")
_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

Headers = Sequence[tuple[bytes, bytes]]


class Who(msgspec.Struct, frozen=True):
    """The attribution columns of a row; everything may be missing."""

    key_id: str | None = None
    operation_id: str | None = None
    team: str | None = None
    app: str | None = None
    user: str | None = None
    session: str | None = None
    prompt: str | None = None
    prompt_version: str | None = None
    klass: str | None = None
    trace_id: str | None = None


def attribute(
    route: Route, headers: Headers, facts: Facts | None, tools: bytes, credential: bytes | None, key: bytes
) -> Who:
    """Attribution of one call. ``key`` keys the hashes; ``tools``: the raw tools member, part of the version."""
    said = _said(headers)
    prompt = said.get("prompt")
    version = said.get("prompt-version")
    body = facts
    if body is not None:
        prompt = prompt or body.prompt_id or _fingerprint(key, "prompt", _first_line(body.system_text))
        version = version or body.prompt_version or _fingerprint(key, "version", _whole(body.system_text, tools))
    klass = said.get("class")
    if klass not in (None, "interactive", "batch"):
        raise Refusal(INVALID_VALUE, "x-submeter-class")
    idempotency = find(headers, b"idempotency-key")
    return Who(
        key_id=None if credential is None else keyed(key, "credential", credential)[:16],
        operation_id=keyed(key, "operation", idempotency)[:32] if idempotency else None,
        team=said.get("team") or route.team or (body.team if body is not None else None),
        app=said.get("app") or route.app or (body.app if body is not None else None),
        user=said.get("user") or (body.user if body is not None else None),
        session=said.get("session") or (body.session if body is not None else None),
        prompt=prompt,
        prompt_version=version,
        klass=klass,
        trace_id=_trace_id(headers),
    )


def keyed(key: bytes, purpose: str, data: bytes) -> str:
    """A keyed hash in hex (HMAC-SHA256), separate for each purpose."""
    return hmac.new(key, purpose.encode() + b"\x00" + data, hashlib.sha256).hexdigest()


def _said(headers: Headers) -> dict[str, str]:
    said: dict[str, str] = {}
    for name, value in headers:
        lower = name.lower()
        if lower.startswith(b"x-submeter-"):
            field = lower[len(b"x-submeter-") :].decode("ascii", "replace")
            if field in FIELDS and value:
                said.setdefault(field, value.decode("ascii", "replace")[:MAX_CHARS])
    return said


def _first_line(text: str | None) -> bytes | None:
    return None if text is None else text.strip().partition("\n")[0].strip().encode("utf-8", "replace")


def _whole(text: str | None, tools: bytes) -> bytes | None:
    if text is None and not tools:
        return None
    return ("" if text is None else text).encode("utf-8", "replace") + b"\x00" + tools


def _fingerprint(key: bytes, purpose: str, data: bytes | None) -> str | None:
    return None if data is None else f"{purpose[0]}-{keyed(key, purpose, data)[:12]}"


def _trace_id(headers: Headers) -> str | None:
    parent = find(headers, b"traceparent")
    match = None if parent is None else _TRACEPARENT.fullmatch(parent.strip())
    return None if match is None else match[1].decode()
