"""``python -m submeter.scripted``: announces itself, takes its defaults from a file, ends on SIGTERM."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import submeter
from scripted.harness import CHAT, CHAT_STREAM
from submeter.scripted import read_invoice

SOURCE_ROOT = Path(submeter.__file__).parent.parent
COMMAND = [sys.executable, "-m", "submeter.scripted"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(SOURCE_ROOT)}


@contextmanager
def process(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    running = subprocess.Popen(
        [*COMMAND, *arguments], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with running:
        try:
            assert running.stdout is not None
            line = running.stdout.readline()
            assert line.startswith("listening on http://127.0.0.1:")
            yield running, line.split()[-1]
        finally:
            running.kill()


def post(url: str, body: object) -> urllib.request.Request:
    return urllib.request.Request(  # noqa: S310 -- the URL is our own
        f"{url}/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )


def test_it_serves_and_ends_on_sigterm_with_streams_open(tmp_path: Path) -> None:
    invoice, config, port_file = tmp_path / "invoice.jsonl", tmp_path / "config.json", tmp_path / "port"
    config.write_text('{"output_tokens": 3, "gap_ms": 1}')
    with process("--invoice", str(invoice), "--config", str(config), "--port-file", str(port_file)) as (running, url):
        assert url == f"http://127.0.0.1:{port_file.read_text()}/v1"
        with urllib.request.urlopen(post(url, CHAT)) as response:  # noqa: S310
            assert json.load(response)["usage"]["completion_tokens"] == 3
        request = post(url, CHAT_STREAM)
        request.add_header("x-scripted", "stall_after_chunks=2")
        with urllib.request.urlopen(request) as response:  # noqa: S310
            assert response.readline().startswith(b"data: ")
            running.send_signal(signal.SIGTERM)
            assert running.wait(10) == 0
        assert running.stderr is not None
        assert running.stderr.read() == ""
    lines = read_invoice(invoice)
    assert [(line["complete"], line["closed_by_client"]) for line in lines] == [(True, False), (False, False)]
    assert [line["output_tokens"] for line in lines] == [3, 2]


@pytest.mark.parametrize(
    ("config", "said"), [('{"output_tokns": 3}', "did you mean 'output_tokens'?"), ("{", "truncated")]
)
def test_a_bad_config_is_refused_by_name(tmp_path: Path, config: str, said: str) -> None:
    (tmp_path / "config.json").write_text(config)
    ended = subprocess.run(
        [*COMMAND, "--invoice", str(tmp_path / "i"), "--config", str(tmp_path / "config.json")],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 2
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_taken_port_is_refused(tmp_path: Path) -> None:
    with process("--invoice", str(tmp_path / "i")) as (_, url):
        port = url.removesuffix("/v1").rpartition(":")[2]
        ended = subprocess.run(
            [*COMMAND, "--invoice", str(tmp_path / "j"), "--port", port],
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert ended.returncode == 2
    assert ended.stderr.startswith("cannot listen: ")
    assert port in ended.stderr
    assert "Traceback" not in ended.stderr


def test_it_shares_nothing_with_the_metering() -> None:
    """The invoice is evidence only if no line of the code under test computed it.

    The simulator's core says when tokens come, and nothing of what they cost.
    """
    code = "import sys, submeter.scripted.__main__; print([m for m in sys.modules if m.startswith('submeter')])"
    ended = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, timeout=30, check=True
    )
    loaded = [name for name in json.loads(ended.stdout.replace("'", '"')) if name != "submeter"]
    others = [name for name in loaded if not name.startswith("submeter.scripted")]
    assert others == ["submeter.report", "submeter.report.engine"]
