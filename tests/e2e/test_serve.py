"""``submeter serve`` as an operator meets it: what keeps it from starting, what it leaves behind, what it hides."""

import hashlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from harness.processes import Provider, Unit, children, free_port, submeter, wait_for
from harness.raw import RawConnection, ask, chat, request

RELAY_BYTES = 60_000_000
NOT_IN_A_RELAY = {
    "aiohttp",
    "alembic",
    "litellm",
    "prometheus_client",
    "redis",
    "rich",
    "sqlalchemy",
    "sqlmodel",
    "tiktoken",
    "typer",
}


# ---- what keeps it from starting -----------------------------------------------------------------------------


def refused(*flags: str, **environment: str) -> str:
    """The one line that ``serve`` says before it ends with 2."""
    run = submeter("serve", *flags, timeout_s=20, **environment)
    assert run.returncode == 2, run.stderr
    assert run.stdout == ""
    lines = run.stderr.splitlines()
    assert len(lines) == 1, run.stderr
    assert lines[0].startswith("submeter: ")
    return lines[0]


BAD_SETTINGS = {
    "unknown key": ("upstream: {}", ("upstream", "upstreams")),
    "unknown key below": ("limits: {head_timeout: 1}", ("limits", "head_timeout_s")),
    "wrong type": ("port: many", ("port",)),
    "out of range": ("port: 70000", ("port",)),
    "no URL": ("upstreams: {openai: {base_url: 'api.openai.com/v1'}}", ("upstreams.openai", "http")),
    "another scheme": ("upstreams: {openai: {base_url: 'ftp://a/v1'}}", ("upstreams.openai", "http")),
    "upstream without a URL": ("upstreams: {own: {}}", ("own", "base_url")),
    "unknown upstream": ("models: {'llama-*': own}", ("llama-*", "own")),
    "key that is not set": ("upstreams: {openai: {api_key_env: NOT_SET_KEY}}", ("NOT_SET_KEY", "export")),
    "not YAML": ("upstreams: [", ("submeter.yaml",)),
    "a list": ("- 1", ("submeter.yaml",)),
}


@pytest.mark.parametrize("name", BAD_SETTINGS)
def test_bad_settings_end_with_one_line_that_names_the_fix(tmp_path: Path, name: str) -> None:
    text, said = BAD_SETTINGS[name]
    path = tmp_path / "submeter.yaml"
    path.write_text(text)
    line = refused("--config", str(path), "--data-dir", str(tmp_path / "d"))
    for part in said:
        assert part in line
    assert not (tmp_path / "d").exists()


def test_bad_flags(tmp_path: Path) -> None:
    data = ("--data-dir", str(tmp_path / "d"))
    assert "http" in refused(*data, "--upstream", "not a url")
    assert "redis://" in refused(*data, "--redis", "http://127.0.0.1")
    assert "--no-cahce" in refused(*data, "--no-cahce")
    assert "missing.yaml" in refused(*data, "--config", str(tmp_path / "missing.yaml"))
    assert "SUBMETER_" in refused(*data, SUBMETER_PROT="1")
    assert "--workers" in refused(*data, "--workers", "0") or "workers" in refused(*data, "--workers", "0")


@pytest.mark.parametrize(("flag", "other"), [("--port", "--ops-port"), ("--ops-port", "--port")])
@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("shared", [False, True])
def test_a_port_in_use(tmp_path: Path, flag: str, other: str, workers: str, shared: bool) -> None:
    """Also one whose user would share it: two servers must never divide the calls among them."""
    with closing(socket.socket()) as taken:
        if shared:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        flags = (flag, str(port), other, str(free_port()), "--workers", workers, "--data-dir", str(tmp_path))
        line = refused(*flags)
    assert f"127.0.0.1:{port}" in line
    assert f"another {flag}" in line


def test_one_port_for_both_planes(tmp_path: Path) -> None:
    port = str(free_port())
    assert port in refused("--port", port, "--ops-port", port, "--data-dir", str(tmp_path))


def test_a_data_directory_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "d", tmp_path / "file", Path("/proc/submeter")):
        line = refused("--data-dir", str(path), "--port", str(free_port()), "--ops-port", str(free_port()))
        assert str(path) in line
        assert "--data-dir" in line


def test_a_second_serve_on_the_same_data(unit: Unit) -> None:
    ports = ("--port", str(free_port()), "--ops-port", str(free_port()))
    line = refused("--data-dir", str(unit.data_dir), *ports)
    assert str(unit.data_dir) in line
    assert "--data-dir" in line
    assert ask(unit.port, "GET", "/healthz").status == 200, "the first is not disturbed"


# ---- what a relay is made of ---------------------------------------------------------------------------------


def test_a_relay_imports_no_database_no_metrics_and_no_client() -> None:
    code = "import submeter.relay.process, sys; print(*{name.partition('.')[0] for name in sys.modules})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    loaded = set(run.stdout.split())
    assert {"submeter", "httptools", "msgspec"} <= loaded
    assert not loaded & NOT_IN_A_RELAY


def test_an_idle_relay_is_small(unit: Unit) -> None:
    assert ask(unit.port, "POST", "/v1/chat/completions", {}, chat(stream=True)).status == 200
    (relay,) = unit.pids("submeter.relay")
    pages = int(Path(f"/proc/{relay}/statm").read_text().split()[1])
    assert pages * os.sysconf("SC_PAGE_SIZE") <= RELAY_BYTES


