"""Checks that ask somebody: our own two planes, the upstreams, the clock, Redis."""

import asyncio
import socket
import time
from contextlib import closing
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from redis.exceptions import RedisClusterException, RedisError

from submeter.commands.checks.finding import Finding, ok, problem, warning
from submeter.commands.checks.probe import TIMEOUT_S, Reply, Unreachable, ask
from submeter.config import Settings, Upstream, split_host_port, without_password
from submeter.store.cache.address import parse_address

SKEW_S = 60.0
"""A clock further off than this puts calls into the wrong hour and prices them at the wrong day's price."""


class _Answered(NamedTuple):
    finding: Finding
    skew_s: float | None


async def everything(settings: Settings) -> list[Finding]:
    """All at once, in the order of the report."""
    found, answered, cache = await asyncio.gather(
        _planes(settings),
        asyncio.gather(*(_upstream(upstream) for upstream in settings.upstreams.values() if upstream.base_url)),
        _redis(settings.redis),
    )
    return [*found, *(answer.finding for answer in answered), *_clock([a.skew_s for a in answered]), *cache]


async def _planes(settings: Settings) -> list[Finding]:
    data, ops = await asyncio.gather(
        _plane(settings.host, settings.port, "/healthz"),
        _plane(settings.ops_host, settings.ops_port, "/readyz"),
    )
    return [_data_plane(data, settings), _ops_plane(ops, settings, relays_answer=isinstance(data, Reply))]


async def _plane(host: str, port: int, path: str) -> Reply | Unreachable:
    here = {"0.0.0.0": "127.0.0.1", "::": "::1", "localhost": "127.0.0.1"}.get(host, host)  # noqa: S104 - to ask it
    try:
        return await ask(f"http://{f'[{here}]' if ':' in here else here}:{port}{path}", with_body=True)
    except Unreachable as error:
        return error


def _data_plane(answer: Reply | Unreachable, settings: Settings) -> Finding:
    if isinstance(answer, Reply) and answer.status == 200 and answer.body == "ok\n":
        return ok("data plane", f"answers on port {settings.port}")
    return free_or_taken("data plane", answer, settings.host, settings.port, "--port")


def _ops_plane(answer: Reply | Unreachable, settings: Settings, *, relays_answer: bool) -> Finding:
    if isinstance(answer, Reply) and answer.status == 200:
        if answer.body == "ok\n":
            return ok("ops plane", f"ready on port {settings.ops_port}")
        if answer.body.startswith("degraded: "):
            mend = "rows wait in the journal meanwhile; `submeter serve` wrote more of it to stderr"
            return warning("ops plane", answer.body.strip(), mend)
    if isinstance(answer, Unreachable) and answer.refused and relays_answer:
        text = f"relays answer, but no meter on port {settings.ops_port}"
        return problem("ops plane", text, "see what `submeter serve` wrote to stderr")
    return free_or_taken("ops plane", answer, settings.ops_host, settings.ops_port, "--ops-port")


def free_or_taken(check: str, answer: Reply | Unreachable, host: str, port: int, flag: str) -> Finding:
    if isinstance(answer, Reply) or not answer.refused:
        text = f"port {port} is held by a program that is not submeter"
        return problem(check, text, f"stop it (`ss -ltnp 'sport = :{port}'` shows it), or choose another {flag}")
    reason = _cannot_bind(host, port)
    if reason is not None:
        return problem(check, f"port {port} of {host} cannot be used: {reason}", f"choose another {flag} or address")
    return ok(check, f"port {port} is free; `submeter serve` is not running")


def _cannot_bind(host: str, port: int) -> str | None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.strerror or "no such address"
    return None


async def _upstream(upstream: Upstream) -> _Answered:
    check = f"upstream {upstream.name}"
    try:
        reply = await ask(upstream.base_url)
    except Unreachable as error:
        mend = f"{error.mend}; the setting is upstreams.{upstream.name}.base_url"
        return _Answered(problem(check, f"{upstream.base_url}: {error.text}", mend), None)
    skew_s = _skew_s(reply.headers.get("date"))
    if upstream.base_url.count("/") == 2:
        text = f"{upstream.base_url} has no path; most providers want /v1 at its end"
        return _Answered(warning(check, text, f"check upstreams.{upstream.name}.base_url"), skew_s)
    host, port = split_host_port(upstream.base_url)
    return _Answered(ok(check, f"{host} port {port} answers"), skew_s)


def _skew_s(date: str | None) -> float | None:
    """How far this machine's clock is ahead of the one that sent ``date``; good to a second or two."""
    try:
        return None if date is None else time.time() - parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None


def _clock(skews_s: list[float | None]) -> list[Finding]:
    """By the smallest skew: one provider's wrong clock is not ours."""
    known = [skew for skew in skews_s if skew is not None]
    if not known:
        return [warning("clock", "not compared: no upstream told the time", "make sure that NTP runs")]
    skew = min(known, key=abs)
    if abs(skew) > SKEW_S:
        ahead = "ahead of" if skew > 0 else "behind"
        return [
            problem("clock", f"{abs(skew):.0f} s {ahead} the upstreams'", "switch NTP on: `timedatectl set-ntp true`")
        ]
    return [ok("clock", "agrees with the upstreams'")]


async def _redis(url: str | None) -> list[Finding]:
    if url is None:
        return []
    shown = without_password(url)
    try:
        await asyncio.to_thread(_ping, url)
    except (RedisError, RedisClusterException, OSError, ValueError) as error:
        text = f"{shown}: no answer to PING ({type(error).__name__})"
        return [problem("redis", text, "check the URL, its password, and that Redis runs; calls go on without a cache")]
    return [ok("redis", f"{shown} answers")]


def _ping(url: str) -> None:
    with closing(parse_address(url).plain_client(TIMEOUT_S)) as client:
        client.ping()
