"""One unit for the table of faults, and what every refusal has in common: its shape, its headers, no echo, no row."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.processes import Provider, Unit, free_port, wait_for
from harness.raw import Answer, RawConnection, ask, request

CANARY = "CANARY-7f3a"
"""Part of every bad input; must come back in no answer and stand in no log."""
LIMIT_BYTES = 100_000
MESSAGES = {"model": "claude-haiku-4-5", "max_tokens": 64, "messages": [{"role": "user", "content": CANARY}]}


class FaultUnit(Unit):
    """A unit with short deadlines and upstreams that fail. ``refused``: call id -> code of what must leave no row."""

    def __init__(self, directory: Path, provider: Provider, *, more: str, streams: int) -> None:
        self.refused: dict[str, str] = {}
        config = f"""
limits: {{head_timeout_s: 1, body_rate_window_s: 1, body_bytes: {LIMIT_BYTES}, streams: {streams}}}
upstreams:
  openai: {{base_url: "{provider.base_url}", first_byte_timeout_s: 1, idle_timeout_s: 1}}
  anthropic: {{base_url: "{provider.base_url}", first_byte_timeout_s: 1, idle_timeout_s: 1}}
  closed-port: {{base_url: "http://127.0.0.1:{free_port()}/v1", accepts_caller_key: true}}
  no-name: {{base_url: "https://no-such-host.invalid/v1", accepts_caller_key: true, connect_timeout_s: 5}}
  no-tls: {{base_url: "https://127.0.0.1:{provider.port}/v1", accepts_caller_key: true}}
  own-key: {{base_url: "{provider.base_url}", api_key_env: OWN_KEY}}
  private: {{base_url: "{provider.base_url}"}}
models: {{"closed-port-*": closed-port, "no-name-*": no-name, "no-tls-*": no-tls, "own-*": own-key, "priv-*": private}}
{more}"""
        super().__init__(directory, provider, config=config, OWN_KEY="sk-own-key")

    def close(self) -> None:
        """Ledger "N" of the table, for all refused calls at once."""
        try:
            left = self.refused.keys() & {row["call_id"] for row in self.rows()}
            assert not left, "refusals have left rows"
            assert CANARY not in self.log()
        finally:
            super().close()


def fault_unit(directory: Path, provider: Provider, *, more: str = "", streams: int = 100) -> Iterator[FaultUnit]:
    """For a fixture."""
    unit = FaultUnit(directory, provider, more=more, streams=streams)
    yield unit
    unit.close()


def post(body: Any, path: str = "chat/completions", headers: dict[str, str] | None = None) -> bytes:
    """A metered call with a body that need not be JSON."""
    data = json.dumps(body).encode() if isinstance(body, dict) else body
    return request("POST", f"/v1/{path}", {"Content-Type": "application/json"} | (headers or {}), data)


def refusal(
    unit: FaultUnit,
    data: bytes,
    status: int,
    code: str,
    *,
    param: str | None = None,
    anthropic: bool = False,
    kept: bool | None = None,
) -> Answer:
    """Send ``data``; the answer is this fault in full, leaves no row, and the connection is ``kept`` or closed."""
    with RawConnection(unit.port, deadline_s=8.0) as connection:
        connection.send(data)
        answer = connection.read_answer()
        is_fault(answer, status, code, param=param, anthropic=anthropic)
        if kept is not None:
            (assert_kept if kept else assert_closed)(connection, answer)
    unit.refused[answer.call_id] = code
    return answer


def is_fault(
    answer: Answer, status: int, code: str, *, param: str | None = None, anthropic: bool = False, retry: bool = True
) -> None:
    """What all answers that the relay makes itself have in common."""
    assert (answer.status, answer.json()["error"]["code"]) == (status, code)
    kind = "server_error" if status >= 500 and status != 505 else "invalid_request_error"
    error = answer.json()["error"]
    assert (error["type"], error["param"], set(error)) == (kind, param, {"message", "type", "param", "code"})
    assert len(error["message"]) > 20
    assert ({**answer.json()} == {"type": "error", "error": error}) is anthropic
    assert answer.header("content-type") == "application/json"
    assert answer.header("cache-control") == "no-store"
    assert answer.header("x-should-retry") == (None if retry else "false")
    assert len(answer.call_id) == 36
    told = b"".join(name + value for name, value in answer.headers) + answer.body
    assert CANARY.encode() not in told


def assert_closed(connection: RawConnection, answer: Answer) -> None:
    """It says so, and it does so."""
    assert answer.header("connection") == "close"
    assert connection.read_to_end() == b""


def assert_kept(connection: RawConnection, answer: Answer) -> None:
    """The connection serves another request."""
    assert answer.header("connection") is None
    connection.send(request("GET", "/healthz"))
    assert connection.read_answer().body == b"ok\n"


def row_of(unit: Unit, answer: Answer) -> dict[str, Any]:
    """The call's row, as soon as it is there, by the JSON API."""
    unit.wait_ops()
    path = f"/api/calls/{answer.call_id}"

    def look() -> list[dict[str, Any]] | None:
        found = ask(unit.ops_port, "GET", path)
        return found.json() if found.status == 200 else None

    (row,) = wait_for(look, "the row")
    return row


def peak_bytes(pid: int) -> int:
    """The most memory that a process has had."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def sample(unit: Unit, line: str) -> float:
    """One sample of /metrics; 0 when it is not there."""
    unit.wait_ops()
    text = ask(unit.ops_port, "GET", "/metrics").body.decode()
    return next((float(found[len(line) :]) for found in text.splitlines() if found.startswith(line + " ")), 0.0)


def assert_counted(unit: FaultUnit, code: str) -> None:
    """Each refusal is counted, once; relays tell their counts once a second."""
    expected = sum(refused == code for refused in unit.refused.values())
    line = f'submeter_refused_calls_total{{code="{code}"}}'
    wait_for(lambda: sample(unit, line) >= expected, f"{expected} refusals", deadline_s=5.0)
    assert sample(unit, line) == expected
