"""One upstream call for all relays that want the same answer at the same time.

A relay that claims a key makes the call and publishes what arrives; the others follow it. The claim is a lock with a
token and an expiry, so that a relay that dies frees it; a relay that lost its claim can publish nothing more. What is
published is sealed like the answers, in a Redis Stream of this one flight, and short-lived. Redis holds the newest
``WINDOW_BYTES`` of it: who keeps up gets all, who is further behind nothing more.
"""

from collections import deque

import msgspec

from submeter.core.kept import KeptAnswer
from submeter.store.cache import names
from submeter.store.cache.contract import CacheStats, CacheUnavailable
from submeter.store.cache.seal import Sealer
from submeter.store.cache.server import Server

FOLLOW_S = 1.0
"""The longest that ``follow`` waits for news."""
FOLLOW_DEADLINE_S = 1.5
"""By then it has said so, or is unavailable; servers look at their clock ten times a second."""
STREAM_TTL_S = 30.0
"""How long after its last entry a flight that was heard can still be followed."""
WINDOW_BYTES = 1 << 20
HEARD = 2
"""What publishing says where somebody listens."""

# A command that was sent twice, as its connection broke, finds its own claim.
CLAIM = """
local won = redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) or redis.call('GET', KEYS[1]) == ARGV[1]
return {won and 1 or 0, redis.call('GET', KEYS[2])}
"""
EXTEND = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
RELEASE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '0' and redis.call('EXISTS', KEYS[3]) == 0 then redis.call('DEL', KEYS[2]) end
return redis.call('DEL', KEYS[1])
"""
PUBLISH = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('XADD', KEYS[2], 'MINID', ARGV[5], ARGV[2] .. '-0', 'd', ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return 1 + redis.call('EXISTS', KEYS[3])
"""
LISTEN = """
redis.call('SET', KEYS[2], 1, 'PX', ARGV[1])
return redis.call('GET', KEYS[1])
"""


class Claim(msgspec.Struct, frozen=True):
    won: bool
    """This is the one who makes the call."""
    kept: KeptAnswer | None
    """Meanwhile the answer is there: it need not be made any more."""


class GoneBy(CacheUnavailable):
    """What comes next for this follower is held no more."""


class Entry(msgspec.Struct, frozen=True):
    """What one ``publish`` said."""

    seq: int
    data: bytes
    last: bool


class Published:
    """What Redis holds of one stream, and whether it was of use to anybody."""

    def __init__(self) -> None:
        self.heard = False
        self._sizes: deque[int] = deque()
        self._bytes = 0

    def add(self, size: int) -> None:
        """One more entry; the first ones go as far as they must."""
        self._sizes.append(size)
        self._bytes += size
        while self._bytes > WINDOW_BYTES:
            self._bytes -= self._sizes.popleft()

    def __len__(self) -> int:
        return len(self._sizes)


