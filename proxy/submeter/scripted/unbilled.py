"""The paths without an invoice line: models, moderations, images, files, a WebSocket echo, and 404 for the rest.

A file for a batch is kept, as is what comes of it (``batches``).
"""

import hashlib
from collections.abc import Iterator

from aiohttp import BodyPartReader, WSMsgType, web

from submeter.scripted.answer import Json
from submeter.scripted.batches import FILES
from submeter.scripted.dialect import encode, openai_error
from submeter.scripted.prices import PRICES

_CREATED = 1_700_000_000
_CREATED_AT = "2023-11-14T22:13:20Z"
_BLOCK_BYTES = 1 << 16
_MAX_KEPT_BYTES = 64 << 20
# The smallest PNG: one transparent pixel.
_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="


async def list_models(_: web.Request) -> web.Response:
    """Both dialects read it: OpenAI's members and Anthropic's, side by side."""
    models = [_model(name) for name in PRICES]
    page = {"has_more": False, "first_id": models[0]["id"], "last_id": models[-1]["id"]}
    return _json({"object": "list", "data": models, **page})


async def get_model(request: web.Request) -> web.Response:
    name = request.match_info["name"]
    if name not in PRICES:
        return _json(openai_error(404, f"The model '{name}' does not exist"), status=404)
    return _json(_model(name))


async def moderate(request: web.Request) -> web.Response:
    await request.read()
    result = {"flagged": False, "categories": {}, "category_scores": {}, "category_applied_input_types": {}}
    return _json({"id": "modr-scripted", "model": "omni-moderation-latest", "results": [result]})


async def generate_image(request: web.Request) -> web.Response:
    await request.read()
    return _json({"created": _CREATED, "data": [{"b64_json": _PIXEL}]})


async def upload(request: web.Request) -> web.Response:
    """Multipart of any size, read as it comes: the answer says how many bytes the file had, and their SHA-256."""
    if not request.content_type.startswith("multipart/"):
        return _json(openai_error(400, "Expected a multipart/form-data body."), status=400)
    name, size, sha256, purpose, kept = "file", 0, hashlib.sha256(), "assistants", bytearray()
    async for part in await request.multipart():
        if isinstance(part, BodyPartReader) and part.name == "purpose":
            purpose = (await part.read()).decode()
        elif isinstance(part, BodyPartReader) and part.name == "file":
            name = part.filename or name
            while block := await part.read_chunk(_BLOCK_BYTES):
                size += len(block)
                sha256.update(block)
                if size <= _MAX_KEPT_BYTES:
                    kept += block
    file_id = f"file-{sha256.hexdigest()[:24]}"
    if purpose == "batch" and size <= _MAX_KEPT_BYTES:
        request.app[FILES][file_id] = bytes(kept)
    return _json(
        {
            "id": file_id,
            "object": "file",
            "bytes": size,
            "sha256": sha256.hexdigest(),
            "created_at": _CREATED,
            "filename": name,
            "purpose": purpose,
            "status": "processed",
        }
    )


async def download(request: web.Request) -> web.StreamResponse:
    """A batch's file; of any other ``?bytes=N`` bytes (1 MiB unless told) that depend on the file's id alone."""
    kept = request.app[FILES].get(request.match_info["file_id"])
    if kept is not None:
        return web.Response(body=kept, content_type="application/octet-stream")
    asked = request.query.get("bytes", str(1 << 20))
    if not asked.isdecimal():
        return _json(openai_error(400, "bytes is not a whole number"), status=400)
    size = int(asked)
    response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
    response.content_length = size
    await response.prepare(request)
    for block in file_blocks(request.match_info["file_id"], size):
        await response.write(block)
    await response.write_eof()
    return response


def file_blocks(file_id: str, size: int) -> Iterator[bytes]:
    """The content of a file, in blocks."""
    block = hashlib.shake_256(file_id.encode()).digest(_BLOCK_BYTES)
    for start in range(0, size, _BLOCK_BYTES):
        yield block[: size - start]


async def echo(request: web.Request) -> web.StreamResponse:
    """A WebSocket that sends back what it gets."""
    socket = web.WebSocketResponse()
    if not socket.can_prepare(request):
        return _json(openai_error(426, "This path is a WebSocket."), status=426)
    await socket.prepare(request)
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            await socket.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await socket.send_bytes(message.data)
    return socket


async def unknown(request: web.Request) -> web.Response:
    return _json(openai_error(404, f"Invalid URL ({request.method} {request.path})"), status=404)


ROUTES = [
    web.get("/v1/models", list_models),
    web.get("/v1/models/{name}", get_model),
    web.post("/v1/moderations", moderate),
    web.post("/v1/images/generations", generate_image),
    *(web.post(f"{prefix}/files", upload) for prefix in ("/v1", "/openai", "/openai/v1")),
    *(web.get(f"{prefix}/files/{{file_id}}/content", download) for prefix in ("/v1", "/openai", "/openai/v1")),
    web.get("/v1/responses", echo),
    web.get("/v1/realtime", echo),
    web.route("*", "/{path:.*}", unknown),
]


def _model(name: str) -> Json:
    openai = {"id": name, "object": "model", "created": _CREATED, "owned_by": "scripted"}
    return {**openai, "type": "model", "display_name": name, "created_at": _CREATED_AT}


def _json(body: Json, status: int = 200) -> web.Response:
    return web.Response(body=encode(body), status=status, content_type="application/json")
