"""How a command begins and ends: options to settings, one line per mistake, exit codes, and what is not imported."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from types import ModuleType

import pytest

from submeter import __version__, cli
from submeter.config import Settings, load_settings
from submeter.errors import UsageError

HEAVY = ("aiohttp", "sqlmodel", "sqlalchemy", "alembic", "litellm", "openai", "anthropic", "redis", "tiktoken", "yaml")


@pytest.fixture(autouse=True)
def _quiet_place(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No submeter.yaml, no SUBMETER_* of whoever runs the tests."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    for name in [name for name in os.environ if name.startswith("SUBMETER_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    def run_line(line: str) -> int:
        monkeypatch.setattr(sys, "argv", ["submeter", *line.split()])
        with pytest.raises(SystemExit) as left:
            cli.main()
        assert isinstance(left.value.code, int)
        return left.value.code

    return run_line


def served(monkeypatch: pytest.MonkeyPatch, outcome: int | BaseException = 0) -> list[Settings]:
    """What `submeter.serve.run` was handed; it is not started."""
    seen: list[Settings] = []

    def run(settings: Settings) -> int:
        seen.append(settings)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    module = ModuleType("submeter.serve")
    module.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "submeter.serve", module)
    monkeypatch.setattr("submeter.serve", module, raising=False)
    return seen


def test_every_option_of_serve_reaches_the_settings(run, monkeypatch):
    seen = served(monkeypatch)
    line = (
        "serve --host 127.0.0.2 --port 5000 --ops-port 5001 --workers 2 --data-dir d --redis redis://r --no-cache"
        " --open --ledger sqlite:////l --upstream http://a/v1 --upstream own=http://b/v1"
    )
    assert run(line) == 0
    (settings,) = seen
    assert (settings.host, settings.port, settings.ops_port, settings.workers) == ("127.0.0.2", 5000, 5001, 2)
    assert (settings.redis, settings.ledger_url, settings.cache.enabled) == ("redis://r", "sqlite:////l", False)
    assert settings.data_dir.name == "d"
    assert settings.open is True
    assert settings.upstreams["openai"].base_url == "http://a/v1"
    assert settings.upstreams["own"].base_url == "http://b/v1"


def test_without_options_the_settings_are_the_defaults(run, monkeypatch):
    seen = served(monkeypatch)
    assert run("serve") == 0
    assert seen == [load_settings()]


def test_the_settings_file_is_an_option(run, monkeypatch, tmp_path):
    seen = served(monkeypatch)
    (tmp_path / "other.yaml").write_text("port: 5000")
    assert run("serve --config other.yaml") == 0
    assert seen[0].port == 5000


def test_the_exit_code_is_what_serve_says(run, monkeypatch):
    served(monkeypatch, 1)
    assert run("serve") == 1


def test_ctrl_c_is_130_and_quiet(run, monkeypatch, capsys):
    served(monkeypatch, KeyboardInterrupt())
    assert run("serve") == 130
    assert "Traceback" not in capsys.readouterr().err


def test_ctrl_c_before_a_command_has_begun_is_130_too(run, monkeypatch):
    def interrupted(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "app", interrupted)
    assert run("serve") == 130


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("serve --port 0", "submeter: --port: expected a whole number from 1 to 65535, got 0\n"),
        (
            "serve --host 0.0.0.0",
            "submeter: --host 0.0.0.0 lets anyone who reaches port 4100 in, and no proxy key exists: stay on 127.0.0.1",
        ),
        ("serve --prot 1", "submeter: No such option: --prot"),
        ("serv", "submeter: No such command 'serv'. Did you mean 'serve'?"),
        ("serve --port x", "submeter: Invalid value for '--port'"),
        ("serve --config missing.yaml", "submeter: there is no file missing.yaml: give the right one with --config\n"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(run, capsys, line, error):
    assert run(line) == 2
    out, err = capsys.readouterr()
    assert err.startswith(error)
    assert err.count("\n") == 1
    assert out == ""


def test_a_usage_error_of_any_command_is_one_line(run, monkeypatch, capsys):
    served(monkeypatch, UsageError("port 4100 is in use: choose another --port"))
    assert run("serve") == 2
    assert capsys.readouterr().err == "submeter: port 4100 is in use: choose another --port\n"


def test_the_unexpected_is_one_line_without_its_text(run, monkeypatch, capsys):
    served(monkeypatch, RuntimeError("sk-canary"))
    assert run("serve") == 2
    err = capsys.readouterr().err
    assert err.startswith("submeter: unexpected RuntimeError at ")
    assert "please report it" in err
    assert "canary" not in err
    assert err.count("\n") == 1


def test_debug_shows_the_traceback(run, monkeypatch, capsys):
    served(monkeypatch, RuntimeError("boom"))
    monkeypatch.setenv("SUBMETER_DEBUG", "1")
    assert run("serve") == 2
    assert "Traceback" in capsys.readouterr().err


def test_version(run, capsys):
    assert run("--version") == 0
    assert capsys.readouterr().out == f"submeter {__version__}\n"


@pytest.mark.parametrize("line", ["", "--help"])
def test_help_lists_every_command(run, capsys, line):
    assert run(line) == 0
    out = capsys.readouterr().out
    for name in ("serve", "demo", "doctor", "calls", "cost", "latency", "prices"):
        assert f" {name} " in out


@pytest.mark.parametrize("name", ["serve", "demo", "doctor", "calls", "cost", "latency", "prices"])
def test_help_of_every_command_ends_with_examples(run, capsys, name):
    assert run(f"{name} --help") == 0
    assert f"submeter {name}" in capsys.readouterr().out.split("Examples")[1]


@pytest.mark.parametrize("line", ["['--help']", "['serve', '--help']"])
def test_help_imports_nothing_heavy(line):
    code = (
        f"import sys; sys.argv[1:] = {line}\n"
        "from submeter.cli import main\n"
        "try: main()\n"
        f"finally: print([m for m in {HEAVY} if m in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"


def submeter(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "submeter.cli", *arguments], capture_output=True, text=True, **options)


def test_as_a_process(tmp_path):
    (tmp_path / "submeter.yaml").write_text("prot: 4100\n")
    done = submeter("serve", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "submeter: submeter.yaml line 1: prot: unknown setting; did you mean port?\n"


def test_a_reader_that_has_enough_is_no_error():
    # The read end is closed before the command writes its first byte.
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "submeter.cli", "--version"], stdout=write, stderr=subprocess.PIPE, text=True
        )
    finally:
        os.close(write)
    assert done.stderr == ""


def test_json_stays_alone_on_stdout(tmp_path):
    done = submeter("prices", "show", "gpt-4o", "--json", cwd=tmp_path)
    assert done.returncode == 0
    json.loads(done.stdout)
