"""Every mistake ends with one line: where it stands, what is wrong, what is right. None shows a credential."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from submeter.config import load_settings
from submeter.errors import UsageError

HOME = {"HOME": "/home/ada"}


def error_of(tmp_path: Path, text: str | bytes, **environ: str) -> str:
    path = tmp_path / "submeter.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(UsageError) as caught:
        load_settings(path, environ={**HOME, **environ})
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("prot: 4100", "submeter.yaml line 1: prot: unknown setting; did you mean port?"),
        ("a: 1", "submeter.yaml line 1: a: unknown setting; known here are host, port, ops_host, ops_port, workers"),
        ("# c\ncache:\n  tll_s: 5", "submeter.yaml line 3: cache.tll_s: unknown setting; did you mean ttl_s?"),
        (
            "upstreams:\n  openai:\n    base_ulr: 'http://h'",
            "submeter.yaml line 3: upstreams.openai.base_ulr: unknown setting; did you mean base_url?",
        ),
        (
            "upstreams: {own: {base_url: 'http://h', api_key: sk-canary}}",
            "submeter.yaml line 1: upstreams.own.api_key: unknown setting; did you mean api_key_env?",
        ),
        ("port: 70000", "submeter.yaml line 1: port: expected a whole number from 1 to 65535, got 70000"),
        ("port: canary", "submeter.yaml line 1: port: expected a whole number from 1 to 65535, got text"),
        ("port:", "submeter.yaml line 1: port: expected a whole number from 1 to 65535, got nothing"),
        ("port: true", "submeter.yaml line 1: port: expected a whole number from 1 to 65535, got true or false"),
        ("workers: 1.5", "submeter.yaml line 1: workers: expected a whole number from 1 to 256, got 1.5"),
        ("open: [yes]", "submeter.yaml line 1: open: expected true or false, got a list"),
        ("limits: {drain_s: 0}", "submeter.yaml line 1: limits.drain_s: expected a number above 0"),
        ("limits: {drain_s: .nan}", "submeter.yaml line 1: limits.drain_s: expected a number above 0"),
        ("journal: {sync: canary}", "submeter.yaml line 1: journal.sync: expected one of disk, os, got text"),
        ("ops_token: 12345", "submeter.yaml line 1: ops_token: expected text, got a number; use quotes"),
        ("ops_token: ''", "submeter.yaml line 1: ops_token: expected text, got nothing"),
        ("labels: {team: [no]}", "submeter.yaml line 1: labels.team: expected a list of texts, got a list; use quotes"),
        ("cache: 5", "submeter.yaml line 1: cache: expected settings below it, got a number"),
        (
            "upstreams: [own]",
            "submeter.yaml line 1: upstreams: expected names, and below each its settings, got a list",
        ),
        (
            "upstreams: {own: {}}",
            "submeter.yaml line 1: upstreams.own: base_url is missing. As an SDK's base URL would be",
        ),
        (
            "upstreams: {own: {translate: gemini, accepts_caller_key: true}}",
            "submeter.yaml line 1: upstreams.own.accepts_caller_key: a translated provider is called with",
        ),
        ("upstreams: {'a b': {}}", "submeter.yaml line 1: upstreams.a b: an upstream's name has letters, digits"),
        ("prices: {}", "submeter.yaml line 1: prices: expected a list of entries, each with settings below it"),
        (
            "models: {'llama-*': own}",
            "submeter.yaml line 1: models.llama-*: there is no upstream own: name one of openai, anthropic",
        ),
        (
            "closed_models: true",
            "submeter.yaml line 1: closed_models: with no models listed, every call would be refused",
        ),
        ("port: 4101", "ops_port: is 4101, and so is port: give one of the two another number"),
        (
            "cache:\n  routes: {chat: {ttl_s: 5}}",
            "submeter.yaml line 2: cache.routes.chat: there is no such route: the cache knows chat/completions, compl",
        ),
        (
            "cache:\n  models:\n    m: {ttl: 5}",
            "submeter.yaml line 3: cache.models.m.ttl: unknown setting; did you mean ttl_s?",
        ),
        (
            "cache: {models: [m]}",
            "submeter.yaml line 1: cache.models: expected names, and below each its settings, got a list",
        ),
        (
            "cache: {l1_s: -1}",
            "submeter.yaml line 1: cache.l1_s: expected a number from 0, at most 31536000, got -1",
        ),
        ("port: 1\nport: 2", "submeter.yaml line 2: port is given twice; keep one of the two"),
        ("port: [1", "submeter.yaml line 1: not valid YAML; look there for a missing colon, space or quote"),
        ("a: b: c", "submeter.yaml line 1: not valid YAML"),
        ("just text", "submeter.yaml: expected settings such as `port: 4100`, one to a line"),
        ("host: http://h", "submeter.yaml line 1: host: expected an address such as 127.0.0.1"),
        ("host: '0.0.0.0:4100'", "submeter.yaml line 1: host: expected an address such as 127.0.0.1; the port has"),
        ("redis: localhost:6379", "submeter.yaml line 1: redis: expected redis://host:6379/0"),
        ("ledger: 'mysql://u:canary@h/x'", "submeter.yaml line 1: ledger: expected sqlite:////path/to/ledger.sqlite3"),
        ("ledger: 'sqlite:///x.db'", "submeter.yaml line 1: ledger: a SQLite URL needs an absolute path"),
    ],
)
def test_the_file(tmp_path: Path, text: str, line: str):
    error = error_of(tmp_path, text)
    assert error.startswith(line)
    assert "canary" not in error


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("api.openai.com/v1", "expected a URL such as https://api.example.com/v1"),
        ("ftp://h/v1", "expected a URL such as https://api.example.com/v1"),
        ("http://", "the URL names no host"),
        ("http:///v1", "the URL names no host"),
        ("http://h:99999/v1", "expected a URL such as"),
        ("http://h/v 1", "expected a URL such as"),
        ("http://[::1/v1", "expected a URL such as"),
        (
            "https://u:canary@h/v1",
            "the URL holds a credential; name the environment variable that holds it in api_key_env",
        ),
        ("https://h/v1?key=canary", "the URL may hold neither ? nor #"),
        ("https://h/v1#canary", "the URL may hold neither ? nor #"),
        ("http://127.0.0.1:4100/v1", "port 4100 is submeter's own, so that calls would run in a circle"),
        ("http://localhost:4100", "port 4100 is submeter's own, so that calls would run in a circle"),
    ],
)
def test_base_urls(tmp_path: Path, url: str, problem: str):
    error = error_of(tmp_path, yaml.safe_dump({"upstreams": {"own": {"base_url": url}}}))
    assert error.startswith(f"submeter.yaml line 3: upstreams.own.base_url: {problem}")
    assert "canary" not in error


@pytest.mark.parametrize("url", ["http://h", "https://h:8443/x/v1/", "http://[::1]:8000/v1", "http://10.0.0.7:8000/v1"])
def test_base_urls_that_will_do(url: str):
    assert load_settings(environ=HOME, upstream=[f"own={url}"]).upstreams["own"].base_url == url.rstrip("/")


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("SUBMETER_PROT", "1", "SUBMETER_PROT: unknown variable; did you mean SUBMETER_PORT?"),
        ("SUBMETER_CACHE_TLL_S", "1", "SUBMETER_CACHE_TLL_S: unknown variable; did you mean SUBMETER_CACHE_TTL_S?"),
        ("SUBMETER_XYZZY", "1", "SUBMETER_XYZZY: unknown variable"),
        ("SUBMETER_MODELS", "{}", "SUBMETER_MODELS: models are set in submeter.yaml"),
        ("SUBMETER_PORT", "canary", "SUBMETER_PORT: expected a whole number from 1 to 65535, got text"),
        ("SUBMETER_PORT", "0", "SUBMETER_PORT: expected a whole number from 1 to 65535, got 0"),
        ("SUBMETER_OPEN", "yes", "SUBMETER_OPEN: expected true or false, got text"),
        ("SUBMETER_UPSTREAM", "canary", "SUBMETER_UPSTREAM: expected URL or NAME=URL"),
        ("SUBMETER_UPSTREAM", "http://u:canary@h", "SUBMETER_UPSTREAM: the URL holds a credential"),
        ("SUBMETER_REDIS", "http://:canary@h", "SUBMETER_REDIS: expected redis://"),
    ],
)
def test_the_environment(tmp_path: Path, name: str, text: str, line: str):
    error = error_of(tmp_path, "", **{name: text})
    assert error.startswith(line)
    assert "canary" not in error


def test_flags():
    with pytest.raises(UsageError, match=r"^--ops-port: expected a whole number from 1 to 65535, got 65536$"):
        load_settings(environ=HOME, ops_port=65536)
    with pytest.raises(UsageError, match=r"^--upstream: expected URL or NAME=URL"):
        load_settings(environ=HOME, upstream=["own"])


def test_a_mistake_names_the_place_that_won(tmp_path: Path):
    assert error_of(tmp_path, "port: 5000", SUBMETER_PORT="x").startswith("SUBMETER_PORT: ")


def test_files_that_cannot_be_read(tmp_path: Path):
    with pytest.raises(UsageError, match=r"there is no file .*missing\.yaml: give the right one with --config"):
        load_settings(tmp_path / "missing.yaml", environ=HOME)
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        load_settings(tmp_path, environ=HOME)
    assert "it is not UTF-8 text" in error_of(tmp_path, b"port: \xff")
    assert "control characters" in error_of(tmp_path, "port: \x00")
    assert "nests too deep" in error_of(tmp_path, "a: " + "[" * 10_000)


@given(st.text() | st.binary())
def test_any_file_is_settings_or_one_clear_line(tmp_path_factory: pytest.TempPathFactory, content: str | bytes):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)
    _loads_or_one_line(path)


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
_keys = st.sampled_from(["port", "host", "cache", "upstreams", "models", "labels", "prices", "ledger", "redis", "open"])


@given(st.dictionaries(_keys, _values, max_size=4))
def test_any_value_anywhere_is_settings_or_one_clear_line(tmp_path_factory: pytest.TempPathFactory, tree: object):
    path = tmp_path_factory.getbasetemp() / "tree.yaml"
    path.write_text(yaml.safe_dump(tree, allow_unicode=True))
    _loads_or_one_line(path)


def _loads_or_one_line(path: Path) -> None:
    line = ""
    try:
        load_settings(path, environ=HOME)
    except UsageError as error:
        line = str(error)
    assert "\n" not in line
