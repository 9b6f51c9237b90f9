"""Where settings come from, which one wins, and what they are when nobody says anything."""

from pathlib import Path

import msgspec
import pytest

from submeter.config import (
    ENVIRONMENT,
    SETTINGS_HELP,
    Secret,
    Settings,
    Upstream,
    debug_wanted,
    from_json,
    load_settings,
    to_json,
)
from submeter.config.settings import CacheRule
from submeter.core.cacheable import Rules
from submeter.errors import UsageError

HOME = {"HOME": "/home/ada"}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(text: str, name: str = "submeter.yaml") -> Path:
    path = Path(name)
    path.write_text(text)
    return path


def test_the_defaults_are_those_of_the_design():
    settings = load_settings(environ=HOME)
    assert (settings.host, settings.port, settings.ops_host, settings.ops_port) == (
        "127.0.0.1",
        4100,
        "127.0.0.1",
        4101,
    )
    assert settings.workers == 1
    assert settings.data_dir == Path("/home/ada/.local/state/submeter")
    assert settings.ledger_url == "sqlite:////home/ada/.local/state/submeter/ledger.sqlite3"
    assert settings.upstreams == {
        "openai": Upstream(name="openai", base_url="https://api.openai.com/v1", provider="openai"),
        "anthropic": Upstream(name="anthropic", base_url="https://api.anthropic.com/v1", provider="anthropic"),
    }
    openai = settings.upstreams["openai"]
    assert (openai.on_disconnect, openai.inject_usage, openai.accepts_caller_key) == ("cancel", "auto", False)
    assert (openai.connect_timeout_s, openai.first_byte_timeout_s, openai.idle_timeout_s) == (10, 900, 900)
    cache = settings.cache
    assert (cache.enabled, cache.ttl_s, cache.max_bytes) == (True, 24 * 3600, 256 * 1024 * 1024)
    assert (cache.max_answer_bytes, cache.deadline_ms) == (1024 * 1024, 50)
    assert (cache.tools, cache.models, cache.routes, cache.l1_s, cache.key) == (False, {}, {}, 0, None)
    assert not openai.share_cache
    assert (settings.redis, settings.ops_token, settings.metrics_token) == (None, None, None)
    assert (settings.when_unmetered, settings.open, settings.allow_passthrough) == ("pass", False, False)
    assert (settings.journal.sync, settings.journal.quota_bytes) == ("os", 4 * 1024**3)
    limits = settings.limits
    assert (limits.body_bytes, limits.head_bytes, limits.header_line_bytes) == (64 * 1024**2, 64 * 1024, 8 * 1024)
    assert (limits.headers, limits.head_timeout_s, limits.idle_timeout_s) == (100, 10, 75)
    assert (limits.body_rate_bytes_s, limits.body_rate_window_s) == (1024, 30)
    assert (limits.streams, limits.send_timeout_s, limits.drain_s, limits.drain_streams) == (10_000, 600, 30, 256)


def test_defaults_of_the_struct_and_of_the_loader_are_the_same():
    loaded = load_settings(environ=HOME)
    assert loaded == Settings(data_dir=Path("/home/ada/.local/state/submeter"))


def test_xdg_state_home_moves_the_data_directory():
    assert load_settings(environ={**HOME, "XDG_STATE_HOME": "/state"}).data_dir == Path("/state/submeter")


def test_flags_win_over_environment_over_file_over_defaults():
    write("port: 5001\nops_port: 5002\nworkers: 3\ncache: {ttl_s: 60, deadline_ms: 20}\n")
    environ = {**HOME, "SUBMETER_OPS_PORT": "6002", "SUBMETER_WORKERS": "4", "SUBMETER_CACHE_TTL_S": "2.5"}
    settings = load_settings(environ=environ, workers=5)
    assert (settings.port, settings.ops_port, settings.workers) == (5001, 6002, 5)
    assert (settings.cache.ttl_s, settings.cache.deadline_ms) == (2.5, 20)


def test_a_flag_of_none_is_not_given():
    assert load_settings(environ={**HOME, "SUBMETER_PORT": "5000"}, port=None, upstream=None).port == 5000


def test_an_empty_variable_is_not_given():
    assert load_settings(environ={**HOME, "SUBMETER_REDIS": "", "SUBMETER_PORT": " "}).port == 4100


