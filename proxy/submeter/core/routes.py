"""What a request target means: metered endpoint, passed through, health, or none of ours (FAULTS 12)."""

import re

import msgspec

METERED = frozenset({"chat/completions", "completions", "embeddings", "responses", "messages"})

_BY = re.compile(r"/by/([^/?]{1,256})/([^/?]{1,256})(/(?:v1|openai)/.*)", re.DOTALL)
_AZURE = re.compile(r"/openai/((?:v1/|deployments/([^/]{1,256})/)?(.+))", re.DOTALL)
_ODD = re.compile(r"//|\\|/\.\.?(?:/|$)|%2e|%2f|%5c|%00", re.IGNORECASE)


class Route(msgspec.Struct, frozen=True):
    """Where a request goes: ``endpoint`` is the path after ``/v1/`` without its query."""

    endpoint: str
    query: str
    """With its ``?``, or empty."""
    team: str | None = None
    app: str | None = None
    health: bool = False
    azure_path: str | None = None
    """What follows Azure's ``/openai/``; ``endpoint`` is the part of it that other providers know too."""
    deployment: str | None = None
    """Azure's name of the model, in the path."""

    @property
    def metered(self) -> bool:
        return self.endpoint in METERED

    @property
    def azure(self) -> bool:
        return self.azure_path is not None

    @property
    def path(self) -> str:
        """What is appended to an upstream's base URL, without the query."""
        return f"/{self.endpoint if self.azure_path is None else self.azure_path}"

    @property
    def target(self) -> str:
        """What is appended to an upstream's base URL."""
        return self.path + self.query


def read_target(target: str, host: str) -> Route | None:
    """The route of a request target (origin form, or absolute form to the same host); ``None``: not ours."""
    if not target.startswith("/"):
        target = _origin_form(target, host)
    path, mark, rest = target.partition("?")
    query = mark + rest
    if _ODD.search(path) or not path.isascii():
        return None
    if path == "/healthz":
        return Route("", query, health=True)
    if path in ("/messages", "/v1/messages"):
        return Route("messages", query)
    team = app = None
    by = _BY.fullmatch(path)
    if by is not None:
        team, app, path = _unquote(by[1]), _unquote(by[2]), by[3]
    if path.startswith("/v1/") and len(path) > len("/v1/"):
        return Route(path[len("/v1/") :], query, team, app)
    azure = _AZURE.fullmatch(path)
    if azure is None:
        return None
    deployment = None if azure[2] is None else _unquote(azure[2])
    return Route(azure[3], query, team, app, azure_path=azure[1], deployment=deployment)


def _origin_form(target: str, host: str) -> str:
    for scheme in ("http://", "https://"):
        if target.lower().startswith(scheme + host.lower() + "/"):
            return target[len(scheme) + len(host) :]
    return ""


def _unquote(segment: str) -> str:
    """Percent-decoding of one path segment; what is not UTF-8 stays as it is written."""
    if "%" not in segment:
        return segment
    raw = re.sub(rb"%([0-9A-Fa-f]{2})", lambda m: bytes([int(m[1], 16)]), segment.encode())
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return segment
