"""Whatever a server answers, and where there is none: one line that names the fix, without the token."""

import asyncio
import json
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.grafana import EDITOR, VIEWER, Answer, Contents, Grafana
from harness.processes import free_port
from submeter.dashboards import grafana as rim
from submeter.dashboards.grafana import Target
from submeter.dashboards.push import push
from submeter.dashboards.sources import prometheus_source
from submeter.errors import UsageError

BOARD: dict[str, object] = {"uid": "submeter-cost", "title": "Submeter: Cost", "tags": ["submeter"], "panels": []}
TOKEN = "glsa_0123456789abcdef"
"""None that the server knows."""


@pytest.fixture(scope="module")
def server() -> Iterator[Grafana]:
    with Grafana() as started:
        yield started


@pytest.fixture
def grafana(server: Grafana) -> Grafana:
    server.contents = Contents()
    server.asked.clear()
    server.instead = None
    return server


def complaint(url: str, token: str = TOKEN, **how: Any) -> str:
    with pytest.raises(UsageError) as raised:
        push(Target(url, token), [BOARD], **how)
    line = str(raised.value)
    assert line.isprintable(), "one line, and nothing that commands a terminal"
    assert token not in line
    return line


# -- who may ---------------------------------------------------------------------------------------------------------


def test_a_wrong_token(grafana: Grafana) -> None:
    line = complaint(grafana.url)
    assert "401" in line
    assert "GRAFANA_TOKEN" in line
    assert "Service accounts" in line


def test_a_token_that_may_only_read(grafana: Grafana) -> None:
    line = complaint(grafana.url, VIEWER)
    assert "may not make the folder 'Submeter' (403" in line
    assert "dashboards" not in line
    assert "role Editor" in line
    grafana.add_folder("submeter", "Submeter")
    assert "may not save the board 'Submeter: Cost' (403" in complaint(grafana.url, VIEWER)


def test_a_token_that_may_not_make_data_sources(grafana: Grafana) -> None:
    line = complaint(grafana.url, EDITOR, sources=[prometheus_source("http://p:9090")])
    assert "read the data source submeter-prometheus (403" in line
    assert "role Admin" in line
    assert grafana.writes == []


@pytest.mark.parametrize("token", ["", "two words", "new\nline", "tab\t", "schlüssel"])
def test_tokens_that_are_none(token: str) -> None:
    with pytest.raises(UsageError, match="GRAFANA_TOKEN") as raised:
        Target("http://127.0.0.1", token)
    assert not token or token not in str(raised.value)


# -- where -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "grafana.example.com",
            "ftp://g",
            "http://",
            "http://g:port",
            "http://g:99999",
            "http://[::1",
            "http://a b",
        ),
        *("http://u:p@g", "http://glsa@g", "https://g/?orgId=1", "https://g/#x", "http://g\n"),
    ],
)
def test_addresses_that_cannot_be(url: str) -> None:
    with pytest.raises(UsageError, match="--url"):
        Target(url, TOKEN)


def test_nobody_listens() -> None:
    assert "cannot connect to" in complaint(f"http://127.0.0.1:{free_port()}")


def test_a_name_that_there_is_not() -> None:
    assert "cannot" in complaint("http://grafana.invalid")


def test_no_answer_in_time(grafana: Grafana, monkeypatch: pytest.MonkeyPatch) -> None:
    async def sleep(request: web.Request) -> web.Response:
        await asyncio.sleep(1)
        return web.Response()

    monkeypatch.setattr(rim, "TIMEOUT_S", 0.05)
    grafana.instead = sleep
    assert "did not answer" in complaint(grafana.url)


def test_another_address_is_named_and_not_followed(grafana: Grafana) -> None:
    grafana.instead = answering(302, b"", location=f"{grafana.url}/login")
    assert "sends us elsewhere" in complaint(grafana.url)
    assert len(grafana.asked) == 1


def test_a_wrong_sub_path(grafana: Grafana) -> None:
    assert "sub-path" in complaint(f"{grafana.url}/elsewhere", EDITOR)
    assert len(grafana.asked) == 1, "a page that is not there is no folder that is not there"


