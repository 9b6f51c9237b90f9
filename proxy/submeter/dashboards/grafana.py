"""Grafana's HTTP API as far as we need it, through grafana-api; and each way it can fail, said in one line.

This is the rim: no exception of grafana-api or requests, and no answer that was not looked at, gets past it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import SplitResult, urlsplit

import msgspec
import requests
from grafana_api.grafana_api import GrafanaClientError, GrafanaException
from grafana_api.grafana_face import GrafanaFace

from submeter.errors import UsageError

TIMEOUT_S = 10.0
MAX_MESSAGE = 200
"""Characters shown of what a server says."""

Json = dict[str, object]
Shape = TypeVar("Shape")


@dataclass(frozen=True, slots=True)
class Target:
    """Which Grafana, and by which right. The URL is Grafana's own address, with its sub-path if it has one."""

    url: str
    token: str = field(repr=False)

    def __post_init__(self) -> None:
        if _problem_with(self.url):
            raise UsageError(
                f"--url: {_problem_with(self.url)}; expected Grafana's address: https://grafana.example.com"
            )
        if not self.token:
            raise UsageError(
                "no token: set GRAFANA_TOKEN to one of a service account with the role Editor (in Grafana: "
                "Administration, Users and access, Service accounts)"
            )
        if not (self.token.isascii() and self.token.isprintable() and " " not in self.token):
            raise UsageError("GRAFANA_TOKEN is no token: it may hold neither blanks nor control characters")


class Folder(msgspec.Struct, frozen=True):
    uid: str
    title: str
    version: int = 0


class Whereabouts(msgspec.Struct, frozen=True, rename="camel"):
    folder_uid: str = ""
    provisioned: bool = False


class Board(msgspec.Struct, frozen=True):
    dashboard: Json
    meta: Whereabouts


class Saved(msgspec.Struct, frozen=True):
    uid: str
    url: str = ""


