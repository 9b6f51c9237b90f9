"""What every answer of the ops plane has in common: its headers, and errors of fixed text.

No error quotes what was asked: a page or a log that repeats input is how a credential or a script gets around.
"""

import logging

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_request import BaseRequest

from submeter.core.errors import Fault, Refusal, error_body
from submeter.logs import where_raised
from submeter.meter.access import CHALLENGES, UNAUTHORIZED, Access

log = logging.getLogger("submeter")

API = "/api/"

BAD_REQUEST = Fault(400, "bad_http_request", "The request is not well-formed HTTP/1.1.", close=True)
NOT_FOUND = Fault(404, "not_found", "There is nothing here: the page is at /, its data under /api/.")
METHOD = Fault(405, "method_not_allowed", "The ops plane is only read: use GET.", allow="GET, HEAD")
FAILED = Fault(500, "internal_error", "This failed here; the log of the meter says where. Calls are not affected.")
UNREADABLE = Fault(
    503,
    "ledger_unavailable",
    "The ledger cannot be read now. Calls go on and wait in the journal; try again, or run `submeter doctor`.",
    retry_after_s=2,
)

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Server": "submeter",
}


def json_answer(document: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(document), content_type="application/json")


def error_answer(path: str, fault: Fault, param: str | None = None) -> web.Response:
    """The fixed text of a fault: JSON under ``/api/``, else plain text."""
    if path.startswith(API):
        answer = web.Response(body=error_body(fault, param=param), content_type="application/json")
    else:
        answer = web.Response(text=f"{fault.message}\n")
    answer.set_status(fault.status)
    if fault.allow is not None:
        answer.headers["Allow"] = fault.allow
    if fault.retry_after_s is not None:
        answer.headers["Retry-After"] = str(fault.retry_after_s)
    if fault is UNAUTHORIZED:
        answer.headers.extend([("WWW-Authenticate", challenge) for challenge in CHALLENGES])
    if fault.close:
        answer.force_close()
    return answer


def make_middleware(access: Access) -> Middleware:
    """Let in who may ask, turn what was raised into a fixed answer, and put the common headers on all of it."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        fault = access.fault(request.path, request.headers)
        answer = await _answer(request, handler) if fault is None else error_answer(request.path, fault)
        answer.headers.update(HEADERS)
        return answer

    return middleware


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Refusal as refusal:
        return error_answer(request.path, refusal.fault, refusal.param)
    except web.HTTPMethodNotAllowed:
        return error_answer(request.path, METHOD)
    except web.HTTPException:
        return error_answer(request.path, NOT_FOUND)
    except Exception as error:  # noqa: BLE001 - the rim: aiohttp's own answer could show a traceback
        log.error("an ops request failed", extra=where_raised(error))
        return error_answer(request.path, FAILED)


class QuietRunner(web.AppRunner):
    """Serves an app as ``AppRunner`` does, but neither answers nor logs the bytes of a malformed request.

    aiohttp quotes the offending header line in both, credentials included, and has no setting for it.
    """

    __slots__ = ()

    async def _make_server(self) -> web.Server:
        return _QuietServer(await super()._make_server())


class _QuietServer(web.Server):
    def __init__(self, made: web.Server) -> None:
        super().__init__(
            made.request_handler,
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            loop=made._loop,
            **made._kwargs,
        )

    def __call__(self) -> RequestHandler:
        return _QuietProtocol(self, loop=self._loop, **self._kwargs)


class _QuietProtocol(RequestHandler):
    __slots__ = ()

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        fault = BAD_REQUEST if status < 500 else FAILED
        answer = error_answer("", fault)
        answer.headers.update(HEADERS)
        answer.force_close()
        return answer

    def log_exception(self, *args: object, **kwargs: object) -> None:
        """Said by its class only, where the middleware has not said it."""
