"""Which model names a provider has answered with, so that a new one under a name that is asked for can be alerted on.

The first name met under one (upstream, requested model) is what there is to compare with; each further one is a change.
Both the pairs and their names are bounded, and kept with the counters: as hashes, since clients choose some of them.
"""

from functools import lru_cache
from hashlib import blake2b

MOST_NAMES = 8
"""Of one pair. A model that has answered under so many names is a router, and its next one no news."""
MOST_PAIRS = 480
MOST_UNPRICED_PAIRS = 240
"""Models that nobody has a price for may be junk of a client's: they leave room for the others."""


class ServedNames:
    def __init__(self) -> None:
        self._names: dict[str, set[str]] = {}

    def restore(self, pair: str, served: str) -> None:
        self._names.setdefault(pair, set()).add(served)

    def meet(self, pair: str, served: str, *, priced: bool) -> tuple[bool, bool]:
        """(it is to be remembered, it is a change)."""
        names = self._names.get(pair)
        if names is None:
            if len(self._names) >= (MOST_PAIRS if priced else MOST_UNPRICED_PAIRS):
                return False, False
            self._names[pair] = {served}
            return True, False
        if served in names or len(names) >= MOST_NAMES:
            return False, False
        names.add(served)
        return True, True


@lru_cache(maxsize=4096)
def hashed(*names: str) -> str:
    """The same for the same names, and short whatever they are."""
    digest = blake2b(digest_size=8)
    for name in names:
        digest.update(b"%d:" % len(name))
        digest.update(name.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