class Grafana:
    """One Grafana. Every method raises UsageError, and nothing else, when it does not get what it asked for."""

    def __init__(self, target: Target) -> None:
        parts = urlsplit(target.url)
        host = parts.hostname or ""
        prefix = parts.path.strip("/")
        self._target = target
        self._face = GrafanaFace(
            target.token,
            host=f"[{host}]" if ":" in host else host,
            port=parts.port,
            url_path_prefix=f"{prefix}/" if prefix else "",
            protocol=parts.scheme,
            timeout=TIMEOUT_S,
        )
        # A redirected POST becomes a GET, which looks like success; and a token goes only where it was meant to.
        self._face.api.s.max_redirects = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._face.api.s.close()

    def folder(self, uid: str) -> Folder | None:
        return self._read(f"read the folder {uid}", Folder, self._face.folder.get_folder, uid)

    def make_folder(self, uid: str, title: str) -> None:
        self._ask(f"make the folder {title!r}", Folder, self._face.folder.create_folder, title, uid)

    def rename_folder(self, found: Folder, title: str) -> None:
        update = self._face.folder.update_folder
        self._ask(f"rename the folder {found.title!r}", Folder, update, found.uid, title, found.version)

    def source(self, uid: str) -> Json | None:
        # grafana-api knows the paths with numeric ids only, which Grafana 9 deprecated: the uid's path is put for it.
        read = self._face.datasource.get_datasource_by_id
        return self._read(f"read the data source {uid}", Json, read, f"uid/{uid}")

    def make_source(self, body: Json) -> None:
        self._ask(f"make the data source {body['name']!r}", Json, self._face.datasource.create_datasource, body)

    def change_source(self, uid: str, body: Json) -> None:
        update = self._face.datasource.update_datasource
        self._ask(f"change the data source {body['name']!r}", Json, update, f"uid/{uid}", body)

    def board(self, uid: str) -> Board | None:
        return self._read(f"read the board {uid}", Board, self._face.dashboard.get_dashboard, uid)

    def save_board(self, dashboard: Json, *, folder_uid: str, message: str, overwrite: bool) -> None:
        body = {"dashboard": dashboard, "folderUid": folder_uid, "message": message, "overwrite": overwrite}
        self._ask(f"save the board {dashboard['title']!r}", Saved, self._face.dashboard.update_dashboard, body)

    def _read(self, doing: str, shape: type[Shape], call: Callable[[str], object], uid: str) -> Shape | None:
        missing = object()

        def look() -> object:
            try:
                return call(uid)
            except GrafanaClientError as error:
                if error.status_code == 404 and _message(error.response):
                    return missing
                raise

        found = self._call(doing, look)
        return None if found is missing else self._shaped(shape, found)

    def _ask(self, doing: str, shape: type[Shape], call: Callable[..., object], *arguments: object) -> Shape:
        return self._shaped(shape, self._call(doing, call, *arguments))

    def _call(self, doing: str, call: Callable[..., object], *arguments: object) -> object:
        try:
            return call(*arguments)
        except GrafanaException as error:
            why = self._refused(doing, error)
        except requests.JSONDecodeError:
            why = self._no_grafana("its answer is not JSON")
        except requests.RequestException as error:
            why = self._unreachable(error)
        except OSError:
            why = "the file that REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE names cannot be read"
        except (TypeError, ValueError, RecursionError):
            # grafana-api looks for "message" in whatever JSON an error comes with, also where it is a number.
            why = self._no_grafana("its answer makes no sense")
        raise UsageError(why)  # here, where nothing holds on to the exception and its half-read answer

    def _shaped(self, shape: type[Shape], answer: object) -> Shape:
        try:
            return msgspec.convert(answer, shape)
        except msgspec.ValidationError:
            raise UsageError(self._no_grafana("its answer has another shape than Grafana's")) from None

    def _refused(self, doing: str, error: GrafanaException) -> str:
        status, said = int(error.status_code), self._said(error.response)
        if status == 401:
            return (
                f"{self._target.url} does not take the token in GRAFANA_TOKEN (401): it is wrong, has expired or "
                "belongs to another Grafana; make one at Administration, Users and access, Service accounts"
            )
        if status == 403:
            role = "Admin" if " the data source " in doing else "Editor"
            return (
                f"the token in GRAFANA_TOKEN may not {doing} (403{said}): give its service account the role {role}, "
                "or that permission"
            )
        if status == 404 and not _message(error.response):
            return self._no_grafana("404")
        if status in (409, 412):
            return f"cannot {doing} ({status}{said}): {_conflict(doing, error)}"
        if status >= 500:
            return f"Grafana at {self._target.url} failed to {doing} ({status}{said}): see its log, then push again"
        return f"Grafana would not {doing} ({status}{said})"

    def _said(self, response: object) -> str:
        """``: what the server says of it``, on one line, without the token."""
        message = _message(response).replace(self._target.token, "…")
        line = " ".join("".join(c if c.isprintable() else " " for c in message).split())
        return f": {line[:MAX_MESSAGE]}" if line else ""

    def _no_grafana(self, why: str) -> str:
        return (
            f"{self._target.url} is no Grafana ({why}): --url is the address that a browser has for it, with its "
            "sub-path if it has one, and without a login page in between"
        )

    def _unreachable(self, error: requests.RequestException) -> str:
        """Never the exception's own text, which may hold header values."""
        url = self._target.url
        match error:
            case requests.exceptions.SSLError():
                return (
                    f"{url}: its certificate is not trusted, or it does not speak TLS: set REQUESTS_CA_BUNDLE to the "
                    "file of the authority that signed it"
                )
            case requests.Timeout():
                return f"{url} did not answer in {TIMEOUT_S:.0f} s: is it up, and does a firewall let us through?"
            case requests.TooManyRedirects():
                return f"{url} sends us elsewhere: give --url the address that it ends at (often https instead of http)"
            case requests.exceptions.ProxyError():
                return (
                    f"the proxy in HTTPS_PROXY or HTTP_PROXY does not let us through to {url}: add its host to NO_PROXY"
                )
            case requests.ConnectionError():
                return f"cannot connect to {url}: is Grafana up, and is this its address and port?"
        return f"{url} cannot be asked, or breaks off its answer: is this Grafana's address?"


def _conflict(doing: str, error: GrafanaException) -> str:
    """What to do about it."""
    status = error.response.get("status") if isinstance(error.response, Mapping) else None
    if doing.startswith("save the board"):
        if status == "name-exists":
            return "the folder has another board of this title: rename or remove that one"
        if status == "plugin-dashboard":
            return "it belongs to a plugin: remove that one, or the plugin"
        return "it was changed in Grafana during this push: look at --dry-run, and push again"
    if doing.startswith("make the folder"):
        return "there is another folder of this title: choose another one with --folder"
    if doing.startswith("make the data source"):
        return "there is another one of this name: rename that, or choose it in the boards and leave out its URL here"
    return "it was changed in Grafana during this push: push again"


def _message(response: object) -> str:
    message = response.get("message") if isinstance(response, Mapping) else None
    return message if isinstance(message, str) else ""


def _problem_with(url: str) -> str | None:
    parts = _split(url)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        return "this is no http or https URL"
    if "@" in parts.netloc:
        return "it may hold no credential: the token comes from GRAFANA_TOKEN"
    if parts.query or parts.fragment:
        return "it may hold neither ? nor #"
    return None


def _split(url: str) -> SplitResult | None:
    """None also for a port that is no number, or a name with too long a part, which both show late."""
    try:
        parts = urlsplit(url)
        _ = parts.port, (parts.hostname or "").encode("idna")
    except ValueError:
        return None
    return parts if url.isprintable() and " " not in url else None
