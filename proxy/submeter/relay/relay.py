"""What the calls of one relay share: settings, pools, journal, cache, keys, and the sweep of deadlines."""

import asyncio
import os
import time
from collections.abc import Sequence
from fnmatch import fnmatchcase

import msgspec

from submeter.config import Settings, Upstream, is_loopback
from submeter.core import errors
from submeter.core.errors import Fault, Refusal
from submeter.core.headers import Headers, find
from submeter.core.ids import uuid7
from submeter.core.kept import KeptAnswer
from submeter.core.routes import Route
from submeter.journal.writer import JournalWriter
from submeter.relay.answers import fault_answer
from submeter.relay.counting import Counting
from submeter.relay.flight import Flights
from submeter.relay.flight_lookups import SharedLookups
from submeter.relay.handler import HandledCall
from submeter.relay.journalling import Journalling
from submeter.relay.request import Request
from submeter.relay.server import Call, ClientConnection
from submeter.relay.upstream import Pool
from submeter.store.cache import Cache
from submeter.tasks import spawn

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
JUMP_NS = 1_000_000_000
JUMP_FLAG_S = 60.0
REFUSED_OPTION_S = 3600.0
AZURE = "azure"


class Keys(msgspec.Struct, frozen=True):
    """Secrets that key hashes: of who calls, and of what is cached."""

    attribution: bytes
    cache: bytes