def test_the_file_can_be_named_by_variable_and_by_argument():
    one, other = write("port: 5001\n", "one.yaml"), write("port: 5002\n", "other.yaml")
    assert load_settings(environ={**HOME, "SUBMETER_CONFIG": str(one)}).port == 5001
    assert load_settings(other, environ={**HOME, "SUBMETER_CONFIG": str(one)}).port == 5002


def test_an_empty_file_and_an_empty_section_change_nothing():
    write("# nothing yet\n")
    assert load_settings(environ=HOME) == Settings(data_dir=Path("/home/ada/.local/state/submeter"))
    write("cache:\n#  ttl_s: 5\nport: 5000\n")
    assert load_settings(environ=HOME).cache.ttl_s == 86_400


def test_upstream_replaces_base_urls_and_adds_others():
    write("upstreams:\n  openai: {base_url: 'https://eu.example/v1', on_disconnect: drain}\n")
    flags = ("http://127.0.0.1:9000/v1/", "anthropic=http://127.0.0.1:9000/v1", "own=http://10.0.0.7:8000/v1")
    upstreams = load_settings(environ=HOME, upstream=flags).upstreams
    assert {name: upstream.base_url for name, upstream in upstreams.items()} == {
        "openai": "http://127.0.0.1:9000/v1",
        "anthropic": "http://127.0.0.1:9000/v1",
        "own": "http://10.0.0.7:8000/v1",
    }
    assert upstreams["openai"].on_disconnect == "drain"
    assert [upstream.provider for upstream in upstreams.values()] == ["openai", "anthropic", "own"]


def test_the_upstream_variable_holds_several_between_spaces():
    environ = {**HOME, "SUBMETER_UPSTREAM": "http://a/v1  anthropic=http://b/v1"}
    upstreams = load_settings(environ=environ).upstreams
    assert (upstreams["openai"].base_url, upstreams["anthropic"].base_url) == ("http://a/v1", "http://b/v1")


def test_an_upstreams_own_key_comes_from_the_environment_and_is_never_shown():
    write(
        "upstreams:\n  own: {base_url: 'http://10.0.0.7:8000/v1', api_key_env: VLLM_KEY, self_hosted: true}\n"
        "models: {'llama-*': own}\n"
    )
    environ = {
        **HOME,
        "VLLM_KEY": "sk-canary-1",
        "SUBMETER_OPS_TOKEN": "canary-2",
        "SUBMETER_METRICS_TOKEN": "canary-3",
    }
    settings = load_settings(environ=environ, redis="redis://:canary-4@cache/0", ledger="postgresql://u:canary-5@db/x")
    own = settings.upstreams["own"]
    assert own.api_key == Secret("sk-canary-1")
    assert own.api_key.reveal() == "sk-canary-1"
    assert own.provider is None
    assert settings.models == {"llama-*": "own"}
    assert "canary" not in repr(settings) + str(settings) + repr(own) + f"{own.api_key}{settings.ops_token}"
    assert "redis://…@cache/0" in repr(settings)
    assert settings.ledger_url == "postgresql://u:canary-5@db/x"


def test_settings_pass_through_a_pipe_whole():
    write("upstreams: {own: {base_url: 'http://h/v1', api_key_env: K}}\nprices: [{model: m, from: 2026-01-01}]\n")
    settings = load_settings(environ={**HOME, "K": "sk-1", "SUBMETER_OPS_TOKEN": "t"}, no_cache=True)
    again = from_json(to_json(settings))
    assert again == settings
    assert again.upstreams["own"].api_key == Secret("sk-1")
    assert again.data_dir == Path("/home/ada/.local/state/submeter")
    assert again.cache.enabled is False


def test_settings_are_frozen():
    with pytest.raises(AttributeError):
        load_settings(environ=HOME).port = 1  # type: ignore[misc]


def test_prices_stay_text_to_the_last_digit():
    write(
        "prices:\n"
        "  - {model: 'my-*', from: 2026-01-01, usd_per_million: {input: 0.1500000000000000001, output: '0.60'},\n"
        "     max_output_tokens: 4096}\n"
    )
    assert load_settings(environ=HOME).prices == (
        {
            "model": "my-*",
            "from": "2026-01-01",
            "usd_per_million": {"input": "0.1500000000000000001", "output": "0.60"},
            "max_output_tokens": 4096,
        },
    )


