"""compose.yaml is valid, asks for nothing that .env.example does not tell of, and contains what it runs."""

import re
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

import jsonschema
import pytest

from deploy.composefile import DEPLOY, OPTIONAL, SCHEMA, TEXT, composed, example, filled, variables
from submeter.config import ENVIRONMENT, load_settings
from submeter.serve import METER_STOP_S, TRANSLATOR_STOP_S

SERVICES: dict[str, dict[str, Any]] = composed()["services"]
LOOPBACK = re.compile(r"127\.0\.0\.1:\d+:\d+")


# -- the schema ------------------------------------------------------------------------------------------------------


def test_it_is_valid() -> None:
    SCHEMA.validate(composed())


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("cap_drop: [ALL]", "cap_dropped: [ALL]"),
        ("condition: service_healthy", "condition: healthy"),
        ("restart: unless-stopped", "restart: [always]"),
        ("read_only: true", "read_only: 12"),
        ("stop_grace_period: 2m", "stop_grace_period: {minutes: 2}"),
        ("secrets:\n  metrics_token:\n    environment: SUBMETER", "secrets:\n  metrics_token:\n    env: SUBMETER"),
        ("networks:\n  outside: {}", "networks:\n  outside: {inside: true}"),
    ],
)
def test_a_broken_copy_is_not(right: str, wrong: str) -> None:
    assert right in TEXT
    with pytest.raises(jsonschema.ValidationError):
        SCHEMA.validate(composed(text=TEXT.replace(right, wrong)))


# -- variables -------------------------------------------------------------------------------------------------------


def test_what_it_asks_for_is_what_the_example_tells_of() -> None:
    assert set(variables()) == set(example())


def test_secrets_are_empty_in_the_example_and_nothing_starts_without_them() -> None:
    required = {name for name, ways in variables().items() if ":?" in ways}
    assert {name for name, value in example().items() if not value} == required | OPTIONAL
    for name in required:
        assert variables()[name] == {":?"}, name
        with pytest.raises(KeyError, match=name):
            composed(filled() | {name: ""})


def test_defaults_are_those_of_the_example() -> None:
    with_defaults = {name: value for name, value in filled().items() if not example()[name]}
    assert composed(with_defaults) == composed()


@pytest.mark.parametrize("path", [".env.example", "systemd/submeter.env.example"])
def test_each_variable_of_an_example_is_told_of(path: str) -> None:
    lines = (DEPLOY / path).read_text().splitlines()
    for above, line in pairwise(lines):
        if re.match(r"#?[A-Z_]+=", line):
            assert re.match(r"# |#?[A-Z_]+=", above), f"{path}: {line} has no comment above it"


@pytest.mark.parametrize(
    "path",
    [".env.example", "systemd/submeter.env.example", "kubernetes/overlays/example/secrets.env.example", "compose.yaml"],
)
def test_names_of_settings_exist(path: str) -> None:
    named = set(re.findall(r"SUBMETER_[A-Z_]+", (DEPLOY / path).read_text()))
    assert named
    assert named <= set(ENVIRONMENT)


def test_the_settings_are_understood_and_allowed_to_serve(tmp_path: Path) -> None:
    environ = SERVICES["submeter"]["environment"] | {"HOME": str(tmp_path), "SUBMETER_CONFIG": ""}
    settings = load_settings(DEPLOY / "submeter.yaml", environ=environ)
    settings.require_servable()
    assert (settings.host, settings.ops_host, settings.workers) == ("0.0.0.0", "0.0.0.0", 2)
    assert settings.metrics_token is not None
    assert settings.metrics_token != settings.ops_token
    assert settings.cache.key is not None
    assert settings.redis == f"redis://:{filled()['REDIS_PASSWORD']}@redis:6379/0"


def test_the_shown_settings_file_is_understood_with_its_comments_taken_off(tmp_path: Path) -> None:
    for path in (DEPLOY / "submeter.yaml", DEPLOY / "kubernetes/base/submeter.yaml"):
        prose, _, shown = path.read_text().partition("#\n")
        yaml = re.sub(r"^# ?", "", shown.partition("\n{}")[0].partition("\nworkers:")[0], flags=re.MULTILINE)
        assert prose
        (tmp_path / "submeter.yaml").write_text(yaml)
        settings = load_settings(tmp_path / "submeter.yaml", environ={"HOME": str(tmp_path)})
        assert settings.models == {"llama-*": "own"}


# -- what it contains ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SERVICES)
def test_no_container_has_privileges(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices"} & set(service)
    # Submeter's own is the image's, in test_image.
    assert name == "submeter" or re.fullmatch(r"[1-9]\d*:\d+", service["user"])
    # Compose cannot copy a secret of the environment into a read-only file system.
    assert service.get("read_only", False) != ("secrets" in service)


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned(name: str) -> None:
    image, _, tag = SERVICES[name]["image"].partition(":")
    assert image
    assert tag == "local" if name == "submeter" else re.match(r"v?\d+\.\d+", tag)


@pytest.mark.parametrize("name", SERVICES)
def test_each_has_a_health_check_that_others_wait_for(name: str) -> None:
    # Submeter's own is the image's, in test_image_runs.
    assert name == "submeter" or SERVICES[name]["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
    for other, how in SERVICES[name].get("depends_on", {}).items():
        assert other in SERVICES
        assert how == {"condition": "service_healthy"}


def test_two_ports_are_published_and_on_loopback() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"submeter": ["127.0.0.1:4100:4100"], "grafana": ["127.0.0.1:3000:3000"]}
    assert all(LOOPBACK.fullmatch(port) for ports in published.values() for port in ports)


def test_only_what_is_published_has_a_way_out() -> None:
    networks = composed()["networks"]
    ways_out = {name for name, network in networks.items() if not network.get("internal")}
    assert ways_out == {"outside"}
    for name, service in SERVICES.items():
        assert set(service["networks"]) <= set(networks)
        assert ("outside" in service["networks"]) == ("ports" in service), name
    # Redis answers for whoever has its password: Prometheus need not reach it.
    assert {name for name, service in SERVICES.items() if "stores" in service["networks"]} == {
        *("submeter", "redis", "postgres", "grafana")
    }


def test_everything_that_is_mounted_is_there() -> None:
    named = set(composed()["volumes"])
    used = set()
    for name, service in SERVICES.items():
        for mount in service.get("volumes", []):
            source, target, *mode = mount.split(":")
            assert PurePosixPath(target).is_absolute()
            if source in named:
                used.add(source)
                assert mode == []
            else:
                assert (DEPLOY / source).exists(), f"{name}: {source}"
                assert mode == ["ro"], f"{name}: {source}"
    assert used == named


def test_it_waits_for_calls_in_flight_and_for_the_last_batch(tmp_path: Path) -> None:
    settings = load_settings(DEPLOY / "submeter.yaml", environ={"HOME": str(tmp_path)})
    longest_s = settings.limits.shutdown_s + 5.0 + TRANSLATOR_STOP_S + METER_STOP_S
    minutes = re.fullmatch(r"(\d+)m", SERVICES["submeter"]["stop_grace_period"])
    assert minutes
    assert int(minutes[1]) * 60 >= longest_s + 5


def test_what_is_secret_is_ignored_by_git() -> None:
    ignored = (DEPLOY / ".gitignore").read_text().split()
    assert {".env", "secrets.env"} <= set(ignored)