# ---- what it leaves behind -----------------------------------------------------------------------------------


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_running(tmp_path: Path, provider: Provider, number: signal.Signals) -> None:
    unit = Unit(tmp_path, provider, "--workers", "2")
    unit.wait_ops()
    wait_for(lambda: len(unit.pids("submeter.relay")) == 2, "two relays")
    pids = children(unit.process.pid)
    assert len(pids) == 3
    with RawConnection(unit.port) as busy:
        script = {"x-scripted": "output_tokens=10;gap_ms=50"}
        busy.send(request("POST", "/v1/chat/completions", script, chat(stream=True)))
        busy.read_head()
        unit.process.send_signal(number)
        answer = b""
        while chunk := busy.read_chunk():
            answer += chunk
        assert answer.endswith(b"data: [DONE]\n\n"), "the call in flight finishes all the same"
    code = unit.process.wait(20)
    assert code == (-signal.SIGKILL if number is signal.SIGKILL else 0)
    wait_for(lambda: not any(alive(pid) for pid in pids), "relays and meter to leave by themselves")
    unit.start()  # the ports and the data directory are free again
    try:
        assert [(row["outcome"], row["output_tokens"]) for row in unit.rows()] == [("ok", 10)]
    finally:
        unit.close()


# ---- what it keeps to itself ---------------------------------------------------------------------------------

KEY = "sk-CANARY-caller-key-5e1f"
OWN_KEY = "sk-CANARY-own-key-77aa"
PROMPT = "CANARY prompt: the quick brown fox"
SECRETS = (KEY, OWN_KEY, PROMPT, "CANARY")
API = ("summary", "cost?by=model,team,app,user,prompt,prompt_version", "latency", "series", "calls?last=1000", "status")


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[Unit]:
    """A unit through which secrets have gone in every way that a caller has."""
    config = f"""
upstreams: {{own: {{base_url: "{provider.base_url}", api_key_env: OWN_KEY}}}}
models: {{"own-*": own}}"""
    unit = Unit(tmp_path_factory.mktemp("used"), provider, config=config, OWN_KEY=OWN_KEY)
    unit.wait_ops()
    messages = [{"role": "system", "content": PROMPT}, {"role": "user", "content": PROMPT}]
    tools = [{"type": "function", "function": {"name": "CANARY", "description": PROMPT}}]
    for body in (
        chat(messages=messages),
        chat(messages=messages, stream=True, tools=tools),
        chat(messages=messages, temperature=0),
        chat(messages=messages, temperature=0),
        chat(messages=messages, model="own-model"),
        b'{"model": "' + KEY.encode() + b'", "CANARY": ',
        b'{"model": "gpt-4o", "user": "CANARY\\u0000"}',
    ):
        for header in ({"Authorization": f"Bearer {KEY}"}, {"x-api-key": KEY, "Authorization": ""}):
            sent = header | {"Content-Type": "application/json", "Idempotency-Key": KEY, "Cookie": KEY}
            ask(unit.port, "POST", "/v1/chat/completions?key=" + KEY, sent, body)
    everywhere = {"Authorization": f"Bearer {KEY}", "x-CANARY": KEY}
    for path in (f"/{KEY}", f"/v1/models/{KEY}", "/v1/models?k=" + KEY, f"/v1/../{KEY}"):
        ask(unit.port, "GET", path, everywhere)
    ask(unit.port, "GET", "/v1/models", {"Host": f"{KEY}.example"})
    with RawConnection(unit.port) as connection:
        connection.send(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nx-a : " + KEY.encode() + b"\r\n\r\n")
        connection.read_to_end()
    assert len(unit.rows()) >= 10
    yield unit
    unit.close()


def assert_no_secret(data: bytes, where: str) -> None:
    for secret in SECRETS:
        assert secret.encode() not in data, where
    for secret in (KEY, OWN_KEY, PROMPT):
        digest = hashlib.sha256(secret.encode())
        assert digest.hexdigest().encode() not in data, where
        assert digest.digest() not in data, where


def test_no_file_of_the_data_directory_has_a_secret(used: Unit) -> None:
    files = [path for path in used.data_dir.rglob("*") if path.is_file()]
    assert any(path.suffix == ".sqlite3" for path in files)
    assert any("journal" in path.parts for path in files)
    for path in files:
        assert_no_secret(path.read_bytes(), str(path))


def test_files_are_private(used: Unit) -> None:
    assert used.data_dir.stat().st_mode & 0o077 == 0
    for path in (used.data_dir / "keys").iterdir():
        assert path.stat().st_mode & 0o077 == 0


def test_no_log_no_argument_and_no_answer_has_a_secret(used: Unit) -> None:
    assert_no_secret(used.log_path.read_bytes(), "log")
    for pid in (used.process.pid, *children(used.process.pid)):
        assert_no_secret(Path(f"/proc/{pid}/cmdline").read_bytes(), "command line")
    for path in ("/", "/metrics", "/readyz", *(f"/api/{name}" for name in API)):
        answer = ask(used.ops_port, "GET", path)
        assert answer.status == 200, path
        assert_no_secret(answer.body, path)


def test_no_command_shows_a_secret(used: Unit) -> None:
    data = ("--data-dir", str(used.data_dir))
    for command in (("calls", "--json"), ("cost", "--by", "prompt,prompt_version", "--json"), ("latency", "--json")):
        run = submeter(*command, *data)
        assert run.returncode == 0, run.stderr
        assert_no_secret((run.stdout + run.stderr).encode(), command[0])
    config = ("--config", str(used.directory / "submeter.yaml"))
    run = submeter(
        "doctor", *config, *data, "--port", str(used.port), "--ops-port", str(used.ops_port), OWN_KEY=OWN_KEY
    )
    assert_no_secret((run.stdout + run.stderr).encode(), "doctor")