def test_paths_become_absolute(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", "/home/ada")
    assert load_settings(environ=HOME, data_dir=Path("data")).data_dir == Path.cwd() / "data"
    assert load_settings(environ=HOME, data_dir=Path("~/data")).data_dir == Path("/home/ada/data")
    assert load_settings(environ=HOME, ledger="some.sqlite3").ledger_url == f"sqlite:///{Path.cwd()}/some.sqlite3"


def test_lists_in_file_and_environment():
    write("labels: {team: [search, ads], prompt_version: [1.10, 2026-01-01]}\n")
    environ = {**HOME, "SUBMETER_ALLOWED_HOSTS": "Meter.example other", "SUBMETER_LABELS_APP": "web"}
    settings = load_settings(environ=environ)
    assert settings.labels.team == ("search", "ads")
    assert settings.labels.prompt_version == ("1.10", "2026-01-01")
    assert settings.labels.app == ("web",)
    assert settings.allowed_hosts == ("meter.example", "other")


def test_what_kubernetes_injects_for_a_service_called_submeter_is_no_setting():
    environ = {
        **HOME,
        "SUBMETER_PORT": "tcp://10.0.0.1:4100",
        "SUBMETER_PORT_4100_TCP": "tcp://10.0.0.1:4100",
        "SUBMETER_PORT_4100_TCP_ADDR": "10.0.0.1",
        "SUBMETER_SERVICE_HOST": "10.0.0.1",
        "SUBMETER_SERVICE_PORT": "4100",
        "SUBMETER_SERVICE_PORT_HTTP": "4100",
    }
    assert load_settings(environ=environ).port == 4100


def test_every_setting_that_the_environment_can_hold_is_read_from_it():
    texts = {
        "host": "127.0.0.2",
        "ops_host": "127.0.0.3",
        "data_dir": "/d",
        "ledger": "sqlite:////l",
        "redis": "redis://r",
        "ops_token": "t",
        "ops_note": "staging",
        "metrics_token": "m",
        "when_unmetered": "refuse",
        "journal.sync": "disk",
        "cache.enabled": "false",
        "cache.pace": "recorded",
        "cache.key_env": "K",
    }
    by_default = {bool: "true", int: "7", float: "7.5", tuple: "a b"}
    write("models: {m: openai}")  # closed_models wants some
    before = load_settings(environ=HOME)
    for name, path in ENVIRONMENT.items():
        if path:
            text = texts[path] if path in texts else by_default[type(SETTINGS_HELP[path].default)]
            assert value_at(load_settings(environ={**HOME, name: text}), path) != value_at(before, path), name


def value_at(settings: object, path: str) -> object:
    for name in path.split("."):
        settings = getattr(settings, name)
    return settings


def test_every_leaf_has_a_description():
    def leaves(cls: type[msgspec.Struct], prefix: str = "") -> set[str]:
        found: set[str] = set()
        for field in msgspec.structs.fields(cls):
            default = field.default_factory() if callable(field.default_factory) else field.default
            if isinstance(default, msgspec.Struct):
                found |= leaves(type(default), f"{prefix}{field.name}.")
            elif field.name == "upstreams":
                found |= leaves(Upstream, "upstreams.NAME.")
            elif prefix == "cache." and field.name in ("models", "routes"):
                found |= leaves(CacheRule, f"cache.{field.name}.NAME.")
            else:
                found.add(f"{prefix}{field.name}")
        return found

    assert set(SETTINGS_HELP) == leaves(Settings) - {"upstreams.NAME.name", "upstreams.NAME.api_key", "cache.key"}
    assert all(setting.description.endswith(".") for setting in SETTINGS_HELP.values())


@pytest.mark.parametrize("text", ["1", "true", "True"])
def test_debug_is_asked_without_loading(text: str):
    assert debug_wanted({"SUBMETER_DEBUG": text}) is True
    assert debug_wanted({"SUBMETER_DEBUG": "0"}) is False
    assert debug_wanted({}) is False


class TestServable:
    def test_the_defaults_are(self):
        load_settings(environ=HOME).require_servable()

    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "meter.example"])
    def test_a_public_data_plane_needs_open(self, host: str):
        with pytest.raises(UsageError, match=r"say --open"):
            load_settings(environ=HOME, host=host).require_servable()
        load_settings(environ=HOME, host=host, open=True).require_servable()

    @pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost", "::1"])
    def test_loopback_does_not(self, host: str):
        load_settings(environ=HOME, host=host).require_servable()

    def test_a_public_ops_plane_needs_a_token(self):
        environ = {**HOME, "SUBMETER_OPS_HOST": "0.0.0.0"}
        with pytest.raises(UsageError, match="SUBMETER_OPS_TOKEN"):
            load_settings(environ=environ).require_servable()
        load_settings(environ={**environ, "SUBMETER_OPS_TOKEN": "t"}).require_servable()

    def test_a_named_key_must_be_there(self):
        write("upstreams: {own: {base_url: 'http://h/v1', api_key_env: VLLM_KEY}}")
        with pytest.raises(
            UsageError, match=r"upstreams\.own\.api_key_env names VLLM_KEY, which is not set: export it"
        ):
            load_settings(environ=HOME).require_servable()
        load_settings(environ={**HOME, "VLLM_KEY": "k"}).require_servable()


