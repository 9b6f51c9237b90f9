"""One line per event, whatever is in it; never the text of an exception, which may quote input."""

import io
import logging
import re
import sys
import threading
from collections.abc import Iterator

import pytest

from submeter import logs


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level, hooks = root.handlers[:], root.level, (sys.excepthook, threading.excepthook)
    stream = io.StringIO()
    logs.set_up("relay-0", stream=stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    sys.excepthook, threading.excepthook = hooks


def test_time_level_process_message_and_fields(lines: io.StringIO):
    logging.getLogger("submeter").info("listening on %s", "127.0.0.1", extra={"port": 4100, "why": "asked to"})
    time, rest = lines.getvalue().split(" ", 1)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", time)
    assert rest == 'info relay-0 listening on 127.0.0.1 port=4100 why="asked to"\n'


def test_one_line_whatever_is_in_it(lines: io.StringIO):
    logging.getLogger("submeter").warning("two\nlines \x1b[31m", extra={"field": 'a\n"b"', "none": ""})
    assert lines.getvalue().count("\n") == 1
    assert "\x1b" not in lines.getvalue()
    assert lines.getvalue().endswith(r'warning relay-0 two\nlines \x1b[31m field="a\n\"b\"" none=""' + "\n")


def test_an_exception_is_its_type_and_place(lines: io.StringIO):
    try:
        raise ValueError("sk-canary")
    except ValueError:
        logging.getLogger("submeter").exception("failed")
    assert "canary" not in lines.getvalue()
    assert re.search(r"error relay-0 failed error=ValueError at=\S*test_logs\.py:\d+\n", lines.getvalue())


def test_an_uncaught_exception_is_one_line_too(lines: io.StringIO):
    def fail() -> None:
        raise ValueError("sk-canary")

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    try:
        fail()
    except ValueError as error:
        sys.excepthook(type(error), error, error.__traceback__)
    first, second = lines.getvalue().splitlines()
    for line in (first, second):
        assert re.search(
            r"critical relay-0 ended by an uncaught exception error=ValueError at=\S*test_logs\.py:\d+$", line
        )


def test_libraries_only_warn_and_aiohttp_does_not_quote_clients(lines: io.StringIO):
    logging.getLogger("submeter").debug("detail")
    logging.getLogger("alembic").info("chatter")
    logging.getLogger("aiohttp.access").info("GET /canary")
    logging.getLogger("aiohttp.server").error("Error handling request")
    assert lines.getvalue() == ""


def test_nothing_raised_has_no_place():
    assert logs.where_raised(ValueError("x")) == {"error": "ValueError", "at": "?"}