def test_a_proxy_that_is_not_there(grafana: Grafana, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    for name in ("NO_PROXY", "no_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert "NO_PROXY" in complaint(grafana.url)


# -- TLS -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Of 127.0.0.1, signed by itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")]), datetime.now(UTC)
    built = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    built = built.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    signed = built.add_extension(names, critical=False).sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path / "grafana.pem"
    path.write_bytes(signed.public_bytes(serialization.Encoding.PEM) + private)
    return path


def test_a_certificate_of_ones_own(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    with Grafana(tls=context) as grafana:
        line = complaint(grafana.url, EDITOR)
        assert "REQUESTS_CA_BUNDLE" in line
        assert grafana.asked == [], "the token has not left"
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        assert [change.action for change in push(Target(grafana.url, EDITOR), [BOARD])] == ["create", "create"]


def test_https_where_http_is_spoken(grafana: Grafana) -> None:
    assert "does not speak TLS" in complaint(grafana.url.replace("http:", "https:"))


def test_a_bundle_that_is_not_there(grafana: Grafana, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    assert "REQUESTS_CA_BUNDLE" in complaint(grafana.url.replace("http:", "https:"))


# -- odd answers -----------------------------------------------------------------------------------------------------


def answering(status: int, body: bytes, kind: str = "application/json", location: str | None = None) -> Answer:
    async def answer(request: web.Request) -> web.Response:
        headers = {"Content-Type": kind} | ({} if location is None else {"Location": location})
        return web.Response(status=status, body=body, headers=headers)

    return answer


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_grafana_that_fails(grafana: Grafana, status: int) -> None:
    grafana.instead = answering(status, b'{"message": "database is\\nlocked \\u001b[31m"}')
    line = complaint(grafana.url)
    assert f"({status}: database is locked [31m)" in line
    assert "push again" in line


def test_what_a_server_echoes_is_not_shown(grafana: Grafana) -> None:
    grafana.instead = answering(400, json.dumps({"message": f"bad header Bearer {TOKEN}"}).encode())
    assert "would not read the folder submeter (400: bad header Bearer …)" in complaint(grafana.url)


def test_a_login_page_in_between(grafana: Grafana) -> None:
    grafana.instead = answering(200, b"<html>Sign in</html>", "text/html")
    assert "login page" in complaint(grafana.url)


def test_a_board_that_grafana_finds_invalid(grafana: Grafana) -> None:
    with pytest.raises(UsageError, match=r"would not save the board '' \(400: Dashboard title cannot be empty\)"):
        push(Target(grafana.url, EDITOR), [BOARD | {"title": ""}])


NAMES = st.sampled_from(["message", "status", "uid", "title", "dashboard", "meta", "version"]) | st.text(max_size=5)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just("message"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=8,
)
BODIES = (
    JSON_VALUES.map(lambda value: json.dumps(value).encode())
    | st.binary(max_size=50)
    | st.sampled_from([b"", b"null", b"<html></html>", b"[" * 20_000, b'{"message":', "\ufeff{}".encode(), b"NaN"])
)
STATUSES = st.sampled_from([200, 201, 202, 301, 302, 304, 307, 400, 401, 403, 404, 409, 412, 418, 429, 500, 503, 599])
KINDS = st.sampled_from(["application/json", "text/html; charset=utf-16", "text/plain; charset=nonsense", "x"])


@given(status=STATUSES, body=BODIES, kind=KINDS, location=st.none() | st.sampled_from(["", "http://[", "//x", "/a"]))
@example(status=400, body=b"7", kind="application/json", location=None)
@example(status=400, body=b"null", kind="application/json", location=None)
@example(status=400, body=b'"the message"', kind="application/json", location=None)
@example(status=404, body=b'["message"]', kind="application/json", location=None)
@example(status=404, body=b'{"message": "no"}', kind="application/json", location=None)
@example(status=412, body=b'{"message": {}, "status": []}', kind="application/json", location=None)
@example(status=200, body=b"null", kind="application/json", location=None)
@settings(max_examples=150, deadline=None)
def test_any_answer(server: Grafana, status: int, body: bytes, kind: str, location: str | None) -> None:
    server.instead = answering(status, body, kind, location)
    complaint(server.url)


class Raw(socketserver.ThreadingTCPServer):
    """Reads a request's head, sends ``answer`` and hangs up."""

    daemon_threads = True
    answer = b""

    def handle_error(self, request: object, client_address: object) -> None:
        """Nobody needs to know."""


class Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, Raw)
        assert isinstance(self.request, socket.socket)
        self.request.recv(65_536)
        self.request.sendall(self.server.answer)


@pytest.fixture(scope="module")
def raw() -> Iterator[Raw]:
    with Raw(("127.0.0.1", 0), Handler) as started:
        thread = threading.Thread(target=started.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield started
        started.shutdown()
        thread.join()


HEADS = st.sampled_from(
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 x",
        b"SSH-2.0-OpenSSH_9\r\n",
        b"HTTP/1.1 404\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: \xff\xfe\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: deflate, gzip, br, zstd, x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=\xff\r\nSet-Cookie: \xff=;;;\r\n\r\n",
        b"HTTP/1.1 401 No\r\nWWW-Authenticate: Digest\r\n\r\n",
    ]
)


@given(head=HEADS, rest=st.binary(max_size=60))
@example(head=b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 300, rest=b"\r\n")
@example(head=b"HTTP/1.1 200 OK\r\na: " + b"b" * 70_000, rest=b"\r\n")
@settings(max_examples=80, deadline=None)
def test_any_bytes(raw: Raw, head: bytes, rest: bytes) -> None:
    raw.answer = head + rest
    complaint(f"http://127.0.0.1:{raw.server_address[1]}")
