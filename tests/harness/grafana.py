"""A server that answers as Grafana's documented HTTP API does, where a push to Grafana uses it. It is no Grafana: what
a real one does beyond its documentation, it does not know.

Written after Grafana's documentation, 11.x:

- https://grafana.com/docs/grafana/v11.6/developers/http_api/authentication/
- https://grafana.com/docs/grafana/v11.6/developers/http_api/dashboard/
- https://grafana.com/docs/grafana/v11.6/developers/http_api/folder/
- https://grafana.com/docs/grafana/v11.6/developers/http_api/data_source/
- https://grafana.com/docs/grafana/v11.6/developers/http_api/folder_dashboard_search/
- https://grafana.com/docs/grafana/v11.6/developers/http_api/other/ (health)
"""

import asyncio
import json
import ssl
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from copy import deepcopy
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NamedTuple, Self

from aiohttp import web

from harness.processes import free_port

ADMIN, EDITOR, VIEWER = "glsa_admin", "glsa_editor", "glsa_viewer"
MAY = {
    ADMIN: {"read", "folders:write", "dashboards:write", "datasources:read", "datasources:write"},
    EDITOR: {"read", "folders:write", "dashboards:write"},
    VIEWER: {"read"},
}
"""Token → what it may do, much as Grafana's basic roles."""

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Asked(NamedTuple):
    method: str
    path: str
    body: Any
    status: int

    @property
    def writes(self) -> bool:
        return self.method != "GET"


@dataclass
class Contents:
    """What this Grafana holds, by uid."""

    folders: dict[str, dict[str, Any]] = field(default_factory=dict)
    sources: dict[str, dict[str, Any]] = field(default_factory=dict)
    secrets: dict[str, dict[str, str]] = field(default_factory=dict)
    boards: dict[str, dict[str, Any]] = field(default_factory=dict)
    """As ``{"dashboard": …, "meta": …}``."""


def fault(status: int, message: str, name: str | None = None) -> web.Response:
    body = {"message": message} | ({} if name is None else {"status": name})
    return web.json_response(body, status=status)


