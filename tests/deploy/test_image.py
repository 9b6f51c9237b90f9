"""The Dockerfile: linted, given all that it copies, and its parts run as far as they do without an engine."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from deploy.dockerfile import DOCKERFILE, ROOT, copied, health_check, instructions, last, sent
from harness.processes import Provider, Unit, clean_environment, free_port

TEXT = DOCKERFILE.read_text()
HADOLINT = Path(sys.executable).parent / "hadolint"
LOCKS = ("requirements.lock", "deploy/requirements.lock")
PINNED = re.compile(r"^([a-z0-9._-]+)(?:\[[a-z,]+\])?==([^ ;\\]+)", re.MULTILINE)


def hadolint(text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([HADOLINT, "--no-color", "-"], input=text, capture_output=True, text=True, check=False)


def test_hadolint_finds_nothing() -> None:
    ended = hadolint(TEXT)
    assert (ended.returncode, ended.stdout) == (0, "")


@pytest.mark.parametrize(
    ("right", "wrong", "rule"),
    [
        ("WORKDIR /data", "WORKDIR data", "DL3000"),
        ("USER 10001:10001", "USER root", "DL3002"),
        ('ENTRYPOINT ["submeter"]', "ENTRYPOINT submeter serve", "DL3025"),
        ("ARG PYTHON=python:3.11.14-slim-bookworm\n", "FROM python:latest\n", "DL3007"),
    ],
)
def test_hadolint_finds_what_is_broken(right: str, wrong: str, rule: str) -> None:
    assert right in TEXT
    ended = hadolint(TEXT.replace(right, wrong))
    assert ended.returncode != 0
    assert rule in ended.stdout


def test_it_is_pinned_and_not_root() -> None:
    assert re.fullmatch(r"PYTHON=python:3\.11\.\d+-slim-\w+", instructions(TEXT)[0][1])
    assert {rest.partition(" AS ")[0] for word, rest in instructions(TEXT) if word == "FROM"} == {"${PYTHON}"}
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", last("USER", TEXT))
    assert last("EXPOSE", TEXT) == "4100 4101"


def test_nothing_is_installed_but_by_hash_or_from_the_wheel() -> None:
    installs = re.findall(r"pip (?:--python \S+ )?(install .*|wheel .*)", TEXT)
    assert len(installs) == 4
    for install in installs:
        assert "--no-deps" in install
        assert re.search("--require-hashes -r requirements.lock|--no-index /wheels|--no-build-isolation", install)


def test_what_is_installed_is_what_was_tested() -> None:
    deployed, tested = (dict(PINNED.findall((ROOT / name).read_text())) for name in (LOCKS[1], "requirements-dev.lock"))
    assert {"psycopg-binary", "pyarrow", "grafana-api", "uvloop", "aiohttp"} <= set(deployed)
    assert {name: tested.get(name) for name in deployed} == deployed
    assert not {"pytest", "openai", "hatchling", "litellm"} & set(deployed)


# -- what the builder is sent ----------------------------------------------------------------------------------------


def test_only_what_is_copied_is_sent() -> None:
    made_up = [
        *("proxy/submeter/cli.py", "proxy/submeter/store/migrations/env.py", "LICENSE", "README.md"),
        *("deploy/.env", ".git/config", "proxy/submeter/__pycache__/cli.cpython-311.pyc", "tests/conftest.py"),
        *(".venv/bin/python", "proxy/submeter.egg-info/PKG-INFO", "submeter.yaml", "data/keys/cache"),
    ]
    assert sent(made_up) == made_up[:4]


def test_all_that_is_copied_is_sent() -> None:
    for source in copied():
        path = ROOT / source
        assert path.exists(), source
        if path.is_file():
            assert sent([source]) == [source]
    assert copied() == {*LOCKS, "pyproject.toml", "README.md", "LICENSE", "proxy"}


def test_the_wheel_that_is_built_from_it_is_whole(tmp_path: Path) -> None:
    files = [path.relative_to(ROOT).as_posix() for path in ROOT.glob("proxy/**/*") if path.is_file()]
    for name in sent([*files, "pyproject.toml", "README.md", "LICENSE"]):
        target = tmp_path / "src" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / name).read_bytes())
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        "wheels",
        "./src",
    ]
    subprocess.run([*build, "--no-index", "-q"], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    (wheel,) = (tmp_path / "wheels").glob("submeter-*-py3-none-any.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    ours = {name.removeprefix("proxy/") for name in sent(files)}
    assert ours <= held
    assert {name for name in held if ".dist-info/" not in name} == ours


# -- what it runs ----------------------------------------------------------------------------------------------------


def test_its_entry_point_and_command_are_the_wheels() -> None:
    assert (last("ENTRYPOINT", TEXT), last("CMD", TEXT)) == ('["submeter"]', '["serve"]')
    assert 'submeter = "submeter.cli:main"' in (ROOT / "pyproject.toml").read_text()


def test_its_health_check_sees_a_unit_and_its_absence(tmp_path: Path) -> None:
    program, *arguments = health_check()
    assert program == "python"

    def check(port: int) -> int:
        environ = clean_environment(SUBMETER_PORT=str(port), http_proxy="http://127.0.0.1:9/")
        ended = subprocess.run([sys.executable, *arguments], env=environ, capture_output=True, timeout=30, check=False)
        return ended.returncode

    assert check(free_port()) != 0
    provider = Provider(tmp_path)
    unit = Unit(tmp_path, provider)
    try:
        assert check(unit.port) == 0
    finally:
        unit.close()
        provider.close()
    assert check(unit.port) != 0


def test_git_keeps_the_scripts_executable() -> None:
    for path in ("up", "postgres/reader.sh"):
        assert os.access(ROOT / "deploy" / path, os.X_OK), path
