"""How the cache is printed: tables, or one JSON document."""

from rich.table import Table

from submeter.commands import reading, tables
from submeter.commands.caching import Amount, Contents, Saved
from submeter.commands.reading import Question
from submeter.commands.tables import MISSING, count, plural, usd_exact
from submeter.config import Settings
from submeter.config.urls import without_password

UNKNOWN = "of no call in the ledger"
IN_MEMORY = (
    "no Redis is configured: answers are in the memory of each relay, which shows here only by what it saved; "
    "restarting `submeter serve` empties it"
)
MIB = 1 << 20


def write_json(asked: Question, settings: Settings, held: Contents | None, saved: Saved) -> None:
    period = asked.as_json()
    reading.write_json(
        {
            "where": _where(settings),
            "answers": None if held is None else held.total.answers,
            "bytes": None if held is None else held.total.bytes,
            "models": None if held is None else [_line(model, amount) for model, amount in _sorted(held)],
            "since": period["since"],
            "until": period["until"],
            "calls": saved.calls,
            "hits": saved.hits,
            "coalesced": saved.coalesced,
            "misses": saved.misses,
            "hit_rate": saved.hit_rate,
            "hit_rate_of_cacheable": saved.hit_rate_of_cacheable,
            "saved_nano_usd": saved.saved_nano_usd,
        }
    )


def print_all(asked: Question, settings: Settings, held: Contents | None, saved: Saved) -> None:
    console = tables.make_console()
    if held is None:
        console.print(IN_MEMORY, soft_wrap=True)
    else:
        console.print(_contents(held, _where(settings)))
    grid = Table.grid(padding=(0, 2))
    grid.add_column()
    grid.add_column()
    grid.add_row("calls", f"{count(saved.calls)}, {asked.period}")
    grid.add_row("from the cache", f"{count(saved.hits)}, of these coalesced {count(saved.coalesced)}")
    grid.add_row("hit rate", f"{_percent(saved.hit_rate)} of all calls")
    grid.add_row("", f"{_percent(saved.hit_rate_of_cacheable)} of those that the cache was asked for")
    grid.add_row("saved", usd_exact(saved.saved_nano_usd))
    console.print(grid)


def say_purged(purged: Amount, settings: Settings, *, as_json: bool) -> None:
    if as_json:
        reading.write_json({"where": _where(settings), "purged": purged.answers, "bytes": purged.bytes})
        return
    l1_s = settings.cache.l1_s
    later = f"; relays may give them from their own memory for {l1_s:g} s yet" if l1_s else ""
    text = f"purged {plural(purged.answers, 'answer')}, {_mib(purged.bytes)}{later}"
    tables.make_console().print(text, soft_wrap=True)


def _contents(held: Contents, where: str) -> Table:
    table = tables.make_table(f"Cache in {where}", ["model"], ["answers", "size"])
    for model, amount in _sorted(held):
        table.add_row(tables.plain(UNKNOWN if model is None else model), count(amount.answers), _mib(amount.bytes))
    table.add_row("all", count(held.total.answers), _mib(held.total.bytes))
    return table


def _sorted(held: Contents) -> list[tuple[str | None, Amount]]:
    """The most first, what has no name last."""
    return sorted(held.by_model.items(), key=lambda item: (item[0] is None, -item[1].answers, item[0] or ""))


def _line(model: str | None, amount: Amount) -> dict[str, object]:
    return {"model": model, "answers": amount.answers, "bytes": amount.bytes}


def _where(settings: Settings) -> str:
    return "memory" if settings.redis is None else without_password(settings.redis)


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / MIB:,.1f} MiB"


def _percent(share: float | None) -> str:
    return MISSING if share is None else f"{share:.1%}"