class Relay:
    """One relay process's shared state. Not thread-safe: everything runs on its loop."""

    def __init__(
        self,
        settings: Settings,
        writer: JournalWriter,
        cache: Cache | None,
        keys: Keys,
        counting: Counting | None = None,
    ) -> None:
        self.settings = settings
        self.limits = settings.limits
        self.journal = Journalling(writer, settings.when_unmetered)
        self.cache = cache if cache is None or cache.shared is None else SharedLookups(cache)
        self.on_its_way: dict[str, KeptAnswer] = {}
        """Answers that the cache is being given now."""
        self.flights = Flights(settings.cache.max_answer_bytes)
        self.keys = keys
        self.counting = counting
        """Who counts the tokens of calls whose provider does not; ``None``: nobody."""
        self.connections: set[ClientConnection] = set()
        self.calls: set[HandledCall] = set()
        self.draining = False
        self.stopping = False
        self.read_on = 0
        """Calls whose caller has left, and whose answer is read on for its usage."""
        self.body_bytes = 0
        """Request bodies held in memory."""
        self._cache_told: dict[str, int] = {}
        """What the cache has counted, as far as it is journalled."""
        self._pools: dict[str, Pool] = {}
        self._option_refused: dict[tuple[str, str], float] = {}
        self._hosts = _answered_hosts(settings)
        self.azure = _azure_default(settings)
        """Where Azure's paths go; without it they are unknown ones."""
        self._wall_offset_ns = time.time_ns() - time.monotonic_ns()
        self._jumped_until = 0.0

    # -- for connections -------------------------------------------------------------------------------------

    def new_call(self, client: ClientConnection, request: Request) -> HandledCall:
        call = HandledCall(self, client, request)
        self.calls.add(call)
        return call

    def spawn(self, call: Call) -> None:
        spawn(call.run(), "call")

    def refuse_early(self, client: ClientConnection, fault: Fault, target: bytes) -> None:
        """A fault of HTTP itself, before there is a request; ``target``: as much of it as has come."""
        self.journal.refused(fault)
        anthropic = b"/messages" in target.partition(b"?")[0]
        client.write(fault_answer(fault, self.new_id(), anthropic=anthropic, close=True))

    def host_allowed(self, host: bytes) -> bool:
        """On loopback only known names are answered, so that no web page can rebind its name to us (FAULTS 47)."""
        if self._hosts is None:
            return True
        name = host.decode("ascii", "replace").lower()
        bare = name if name.endswith("]") else name.rpartition(":")[0] or name
        return bare in self._hosts or name in self._hosts

    # -- for calls -------------------------------------------------------------------------------------------

    def new_id(self) -> str:
        return uuid7(time.time_ns() // 1_000_000, os.urandom(10))

    def wall_clock(self) -> tuple[int, bool]:
        """(Unix ns, whether the wall clock has jumped within the last minute)."""
        return time.time_ns(), time.monotonic() < self._jumped_until

    def choose_upstream(self, route: Route, headers: Headers, model: str | None) -> tuple[Upstream, bool]:
        """(where a call goes, whether that is its dialect's default upstream). Raises ``Refusal``."""
        upstreams = self.settings.upstreams
        name = None if model is None else mapped_upstream(self.settings.models, model)
        if route.azure and name is not None and not _is_azure(upstreams[name]):
            name = None  # its paths are known to nobody else
        if name is None and model is not None and self.settings.closed_models:
            raise Refusal(errors.MODEL_NOT_FOUND, "model")
        default = self._default_upstream(route, headers)
        chosen = upstreams[default if name is None else name]
        return chosen, chosen.name == default

    def _default_upstream(self, route: Route, headers: Headers) -> str:
        """The upstream that a call's dialect goes to unless its model is mapped to another."""
        if route.azure:
            assert self.azure is not None, "the handler has refused the path"
            return self.azure
        anthropic = route.endpoint.partition("/")[0] == "messages" or find(headers, b"anthropic-version") is not None
        return "anthropic" if anthropic else "openai"

    def pool(self, upstream: Upstream) -> Pool:
        pool = self._pools.get(upstream.name)
        if pool is None:
            pool = self._pools[upstream.name] = Pool(upstream)
        return pool

    def hold(self, size: int) -> bool:
        """Count bytes of a request's body that is kept in memory; False: there are too many now."""
        self.body_bytes += size
        return self.body_bytes <= self.limits.memory_bytes

    def option_refused(self, upstream: str, model: str) -> bool:
        """Has this upstream refused ``stream_options`` for this model within the hour?"""
        return time.monotonic() < self._option_refused.get((upstream, model), 0.0)

    def remember_refusal(self, upstream: str, model: str) -> None:
        if len(self._option_refused) > 1000:
            self._option_refused.clear()
        self._option_refused[upstream, model] = time.monotonic() + REFUSED_OPTION_S

    # -- for the process -------------------------------------------------------------------------------------

    def sweep(self) -> None:
        """Once a second: deadlines, the wall clock, the tallies."""
        now = asyncio.get_running_loop().time()
        for client in tuple(self.connections):
            client.check(now)
        for pool in self._pools.values():
            for connection in tuple(pool.connections):
                connection.check(now)
        offset_ns = time.time_ns() - time.monotonic_ns()
        if abs(offset_ns - self._wall_offset_ns) > JUMP_NS:
            self._jumped_until = time.monotonic() + JUMP_FLAG_S
        self._wall_offset_ns = offset_ns
        self._count_cache()
        self.journal.flush()

    async def drain(self, timeout_s: float) -> None:
        """Let calls in flight finish; idle connections close, and no further call is taken after the deadline."""
        self.draining = True
        for client in tuple(self.connections):
            client.close_if_idle()
        deadline = time.monotonic() + timeout_s
        while self.calls and time.monotonic() < deadline:  # noqa: ASYNC110 - the set empties in many places
            await asyncio.sleep(0.02)
        self.stopping = True
        for call in tuple(self.calls):
            call.shut_down()
        for client in tuple(self.connections):
            client.close_if_idle()
        await asyncio.sleep(0.05)  # what is written last may still be in a socket's buffer

    async def close(self) -> None:
        for pool in self._pools.values():
            pool.close()
        if self.counting is not None:
            self.counting.close()
        if self.cache is not None:
            await self.cache.close()
        self._count_cache()
        self.journal.close()

    def _count_cache(self) -> None:
        """The meter, which cannot ask the cache, learns from the journal what became of its questions."""
        if self.cache is None:
            return
        totals = self.cache.stats.as_dict()
        for event, total in totals.items():
            self.journal.cache_said(event, total - self._cache_told.get(event, 0))
        self._cache_told = totals


def mapped_upstream(models: dict[str, str], model: str) -> str | None:
    """The upstream a model is mapped to: an exact name first, else the longest glob that matches."""
    exact = models.get(model)
    if exact is not None:
        return exact
    globs: Sequence[str] = sorted((name for name in models if fnmatchcase(model, name)), key=len)
    return models[globs[-1]] if globs else None


def _azure_default(settings: Settings) -> str | None:
    """The upstream of that name, else the first one of that provider."""
    names = [name for name, upstream in settings.upstreams.items() if _is_azure(upstream)]
    return AZURE if AZURE in names else next(iter(names), None)


def _is_azure(upstream: Upstream) -> bool:
    return upstream.provider == AZURE and upstream.translate is None


def _answered_hosts(settings: Settings) -> frozenset[str] | None:
    if not is_loopback(settings.host):
        return None
    return frozenset(name.lower() for name in (*LOOPBACK_NAMES, *settings.allowed_hosts))
