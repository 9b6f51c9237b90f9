"""Header rules in one place: what is hop by hop, what is ours, what is a credential (README, the complete list)."""

from collections.abc import Iterable, Sequence

Headers = Sequence[tuple[bytes, bytes]]

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
CREDENTIALS = (b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key")
OURS = b"x-submeter-"


def find(headers: Headers, name: bytes) -> bytes | None:
    """The first value of a header; ``name`` in lower case."""
    for key, value in headers:
        if key.lower() == name:
            return value
    return None


def credential(headers: Headers) -> bytes | None:
    """The caller's credential, whichever of the four headers carries it; a Bearer's scheme is not part of it."""
    for name in CREDENTIALS:
        value = find(headers, name)
        if value is not None and value.strip():
            scheme, _, token = value.strip().partition(b" ")
            return token.strip() if scheme.lower() == b"bearer" and token else value.strip()
    return None


def credentials(headers: Headers) -> bytes:
    """All credentials of a call, for telling callers apart where the upstream might go by any of them; else empty."""
    found = [(name.lower(), value.strip()) for name, value in headers if name.lower() in CREDENTIALS]
    return b"\n".join(sorted(b"%b: %b" % pair for pair in found if pair[1]))


def connection_tokens(headers: Headers) -> frozenset[bytes]:
    """The lower-case tokens of all Connection headers."""
    return frozenset(
        token.strip().lower() for key, value in headers if key.lower() == b"connection" for token in value.split(b",")
    )


def upstream_request(
    headers: Headers,
    *,
    host: bytes,
    identity: bool = False,
    api_key: bytes | None = None,
    key_header: bytes = b"Authorization",
    upgrade: bool = False,
) -> list[tuple[bytes, bytes]]:
    """The caller's headers as they go upstream: same order, same case, without the listed differences.

    ``identity``: ask for an uncompressed answer (metered endpoints); ``api_key``: replaces whatever credential the
    caller sent, in the header that it was sent in, else in ``key_header``; ``upgrade``: keep what asks for another
    protocol.
    """
    dropped = HOP_BY_HOP | connection_tokens(headers) | {b"host", b"content-length", b"expect"}
    if identity:
        dropped |= {b"accept-encoding"}
    out = [(b"Host", host)]
    replaced = False
    for name, value in headers:
        lower = name.lower()
        if lower in dropped or lower.startswith(OURS):
            continue
        if api_key is not None and lower in CREDENTIALS:
            if not replaced:
                out.append((name, _as_value(lower, api_key)))
                replaced = True
            continue
        out.append((name, value))
    if api_key is not None and not replaced:
        out.append((key_header, _as_value(key_header.lower(), api_key)))
    if identity:
        out.append((b"Accept-Encoding", b"identity"))
    if upgrade:
        out.append((b"Connection", b"Upgrade"))
        out.extend((name, value) for name, value in headers if name.lower() == b"upgrade")
    return out


def _as_value(header: bytes, api_key: bytes) -> bytes:
    return b"Bearer " + api_key if header == b"authorization" else api_key


def downstream_response(headers: Headers, *, keep_length: bool) -> list[tuple[bytes, bytes]]:
    """The upstream's headers as they go to the caller; ``keep_length``: no byte of the body is added or removed.

    An upstream that is itself a relay names its own call; the caller's call is the one that this relay names.
    """
    dropped = HOP_BY_HOP | connection_tokens(headers)
    if not keep_length:
        dropped |= {b"content-length"}
    return [
        (name, value)
        for name, value in headers
        if not (lower := name.lower()).startswith(OURS) and lower not in dropped
    ]


def write(first_line: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A message head, blank line included."""
    lines = [first_line]
    lines += [name + b": " + value for name, value in headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"
