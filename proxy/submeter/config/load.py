"""The only reader of the environment: defaults < submeter.yaml < ``SUBMETER_*`` < flags → one frozen object."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Unpack

from msgspec.structs import replace

from submeter.config.build import Builder
from submeter.config.help import SETTINGS_HELP
from submeter.config.settings import Secret, Settings, Upstream
from submeter.config.sources import Flags, from_defaults, from_environ, from_file, from_flags, merged
from submeter.config.urls import (
    is_loopback,
    problem_with_base_url,
    problem_with_host,
    problem_with_ledger,
    problem_with_redis,
    split_host_port,
)
from submeter.core.routes import METERED


def load_settings(
    config: Path | None = None, *, environ: Mapping[str, str] | None = None, **flags: Unpack[Flags]
) -> Settings:
    """Settings of this process. Raises ``UsageError``: one line that says where, what is wrong and what is right."""
    environ = os.environ if environ is None else environ
    file = config or (Path(environ["SUBMETER_CONFIG"]) if environ.get("SUBMETER_CONFIG") else None)
    source = merged([from_defaults(environ), from_file(file), from_environ(environ), from_flags(flags)])
    builder = Builder(source.places)
    settings = _completed(builder.build(Settings, source.tree), source.places, environ)
    for path, problem in _problems(settings):
        raise builder.wrong(path, problem)
    return settings


def debug_wanted(environ: Mapping[str, str] | None = None) -> bool:
    """Whether to show tracebacks; asked when the settings themselves may be what failed."""
    return (os.environ if environ is None else environ).get("SUBMETER_DEBUG", "").lower() in ("1", "true")


def sdk_base_url(environ: Mapping[str, str] | None = None) -> str | None:
    """Where the OpenAI SDK of this shell would send its calls; `submeter doctor` looks at it."""
    return (os.environ if environ is None else environ).get("OPENAI_BASE_URL") or None


def _completed(settings: Settings, places: Mapping[str, str], environ: Mapping[str, str]) -> Settings:
    """What follows from other settings: absolute paths, resolved keys, whose prices apply."""
    upstreams = {name: _own_base(upstream, places) for name, upstream in settings.upstreams.items()}
    return replace(
        settings,
        data_dir=settings.data_dir.expanduser().absolute(),
        upstreams={name: _completed_upstream(upstream, environ) for name, upstream in upstreams.items()},
        ledger=_ledger_url(settings.ledger),
        cache=replace(settings.cache, key=_secret(settings.cache.key_env, environ)),
        allowed_hosts=tuple(host.lower() for host in settings.allowed_hosts),
    )


def _ledger_url(text: str | None) -> str | None:
    """A plain path is a SQLite file's."""
    return text if text is None or ":" in text else f"sqlite:///{Path(text).expanduser().absolute()}"


def _own_base(upstream: Upstream, places: Mapping[str, str]) -> Upstream:
    """`openai: {translate: gemini}` does not keep the base URL that openai has by default."""
    if upstream.translate is None or f"upstreams.{upstream.name}.base_url" in places:
        return upstream
    return replace(upstream, base_url="")


def _secret(name: str | None, environ: Mapping[str, str]) -> Secret | None:
    text = environ.get(name, "").strip() if name is not None else ""
    return Secret(text) if text else None


def _completed_upstream(upstream: Upstream, environ: Mapping[str, str]) -> Upstream:
    listed = None if upstream.self_hosted else upstream.translate or upstream.name
    return replace(
        upstream,
        base_url=upstream.base_url.rstrip("/"),
        api_key=_secret(upstream.api_key_env, environ),
        provider=upstream.provider if upstream.provider is not None else listed,
    )


def _problems(settings: Settings) -> Iterator[tuple[str, str]]:
    """What the types cannot say: (dotted key, what is wrong with it)."""
    checks = (
        ("host", problem_with_host(settings.host)),
        ("ops_host", problem_with_host(settings.ops_host)),
        ("ledger", problem_with_ledger(settings.ledger_url)),
        ("redis", problem_with_redis(settings.redis) if settings.redis is not None else None),
        *((f"upstreams.{u.name}.base_url", _base_url_problem(u, settings)) for u in settings.upstreams.values()),
    )
    yield from ((path, problem) for path, problem in checks if problem is not None)
    for upstream in settings.upstreams.values():
        yield from _upstream_problems(upstream)
    if settings.port == settings.ops_port and settings.host == settings.ops_host:
        yield "ops_port", f"is {settings.ops_port}, and so is port: give one of the two another number"
    for model, name in settings.models.items():
        if name not in settings.upstreams:
            known = ", ".join(settings.upstreams)
            yield f"models.{model}", f"there is no upstream {name}: name one of {known}, or add it under upstreams"
    for route in settings.cache.routes:
        if route not in METERED:
            yield f"cache.routes.{route}", f"there is no such route: the cache knows {', '.join(sorted(METERED))}"
    if settings.closed_models and not settings.models:
        yield "closed_models", "with no models listed, every call would be refused: list some under models"


def _upstream_problems(upstream: Upstream) -> Iterator[tuple[str, str]]:
    path = f"upstreams.{upstream.name}"
    if not upstream.base_url and upstream.translate is None:
        yield path, f"base_url is missing. {SETTINGS_HELP['upstreams.NAME.base_url'].description}"
    if upstream.translate is not None and upstream.accepts_caller_key:
        yield (
            f"{path}.accepts_caller_key",
            "a translated provider is called with a key of its own: name it in api_key_env",
        )

    if upstream.share_cache and upstream.api_key_env is None and not upstream.self_hosted:
        yield (
            f"{path}.share_cache",
            "callers with keys of their own would read each other's answers: set api_key_env or self_hosted too",
        )


def _base_url_problem(upstream: Upstream, settings: Settings) -> str | None:
    if not upstream.base_url:
        return None
    problem = problem_with_base_url(upstream.base_url)
    if problem is not None:
        return problem
    host, port = split_host_port(upstream.base_url)
    if port == settings.port and (host == settings.host or is_loopback(host)):
        return f"port {port} is submeter's own, so that calls would run in a circle: give the provider's address"
    return None
