"""One request's way through the relay, top to bottom.

    route ─ read the body ─ facts ─ upstream and credential ─ who ─ cache ─ flight ─ START ─ send ─ forward ─ FINISH

START is journalled before the first byte goes upstream, FINISH before the bytes that complete the answer go to the
caller (``forward``). What the relay answers itself is a ``Refusal``, raised wherever it is found.
"""

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Literal

import msgspec

from submeter.config import Upstream
from submeter.core import errors, headers
from submeter.core.attribution import Who, attribute
from submeter.core.errors import Fault, Refusal
from submeter.core.exchange import Exchange
from submeter.core.facts import Facts, read_facts, with_usage
from submeter.core.jsonbody import JsonBody
from submeter.core.record import CacheStatus, Start
from submeter.core.routes import Route, read_target
from submeter.relay import flight_calls, passing, replay
from submeter.relay.answers import call_headers, fault_answer, plain_answer
from submeter.relay.collecting import Job
from submeter.relay.flight import Flight
from submeter.relay.flight_answers import LeadingAnswer
from submeter.relay.forward import End, ForwardedAnswer
from submeter.relay.journalling import CallJournal
from submeter.relay.request import Request
from submeter.relay.server import ClientConnection
from submeter.relay.tunnel import Tunnel, wants_upgrade
from submeter.relay.upstream import Pool, Unreachable, UpstreamConnection

if TYPE_CHECKING:
    from submeter.relay.relay import Relay


class Planned(msgspec.Struct):
    """A metered call that is ready to be sent."""

    route: Route
    upstream: Upstream
    api_key: bytes | None
    facts: Facts
    who: Who
    body: JsonBody
    t0_ns: int
    cache: CacheStatus = "bypass"
    cache_key: str | None = None


