"""A real Prometheus (Debian's) as a process of its own on a free port, with a past where a test wants one."""

import shutil
import subprocess
import urllib.parse
from pathlib import Path
from typing import Any

import pytest

from harness.processes import accepts, end, free_port, wait_for
from harness.raw import ask

RETENTION = "60d"
TIMEOUT_S = 60.0


def program(name: str) -> str:
    """``prometheus`` or ``promtool``. Skips where it is not there, which under CI is a failure."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name}: apt-get install prometheus")
    return found


class Prometheus:
    """``close`` ends it. ``config`` is the text of its prometheus.yml."""

    def __init__(self, directory: Path, config: str) -> None:
        self.port = free_port()
        self._data = directory / "prometheus"
        self._data.mkdir()
        self._directory = directory
        path = directory / "prometheus.yml"
        path.write_text(config)
        self._command = [
            program("prometheus"),
            *(f"--config.file={path}", f"--storage.tsdb.path={self._data}"),
            *(f"--web.listen-address=127.0.0.1:{self.port}", f"--storage.tsdb.retention.time={RETENTION}"),
            "--enable-feature=exemplar-storage",
            "--log.level=warn",
        ]
        self._log = (directory / "prometheus.log").open("ab")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=self._log, stderr=self._log)
        wait_for(lambda: accepts(self.port) and self._is_ready(), "Prometheus")

    def stop(self) -> None:
        if self._process is not None:
            end(self._process)
        self._process = None

    def close(self) -> None:
        self.stop()
        self._log.close()

    def import_samples(self, openmetrics: Path) -> None:
        """Add a past; only while it is stopped."""
        self._promtool("tsdb", "create-blocks-from", "openmetrics", "-q", str(openmetrics), str(self._data))

    def import_rules(self, rules: Path, windows: list[tuple[int, int]]) -> None:
        """What the recording rules say of the past, in (begin, end) Unix seconds; it has to be running, and shows it
        after its next start."""
        for begin, last in windows:
            at = (f"--start={begin}", f"--end={last}", f"--url={self.url}", f"--output-dir={self._data}")
            self._promtool("tsdb", "create-blocks-from", "rules", *at, str(rules))

    def query(self, expression: str, at_s: float | None = None) -> list[dict[str, Any]]:
        """The samples of an instant query; a scalar is one sample without labels. Raises for what does not parse."""
        asked = {"query": expression} | ({} if at_s is None else {"time": f"{at_s:.3f}"})
        data = self._get("query", asked)
        if data["resultType"] in ("scalar", "string"):
            return [{"metric": {}, "value": data["result"]}]
        return list(data["result"])

    def query_range(self, expression: str, begin_s: float, end_s: float, step_s: float) -> list[dict[str, Any]]:
        asked = {"query": expression, "start": f"{begin_s:.3f}", "end": f"{end_s:.3f}", "step": f"{step_s}"}
        return list(self._get("query_range", asked)["result"])

    def number(self, expression: str) -> float:
        """Of a query that has one sample."""
        (sample,) = self.query(expression)
        return float(sample["value"][1])

    def targets_up(self) -> bool:
        active = self._get("targets", {})["activeTargets"]
        return bool(active) and all(target["health"] == "up" for target in active)

    def label_values(self, label: str, match: str) -> list[str]:
        return list(self._get(f"label/{label}/values", {"match[]": match}))

    def rules(self) -> list[dict[str, Any]]:
        return [rule for group in self._get("rules", {})["groups"] for rule in group["rules"]]

    def _get(self, path: str, asked: dict[str, str]) -> Any:
        answer = ask(self.port, "GET", f"/api/v1/{path}?{urllib.parse.urlencode(asked)}")
        if answer.status != 200:
            raise ValueError(answer.body.decode())
        return answer.json()["data"]

    def _is_ready(self) -> bool:
        return ask(self.port, "GET", "/-/ready").status == 200

    def _promtool(self, *arguments: str) -> None:
        run = subprocess.run(
            [program("promtool"), *arguments], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
        assert run.returncode == 0, run.stderr[-2000:]
