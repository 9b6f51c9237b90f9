"""The paths that are not billed: files of any size, WebSockets, and 404 for the rest."""

import hashlib
import io

import aiohttp
import pytest

from scripted.harness import Provider
from submeter.scripted.unbilled import file_blocks

pytestmark = pytest.mark.anyio


async def test_an_upload_is_counted_and_hashed_as_it_comes(server: Provider) -> None:
    content = bytes(range(256)) * 20_000
    form = aiohttp.FormData()
    form.add_field("purpose", "batch")
    form.add_field("file", io.BytesIO(content), filename="big.jsonl", content_type="application/octet-stream")
    async with aiohttp.ClientSession() as session, session.post(f"{server.url}/files", data=form) as response:
        told = await response.json()
    assert (told["bytes"], told["filename"], told["object"]) == (5_120_000, "big.jsonl", "file")
    assert told["sha256"] == hashlib.sha256(content).hexdigest()
    refused = await server.post("/v1/files", {})
    assert refused.status == 400


async def test_a_download_is_as_big_as_asked_and_depends_on_the_id(server: Provider) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{server.url}/files/file-1/content?bytes=1000001") as response:
            one = await response.read()
        async with session.get(f"{server.url}/files/file-2/content?bytes=1000001") as response:
            other = await response.read()
        async with session.get(f"{server.url}/files/file-1/content?bytes=many") as response:
            assert response.status == 400
    assert len(one) == len(other) == 1_000_001
    assert one == b"".join(file_blocks("file-1", 1_000_001))
    assert one != other


async def test_websockets_echo(server: Provider) -> None:
    for path in ("responses", "realtime"):
        async with aiohttp.ClientSession() as session, session.ws_connect(f"{server.url}/{path}") as socket:
            await socket.send_str("hello")
            assert await socket.receive_str() == "hello"
            await socket.send_bytes(b"\x00\xff")
            assert await socket.receive_bytes() == b"\x00\xff"
    async with aiohttp.ClientSession() as session, session.get(f"{server.url}/realtime") as response:
        assert response.status == 426


@pytest.mark.parametrize(("method", "path"), [("GET", "/chat/completions"), ("POST", "/odd"), ("DELETE", "/models/x")])
async def test_all_else_is_404_in_openais_shape(server: Provider, method: str, path: str) -> None:
    async with aiohttp.ClientSession() as session, session.request(method, server.url + path) as response:
        body = await response.json()
    assert response.status == 404
    assert body["error"]["code"] == "unknown_url"
    assert server.lines() == []