class HandledCall:
    """One request of one caller."""

    def __init__(self, relay: "Relay", client: ClientConnection, request: Request) -> None:
        self.call_id = relay.new_id()
        self.relay = relay
        self.client = client
        self.request = request
        self.answer: ForwardedAnswer | None = None
        self.flight: Flight | None = None
        """The one that this call leads."""
        self.tunnel: Tunnel | None = None
        self.anthropic = False
        self.azure = False
        self.early = b""
        self._reads_on: asyncio.TimerHandle | None = None
        self.upstream: Upstream | None = None

    async def run(self) -> None:
        try:
            await self._serve()
        except Refusal as refusal:
            self._refuse(refusal.fault, refusal.param)
        except BaseException:  # a fault of ours: the call is settled all the same, and its caller cut off
            if self.answer is not None:
                self.answer.abandon(at_once=True)
            self.client.abort()
            raise
        finally:
            self.relay.calls.discard(self)
            if self._reads_on is not None:
                self._reads_on.cancel()
                self.relay.read_on -= 1

    async def _serve(self) -> None:
        request = self.request
        host = headers.find(request.headers, b"host") or b""
        route = read_target(request.target, host.decode("ascii"))
        if request.method in (b"CONNECT", b"TRACE"):
            raise Refusal(errors.METHOD)
        if route is None or (route.azure and self.relay.azure is None):
            raise Refusal(errors.UNKNOWN_URL)
        self.anthropic = route.endpoint.partition("/")[0] == "messages"
        self.azure = route.azure
        if route.health:
            self.finish_with(plain_answer(200, b"ok\n", close=not self.keep_alive))
        elif self.relay.stopping:
            raise Refusal(errors.SHUTTING_DOWN)
        elif len(self.relay.calls) > self.relay.limits.streams:
            raise Refusal(errors.OVERLOADED)
        elif wants_upgrade(request.headers) and request.method == b"GET":
            await passing.tunnel(self, route)
        elif route.metered and request.method == b"POST":
            await self._meter(route)
        elif route.metered and request.method in (b"PUT", b"PATCH", b"DELETE"):
            raise Refusal(errors.METHOD)
        else:
            await passing.pass_through(self, route)

    # -- metered calls ---------------------------------------------------------------------------------------

    async def _meter(self, route: Route) -> None:
        try:
            plan = self._plan(route, await self._read_body())
            found = await replay.find(self, plan)
            if found is not None:
                await replay.answer(self, plan, found)
            else:
                await flight_calls.send(self, plan)
        finally:
            self.relay.body_bytes -= self.request.held

    async def _read_body(self) -> bytes:
        request = self.request
        encoding = headers.find(request.headers, b"content-encoding")
        if encoding is not None and encoding.strip().lower() not in (b"", b"identity"):
            raise Refusal(errors.CONTENT_ENCODING)
        media = (headers.find(request.headers, b"content-type") or b"").partition(b";")[0].strip().lower()
        if media != b"application/json" and not (media.startswith(b"application/") and media.endswith(b"+json")):
            raise Refusal(errors.MEDIA_TYPE)
        return await request.read(self.relay.limits.body_bytes, self.relay.hold)

    def _plan(self, route: Route, raw: bytes) -> Planned:
        relay, sent = self.relay, self.request.headers
        body = JsonBody(raw)
        facts = read_facts(route.endpoint, body, route.deployment)
        upstream, is_default = relay.choose_upstream(route, sent, facts.model)
        credential = headers.credential(sent)
        tools = bytes(body.members.get("tools", b""))
        who = attribute(route, sent, facts, tools, credential, relay.keys.attribution)
        api_key = self.key_for(upstream, credential, is_default)
        plan = Planned(route, upstream, api_key, facts, who, body, self.request.completed_ns)
        plan.cache_key = replay.key_of(self, plan)
        plan.cache = "bypass" if plan.cache_key is None else "miss"
        return plan

    def key_for(self, upstream: Upstream, credential: bytes | None, is_default: bool) -> bytes | None:
        """The upstream's own key, or ``None``: the caller's credential goes on. Raises ``Refusal`` (FAULTS 46)."""
        if upstream.api_key is not None:
            return upstream.api_key.reveal().encode()
        if credential is not None and not is_default and not upstream.accepts_caller_key:
            raise Refusal(errors.INVALID_KEY)
        return None

    async def send(self, plan: Planned) -> None:
        """Send it; once more as it was, where the upstream refuses the option that was added (attempt 2)."""
        injected = self.injection(plan)
        end = await self._attempt(plan, 1, injected)
        if end is End.RETRY:
            self.relay.remember_refusal(plan.upstream.name, plan.facts.model)
            if self.flight is not None:
                self.relay.flights.without_usage(self.flight)
            end = await self._attempt(plan, 2, "")
        self.conclude(plan, end)

    def injection(self, plan: Planned) -> Literal["", "try", "always"]:
        """Is the provider asked for a usage chunk that the caller did not ask for?"""
        facts, upstream = plan.facts, plan.upstream
        if plan.route.endpoint not in ("chat/completions", "completions") or not facts.stream or facts.include_usage:
            return ""
        if upstream.inject_usage == "auto":
            return "" if self.relay.option_refused(upstream.name, facts.model) else "try"
        return "always" if upstream.inject_usage == "always" else ""

    async def _attempt(self, plan: Planned, attempt: int, injected: Literal["", "try", "always"]) -> End:
        relay, request = self.relay, self.request
        start = self.start_of(plan, attempt)
        exchange = self.exchange_for(plan, start, strip_usage=bool(injected))
        body = with_usage(plan.body) if injected else plan.body.body
        pool = relay.pool(plan.upstream)
        journalled = relay.journal.start(start)
        journal: CallJournal = relay.journal if journalled else relay.journal.nowhere
        connection = await self.connect(pool, exchange, journal)
        if connection is None:
            return End.GONE
        head = headers.upstream_request(
            request.headers,
            host=pool.host_header,
            identity=True,
            api_key=plan.api_key,
            key_header=self.key_header,
        )
        head.append((b"Content-Length", str(len(body)).encode()))
        target = f"{pool.base_path}{plan.route.target}".encode()
        kind = ForwardedAnswer if self.flight is None else LeadingAnswer
        answer = self.answer = kind(
            self.client,
            connection,
            exchange,
            journal,
            our_headers=call_headers(self.call_id, plan.cache),
            chunked=request.version == "1.1",
            close=not self.keep_alive,
            head_only=False,
            configured_key=plan.api_key is not None,
            injected=injected,
            keep_answer_bytes=relay.settings.cache.max_answer_bytes if plan.cache_key is not None else 0,
            count=None if relay.counting is None else partial(relay.counting.ask, exchange, plan.body.body),
        )
        self.upstream = plan.upstream
        if self.flight is not None and isinstance(answer, LeadingAnswer):
            answer.lead(self.flight, self.client_gone, relay.flights.max_bytes)
        if self.client.closing:
            self.client_gone()
        connection.send(headers.write(b"POST %b HTTP/1.1" % target, head) + body, answer)
        exchange.sent(time.monotonic_ns())
        return await answer.ended

    async def connect(self, pool: Pool, exchange: Exchange, journal: CallJournal) -> UpstreamConnection | None:
        """A connection to send on; ``None``: meanwhile the caller has left. Raises ``Refusal`` (FAULTS 29)."""
        try:
            connection = await pool.acquire()
        except Unreachable:
            exchange.failed("upstream_error", errors.UNREACHABLE.status, reached=False)
            journal.settle(exchange)
            raise Refusal(errors.UNREACHABLE) from None
        if not self.client.closing or (self.flight is not None and self.flight.shared):
            return connection
        exchange.failed("client_gone", None, reached=False)
        journal.settle(exchange)
        connection.release_unused()
        return None

    def exchange_for(self, plan: Planned, start: Start, *, strip_usage: bool) -> Exchange:
        if plan.facts.background:
            return Job(start, plan.t0_ns, self.relay.journal)
        return Exchange(start, plan.t0_ns, strip_usage=strip_usage, countable=self.relay.counting is not None)

    def start_of(self, plan: Planned, attempt: int) -> Start:
        facts = plan.facts
        return msgspec.structs.replace(
            self.begun(plan.route.endpoint, plan.upstream, plan.who, plan.t0_ns),
            attempt=attempt,
            metered=True,
            model_requested=facts.model,
            stream=facts.stream,
            temperature=facts.temperature,
            n=facts.n,
            max_output_tokens=facts.max_output_tokens,
            tools=facts.tools,
            service_tier=facts.service_tier,
            bytes_in=len(plan.body.body),
            refers_elsewhere=facts.refers_elsewhere,
            unbounded=facts.unbounded,
            cache=plan.cache,
        )

    def begun(self, endpoint: str, upstream: Upstream, who: Who, t0_ns: int) -> Start:
        """The START of any call; as it stands here, of one that nothing is read of."""
        wall_ns, jumped = self.relay.wall_clock()
        return Start(
            call_id=self.call_id,
            attempt=1,
            operation_id=who.operation_id or self.call_id,
            endpoint=endpoint,
            upstream=upstream.name,
            started_at_ns=wall_ns - (time.monotonic_ns() - t0_ns),
            metered=False,
            session=who.session,
            trace_id=who.trace_id,
            key_id=who.key_id,
            team=who.team,
            app=who.app,
            user=who.user,
            prompt=who.prompt,
            prompt_version=who.prompt_version,
            klass=who.klass,
            bytes_in=self.request.length or 0,
            clock_jumped=jumped,
        )

    # -- the end ---------------------------------------------------------------------------------------------

    def conclude(self, plan: Planned | None, end: End) -> None:
        answer = self.answer
        if plan is not None and answer is not None and answer.came_whole:
            replay.keep(self, plan, answer)  # also for those who followed a caller that has left
        if end is End.GONE:
            return
        assert answer is not None
        if end is End.NOTHING:
            assert answer.fault is not None
            raise Refusal(answer.fault)
        if end is End.CUT:
            self.client.close()
        elif end is End.WHOLE:
            self.client.done(self.request, keep=not answer.must_close)

    @property
    def keep_alive(self) -> bool:
        return self.request.keep_alive and not self.request.upgrade and not self.relay.draining

    @property
    def key_header(self) -> bytes:
        """Where a configured key goes when the caller sent none."""
        if self.azure:
            return b"api-key"
        return b"x-api-key" if self.anthropic else b"Authorization"

    def finish_with(self, data: bytes) -> None:
        self.client.write(data)
        self.client.done(self.request, keep=self.keep_alive)

    def _refuse(self, fault: Fault, param: str | None) -> None:
        if self.client.closing and self.answer is None:
            return  # nobody is there to be told
        if self.answer is None:
            self.relay.journal.refused(fault)
        close = fault.close or not self.keep_alive or not self.request.complete
        self.client.write(
            fault_answer(
                fault,
                self.call_id,
                param=param,
                anthropic=self.anthropic,
                close=close,
                head_only=self.request.method == b"HEAD",
            )
        )
        self.client.done(self.request, keep=not close)

    # -- what happens meanwhile ------------------------------------------------------------------------------

    def client_gone(self) -> None:
        """The caller's connection is lost. Accounting goes on without it."""
        relay, answer = self.relay, self.answer
        if self.tunnel is not None:
            self.tunnel.client_gone()
        elif answer is not None and not answer.ended.done():
            drain = self.upstream is not None and self.upstream.on_disconnect == "drain"
            drain = drain and relay.read_on < relay.limits.drain_streams
            if answer.client_gone(drain=drain):
                relay.read_on += 1
                self._reads_on = asyncio.get_running_loop().call_later(relay.limits.drain_s, answer.abandon)

    def client_paused(self, paused: bool) -> None:
        if self.tunnel is not None:
            self.tunnel.client_paused(paused)
        elif self.answer is not None:
            self.answer.client_paused(paused)

    def pause_request(self, paused: bool) -> None:
        """The upstream takes no more of the body for now."""
        if not self.client.closing:
            if paused:
                self.client.pause_body()
            else:
                self.client.resume_body()

    def raw_from_client(self, data: bytes) -> None:
        if self.tunnel is not None:
            self.tunnel.from_client(data)
        else:
            self.early += data  # one read at most: what came with the head

    def shut_down(self) -> None:
        """The drain deadline has passed: settle with bounds and let go."""
        if self.tunnel is not None:
            self.tunnel.client_gone()
        elif self.answer is not None and not self.answer.ended.done():
            self.answer.abandon(at_once=True)
        self.client.abort()
