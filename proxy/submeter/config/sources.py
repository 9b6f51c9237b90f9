"""Where settings come from: defaults, a YAML file, the environment, flags. Each is read into one shape."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypedDict

import msgspec

from submeter.config.help import ENVIRONMENT, SETTINGS_HELP
from submeter.config.nearest import known_or_nearest
from submeter.config.settings import default_upstreams
from submeter.errors import UsageError

Tree = dict[str, object]

DEFAULT_FILE = Path("submeter.yaml")


class Flags(TypedDict, total=False):
    """What the command line may override; ``None`` is "not given"."""

    host: str | None
    port: int | None
    ops_port: int | None
    workers: int | None
    data_dir: Path | None
    upstream: Iterable[str] | None
    redis: str | None
    ledger: str | None
    no_cache: bool | None
    open: bool | None


class Source(msgspec.Struct, frozen=True):
    """Values as they were written, not yet checked, and what the reader would call each spot."""

    tree: Tree
    places: dict[str, str]


def nested(values: Mapping[str, object]) -> Tree:
    """{"cache.ttl_s": 5} → {"cache": {"ttl_s": 5}}. No name that is given here holds a dot of its own."""
    tree: Tree = {}
    for path, value in values.items():
        node = tree
        *parents, leaf = path.split(".")
        for parent in parents:
            child = node.setdefault(parent, {})
            assert isinstance(child, dict)
            node = child
        node[leaf] = value
    return tree


def merged(sources: Iterable[Source]) -> Source:
    """Later ones win, setting by setting."""
    tree: Tree = {}
    places: dict[str, str] = {}
    for source in sources:
        tree = _overlaid(tree, source.tree)
        places |= source.places
    return Source(tree, places)


def _overlaid(under: Tree, over: Tree) -> Tree:
    result = dict(under)
    for key, value in over.items():
        below = result.get(key)
        result[key] = _overlaid(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return result


def from_defaults(environ: Mapping[str, str]) -> Source:
    """The defaults that the settings' own fields cannot hold: they depend on the machine, or merge key by key."""
    state = Path(environ.get("XDG_STATE_HOME") or Path(environ.get("HOME") or Path.home()) / ".local" / "state")
    urls = {f"upstreams.{name}.base_url": upstream.base_url for name, upstream in default_upstreams().items()}
    return Source(nested({"data_dir": str(state / "submeter"), **urls}), {})


def from_file(path: Path | None) -> Source:
    """The given file, else ./submeter.yaml where there is one."""
    if path is None and not DEFAULT_FILE.exists():
        return Source({}, {})
    # Imported here because most runs have no file, and a relay (its settings come through a pipe) never has one.
    from submeter.config.yamlfile import read

    return Source(*read(DEFAULT_FILE if path is None else path))


# What Kubernetes puts into every pod for a Service that is called "submeter": not settings, and no mistake of anyone.
_SERVICE_LINK = re.compile(r"SUBMETER_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_\w+)")


def from_environ(environ: Mapping[str, str]) -> Source:
    """``SUBMETER_*``; an empty value is "not given", as compose files write it."""
    values: dict[str, object] = {}
    places: dict[str, str] = {}
    for name, text in environ.items():
        if not name.startswith("SUBMETER_") or not text.strip() or _is_service_link(name, text):
            continue
        key = name.removeprefix("SUBMETER_").lower()
        if key in ("models", "prices", "upstreams"):
            raise UsageError(f"{name}: {key} are set in {DEFAULT_FILE} (a base URL alone: SUBMETER_UPSTREAM=NAME=URL)")
        path = ENVIRONMENT[known_or_nearest(name, ENVIRONMENT, f"{name}: unknown variable")]
        found = {path: text.split() if SETTINGS_HELP[path].is_list else text.strip()} if path else {}
        if name == "SUBMETER_UPSTREAM":
            found = dict(base_urls(text.split(), name))
        values |= found
        places |= dict.fromkeys(found, name)
    return Source(nested(values), places)


def _is_service_link(name: str, text: str) -> bool:
    return _SERVICE_LINK.fullmatch(name) is not None or (name == "SUBMETER_PORT" and "://" in text)


def from_flags(flags: Flags) -> Source:
    given = {name: value for name, value in flags.items() if value is not None and name not in ("upstream", "no_cache")}
    values = {name: str(value) if isinstance(value, Path) else value for name, value in given.items()}
    places = {name: f"--{name.replace('_', '-')}" for name in values}
    if flags.get("no_cache"):
        values["cache.enabled"], places["cache.enabled"] = False, "--no-cache"
    for path, url in base_urls(flags.get("upstream") or (), "--upstream"):
        values[path], places[path] = url, "--upstream"
    return Source(nested(values), places)


_UPSTREAM = re.compile(r"(?:(?P<name>[A-Za-z0-9_-]{1,64})=)?(?P<url>[^=]+://.*)", re.DOTALL)


def base_urls(texts: Iterable[str], place: str) -> Iterator[tuple[str, str]]:
    """``[NAME=]URL`` → ("upstreams.NAME.base_url", URL); without a name it is openai's."""
    for text in texts:
        match = _UPSTREAM.fullmatch(text)
        if match is None:
            raise UsageError(
                f"{place}: expected URL or NAME=URL, such as http://127.0.0.1:9000/v1 or own=http://10.0.0.7:8000/v1"
            )
        yield f"upstreams.{match['name'] or 'openai'}.base_url", match["url"]
