"""The key of a cached answer: one tenant, one upstream, one model, one whole request body, by meaning and not by
spelling. Whether it is streamed is not in it: one entry serves both forms.
"""

import hashlib
import hmac
import json
import re

import msgspec

from submeter.core.headers import Headers, credentials

SCHEMA = b"submeter-cache-2"
VARY = (b"openai-organization", b"openai-project", b"openai-beta", b"anthropic-version", b"anthropic-beta")
_NOT_KEYED = ("stream", "stream_options")

_NUMBER = re.compile(r"(-?)0*(\d*)\.?(\d*)(?:[eE]([+-]?\d{1,12}))?")
_LONGEST_PLAIN = 310
"""Digits of the largest double: whole numbers up to it are one number with and without an exponent."""


def cache_key(
    *,
    secret: bytes,
    tenant: bytes,
    upstream: str,
    model: str,
    path: str,
    query: str,
    headers: Headers,
    body: bytes,
) -> str:
    """HMAC-SHA256 in hex. ``tenant``: see ``tenant_of``; ``model``: the one asked for, by the body or by the path.

    The whole body counts, unknown members included, but not how it is streamed; the order of members and the
    spelling of numbers (0, 0.0, 0e5) do not.
    """
    parts = [SCHEMA, tenant, upstream.encode(), model.encode(), path.encode(), query.encode()]
    varying: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        if (lower := name.lower()) in VARY:
            varying.setdefault(lower, []).append(value)
    parts += [b"\x00".join(varying.get(name, ())) for name in VARY]
    parts.append(canonical(body))
    framed = b"".join([piece for part in parts for piece in (len(part).to_bytes(8, "big"), part)])
    return hmac.digest(secret, framed, hashlib.sha256).hex()


def tenant_of(headers: Headers, share_group: str | None) -> bytes | None:
    """Whose answers a call may have: the group's that the operator declared, else those of its own credentials: of all
    that it carries, as only the upstream knows which of them counts. ``None``: it carries none."""
    if share_group is not None:
        return b"group:" + share_group.encode()
    own = credentials(headers)
    return b"credentials:" + own if own else None


def canonical(body: bytes) -> bytes:
    """A JSON object in one spelling: members sorted, numbers by value, without the streaming members."""
    try:
        return _encoder.encode(_keyed(_decoder.decode(body)))
    except (msgspec.DecodeError, UnicodeError, OverflowError):
        return b"!" + _canonical_by_python(body)  # no JSON text begins so


def _keyed(members: dict[str, object]) -> dict[str, object]:
    for name in _NOT_KEYED:
        members.pop(name, None)
    return members


def _decimal(text: str) -> msgspec.Raw:
    """A number with a point or an exponent in the one spelling of its exact value: an integer's own, or 15e-1."""
    match = _NUMBER.fullmatch(text)
    if match is None:  # an exponent of more digits than anything counts
        return msgspec.Raw(text.encode())
    sign, whole, fraction, exponent = match.groups("0")
    digits = (whole + fraction).lstrip("0")
    significant = digits.rstrip("0")
    power = int(exponent) - len(fraction) + len(digits) - len(significant)
    if not significant:
        return msgspec.Raw(b"0")
    if 0 <= power <= _LONGEST_PLAIN - len(significant):
        return msgspec.Raw(f"{sign}{significant}{'0' * power}".encode())
    return msgspec.Raw(f"{sign}{significant}e{power}".encode())


_decoder = msgspec.json.Decoder(dict[str, object], float_hook=_decimal)
_encoder = msgspec.json.Encoder(order="deterministic")


# -- what msgspec will not read or write: half a surrogate pair, integers beyond 64 bits ----------------------------


def _canonical_by_python(body: bytes) -> bytes:
    members = json.loads(body, parse_int=_integer, parse_float=_number)
    return json.dumps(_keyed(members), sort_keys=True, separators=(",", ":")).encode()


def _integer(text: str) -> int | float:
    """Exact, but for what Python refuses to read or write as an int (4,300 digits): to any reader that is infinite."""
    return int(text) if len(text) <= 4000 else float(text)


def _number(text: str) -> int | float:
    """0.0 and 0 are one number; beyond a float there is only infinity, which no string is spelled like."""
    value = float(text)
    return int(value) if value.is_integer() and abs(value) < 1 << 53 else value
