"""GET /metrics: the format by Accept, and no answer before there is a true one."""

from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer

from meter.ops_app import HEALTHY, make_settings
from submeter.core.errors import Refusal
from submeter.meter.labels import LabelSets
from submeter.meter.metrics import Metrics
from submeter.meter.ops import make_app
from submeter.meter.process import CATCHING_UP

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (None, "text/plain; version=0.0.4; charset=utf-8"),
        ("text/html,*/*;q=0.8", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/openmetrics-text;version=1.0.0,text/plain;q=0.5", "application/openmetrics-text; version=1.0.0"),
    ],
)
async def test_the_format_is_chosen_by_accept(tmp_path: Path, accept: str | None, content_type: str) -> None:
    app = make_app(make_settings(tmp_path), exposition=Metrics(LabelSets({}, [])).exposition, health=lambda: HEALTHY)
    async with TestClient(TestServer(app)) as client:
        answer = await client.get("/metrics", headers={} if accept is None else {"Accept": accept})
        body = await answer.read()
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith(content_type)
    assert body.endswith(b"# EOF\n") == ("openmetrics" in content_type)


async def test_a_meter_that_catches_up_says_so(tmp_path: Path) -> None:
    def exposition(_accept: str) -> tuple[bytes, str]:
        raise Refusal(CATCHING_UP)

    app = make_app(make_settings(tmp_path), exposition=exposition, health=lambda: HEALTHY)
    async with TestClient(TestServer(app)) as client:
        answer = await client.get("/metrics")
        assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
        assert "counters are shown once it has" in await answer.text()
