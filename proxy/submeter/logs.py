"""Logging of the long-running processes: one line per event on stderr, ``time level process message key=value``.

What must not be logged is not passed in: prompts, answers, credentials and input bytes stay out of every message
and every field. Nothing here filters them out, because a filter is never complete.
"""

import json
import logging
import re
import sys
import threading
import traceback
from datetime import UTC, datetime
from types import TracebackType
from typing import TextIO

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
_PLAIN = re.compile(r"[!#-~]+")


def set_up(process: str, *, level: int = logging.INFO, stream: TextIO | None = None) -> None:
    """Send everything of this process to stderr; ``process`` names it, as in ``relay-0``. Called once, at the start."""
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(OneLine(process))
    # Libraries only warn. aiohttp's server loggers keep silent: what they write quotes what clients send.
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("submeter").setLevel(level)
    for name in ("aiohttp.access", "aiohttp.server", "aiohttp.web"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda end: _log_uncaught(end.exc_type, end.exc_value, end.exc_traceback)


def _log_uncaught(kind: type[BaseException], error: BaseException | None, _: TracebackType | None) -> None:
    """Python's own way would print the exception's text."""
    if not issubclass(kind, KeyboardInterrupt):
        fields = where_raised(error) if error is not None else {"error": kind.__name__}
        logging.getLogger("submeter").critical("ended by an uncaught exception", extra=fields)


class OneLine(logging.Formatter):
    """Fields are whatever is given as ``extra=``: ``log.info("listening", extra={"port": 4100})``."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        fields = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info and record.exc_info[1] is not None:
            fields |= where_raised(record.exc_info[1])
        words = [at, record.levelname.lower(), self._process, _one_line(record.getMessage())]
        return " ".join(words + [f"{name}={_quoted(value)}" for name, value in fields.items()])


def where_raised(error: BaseException) -> dict[str, str]:
    """An exception's type and place. Not its text, which may quote input."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "?"
    return {"error": type(error).__name__, "at": place}


def _one_line(text: str) -> str:
    return text if text.isprintable() else repr(text)[1:-1]


def _quoted(value: object) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)
