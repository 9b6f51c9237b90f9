"""Health, metrics, common headers, and errors of fixed text that quote nothing."""

import asyncio
import logging
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer
from msgspec.structs import replace

from meter.ops_app import CONTENT_TYPE, EXPOSITION, HEALTHY, app_of, client_of, make_settings, record, served, token
from store.ledger_rows import make_call
from submeter.meter.ops import make_app

pytestmark = pytest.mark.anyio

CANARY = "sk-canary-1234567890"
DOWN = replace(HEALTHY, degraded=True, reason="the ledger cannot be written")


async def test_health(tmp_path: Path) -> None:
    async with client_of(make_settings(tmp_path)) as client:
        for path in ("/healthz", "/readyz"):
            answer = await client.get(path)
            assert (answer.status, await answer.text()) == (200, "ok\n")
        answer = await client.get("/readyz", headers={"Accept": "application/json"})
        assert await answer.json() == {"status": "ok", "reason": None}
        answer = await client.get("/api/status")
        assert await answer.json() == {
            "ready": True,
            "degraded": False,
            "reason": None,
            "in_flight": 3,
            "lag_s": 0.25,
            "lag_bytes": 412,
        }


async def test_readiness_stays_200_while_the_database_is_down(tmp_path: Path) -> None:
    async with client_of(make_settings(tmp_path), DOWN) as client:
        answer = await client.get("/readyz")
        assert (answer.status, await answer.text()) == (200, "degraded: the ledger cannot be written\n")
        answer = await client.get("/readyz", headers={"Accept": "application/json"})
        assert answer.status == 200
        assert await answer.json() == {"status": "degraded", "reason": "the ledger cannot be written"}
    async with client_of(make_settings(tmp_path), replace(HEALTHY, ready=False)) as client:
        assert await (await client.get("/readyz")).text() == "degraded: starting\n"


async def test_metrics_are_passed_on_as_they_are(tmp_path: Path) -> None:
    async with client_of(make_settings(tmp_path)) as client:
        answer = await client.get("/metrics")
        assert (answer.status, await answer.read()) == (200, EXPOSITION)
        assert answer.headers["Content-Type"] == CONTENT_TYPE


async def test_exposition_runs_off_the_loop(tmp_path: Path) -> None:
    """It waits for another request's answer, which a blocked loop could never give."""
    import threading

    answered = threading.Event()

    def exposition(_accept: str) -> tuple[bytes, str]:
        assert answered.wait(10)
        return EXPOSITION, CONTENT_TYPE

    app = make_app(make_settings(tmp_path), exposition=exposition, health=lambda: HEALTHY)
    async with TestClient(TestServer(app)) as client:
        scraping = asyncio.ensure_future(client.get("/metrics"))  # noqa: TID251 - awaited in this test
        assert (await client.get("/healthz")).status == 200
        answered.set()
        assert (await scraping).status == 200


@pytest.mark.parametrize(
    "path", ["/", "/api/status", "/metrics", "/healthz", "/readyz", "/static/page.css", "/nothing", "/?period=x"]
)
async def test_every_answer_has_the_common_headers(tmp_path: Path, path: str) -> None:
    async with client_of(make_settings(tmp_path)) as client:
        answer = await client.get(path)
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"


async def test_only_reading_is_allowed(tmp_path: Path) -> None:
    async with client_of(make_settings(tmp_path)) as client:
        answer = await client.post("/api/calls", data=CANARY)
        assert answer.status == 405
        assert answer.headers["Allow"] == "GET, HEAD"
        assert (await answer.json())["error"]["code"] == "method_not_allowed"
        assert (await client.head("/")).status == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/{CANARY}", 404),
        (f"/api/{CANARY}", 404),
        (f"/static/{CANARY}", 404),
        ("/static/", 404),
        ("/static/../ops.py", 404),
        ("/static/%2e%2e/ops.py", 404),
        (f"/?period={CANARY}", 400),
        (f"/api/cost?by={CANARY}", 400),
        (f"/api/cost?{CANARY}=1", 400),
        (f"/api/summary?since={CANARY}", 400),
        (f"/api/calls?last={CANARY}", 400),
        (f"/api/calls/{CANARY}", 404),
    ],
)
async def test_errors_quote_nothing(tmp_path: Path, path: str, status: int) -> None:
    settings = make_settings(tmp_path)
    record(settings, [make_call()])
    async with client_of(settings) as client:
        answer = await client.get(path)
        text = await answer.text()
    assert answer.status == status
    assert "canary" not in text
    assert len(text) > 20
    if path.startswith("/api/"):
        assert answer.content_type == "application/json"


async def test_a_failure_of_ours_is_a_fixed_text_and_one_log_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def exposition(_accept: str) -> tuple[bytes, str]:
        raise RuntimeError(CANARY)

    app = make_app(make_settings(tmp_path), exposition=exposition, health=lambda: HEALTHY)
    async with TestClient(TestServer(app)) as client:
        answer = await client.get("/metrics", headers={"Accept": "text/html"})
        text = await answer.text()
    assert answer.status == 500
    assert "canary" not in text
    assert "Traceback" not in text
    [line] = [line for line in caplog.records if line.name == "submeter"]
    assert (line.levelno, line.getMessage()) == (logging.ERROR, "an ops request failed")
    assert line.__dict__["error"] == "RuntimeError"
    assert CANARY not in str(line.__dict__)


@pytest.mark.parametrize(
    "request_bytes",
    [
        f"GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization{CANARY}\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: localhost\r\n {CANARY}\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: {CANARY}\x00\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: {CANARY * 1000}\r\n\r\n",
        f"GET /{CANARY} NOTHTTP\r\n\r\n",
    ],
)
async def test_a_malformed_request_is_neither_echoed_nor_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, request_bytes: str
) -> None:
    caplog.set_level(logging.DEBUG)
    async with served(app_of(make_settings(tmp_path))) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request_bytes.encode())
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.0 400 ")
    assert answer.endswith(b"The request is not well-formed HTTP/1.1.\n")
    assert b"nosniff" in answer
    assert b"canary" not in answer
    assert "canary" not in caplog.text


async def test_the_token_guards_a_served_app(tmp_path: Path) -> None:
    async with served(app_of(make_settings(tmp_path, ops_token=token("ops-1")))) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /api/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 401 ")
