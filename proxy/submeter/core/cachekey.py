"""The key of a cached answer: one tenant, one upstream, one whole request body, by meaning and not by spelling."""

import hashlib
import hmac
import json
from collections.abc import Sequence

SCHEMA = b"submeter-cache-1"
VARY = (b"openai-organization", b"openai-project", b"openai-beta", b"anthropic-version", b"anthropic-beta")
_NOT_KEYED = ("stream", "stream_options")


def cache_key(
    *,
    secret: bytes,
    tenant: bytes,
    upstream: str,
    endpoint: str,
    query: str,
    headers: Sequence[tuple[bytes, bytes]],
    body: bytes,
) -> str:
    """HMAC-SHA256 in hex. ``tenant``: the caller's credential, or the upstream's share group.

    The whole body counts, unknown members included, but not how it is streamed; the order of members and the
    spelling of numbers (0, 0.0, 0e5) do not.
    """
    parts = [SCHEMA, tenant, upstream.encode(), endpoint.encode(), query.encode()]
    parts += [b"\x00".join(value for key, value in headers if key.lower() == name) for name in VARY]
    parts.append(canonical(body))
    framed = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    return hmac.new(secret, framed, hashlib.sha256).hexdigest()


def canonical(body: bytes) -> bytes:
    """A JSON object in one spelling: members sorted, numbers by value, without the streaming members."""
    members = json.loads(body, parse_int=_integer, parse_float=_number)
    for name in _NOT_KEYED:
        members.pop(name, None)
    return json.dumps(members, sort_keys=True, separators=(",", ":")).encode()


def _integer(text: str) -> int | float:
    """Exact, but for what Python refuses to read or write as an int (4,300 digits): to any reader that is infinite."""
    return int(text) if len(text) <= 4000 else float(text)


def _number(text: str) -> int | float:
    """0.0 and 0 are one number; beyond a float there is only infinity, which no string is spelled like."""
    value = float(text)
    return int(value) if value.is_integer() and abs(value) < 1 << 53 else value
