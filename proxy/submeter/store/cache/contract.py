"""What every cache promises, whatever it keeps its answers in."""

from typing import TYPE_CHECKING, Protocol

import msgspec

from submeter.core.kept import KeptAnswer

if TYPE_CHECKING:
    from submeter.store.cache.flights import SharedFlights


class CacheUnavailable(Exception):
    """The server is down, slow or makes no sense: the call goes on without a cache."""


class Owner(msgspec.Struct, frozen=True):
    """Whose answer it is, so that it can be purged. Redis holds keyed hashes of these, nothing readable."""

    tenant: str | None = None
    """The row's ``key_id``."""
    model: str | None = None
    """As requested; the one that served is in the answer."""


NOBODY = Owner()


class CacheStats:
    """What became of one cache's questions since its process began."""

    __slots__ = ("breaker_open", "errors", "hits", "misses", "rejected")

    def __init__(self) -> None:
        self.hits = 0
        self.misses = 0
        self.rejected = 0
        """Values that were forged, truncated, of another key or of another schema; each is a miss as well."""
        self.errors = 0
        """Questions and puts that the server did not answer, not in time, or with an error."""
        self.breaker_open = 0
        """Those that were not even sent, as the server had failed just before."""

    def as_dict(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in self.__slots__}


class Cache(Protocol):
    """``get`` says "no" by ``None``, and raises ``CacheUnavailable``; ``put`` raises nothing."""

    @property
    def stats(self) -> CacheStats:
        """What became of its questions so far."""

    @property
    def shared(self) -> "SharedFlights | None":
        """Calls that other relays are making; ``None`` where no other relay can know of them."""

    async def get(self, key: str) -> KeptAnswer | None: ...
    async def put(self, key: str, answer: KeptAnswer, ttl_s: float, owner: Owner = NOBODY) -> None: ...
    async def close(self) -> None: ...
