"""The settings and their defaults: each field carries its type, its range, its description and its default.

Names end in their unit. What stands here is the whole of it: the readers, the documentation and the error texts are
derived from these fields. A field without a description is filled in by the loader, not by the operator.
"""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from submeter.config.urls import is_local_redis, is_loopback, without_password
from submeter.core.cacheable import Rules
from submeter.core.pricebook import Origin
from submeter.errors import UsageError

T = TypeVar("T")

Port = Annotated[int, Meta(ge=1, le=65_535)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Bytes = Annotated[int, Meta(ge=1, le=2**50)]
Seconds = Annotated[float, Meta(gt=0, le=31_536_000)]
SecondsFromZero = Annotated[float, Meta(ge=0, le=31_536_000)]
Milliseconds = Annotated[int, Meta(ge=1, le=60_000)]
Pace = Literal["at_once", "recorded"]

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
SHORTEST_KEY_CHARS = 32


def about(text: str) -> Meta:
    return Meta(description=text)


class Secret:
    """A credential that shows itself only when asked: neither ``repr`` nor ``str`` nor a traceback has it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


class Upstream(msgspec.Struct, frozen=True, kw_only=True):
    """Where calls are forwarded to."""

    name: str
    base_url: Annotated[
        str,
        about("As an SDK's base URL would be, `/v1` included; http or https. With `translate`: the provider's own."),
    ] = ""
    """Empty only with ``translate``: the provider's usual one."""
    translate: Annotated[
        str | None, about("The provider speaks no OpenAI dialect: `gemini`, `bedrock`, …; see docs/guide/translate.md.")
    ] = None
    on_disconnect: Annotated[
        Literal["cancel", "drain"],
        about("When the client goes: `cancel` closes the upstream at once, `drain` reads on to the usage."),
    ] = "cancel"
    inject_usage: Annotated[
        Literal["auto", "always", "never"],
        about("Ask streamed calls for their usage: `auto` stops for an hour when the upstream refuses."),
    ] = "auto"
    api_key_env: Annotated[
        str | None, about("Name of the environment variable that holds this upstream's own key.")
    ] = None
    api_key: Secret | None = None
    """Read from ``api_key_env`` when the settings are loaded."""
    accepts_caller_key: Annotated[
        bool, about("Callers' own credentials may go here, although it is not their dialect's default upstream.")
    ] = False
    share_cache: Annotated[
        bool, about("All callers of this upstream are one tenant of the cache; needs `api_key_env` or `self_hosted`.")
    ] = False
    self_hosted: Annotated[bool, about("Runs on your own machines: no provider's price list applies.")] = False
    provider: Annotated[
        str | None,
        about("Whose list prices apply: `translate`, else the upstream's name, unless set; none when self-hosted."),
    ] = None
    region: Annotated[
        str | None,
        about("Where calls are served, such as `eu`, where that changes the price; an answer's own word comes first."),
    ] = None
    connect_timeout_s: Annotated[Seconds, about("Name look-up, TCP and TLS together.")] = 10.0
    first_byte_timeout_s: Annotated[Seconds, about("From the request sent to the answer's first byte.")] = 900.0
    idle_timeout_s: Annotated[Seconds, about("Longest silence within an answer.")] = 900.0


def default_upstreams() -> dict[str, Upstream]:
    return {
        "openai": Upstream(name="openai", base_url="https://api.openai.com/v1", provider="openai"),
        "anthropic": Upstream(name="anthropic", base_url="https://api.anthropic.com/v1", provider="anthropic"),
    }


class CacheRule(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for some calls in place of the cache's own settings; ``None``: those hold."""

    enabled: Annotated[bool | None, about("As `cache.enabled`, for these calls alone.")] = None
    ttl_s: Annotated[Seconds | None, about("As `cache.ttl_s`, for these calls alone.")] = None
    tools: Annotated[bool | None, about("As `cache.tools`, for these calls alone.")] = None
    pace: Annotated[Pace | None, about("As `cache.pace`, for these calls alone.")] = None


class Cache(msgspec.Struct, frozen=True, kw_only=True):
    """Answers of deterministic calls (temperature 0, embeddings)."""

    enabled: Annotated[bool, about("Answer repeated deterministic calls from the cache.")] = True
    ttl_s: Annotated[Seconds, about("How long an answer is kept.")] = 86_400.0
    tools: Annotated[bool, about("Also keep answers to calls that offer functions, and answers that call them.")] = (
        False
    )
    pace: Annotated[
        Pace,
        about(
            "How a kept stream is given: `at_once`, or `recorded`: each event as long after the request as it had come "
            "from the provider."
        ),
    ] = "at_once"
    models: Annotated[
        dict[str, CacheRule],
        about("Exact model name or glob, as callers write it; the most specific one holds, before `cache.routes`."),
    ] = msgspec.field(default_factory=dict)
    routes: Annotated[
        dict[str, CacheRule],
        about("`chat/completions`, `completions`, `responses`, `messages` or `embeddings`."),
    ] = msgspec.field(default_factory=dict)
    max_bytes: Annotated[Bytes, about("Memory cache of one relay; the least recently used goes first.")] = 256 * MIB
    max_answer_bytes: Annotated[Bytes, about("Larger answers are not cached.")] = 1 * MIB
    deadline_ms: Annotated[Milliseconds, about("Longest wait for Redis before the call bypasses the cache.")] = 50
    l1_s: Annotated[
        SecondsFromZero, about("With Redis: how long a relay also keeps an answer in its own memory; 0 is not at all.")
    ] = 0.0
    key_env: Annotated[
        str | None,
        about(
            "Name of the environment variable with the secret that seals answers and keys their hashes: the same one "
            "on all hosts that share a Redis. Default: a key in `data_dir`."
        ),
    ] = None
    key: Secret | None = None
    """Read from ``key_env`` when the settings are loaded."""

    def rules(self, endpoint: str, model: str) -> Rules:
        """What holds for the calls of one model at one endpoint: the model's word, else the route's, else the rest."""
        words = self._words(endpoint, model)
        return Rules(
            enabled=self.enabled and _first((word.enabled for word in words), True),
            ttl_s=_first((word.ttl_s for word in words), self.ttl_s),
            tools=_first((word.tools for word in words), self.tools),
        )

    def paced(self, endpoint: str, model: str) -> bool:
        """Is a kept stream given at the pace at which it came?"""
        return _first((word.pace for word in self._words(endpoint, model)), self.pace) == "recorded"

    def _words(self, endpoint: str, model: str) -> list[CacheRule]:
        named = most_specific(self.models, model) if self.models else None
        return [word for word in (named, self.routes.get(endpoint)) if word is not None]


def most_specific(by_name: Mapping[str, T], name: str) -> T | None:
    """Of exact names and globs: the exact one, else the longest glob that matches."""
    exact = by_name.get(name)
    if exact is not None:
        return exact
    globs = [glob for glob in by_name if fnmatchcase(name, glob)]
    return by_name[max(globs, key=len)] if globs else None


def _first(words: Iterable[T | None], otherwise: T) -> T:
    return next((word for word in words if word is not None), otherwise)


class Labels(msgspec.Struct, frozen=True, kw_only=True):
    """Names that metrics always show; without them, the first 50 distinct values seen."""

    team: Annotated[tuple[str, ...], about("Teams that metrics show by name.")] = ()
    app: Annotated[tuple[str, ...], about("Apps that metrics show by name.")] = ()
    prompt: Annotated[tuple[str, ...], about("Prompts that metrics show by name.")] = ()
    prompt_version: Annotated[tuple[str, ...], about("Prompt versions that metrics show by name.")] = ()


class Journal(msgspec.Struct, frozen=True, kw_only=True):
    """The append-only files between relays and meter."""

    sync: Annotated[
        Literal["os", "disk"],
        about("`os` survives the death of any process; `disk` waits for the disk, and survives a power cut too."),
    ] = "os"
    segment_bytes: Annotated[Bytes, about("A new file is begun after this many bytes.")] = 64 * MIB
    quota_bytes: Annotated[Bytes, about("Most that waits for the ledger; beyond it `when_unmetered` decides.")] = (
        4 * GIB
    )


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one relay takes before it refuses."""

    body_bytes: Annotated[Bytes, about("Request body of a metered call; larger ones get 413.")] = 64 * MIB
    head_bytes: Annotated[Bytes, about("Request line and headers together; larger ones get 431.")] = 64 * KIB
    header_line_bytes: Annotated[Bytes, about("One header line; longer ones get 431.")] = 8 * KIB
    headers: Annotated[Count, about("Headers of one request; more get 431.")] = 100
    head_timeout_s: Annotated[Seconds, about("From the first byte of a request head to its last.")] = 10.0
    idle_timeout_s: Annotated[Seconds, about("A kept connection without a request is closed after this.")] = 75.0
    body_rate_bytes_s: Annotated[Bytes, about("Slowest request body that is waited for.")] = 1 * KIB
    body_rate_window_s: Annotated[Seconds, about("Over which the body's rate is taken.")] = 30.0
    streams: Annotated[Count, about("Calls in flight in one relay; more get 503.")] = 10_000
    memory_bytes: Annotated[Bytes, about("Request bodies held by one relay; beyond it calls get 503.")] = 1 * GIB
    send_timeout_s: Annotated[Seconds, about("A client that takes no byte for this long is cut off.")] = 600.0
    drain_s: Annotated[Seconds, about("With `on_disconnect: drain`: longest reading on after a client went.")] = 30.0
    drain_streams: Annotated[Count, about("With `on_disconnect: drain`: most calls read on at a time.")] = 256
    shutdown_s: Annotated[Seconds, about("After SIGTERM: how long calls in flight may take to finish.")] = 30.0


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that can be configured. Made by ``load_settings``, the only reader of the environment."""

    host: Annotated[str, about("Address of the data plane.")] = "127.0.0.1"
    port: Annotated[Port, about("Port of the data plane.")] = 4100
    ops_host: Annotated[str, about("Address of the ops plane: page, metrics, API.")] = "127.0.0.1"
    ops_port: Annotated[Port, about("Port of the ops plane.")] = 4101
    workers: Annotated[int, Meta(ge=1, le=256), about("Relay processes; one serves thousands of streams.")] = 1
    data_dir: Annotated[
        Path,
        about("Journal, keys and SQLite ledger. Default: `$XDG_STATE_HOME/submeter`, else `~/.local/state/submeter`."),
    ]
    ledger: Annotated[
        str | None, about("`sqlite:////absolute/path` or `postgresql://…`. Default: `ledger.sqlite3` in `data_dir`.")
    ] = None
    redis: Annotated[str | None, about("`redis://` or `rediss://` URL of a shared cache; without it, memory.")] = None
    cache: Annotated[Cache, about("Answers of deterministic calls.")] = Cache()
    upstreams: Annotated[dict[str, Upstream], about("Where calls are forwarded to, by name.")] = msgspec.field(
        default_factory=default_upstreams
    )
    models: Annotated[
        dict[str, str], about("Model name or glob → upstream; anything else goes to its dialect's default.")
    ] = msgspec.field(default_factory=dict)
    closed_models: Annotated[bool, about("Refuse models that `models` does not name.")] = False
    labels: Annotated[Labels, about("Names that metrics always show.")] = Labels()
    prices: Annotated[
        tuple[dict[str, Any], ...], about("Your own contracts' and machines' prices; see docs/guide/money.md.")
    ] = ()
    when_unmetered: Annotated[
        Literal["pass", "refuse"], about("What happens to calls while the journal cannot be written.")
    ] = "pass"
    journal: Annotated[Journal, about("The append-only files between relays and meter.")] = Journal()
    limits: Annotated[Limits, about("What one relay takes before it refuses.")] = Limits()
    allowed_hosts: Annotated[
        tuple[str, ...], about("Host names that a plane on loopback answers for, besides loopback's own.")
    ] = ()
    open: Annotated[bool, about("Let a public data plane serve anyone, without proxy keys.")] = False
    allow_passthrough: Annotated[
        bool, about("Once proxy keys exist, still let callers' own provider credentials through.")
    ] = False
    ops_token: Annotated[Secret | None, about("Bearer token of the ops plane; required when it is public.")] = None
    metrics_token: Annotated[Secret | None, about("Another bearer token, for `/metrics` alone.")] = None
    latency_fit_every_s: Annotated[
        SecondsFromZero,
        about(
            "How often the meter holds this week's latency against last week's, as `submeter latency --fit` does; "
            "needs `submeter[loadtest]`; 0 is never."
        ),
    ] = 3600.0
    ops_note: Annotated[str | None, about("A line at the top of the page, such as the environment's name.")] = None

    @property
    def ledger_url(self) -> str:
        """The ledger's URL; may hold a password, so it is not for printing."""
        return f"sqlite:///{self.data_dir / 'ledger.sqlite3'}" if self.ledger is None else self.ledger

    @property
    def origins(self) -> dict[str, Origin]:
        """Whose prices the calls of each upstream have."""
        return {upstream.name: Origin(upstream.provider, upstream.region) for upstream in self.upstreams.values()}

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Fields as shown to people and in tracebacks: no credential."""
        values = ((name, getattr(self, name)) for name in self.__struct_fields__)
        return [(name, without_password(value) if isinstance(value, str) else value) for name, value in values]

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"

    def require_servable(self) -> None:
        """Refuse what only matters to `serve` (FAULTS 48). Raises ``UsageError``."""
        if not is_loopback(self.host) and not self.open:
            raise UsageError(
                f"--host {self.host} lets anyone who reaches port {self.port} in, and no proxy key exists: "
                "stay on 127.0.0.1, or say --open if that is meant"
            )
        if not is_loopback(self.ops_host) and self.ops_token is None:
            raise UsageError(
                f"ops_host {self.ops_host} shows every cost to anyone who reaches port {self.ops_port}: "
                "set SUBMETER_OPS_TOKEN (`openssl rand -hex 32` makes one), or keep ops_host on 127.0.0.1"
            )
        for upstream in self.upstreams.values():
            if upstream.api_key_env is not None and upstream.api_key is None:
                raise UsageError(
                    f"upstreams.{upstream.name}.api_key_env names {upstream.api_key_env}, which is not set: export it"
                )
        self._require_cache_key()

    def _require_cache_key(self) -> None:
        """Whoever reads a Redis must not be able to read or forge answers, nor must its hosts have a key each."""
        cache = self.cache
        if not cache.enabled:
            return
        if cache.key_env is not None and cache.key is None:
            raise UsageError(f"cache.key_env names {cache.key_env}, which is not set: export it")
        if cache.key is not None and len(cache.key.reveal()) < SHORTEST_KEY_CHARS:
            raise UsageError(
                f"cache.key_env: {cache.key_env} holds fewer than {SHORTEST_KEY_CHARS} characters; "
                "`openssl rand -hex 32` makes a good one"
            )
        if self.redis is not None and cache.key_env is None and not is_local_redis(self.redis):
            raise UsageError(
                "redis is on another machine, so that other hosts may share it: give all of them one secret "
                "(`openssl rand -hex 32`) in an environment variable, and name that in cache.key_env"
            )


def to_json(settings: msgspec.Struct) -> bytes:
    """For a pipe to a child process and nothing else: it holds the credentials."""
    return msgspec.json.encode(settings, enc_hook=_encode)


def from_json(data: bytes) -> Settings:
    return msgspec.json.decode(data, type=Settings, dec_hook=decode)


def _encode(value: object) -> str:
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(f"no JSON form of {type(value).__name__}")


def decode(kind: type, value: object) -> object:
    """msgspec's hook for the two types it does not know."""
    if kind in (Secret, Path) and isinstance(value, str) and value:
        return kind(value)
    raise ValueError("expected text")
