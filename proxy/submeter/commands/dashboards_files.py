"""Boards and rules on disk: written, compared with what would be written now, and checked by promtool."""

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, NamedTuple

from submeter.errors import UsageError

NEEDED = ("grafana_foundation_sdk", "grafana_api")
PROMTOOL_TIMEOUT_S = 60.0

Products = Mapping[str, str]
"""Path below the directory → text."""


class Finding(NamedTuple):
    path: str
    what: Literal["differs", "is missing", "is not built any more"]


def products() -> Products:
    """All files; raises UsageError where the packages that make them are not installed."""
    if any(find_spec(package) is None for package in NEEDED):
        raise UsageError("dashboards need Grafana's packages: pip install 'submeter[grafana]'")
    from submeter.dashboards.build import build

    return build()


def write(directory: Path, wanted: Products) -> list[str]:
    """Write what differs, and return the paths below ``directory`` that were written."""
    changed = [path for path, text in wanted.items() if _read(directory / path) != text.encode()]
    for path in changed:
        file = directory / path
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(wanted[path].encode())
        except OSError as error:
            raise UsageError(f"--out: cannot write {file}: {error.strerror}") from None
    return changed


def compare(directory: Path, wanted: Products) -> list[Finding]:
    """What is not as it would be built; files beside ours, of the same kind, are ours of another day."""
    if not directory.is_dir():
        raise UsageError(f"--dir: {directory} is no directory: `submeter dashboards build --out {directory}` makes it")
    return [*_changed(directory, wanted), *_forgotten(directory, wanted)]


def check_rules(directory: Path, wanted: Products) -> str | None:
    """What promtool finds wrong with the rules in ``directory``: "" if nothing, None where there is no promtool."""
    program = shutil.which("promtool")
    files = [str(directory / path) for path in wanted if path.endswith(".yml") and (directory / path).is_file()]
    if program is None:
        return None
    if not files:
        return ""
    try:
        run = subprocess.run(  # noqa: S603 - what PATH calls promtool, on files that the caller names
            [program, "check", "rules", *files], capture_output=True, text=True, timeout=PROMTOOL_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        raise UsageError(f"{program} does not run, or not within {PROMTOOL_TIMEOUT_S:.0f} s") from None
    return "" if run.returncode == 0 else (run.stderr or run.stdout).strip() or f"exit code {run.returncode}"


def _changed(directory: Path, wanted: Products) -> Iterator[Finding]:
    for path, text in wanted.items():
        held = _read(directory / path)
        if held is None:
            yield Finding(path, "is missing")
        elif held != text.encode():
            yield Finding(path, "differs")


def _forgotten(directory: Path, wanted: Products) -> Iterator[Finding]:
    for kind in sorted({(Path(path).parent, Path(path).suffix) for path in wanted}):
        for file in sorted((directory / kind[0]).glob(f"*{kind[1]}")):
            path = file.relative_to(directory).as_posix()
            if path not in wanted:
                yield Finding(path, "is not built any more")


def _read(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from None
