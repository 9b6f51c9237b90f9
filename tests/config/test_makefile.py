"""`make`: what it lists, and the one line with which it ends where a machine or a target will not do."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Where nothing is installed yet."""
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def make(clone: Path, *arguments: str) -> tuple[int, str, str]:
    # Whoever runs the tests by `make test` must not make this a sub-make.
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(["make", *arguments], cwd=clone, env=environ, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def python(clone: Path, lines: str) -> str:
    """A Python that runs ``lines`` before the code that it is given."""
    path = clone / "some-python"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{lines}; $2"\n')
    path.chmod(0o755)
    return f"PYTHON={path}"


def test_make_alone_lists_the_targets(clone):
    code, out, err = make(clone)
    assert (code, err) == (0, "")
    targets = ["help", "demo", "run", "test", "lint", "bench", "dashboards", "stack", "loadtest", "lock", "clean"]
    assert [line.split()[1] for line in out.splitlines()] == targets


@pytest.mark.parametrize("target", ["chaos", "soak"])
def test_what_is_not_built_yet_says_so(clone, target):
    code, out, err = make(clone, target)
    assert (code, out) == (2, "")
    assert f"make {target} is not built yet" in err
    assert err.count("\n") == 1


def ends_with_one_line(clone: Path, argument: str) -> str:
    code, out, err = make(clone, argument, "demo")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert not (clone / ".venv").exists()
    return err


def test_no_python(clone):
    assert "there is no python9: install Python 3.11 or later" in ends_with_one_line(clone, "PYTHON=python9")


def test_an_old_python(clone):
    argument = python(clone, "import sys; sys.version_info = (3, 9, 2)")
    assert (
        "is Python 3.9, and 3.11 or later is needed: name one, as in: make PYTHON=python3.12 demo"
        in ends_with_one_line(clone, argument)
    )


@pytest.mark.parametrize("missing", ["venv", "ensurepip"])
def test_python3_venv_missing(clone, missing):
    lines = f"import importlib.util as i; find = i.find_spec; i.find_spec = lambda n: n != '{missing}' and find(n)"
    line = ends_with_one_line(clone, python(clone, lines))
    assert "cannot make a virtual environment: install python3-venv, as in: apt-get install python3-venv" in line


def test_a_python_that_does_not_run(clone):
    assert "does not run: name another" in ends_with_one_line(clone, python(clone, "raise SystemExit(1)"))