class Grafana:
    """Started by the constructor in a thread of its own. ``path`` is a sub-path such as ``/grafana``.

    ``contents`` is for tests to fill and to look at; ``asked`` is every request with what it was answered; ``instead``,
    where set, answers everything; ``before`` runs before each request, as another user's doings would.
    """

    def __init__(self, path: str = "", tls: ssl.SSLContext | None = None) -> None:
        self.port, self.path, self._tls = free_port(), path, tls
        self.contents = Contents()
        self.asked: list[Asked] = []
        self.instead: Answer | None = None
        self.before: Callable[[web.Request], None] | None = None
        self._ids = iter(range(1, 1_000_000))
        self._loop = asyncio.new_event_loop()
        started: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(started,))
        self._thread.start()
        started.result(timeout=10)

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}{self.path}"

    @property
    def writes(self) -> list[Asked]:
        return [asked for asked in self.asked if asked.writes]

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, started: "Future[None]") -> None:
        try:
            self._loop.run_until_complete(self._serve(started))
        finally:
            self._loop.close()

    async def _serve(self, started: "Future[None]") -> None:
        self._end = asyncio.Event()
        app = web.Application(middlewares=[self._recorded], client_max_size=16 << 20)
        api = f"{self.path}/api"
        app.add_routes(
            [
                web.get(f"{api}/health", self._health),
                web.get(f"{api}/search", self._search),
                web.get(f"{api}/folders", self._list_folders),
                web.post(f"{api}/folders", self._make_folder),
                web.get(f"{api}/folders/{{uid}}", self._get_folder),
                web.put(f"{api}/folders/{{uid}}", self._put_folder),
                web.get(f"{api}/datasources", self._list_sources),
                web.post(f"{api}/datasources", self._make_source),
                web.get(f"{api}/datasources/uid/{{uid}}", self._get_source),
                web.put(f"{api}/datasources/uid/{{uid}}", self._put_source),
                web.get(f"{api}/datasources/name/{{name}}", self._get_source_by_name),
                web.get(f"{api}/dashboards/uid/{{uid}}", self._get_board),
                web.post(f"{api}/dashboards/db", self._post_board),
            ]
        )
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port, ssl_context=self._tls).start()
        started.set_result(None)
        await self._end.wait()
        await runner.cleanup()

    @web.middleware
    async def _recorded(self, request: web.Request, handler: Answer) -> web.StreamResponse:
        if self.before is not None:
            self.before(request)
        answer = await self._answer(request, handler)
        text = await request.text()
        body = json.loads(text) if text else None
        self.asked.append(Asked(request.method, request.path.removeprefix(self.path), body, answer.status))
        return answer

    async def _answer(self, request: web.Request, handler: Answer) -> web.StreamResponse:
        if self.instead is not None:
            return await self.instead(request)
        if request.match_info.http_exception is not None:
            return web.Response(status=404, text="<html>Not found</html>", content_type="text/html")
        if not request.path.endswith("/api/health"):
            kind, _, token = request.headers.get("Authorization", "").partition(" ")
            if kind != "Bearer" or token not in MAY:
                return fault(401, "Invalid API key")
            if _needed(request) not in MAY[token]:
                return fault(403, f"You'll need additional permissions to perform this action. {_needed(request)}")
        return await handler(request)

    # -- folders -----------------------------------------------------------------------------------------------------

    async def _list_folders(self, request: web.Request) -> web.Response:
        return web.json_response(
            [{name: held[name] for name in ("id", "uid", "title")} for held in self.contents.folders.values()]
        )

    async def _get_folder(self, request: web.Request) -> web.Response:
        held = self.contents.folders.get(request.match_info["uid"])
        return fault(404, "folder not found", "not-found") if held is None else web.json_response(held)

    async def _make_folder(self, request: web.Request) -> web.Response:
        body = await request.json()
        if not body.get("title"):
            return fault(400, "folder title cannot be empty")
        uid = body.get("uid") or f"made{next(self._ids)}"
        if uid in self.contents.folders or any(
            held["title"] == body["title"] for held in self.contents.folders.values()
        ):
            return fault(409, "a folder with the same name already exists in the current location")
        return web.json_response(self.add_folder(uid, body["title"]))

    def add_folder(self, uid: str, title: str) -> dict[str, Any]:
        held = {"id": next(self._ids), "uid": uid, "title": title, "url": f"/dashboards/f/{uid}/x", "version": 1}
        held |= {"hasAcl": False, "canSave": True, "canEdit": True, "canAdmin": True}
        self.contents.folders[uid] = held
        return held

    async def _put_folder(self, request: web.Request) -> web.Response:
        body, held = await request.json(), self.contents.folders.get(request.match_info["uid"])
        if held is None:
            return fault(404, "folder not found", "not-found")
        if not body.get("overwrite") and body.get("version") != held["version"]:
            return fault(412, "the folder has been changed by someone else", "version-mismatch")
        held |= {"title": body["title"], "version": held["version"] + 1}
        return web.json_response(held)

    # -- data sources ------------------------------------------------------------------------------------------------

    async def _list_sources(self, request: web.Request) -> web.Response:
        return web.json_response(list(self.contents.sources.values()))

    async def _get_source(self, request: web.Request) -> web.Response:
        held = self.contents.sources.get(request.match_info["uid"])
        return fault(404, "Data source not found") if held is None else web.json_response(held)

    async def _get_source_by_name(self, request: web.Request) -> web.Response:
        named = [held for held in self.contents.sources.values() if held["name"] == request.match_info["name"]]
        return web.json_response(named[0]) if named else fault(404, "Data source not found")

    async def _make_source(self, request: web.Request) -> web.Response:
        body = await request.json()
        if not body.get("name") or not body.get("type") or not body.get("access"):
            return fault(400, "bad request data")
        uid = body.get("uid") or f"made{next(self._ids)}"
        if uid in self.contents.sources or any(held["name"] == body["name"] for held in self.contents.sources.values()):
            return fault(409, "data source with the same name already exists")
        held = self._keep_source(uid, body, {"id": next(self._ids), "orgId": 1, "version": 0, "readOnly": False})
        return web.json_response({"datasource": held, "id": held["id"], "message": "Datasource added"})

    async def _put_source(self, request: web.Request) -> web.Response:
        body, uid = await request.json(), request.match_info["uid"]
        held = self.contents.sources.get(uid)
        if held is None:
            return fault(404, "Data source not found")
        if held["readOnly"]:
            return fault(403, "Cannot update read-only data source")
        if body.get("version") not in (None, held["version"]):
            return fault(409, "Datasource has already been updated by someone else. Please reload and try again")
        held = self._keep_source(uid, body, {name: held[name] for name in ("id", "orgId", "version", "readOnly")})
        return web.json_response({"datasource": held, "id": held["id"], "message": "Datasource updated"})

    def _keep_source(self, uid: str, body: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
        """A PUT replaces everything but the secrets that it does not name."""
        self.contents.secrets[uid] = self.contents.secrets.get(uid, {}) | body.get("secureJsonData", {})
        held = {"url": "", "user": "", "database": "", "basicAuth": False, "isDefault": False, "jsonData": {}}
        held |= {name: value for name, value in body.items() if name in held or name in ("name", "type", "access")}
        held |= own | {"uid": uid, "typeLogoUrl": "", "version": own["version"] + 1, "withCredentials": False}
        held["secureJsonFields"] = dict.fromkeys(self.contents.secrets[uid], True)
        self.contents.sources[uid] = held
        return held

    # -- dashboards --------------------------------------------------------------------------------------------------

    async def _get_board(self, request: web.Request) -> web.Response:
        held = self.contents.boards.get(request.match_info["uid"])
        return fault(404, "Dashboard not found", "not-found") if held is None else web.json_response(held)

    async def _post_board(self, request: web.Request) -> web.Response:
        body = await request.json()
        board, folder = body.get("dashboard"), body.get("folderUid", "")
        if not isinstance(board, dict):
            return fault(400, "bad request data")
        if not board.get("title"):
            return fault(400, "Dashboard title cannot be empty", "empty-name")
        uid = board.get("uid") or f"made{next(self._ids)}"
        if len(uid) > 40:
            return fault(400, "uid too long, max 40 characters")
        if folder and folder not in self.contents.folders:
            return fault(400, "folder not found")
        refused = None if body.get("overwrite") else self._clash(uid, board, folder)
        held = self.contents.boards.get(uid)
        if held is not None and held["meta"]["provisioned"]:
            refused = fault(400, "Cannot save provisioned dashboard")
        return web.json_response(self.add_board(board | {"uid": uid}, folder)) if refused is None else refused

    def _clash(self, uid: str, board: dict[str, Any], folder: str) -> web.Response | None:
        held = self.contents.boards.get(uid)
        if held is not None and board.get("version") != held["dashboard"]["version"]:
            return fault(412, "The dashboard has been changed by someone else", "version-mismatch")
        for other, kept in self.contents.boards.items():
            if other != uid and (kept["meta"]["folderUid"], kept["dashboard"]["title"]) == (folder, board["title"]):
                return fault(412, "A dashboard with the same name in the folder already exists", "name-exists")
        return None

    def add_board(self, board: dict[str, Any], folder: str) -> dict[str, Any]:
        """Save a board, as any user may; the answer is what Grafana says of it."""
        uid, slug = board["uid"], board["title"].lower().replace(" ", "-").replace(":", "")
        held = self.contents.boards.get(uid, {"dashboard": {"id": next(self._ids), "version": 0}, "meta": {}})
        own = {"id": held["dashboard"]["id"], "version": held["dashboard"]["version"] + 1}
        url = f"{self.path}/d/{uid}/{slug}"
        meta = {"isStarred": False, "url": url, "folderUid": folder, "slug": slug, "provisioned": False}
        self.contents.boards[uid] = {"dashboard": deepcopy(board) | own, "meta": meta | {"version": own["version"]}}
        return {**own, "uid": uid, "url": url, "status": "success", "slug": slug}

    # -- the rest ----------------------------------------------------------------------------------------------------

    async def _search(self, request: web.Request) -> web.Response:
        tags, text = request.query.getall("tag", []), request.query.get("query", "").lower()
        found = [
            {**{name: held["dashboard"][name] for name in ("id", "uid", "title", "tags")}, "type": "dash-db"}
            | {"url": held["meta"]["url"], "folderUid": held["meta"]["folderUid"]}
            for held in self.contents.boards.values()
            if set(tags) <= set(held["dashboard"].get("tags", [])) and text in held["dashboard"]["title"].lower()
        ]
        return web.json_response(found)

    async def _health(self, request: web.Request) -> web.Response:
        return web.json_response({"commit": "none", "database": "ok", "version": "11.6.0"})


def _needed(request: web.Request) -> str:
    part = request.path.partition("/api/")[2].partition("/")[0]
    if part == "datasources":
        return "datasources:read" if request.method == "GET" else "datasources:write"
    return "read" if request.method == "GET" else f"{part}:write"