class SharedFlights:
    """Every method keeps the cache's deadline and raises ``CacheUnavailable`` only."""

    def __init__(self, server: Server, waiting: Server, sealer: Sealer, stats: CacheStats) -> None:
        self._server = server
        self._waiting = waiting
        self._sealer = sealer
        self._stats = stats
        self._published: dict[str, Published] = {}

    async def claim(self, key: str, token: str, ttl_s: float) -> Claim:
        """The one who has won has to ``extend`` its claim before ``ttl_s`` is over, or to ``release`` it."""
        found = await self._run(CLAIM, [names.flight(key), names.answer_of(key)], token, _ms(ttl_s))
        won, value = found if isinstance(found, list) else (0, None)
        return Claim(bool(won), self._open(key, value))

    async def extend(self, key: str, token: str, ttl_s: float) -> bool:
        """Also of what was published so far. False where the claim is lost."""
        keys = [names.flight(key), names.stream(key, token)]
        return bool(await self._run(EXTEND, keys, token, _ms(ttl_s), _ms(STREAM_TTL_S)))

    async def release(self, key: str, token: str) -> bool:
        """Frees the key for the next claim. What was published can be read to its end, if anybody ever listened; else
        it is gone at once, and who comes now finds no flight. False where the claim was lost."""
        stream = names.stream(key, token)
        heard = self._published.pop(stream, Published()).heard
        return bool(await self._run(RELEASE, [names.flight(key), stream, names.heard(key)], token, int(heard)))

    async def listen(self, key: str, ttl_s: float) -> str | None:
        """Who has the claim: the ``token`` to follow. For ``ttl_s`` the flight is heard; to be said before each
        ``follow`` that may be the first, and again in time."""
        token = await self._run(LISTEN, [names.flight(key), names.heard(key)], _ms(ttl_s))
        return token.decode("utf-8", "replace") if isinstance(token, bytes) else None

    async def is_heard(self, key: str) -> bool:
        name = names.heard(key)
        return bool(await self._server.ask(name, lambda: self._server.client.exists(name)))

    async def publish(self, key: str, token: str, seq: int, data: bytes, *, last: bool = False) -> None:
        """``seq`` counts from 1, without gaps. Unavailable as well: for more than ``WINDOW_BYTES`` at once, and once
        the claim is lost."""
        if len(data) > WINDOW_BYTES:
            raise CacheUnavailable
        stream = names.stream(key, token)
        published = self._published.setdefault(stream, Published())
        published.add(len(data))
        value = self._sealer.seal(_entry_name(stream, seq), bytes([last]) + data)
        keys, first = [names.flight(key), stream, names.heard(key)], seq + 1 - len(published)
        done = await self._run(PUBLISH, keys, token, seq, value, _ms(STREAM_TTL_S), first)
        if not done:
            raise CacheUnavailable
        published.heard |= done == HEARD

    async def follow(self, key: str, token: str, after: int = 0, *, wait: bool = True) -> list[Entry]:
        """What this flight has published after ``after``, in order; waits ``FOLLOW_S`` for it, and then says ``[]``.
        Raises ``GoneBy`` where it is held no more."""
        stream, client = names.stream(key, token), self._waiting.client
        block_ms = _ms(FOLLOW_S) if wait else None
        found = await self._waiting.ask(stream, lambda: client.xread({stream: f"{after}-0"}, block=block_ms))
        sealed = [(_seq(entry_id), fields) for entry_id, fields in _entries(found)]
        if [seq for seq, _ in sealed] != list(range(after + 1, after + 1 + len(sealed))):
            raise GoneBy
        return [self._read(stream, seq, fields) for seq, fields in sealed]

    async def _run(self, script: str, keys: list[str], *arguments: str | int | bytes) -> object:
        client = self._server.client
        return await self._server.ask(keys[0], lambda: client.eval(script, len(keys), *keys, *arguments))

    def _open(self, key: str, value: object) -> KeptAnswer | None:
        """Counted only where there is something: that the answer was missed has been counted before."""
        if not isinstance(value, bytes):
            return None
        answer = self._sealer.open_answer(names.answer_of(key), value)
        self._stats.hits += answer is not None
        self._stats.rejected += answer is None
        self._stats.misses += answer is None
        return answer

    def _read(self, stream: str, seq: int, fields: dict[bytes, bytes]) -> Entry:
        """Raises ``CacheUnavailable`` for what no relay of ours has published."""
        plain = self._sealer.open(_entry_name(stream, seq), fields.get(b"d", b""))
        if not plain:
            self._stats.rejected += 1
            raise CacheUnavailable
        return Entry(seq, plain[1:], plain[0] == 1)


def _entries(found: object) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """The entries of the one stream that was read, in either protocol's shape."""
    if not found:
        return []
    streams = list(found.values()) if isinstance(found, dict) else [entries for _, entries in found]  # type: ignore[attr-defined]
    entries = streams[0]
    return entries[0] if entries and isinstance(entries[0], list) else entries


def _seq(entry_id: bytes) -> int:
    return int(entry_id.partition(b"-")[0])


def _entry_name(stream: str, seq: int) -> str:
    return f"{stream}:{seq}"


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))
