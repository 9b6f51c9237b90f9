"""Asks one address, step by step, so that the report can say which step failed. Sends no credential."""

import asyncio
import os
import socket
import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec

from submeter.config import split_host_port

TIMEOUT_S = 5.0
BODY_BYTES = 4096


class Reply(msgspec.Struct, frozen=True):
    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: str
    """Its beginning; empty unless asked for."""


class Unreachable(Exception):
    """What failed and how to mend it, in our words or the system's, never the peer's."""

    def __init__(self, text: str, mend: str, *, refused: bool) -> None:
        super().__init__(text)
        self.text = text
        self.mend = mend
        self.refused = refused
        """Nothing listens there."""


async def ask(url: str, *, with_body: bool = False, timeout_s: float = TIMEOUT_S) -> Reply:
    """The answer to a plain GET of a checked http(s) URL, whatever its status. Raises ``Unreachable``."""
    host, port = split_host_port(url)
    step, writer = "name look-up", None
    try:
        async with asyncio.timeout(timeout_s):
            await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
            step = "connection"
            reader, writer = await asyncio.open_connection(host, port)
            if url.startswith("https:"):
                step = "TLS"
                await writer.start_tls(ssl.create_default_context(), server_hostname=host)
            step = "answer"
            writer.write(_request(url))
            head = await reader.readuntil(b"\r\n\r\n")
            return _reply(head, await reader.read(BODY_BYTES) if with_body else b"")
    except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise unreachable(step, error, f"{host} port {port}", timeout_s) from None
    finally:
        if writer is not None:
            writer.transport.abort()


def _request(url: str) -> bytes:
    parts = urlsplit(url)
    lines = (f"GET {parts.path or '/'} HTTP/1.1", f"Host: {parts.netloc}", "User-Agent: submeter-doctor")
    return "\r\n".join((*lines, "Accept: */*", "Connection: close", "", "")).encode("ascii")


def _reply(head: bytes, body: bytes) -> Reply:
    status_line, *lines = head.decode("latin-1").split("\r\n")
    version, status, *_ = [*status_line.split(" ", 2), ""]
    if not version.startswith("HTTP/1.") or not status.isdecimal():
        raise ValueError("no HTTP")
    pairs = (line.partition(":") for line in lines if line)
    return Reply(int(status), {name.strip().lower(): value.strip() for name, _, value in pairs}, body.decode("latin-1"))


def unreachable(step: str, error: Exception, place: str, timeout_s: float) -> Unreachable:
    refused = isinstance(error, ConnectionRefusedError)
    return Unreachable(f"{step} failed: {_reason(error, timeout_s)}", _mend(step, error, place), refused=refused)


def _reason(error: Exception, timeout_s: float) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return f"the certificate is not trusted ({error.verify_message})"
        case ssl.SSLError():
            return "the port does not speak TLS as expected"
        case TimeoutError():
            return f"nothing within {timeout_s:g} s"
        case socket.gaierror():
            return error.strerror or "unknown host"
        case OSError():  # asyncio puts words of its own into strerror, and no errno where several addresses failed
            return os.strerror(error.errno) if error.errno else "no address of it answered"
        case _:
            return "what came is no HTTP answer"


def _mend(step: str, error: Exception, place: str) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return "let SSL_CERT_FILE name your CA bundle if a company proxy re-signs; else check the host and the clock"
    return {
        "name look-up": "check the spelling of the host, and this machine's DNS",
        "connection": f"check that something listens on {place} and that no firewall is between",
        "TLS": "write http:// if the port speaks plain HTTP; else check the host",
        "answer": f"check that {place} is an HTTP server",
    }[step]
