"""One upstream call for all relays that want the same answer at the same time.

A relay that claims a key makes the call and publishes what arrives; the others follow it. The claim is a lock with a
token and an expiry, so that a relay that dies frees it; a relay that lost its claim can publish nothing more. What is
published is sealed like the answers, in a Redis Stream of this one flight, and short-lived.
"""

import msgspec

from submeter.store.cache import names
from submeter.store.cache.contract import CacheStats, CacheUnavailable
from submeter.store.cache.seal import Sealer
from submeter.store.cache.server import Server

FOLLOW_S = 1.0
"""The longest that ``follow`` waits for news."""
FOLLOW_DEADLINE_S = 1.5
"""By then it has said so, or is unavailable; servers look at their clock ten times a second."""
STREAM_TTL_S = 30.0
"""How long after its last entry a flight can still be followed."""
MAX_FLIGHT_BYTES = 1 << 20

# A command that was sent twice, as its connection broke, finds its own claim.
CLAIM = """
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
return redis.call('GET', KEYS[1]) == ARGV[1] and 1 or 0
"""
EXTEND = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
PUBLISH = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('XADD', KEYS[2], ARGV[2] .. '-0', 'd', ARGV[3])
return redis.call('PEXPIRE', KEYS[2], ARGV[4])
"""


class Entry(msgspec.Struct, frozen=True):
    """What one ``publish`` said."""

    seq: int
    data: bytes
    last: bool
    token: str
    """The flight's; give it to the next ``follow``, so that a later flight of this key is not mistaken for it."""


class SharedFlights:
    """Every method keeps the cache's deadline and raises ``CacheUnavailable`` only."""

    def __init__(self, server: Server, waiting: Server, sealer: Sealer, stats: CacheStats) -> None:
        self._server = server
        self._waiting = waiting
        self._sealer = sealer
        self._stats = stats
        self._published_bytes: dict[str, int] = {}

    async def claim(self, key: str, token: str, ttl_s: float) -> bool:
        """True for the one who makes the call; it has to ``extend`` its claim before ``ttl_s`` is over."""
        return await self._run(CLAIM, [names.flight(key)], token, _ms(ttl_s))

    async def extend(self, key: str, token: str, ttl_s: float) -> bool:
        """Also of what was published so far. False where the claim is lost."""
        keys = [names.flight(key), names.stream(key, token)]
        return await self._run(EXTEND, keys, token, _ms(ttl_s), _ms(STREAM_TTL_S))

    async def release(self, key: str, token: str) -> bool:
        """Frees the key for the next claim; what was published can be read to its end. False where it was lost."""
        self._published_bytes.pop(names.stream(key, token), None)
        return await self._run(RELEASE, [names.flight(key)], token)

    async def publish(self, key: str, token: str, seq: int, data: bytes, *, last: bool = False) -> None:
        """``seq`` counts from 1, without gaps. Unavailable as well: after ``MAX_FLIGHT_BYTES`` in all, and once the
        claim is lost."""
        stream = names.stream(key, token)
        published = self._published_bytes.get(stream, 0) + len(data)
        if published > MAX_FLIGHT_BYTES:
            raise CacheUnavailable
        value = self._sealer.seal(_entry_name(stream, seq), bytes([last]) + data)
        if not await self._run(PUBLISH, [names.flight(key), stream], token, seq, value, _ms(STREAM_TTL_S)):
            raise CacheUnavailable
        self._published_bytes[stream] = published

    async def follow(self, key: str, after: int = 0, *, token: str | None = None) -> list[Entry]:
        """What was published after ``after``, in order; waits ``FOLLOW_S`` for it, and then says ``[]``. Without a
        ``token``, of the flight that is in the air now, if any."""
        token = await self._holder(key) if token is None else token
        if token is None:
            return []
        stream, client = names.stream(key, token), self._waiting.client
        block_ms = _ms(FOLLOW_S)
        found = await self._waiting.ask(stream, lambda: client.xread({stream: f"{after}-0"}, block=block_ms))
        entries = [self._read(stream, token, entry_id, fields) for entry_id, fields in _entries(found)]
        if [entry.seq for entry in entries] != list(range(after + 1, after + 1 + len(entries))):
            raise CacheUnavailable  # its beginning has expired: what is left is no answer
        return entries

    async def _holder(self, key: str) -> str | None:
        name = names.flight(key)
        token = await self._server.ask(name, lambda: self._server.client.get(name))
        return token.decode("utf-8", "replace") if isinstance(token, bytes) else None

    async def _run(self, script: str, keys: list[str], *arguments: str | int | bytes) -> bool:
        client = self._server.client
        return bool(await self._server.ask(keys[0], lambda: client.eval(script, len(keys), *keys, *arguments)))

    def _read(self, stream: str, token: str, entry_id: bytes, fields: dict[bytes, bytes]) -> Entry:
        """Raises ``CacheUnavailable`` for what no relay of ours has published."""
        seq = int(entry_id.partition(b"-")[0])
        plain = self._sealer.open(_entry_name(stream, seq), fields.get(b"d", b""))
        if not plain:
            self._stats.rejected += 1
            raise CacheUnavailable
        return Entry(seq, plain[1:], plain[0] == 1, token)


def _entries(found: object) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """The entries of the one stream that was read, in either protocol's shape."""
    if not found:
        return []
    streams = list(found.values()) if isinstance(found, dict) else [entries for _, entries in found]  # type: ignore[attr-defined]
    entries = streams[0]
    return entries[0] if entries and isinstance(entries[0], list) else entries


def _entry_name(stream: str, seq: int) -> str:
    return f"{stream}:{seq}"


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))