# -- the cache -----------------------------------------------------------------------------------------------------


def test_what_holds_for_a_model_at_an_endpoint():
    write("""
cache:
  ttl_s: 100
  routes:
    embeddings: {ttl_s: 1000}
    messages: {enabled: false}
  models:
    gpt-4o: {tools: true}
    gpt-4*: {ttl_s: 10}
    "*": {ttl_s: 20}
    claude-*: {enabled: true, ttl_s: 5}
""")
    rules = load_settings(environ=HOME).cache.rules
    assert rules("chat/completions", "gpt-4o") == Rules(enabled=True, ttl_s=100, tools=True), "the exact name alone"
    assert rules("chat/completions", "gpt-4.1") == Rules(enabled=True, ttl_s=10, tools=False), "the longest glob alone"
    assert rules("chat/completions", "o3") == Rules(enabled=True, ttl_s=20, tools=False)
    assert rules("embeddings", "gpt-4o") == Rules(enabled=True, ttl_s=1000, tools=True), "the model before the route"
    assert rules("messages", "x") == Rules(enabled=False, ttl_s=20, tools=False)
    assert rules("messages", "claude-haiku-4-5") == Rules(enabled=True, ttl_s=5, tools=False)


def test_a_cache_that_is_off_is_off_for_every_model():
    write("cache: {enabled: false, models: {m: {enabled: true}}}")
    assert not load_settings(environ=HOME).cache.rules("embeddings", "m").enabled


def test_the_caches_key_comes_from_the_environment_and_is_never_shown():
    write("cache: {key_env: CACHE_KEY}")
    settings = load_settings(environ={**HOME, "CACHE_KEY": f" {'k' * 32}\n"})
    assert settings.cache.key == Secret("k" * 32)
    assert "kkk" not in repr(settings)
    assert from_json(to_json(settings)) == settings


@pytest.mark.parametrize(
    "url", ["redis://10.0.0.5", "rediss://cache.example:6380/0", "redis://user:secret@h?cluster=true"]
)
def test_a_redis_elsewhere_needs_a_key_that_its_hosts_share(url: str):
    environ = {**HOME, "SUBMETER_REDIS": url}
    with pytest.raises(UsageError, match=r"name that in cache\.key_env") as caught:
        load_settings(environ=environ).require_servable()
    assert "secret@" not in str(caught.value)
    load_settings(environ=environ, no_cache=True).require_servable()
    environ["SUBMETER_CACHE_KEY_ENV"] = "CACHE_KEY"
    with pytest.raises(UsageError, match=r"cache\.key_env names CACHE_KEY, which is not set"):
        load_settings(environ=environ).require_servable()
    with pytest.raises(UsageError, match="CACHE_KEY holds fewer than 32 characters"):
        load_settings(environ={**environ, "CACHE_KEY": "k" * 31}).require_servable()
    load_settings(environ={**environ, "CACHE_KEY": "k" * 32}).require_servable()


@pytest.mark.parametrize(
    "url", ["redis://127.0.0.1:6379/0", "redis://localhost", "redis://[::1]", "unix:///run/r.sock"]
)
def test_a_redis_of_this_machine_alone_needs_none(url: str):
    load_settings(environ={**HOME, "SUBMETER_REDIS": url}).require_servable()


def test_callers_share_only_an_upstream_that_has_a_key_of_its_own_or_is_ours():
    write("upstreams: {own: {base_url: 'http://h/v1', share_cache: true}}")
    with pytest.raises(UsageError, match=r"own\.share_cache: callers with keys of their own would read each other's"):
        load_settings(environ=HOME)
    for more in ("api_key_env: K", "self_hosted: true"):
        write(f"upstreams: {{own: {{base_url: 'http://h/v1', share_cache: true, {more}}}}}")
        assert load_settings(environ=HOME).upstreams["own"].share_cache
