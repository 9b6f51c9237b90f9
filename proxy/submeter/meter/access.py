"""Who may ask the ops plane: only its own host names on loopback, only bearers of a token anywhere else.

Browsers cannot be told to send ``Authorization: Bearer``, so that a token is also taken as the password of HTTP Basic
(any user name): the browser asks for it once and sends it with the page's own requests.
"""

import binascii
import hmac
from collections.abc import Collection

from multidict import CIMultiDictProxy

from submeter.config import Secret, Settings, is_loopback
from submeter.core.errors import MISDIRECTED, Fault

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
METRICS = "/metrics"
OPEN_TO_ALL = ("/healthz", "/readyz")
"""For load balancers and orchestrators, which have no token; they say nothing about calls."""

UNAUTHORIZED = Fault(
    401,
    "unauthorized",
    "Send the ops token: Authorization: Bearer TOKEN, or as the password that the browser asks for (any user name).",
)
CHALLENGES = ("Bearer", 'Basic realm="submeter", charset="UTF-8"')


class Access:
    """The rules for one address: which Host headers are answered, and which tokens open which path."""

    def __init__(self, settings: Settings) -> None:
        loopback = is_loopback(settings.ops_host)
        names = (*LOOPBACK_NAMES, *settings.allowed_hosts)
        self._hosts = frozenset(name.lower() for name in names) if loopback else None
        ops, metrics = _bytes(settings.ops_token), _bytes(settings.metrics_token)
        self._ops_tokens = ops
        self._metrics_tokens = ops | metrics
        # A token that was set is asked for on loopback too: a reverse proxy may stand in front.
        self._ops_closed = not loopback or bool(ops)
        self._metrics_closed = self._ops_closed or bool(metrics)

    def fault(self, path: str, headers: CIMultiDictProxy[str]) -> Fault | None:
        """Why this request gets no answer; ``None``: it gets one."""
        if not self._answers_for(headers.getall("Host", [])):
            return MISDIRECTED
        if path in OPEN_TO_ALL:
            return None
        closed, tokens = (
            (self._metrics_closed, self._metrics_tokens) if path == METRICS else (self._ops_closed, self._ops_tokens)
        )
        if closed and not _opens(headers.getall("Authorization", []), tokens):
            return UNAUTHORIZED
        return None

    def _answers_for(self, hosts: list[str]) -> bool:
        """Otherwise any web page could point a name of its own at 127.0.0.1 and read what is here."""
        if self._hosts is None:
            return True
        return len(hosts) == 1 and _without_port(hosts[0].lower()) in self._hosts


def _bytes(secret: Secret | None) -> frozenset[bytes]:
    return frozenset() if secret is None else frozenset({secret.reveal().encode()})


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


def _opens(credentials: list[str], tokens: Collection[bytes]) -> bool:
    given = _token(credentials[0]) if len(credentials) == 1 else None
    return given is not None and any(hmac.compare_digest(given, token) for token in tokens)


def _token(credential: str) -> bytes | None:
    scheme, _, rest = credential.partition(" ")
    value = rest.strip().encode("utf-8", "surrogateescape")
    if scheme.lower() == "bearer":
        return value
    if scheme.lower() != "basic":
        return None
    try:
        return binascii.a2b_base64(value, strict_mode=True).partition(b":")[2]
    except binascii.Error:
        return None
