"""A scripted provider in the test's own event loop, and an HTTP client that sees every byte and every cut."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from submeter.scripted import Invoice, Script, read_invoice, serve

CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "How much water?"}]}
CHAT_STREAM = {**CHAT, "stream": True, "stream_options": {"include_usage": True}}
MESSAGES = {"model": "claude-haiku-4-5", "max_tokens": 100, "messages": [{"role": "user", "content": "How much?"}]}
BODIES: dict[str, Mapping[str, object]] = {
    "chat/completions": CHAT,
    "completions": {"model": "gpt-3.5-turbo-instruct", "prompt": "How much water?"},
    "embeddings": {"model": "text-embedding-3-small", "input": "How much water?"},
    "responses": {"model": "o4-mini", "input": "How much water?"},
    "messages": MESSAGES,
}

Ended = Literal["properly", "cut", "reset"]


@dataclass
class Answer:
    """What came back. ``chunks`` are the HTTP chunks as they were framed, or the whole body where there are none."""

    status: int
    headers: dict[str, str]
    chunks: list[bytes] = field(default_factory=list)
    ended: Ended = "properly"

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def data(self) -> list[bytes]:
        """The data of each event of a stream with plain line ends."""
        return [line[6:] for line in self.body.split(b"\n") if line.startswith(b"data: ")]

    @property
    def events(self) -> list[Any]:
        return [json.loads(data) for data in self.data if data != b"[DONE]"]


@dataclass(frozen=True)
class Provider:
    url: str
    invoice: Path

    @property
    def port(self) -> int:
        return int(self.url.removesuffix("/v1").rpartition(":")[2])

    def lines(self) -> list[dict[str, Any]]:
        return read_invoice(self.invoice)

    async def settled(self, count: int) -> list[dict[str, Any]]:
        """The lines, once there are ``count``: a line about a client that left comes a moment after it."""
        async with asyncio.timeout(5):
            while len(self.lines()) < count:  # noqa: ASYNC110 -- the file is all there is to watch
                await asyncio.sleep(0.005)
        return self.lines()

    @asynccontextmanager
    async def request(
        self, path: str, body: object, script: str = "", headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[asyncio.StreamReader]:
        """Send a request and read what comes byte for byte; leaving the block closes the connection."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        head = {"Host": "x", "Content-Type": "application/json", "Content-Length": str(len(data)), **(headers or {})}
        if script:
            head["x-scripted"] = script
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        writer.write(f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + data)
        try:
            yield reader
        finally:
            writer.close()

    async def post(self, path: str, body: object, script: str = "", headers: Mapping[str, str] | None = None) -> Answer:
        async with self.request(path, body, script, headers) as reader:
            return await read_answer(reader)

    async def chat(self, script: str = "", **members: object) -> Answer:
        return await self.post("/v1/chat/completions", {**CHAT, **members}, script)

    async def chat_stream(self, script: str = "", **members: object) -> Answer:
        return await self.post("/v1/chat/completions", {**CHAT_STREAM, **members}, script)


@asynccontextmanager
async def provider(directory: Path, **script: object) -> AsyncIterator[Provider]:
    path = directory / "invoice.jsonl"
    with Invoice(path) as invoice:
        async with serve(invoice, Script(**cast("Any", script))) as url:
            yield Provider(url, path)


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    answer = await read_head(reader)
    try:
        if answer.headers.get("transfer-encoding") == "chunked":
            async for chunk in _chunks(reader):
                answer.chunks.append(chunk)
        elif "content-length" in answer.headers:
            length = int(answer.headers["content-length"])
            answer.chunks.append(await reader.readexactly(length))
        else:
            answer.chunks.append(await reader.read())
    except asyncio.IncompleteReadError as error:
        answer.chunks.append(error.partial)
        answer.ended = "cut"
    except ConnectionResetError:
        answer.ended = "reset"
    return answer


async def read_head(reader: asyncio.StreamReader) -> Answer:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    pairs = (line.partition(": ") for line in head[1:] if line)
    return Answer(int(head[0].split()[1]), {name.lower(): value for name, _, value in pairs})


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while size := int((await reader.readuntil(b"\r\n"))[:-2], 16):
        chunk = await reader.readexactly(size + 2)
        yield chunk[:-2]
    await reader.readexactly(2)
