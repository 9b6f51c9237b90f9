"""Boards into a Grafana: read what is there, compare it with ours, write what differs and nothing else."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from submeter import __version__
from submeter.dashboards.boards import TAG
from submeter.dashboards.differences import Difference, differences
from submeter.dashboards.grafana import Board, Grafana, Json, Target
from submeter.dashboards.sources import Source
from submeter.errors import UsageError

FOLDER_UID = "submeter"
FOLDER_TITLE = "Submeter"

GRAFANAS_OWN = ("id", "version", "iteration")
"""What Grafana writes into a board by itself. All else it keeps as it was sent (grafana/grafana#104213)."""

WRITABLE = (
    *("name", "type", "access", "url", "user", "database", "basicAuth", "basicAuthUser", "withCredentials"),
    *("isDefault", "version", "uid", "jsonData"),
)
"""Of a data source, what may be sent back: a PUT replaces it all, and what a person has set should stay."""

Action = Literal["same", "create", "update"]


class Change(NamedTuple):
    """What became of one thing in Grafana; with a dry run, what would become of it."""

    kind: Literal["folder", "data source", "board"]
    uid: str
    name: str
    action: Action
    differences: tuple[Difference, ...] = ()
    """Of an update."""


class _Step(NamedTuple):
    change: Change
    write: Callable[[], None] | None = None
    """None: nothing to do."""


def push(
    target: Target,
    boards: Sequence[Json],
    *,
    folder: str | None = None,
    sources: Sequence[Source] = (),
    dry_run: bool = False,
    force: bool = False,
) -> list[Change]:
    """Give a Grafana our folder, data sources and boards, each in its turn; say what of them it had already.

    All is read before anything is written, so that a refusal leaves things as they were. ``folder`` is the folder's
    title; without it, the folder keeps the one it has. ``force`` takes over boards that are not ours, and sends
    passwords again. Raises UsageError with one line that names the fix.
    """
    with Grafana(target) as grafana:
        steps = list(_steps(grafana, boards, folder, sources, force=force))
        for step in steps:
            if step.write is not None and not dry_run:
                step.write()
    return [step.change for step in steps]


def _steps(
    grafana: Grafana, boards: Sequence[Json], folder: str | None, sources: Sequence[Source], *, force: bool
) -> Iterator[_Step]:
    yield _folder_step(grafana, folder)
    for source in sources:
        yield _source_step(grafana, source, force=force)
    for board in boards:
        yield _board_step(grafana, board, force=force)


def _folder_step(grafana: Grafana, title: str | None) -> _Step:
    found = grafana.folder(FOLDER_UID)
    if found is None:
        wanted = title or FOLDER_TITLE
        return _Step(Change("folder", FOLDER_UID, wanted, "create"), lambda: grafana.make_folder(FOLDER_UID, wanted))
    if title is None or title == found.title:
        return _Step(Change("folder", FOLDER_UID, found.title, "same"))
    change = Change("folder", FOLDER_UID, title, "update", (Difference("title", found.title, title),))
    return _Step(change, lambda: grafana.rename_folder(found, title))


def _source_step(grafana: Grafana, source: Source, *, force: bool) -> _Step:
    found = grafana.source(source.uid)
    if found is None:
        body = source.body | {"uid": source.uid} | _secured(source)
        return _Step(Change("data source", source.uid, source.name, "create"), lambda: grafana.make_source(body))
    changed = tuple(_source_differences(found, source, force=force))
    if not changed:
        return _Step(Change("data source", source.uid, source.name, "same"))
    if found.get("readOnly"):
        raise UsageError(
            f"the data source {source.name!r} comes from Grafana's provisioning files, and differs "
            f"in {changed[0].path!r}: change it there, or leave out its URL here"
        )
    body = _merged(found, source) | _secured(source)
    change = Change("data source", source.uid, source.name, "update", changed)
    return _Step(change, lambda: grafana.change_source(source.uid, body))


def _source_differences(found: Json, source: Source, *, force: bool) -> Iterator[Difference]:
    """Of what we set; what a person has added stays. A password cannot be read, only whether there is one."""
    theirs = {key: found.get(key) for key in source.body}
    theirs["jsonData"] = {key: _part(found, "jsonData").get(key) for key in _part(source.body, "jsonData")}
    yield from differences(theirs, source.body)
    kept = _part(found, "secureJsonFields")
    for name in source.secrets:
        if force or not kept.get(name):
            yield Difference(name, "kept" if kept.get(name) else None, "sent")


def _merged(found: Json, source: Source) -> Json:
    body = {key: found[key] for key in WRITABLE if key in found} | source.body
    return body | {"jsonData": {**_part(found, "jsonData"), **_part(source.body, "jsonData")}}


def _secured(source: Source) -> Json:
    return {"secureJsonData": source.secrets} if source.secrets else {}


def _part(body: Json, key: str) -> Mapping[str, object]:
    part = body.get(key)
    return part if isinstance(part, Mapping) else {}


def _board_step(grafana: Grafana, ours: Json, *, force: bool) -> _Step:
    uid, title = str(ours["uid"]), str(ours["title"])
    found = grafana.board(uid)
    if found is None:
        return _Step(Change("board", uid, title, "create"), _saving(grafana, ours, force=force))
    if not force:
        _check_ours(found, uid)
    changed = tuple(_board_differences(found, ours))
    if not changed:
        return _Step(Change("board", uid, title, "same"))
    if found.meta.provisioned:
        raise UsageError(
            f"the board {title!r} comes from Grafana's provisioning files, and differs in {changed[0].path!r}: change "
            "the file there, as no push can"
        )
    known: Json = {key: found.dashboard[key] for key in ("id", "version") if key in found.dashboard}
    return _Step(Change("board", uid, title, "update", changed), _saving(grafana, ours | known, force=force))


def _board_differences(found: Board, ours: Json) -> Iterator[Difference]:
    if found.meta.folder_uid != FOLDER_UID:
        yield Difference("folder", found.meta.folder_uid, FOLDER_UID)
    theirs = {key: value for key, value in found.dashboard.items() if key not in GRAFANAS_OWN}
    yield from differences(theirs, {key: value for key, value in ours.items() if key not in GRAFANAS_OWN})


def _saving(grafana: Grafana, dashboard: Json, *, force: bool) -> Callable[[], None]:
    """With the version that was read, so that Grafana refuses if somebody saves another one in between."""
    message = f"submeter {__version__}: dashboards push"
    return lambda: grafana.save_board(dashboard, folder_uid=FOLDER_UID, message=message, overwrite=force)


def _check_ours(found: Board, uid: str) -> None:
    title, tags = found.dashboard.get("title"), found.dashboard.get("tags")
    where = f"in the folder {found.meta.folder_uid!r}" if found.meta.folder_uid else "in no folder"
    if found.meta.folder_uid != FOLDER_UID:
        why = where
    elif not isinstance(tags, list) or TAG not in tags:
        why = f"without the tag {TAG!r}"
    else:
        return
    raise UsageError(
        f"{uid!r} is a board that this push has not made ({title!r}, {why}): move or remove it in Grafana, or take it "
        "over with --force. Nothing was changed"
    )
