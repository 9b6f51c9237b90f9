"""What ``submeter cache`` asks of Redis and of the ledger."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import msgspec

from submeter.commands.reading import Question
from submeter.config import Settings
from submeter.config.urls import without_password
from submeter.errors import UsageError
from submeter.store import queries
from submeter.store.cache.contract import CacheUnavailable
from submeter.store.cache.inventory import Held, Inventory, open_inventory
from submeter.store.cache.seal import Sealer
from submeter.store.keys import CACHE_KEY, key_path, load_secrets
from submeter.store.ledger import Ledger, LedgerUnavailable


class Amount(msgspec.Struct, frozen=True):
    """Answers, and what they weigh in Redis, sealed."""

    answers: int = 0
    bytes: int = 0

    def plus(self, held: Held) -> "Amount":
        return Amount(self.answers + 1, self.bytes + held.size_bytes)


class Contents(msgspec.Struct, frozen=True):
    """What lies in Redis, all of it and by model; ``None`` is what no call in the ledger names."""

    total: Amount
    by_model: dict[str | None, Amount]


class Saved(msgspec.Struct, frozen=True):
    """What the ledger's rows of a period say of the cache."""

    calls: int
    hits: int
    """Coalesced calls included."""
    coalesced: int
    misses: int
    saved_nano_usd: int
    models: tuple[str, ...]
    """All that the whole ledger names, requested or served."""

    @property
    def hit_rate(self) -> float | None:
        """Of all calls."""
        return _share(self.hits, self.calls)

    @property
    def hit_rate_of_cacheable(self) -> float | None:
        """Of those that the cache was asked for."""
        return _share(self.hits, self.hits + self.misses)


class Wanted(msgspec.Struct, frozen=True):
    """Which answers to purge."""

    models: tuple[str, ...]
    tenants: tuple[str, ...]
    everything: bool

    def __post_init__(self) -> None:
        if self.everything == bool(self.models or self.tenants):
            raise UsageError("say what to purge: --model MODEL, --tenant KEY_ID or both, or else --all")


def held(settings: Settings, redis_url: str, models: Iterable[str]) -> Contents:
    """Raises ``UsageError`` where Redis does not answer."""
    sealer = _sealer(settings)
    names = {sealer.label("model", model): model for model in models}
    total, by_model = Amount(), dict[str | None, Amount]()
    with _inventory(redis_url) as inventory:
        for answer in inventory.answers():
            model = _named(answer, names)
            total = total.plus(answer)
            by_model[model] = by_model.get(model, Amount()).plus(answer)
    return Contents(total, by_model)


def purge(settings: Settings, wanted: Wanted) -> Amount:
    """Raises ``UsageError`` where there is no Redis, or it does not answer."""
    if settings.redis is None:
        raise UsageError(
            "no Redis is configured, so answers are only in the memory of each relay, out of reach: restart "
            "`submeter serve` to forget them, or name the Redis that it uses with --redis"
        )
    is_wanted = _matcher(settings, wanted)
    purged = Amount()
    with _inventory(settings.redis) as inventory:
        for answer in inventory.purge(is_wanted):
            purged = purged.plus(answer)
    return purged


def saved(settings: Settings, asked: Question) -> Saved:
    """Raises ``UsageError`` where the ledger cannot be read."""
    with Ledger.open(settings.ledger_url, read_only=True) as ledger:
        try:
            lines = queries.cost_by(ledger, ["cache"], asked.since_ns, asked.until_ns)
            models = _models(ledger)
        except LedgerUnavailable as error:
            raise UsageError(f"the ledger cannot be read now ({error}): try again") from error
    calls = {line.group["cache"]: line.calls for line in lines}
    coalesced = calls.get("coalesced", 0)
    return Saved(
        calls=sum(calls.values()),
        hits=calls.get("hit", 0) + coalesced,
        coalesced=coalesced,
        misses=calls.get("miss", 0),
        saved_nano_usd=sum(line.saved_nano_usd for line in lines),
        models=models,
    )


def _named(answer: Held, names: Mapping[bytes, str]) -> str | None:
    """The model as served, where the ledger has heard of it, else as requested."""
    labels = answer.labels
    return None if labels is None else names.get(labels.model_served, names.get(labels.model_requested))


def _models(ledger: Ledger) -> tuple[str, ...]:
    groups = [line.group for line in queries.cost_by(ledger, ["model", "model_requested"])]
    return tuple(sorted({model for group in groups for model in group.values() if model is not None}))


def _matcher(settings: Settings, wanted: Wanted) -> Callable[[Held], bool]:
    if wanted.everything:
        return lambda answer: True
    sealer = _sealer(settings)
    models = [sealer.label("model", model) for model in wanted.models]
    tenants = [sealer.label("tenant", tenant) for tenant in wanted.tenants]

    def matches(answer: Held) -> bool:
        labels = answer.labels
        if labels is None:
            return False
        of_model = not models or any(labels.is_of_model(model) for model in models)
        return of_model and (not tenants or labels.tenant in tenants)

    return matches


def _sealer(settings: Settings) -> Sealer:
    key = settings.cache.key
    path = key_path(settings.data_dir, CACHE_KEY)
    if key is None and not path.exists():
        raise UsageError(f"without {path} nobody knows whose answers are whose: give --data-dir of `submeter serve`")
    try:
        return Sealer(load_secrets(settings.data_dir, None if key is None else key.reveal()))
    except OSError as error:
        raise UsageError(f"the cache's key cannot be read ({error.strerror or error}): see --data-dir") from error


@contextmanager
def _inventory(redis_url: str) -> Iterator[Inventory]:
    try:
        with open_inventory(redis_url) as inventory:
            yield inventory
    except CacheUnavailable as error:
        raise UsageError(f"{without_password(redis_url)} does not answer ({error}): is it running?") from error


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
