"""Who may ask: host names on loopback (DNS rebinding), tokens everywhere else."""

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from meter.ops_app import client_of, make_settings, token
from submeter.config import Settings
from submeter.core.errors import MISDIRECTED
from submeter.meter.access import UNAUTHORIZED, Access

pytestmark = pytest.mark.anyio

LOOPBACK = Settings(data_dir=Path("/nowhere"), allowed_hosts=("meter.internal",))
PUBLIC = Settings(
    data_dir=Path("/nowhere"), ops_host="0.0.0.0", ops_token=token("ops-1"), metrics_token=token("scrape-2")
)
NAMES = ("localhost", "127.0.0.1", "[::1]", "meter.internal")


def headers(*pairs: tuple[str, str]) -> CIMultiDictProxy[str]:
    return CIMultiDictProxy(CIMultiDict(pairs))


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize("name", [*NAMES, "LocalHost", "METER.internal"])
@pytest.mark.parametrize("port", ["", ":4101"])
def test_loopback_answers_for_its_own_names(name: str, port: str) -> None:
    assert Access(LOOPBACK).fault("/", headers(("Host", name + port))) is None


@pytest.mark.parametrize(
    "hosts",
    [
        (),
        ("",),
        ("evil.example",),
        ("localhost.evil.example",),
        ("localhost:4101.evil.example",),
        ("evil.example:4101",),
        ("[::1",),
        ("localhost:",),
        ("localhost:x",),
        ("localhost", "localhost"),
    ],
)
def test_loopback_answers_for_no_other_name(hosts: tuple[str, ...]) -> None:
    for path in ("/", "/api/calls", "/metrics", "/healthz", "/readyz"):
        assert Access(LOOPBACK).fault(path, headers(*(("Host", host) for host in hosts))) is MISDIRECTED


@given(st.text(max_size=40))
def test_any_host_header_is_judged_by_its_name_alone(host: str) -> None:
    name, colon, port = host.rpartition(":")
    own = (name if colon and port.isdigit() else host).lower() in NAMES
    assert (Access(LOOPBACK).fault("/", headers(("Host", host))) is None) == own


@pytest.mark.parametrize(
    ("path", "credential", "opens"),
    [
        ("/", None, False),
        ("/", "Bearer ops-1", True),
        ("/", "bearer ops-1", True),
        ("/", "Bearer scrape-2", False),
        ("/", "Bearer ops-1x", False),
        ("/", "Bearer ", False),
        ("/", "ops-1", False),
        ("/", basic("anyone", "ops-1"), True),
        ("/", basic("ops-1", ""), False),
        ("/", "Basic not*base64", False),
        ("/api/calls", None, False),
        ("/static/page.css", None, False),
        ("/metrics", None, False),
        ("/metrics", "Bearer scrape-2", True),
        ("/metrics", "Bearer ops-1", True),
        ("/metrics", "Bearer other", False),
        ("/healthz", None, True),
        ("/readyz", None, True),
        ("/healthz/", None, False),
    ],
)
def test_public_bind_asks_for_the_token(path: str, credential: str | None, opens: bool) -> None:
    given_headers = headers() if credential is None else headers(("Authorization", credential))
    assert Access(PUBLIC).fault(path, given_headers) is (None if opens else UNAUTHORIZED)


@given(st.text(max_size=60))
def test_no_credential_but_the_token_opens(credential: str) -> None:
    assert Access(PUBLIC).fault("/", headers(("Authorization", credential))) is UNAUTHORIZED


def test_two_credentials_open_nothing() -> None:
    twice = headers(("Authorization", "Bearer ops-1"), ("Authorization", "Bearer ops-1"))
    assert Access(PUBLIC).fault("/", twice) is UNAUTHORIZED


def test_a_public_bind_without_a_token_stays_closed(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, ops_host="0.0.0.0")
    for credential in ("Bearer ", "Bearer None", basic("", "")):
        assert Access(settings).fault("/", headers(("Authorization", credential))) is UNAUTHORIZED


def test_a_token_that_is_set_is_asked_for_on_loopback_too(tmp_path: Path) -> None:
    local = ("Host", "localhost")
    settings = make_settings(tmp_path, metrics_token=token("scrape-2"))
    assert Access(settings).fault("/", headers(local)) is None
    assert Access(settings).fault("/metrics", headers(local)) is UNAUTHORIZED
    assert Access(settings).fault("/metrics", headers(local, ("Authorization", "Bearer scrape-2"))) is None
    settings = make_settings(tmp_path, ops_token=token("ops-1"))
    assert Access(settings).fault("/", headers(local)) is UNAUTHORIZED
    assert Access(settings).fault("/", headers(local, ("Authorization", "Bearer ops-1"))) is None


async def test_refusals_over_http(tmp_path: Path) -> None:
    async with client_of(make_settings(tmp_path)) as client:
        answer = await client.get("/", headers={"Host": "evil.example"})
        assert answer.status == 421
        assert await answer.text() == MISDIRECTED.message + "\n"
        answer = await client.get("/api/calls", headers={"Host": "evil.example"})
        assert answer.status == 421
        assert (await answer.json())["error"]["code"] == "misdirected_request"
    async with client_of(make_settings(tmp_path, ops_token=token("ops-1"))) as client:
        answer = await client.get("/")
        assert answer.status == 401
        assert answer.headers.getall("WWW-Authenticate") == ["Bearer", 'Basic realm="submeter", charset="UTF-8"']
        assert (await client.get("/", headers={"Authorization": "Bearer ops-1"})).status == 200
        assert (await client.get("/healthz")).status == 200
