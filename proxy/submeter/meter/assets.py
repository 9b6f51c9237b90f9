"""The page's scripts, styles and pictures: few and small, so that memory holds them and no path is ever opened."""

from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler

STATIC = Path(__file__).parent / "static"

CONTENT_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
"""What is served; anything else in the folder (a licence) is not."""


def make_handler() -> Handler:
    """For ``/static/{name}``. Raises ``FileNotFoundError`` where the package was installed without its data."""
    assets = {path.name: (path.read_bytes(), CONTENT_TYPES.get(path.suffix)) for path in STATIC.iterdir()}

    async def handle(request: web.Request) -> web.Response:
        body, content_type = assets.get(request.match_info["name"], (b"", None))
        if content_type is None:
            raise web.HTTPNotFound
        return web.Response(body=body, content_type=content_type, charset="utf-8")

    return handle
