"""Upstreams over HTTPS: verified by the machine's certificates, kept open, and never spoken to when not trusted."""

import asyncio
import contextlib
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.processes import Provider, Unit
from harness.raw import ask, chat

USAGE = {"include_usage": True}


class TlsFront:
    """TLS in front of a plain server, in a thread of its own; counts what connects."""

    def __init__(self, certificate: Path, target_port: int) -> None:
        self.connections = 0
        self._target_port = target_port
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(
            asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        )
        self.port: int = self._server.sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def close(self) -> None:
        async def end() -> None:
            self._server.close()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.sleep(0.05)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        await asyncio.gather(_pump(reader, inner_writer), _pump(inner_reader, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()


@pytest.fixture(scope="module")
def certificate(module_dir: Path) -> Path:
    """A self-signed certificate of localhost with its key in one file, made for this run."""
    path = module_dir / "localhost.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost", "-keyout", str(path), "-out", f"{path}.crt"),
        ],
        check=True,
        capture_output=True,
    )
    path.write_bytes(path.read_bytes() + Path(f"{path}.crt").read_bytes())
    return path


@pytest.fixture(scope="module")
def front(certificate: Path, provider: Provider) -> Iterator[TlsFront]:
    front = TlsFront(certificate, provider.port)
    yield front
    front.close()


def test_a_trusted_upstream_is_kept_open_and_streams(
    tmp_path: Path, certificate: Path, front: TlsFront, provider: Provider
) -> None:
    unit = Unit(tmp_path, f"https://localhost:{front.port}/v1", SSL_CERT_FILE=str(certificate) + ".crt")
    try:
        direct = ask(provider.port, "POST", "/v1/chat/completions", {}, chat(stream=True, stream_options=USAGE))
        answers = [
            ask(unit.port, "POST", "/v1/chat/completions", {}, chat(stream=True, stream_options=USAGE))
            for _ in range(5)
        ]
        assert [answer.body for answer in answers] == [direct.body] * 5
        assert front.connections == 1
        assert {row["cost_state"] for row in unit.rows()} == {"exact"}
    finally:
        unit.close()


def test_an_untrusted_upstream_is_not_spoken_to(tmp_path: Path, front: TlsFront, provider: Provider) -> None:
    before = len(provider.invoice())
    unit = Unit(tmp_path, f"https://localhost:{front.port}/v1")
    try:
        answer = ask(unit.port, "POST", "/v1/chat/completions", {}, chat())
        assert (answer.status, answer.json()["error"]["code"]) == (502, "upstream_unreachable")
        row = unit.row(answer.call_id)
        assert (row["outcome"], row["cost_nano_usd"], row["status"]) == ("upstream_error", 0, 502)
    finally:
        unit.close()
    assert len(provider.invoice()) == before
