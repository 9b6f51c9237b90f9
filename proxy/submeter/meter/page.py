"""The page at ``/``: rendered here in one piece, kept up to date by a little script. It works offline."""

import time
from pathlib import Path

import msgspec
from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from submeter.config import Settings
from submeter.core import when
from submeter.meter import figures, wording
from submeter.meter.api import READER, bad_parameter
from submeter.meter.health import Health
from submeter.meter.overview import DEFAULT_PERIOD, PERIODS, Overview, Period, read_overview
from submeter.meter.reader import NothingYet
from submeter.store.ledger import Ledger, LedgerUnavailable

TEMPLATES = Path(__file__).parent / "templates"

EMPTY_REFRESH_S = 2.0
REFRESH_S = 10.0
REFRESH_SHARE = 20
"""An open page takes at most this fraction of the meter's time for itself."""

_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}  # noqa: S104 - compared, not bound


class Page:
    """Renders the page. ``note`` is a line that stands on top of it, such as that the data are made up."""

    def __init__(self, settings: Settings, note: str | None = None) -> None:
        environment = make_environment()
        self._template = environment.get_template("page.html")
        self._always = {"note": note, "relay_url": relay_url(settings), "periods": PERIODS}

    async def handle(self, request: web.Request, health: Health) -> web.Response:
        period = _period(request)
        try:
            html = await request.app[READER].read(lambda ledger: self._read_and_render(ledger, period, health))
        except NothingYet:
            html = self._render(period, health, None, EMPTY_REFRESH_S)
        except LedgerUnavailable:
            html = self._render(period, health, None, EMPTY_REFRESH_S, unreadable=True)
        return web.Response(text=html, content_type="text/html")

    def _read_and_render(self, ledger: Ledger, period: Period, health: Health) -> str:
        begun_s = time.monotonic()
        overview = read_overview(ledger, period, time.time_ns())
        took_s = time.monotonic() - begun_s
        refresh_s = EMPTY_REFRESH_S if overview is None else max(REFRESH_S, REFRESH_SHARE * took_s)
        return self._render(period, health, overview, refresh_s)

    def _render(
        self,
        period: Period,
        health: Health,
        overview: Overview | None,
        refresh_s: float,
        *,
        unreadable: bool = False,
    ) -> str:
        return self._template.render(
            **self._always,
            period=period,
            health=health,
            overview=overview,
            unreadable=unreadable,
            notices=wording.notices(health, overview, unreadable=unreadable),
            now=when.rfc3339(time.time_ns()),
            refresh_ms=round(1000 * refresh_s),
        )


def make_environment() -> Environment:
    """Jinja with everything escaped and nothing undefined passed over."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        name: getattr(figures, name)
        for name in ("compact", "count", "duration", "ms", "plural", "usd", "usd_exact", "visible")
    }
    environment.filters["per_thousand"] = wording.per_thousand
    environment.globals |= {"share": figures.share, "places_for": figures.places_for, "wording": wording}
    # The page's script reads these; "<" and its like are escaped, so that no name can end the element.
    environment.policies["json.dumps_function"] = lambda value, **_: msgspec.json.encode(value).decode()
    return environment


def relay_url(settings: Settings) -> str:
    """What ``OPENAI_BASE_URL`` is set to on this machine."""
    host = _WILDCARDS.get(settings.host, settings.host)
    return f"http://{f'[{host}]' if ':' in host and host[0] != '[' else host}:{settings.port}/v1"


def _period(request: web.Request) -> Period:
    wanted = request.query.get("period", DEFAULT_PERIOD.key)
    for period in PERIODS:
        if period.key == wanted:
            return period
    raise bad_parameter("period", f"one of {', '.join(period.key for period in PERIODS)}")
