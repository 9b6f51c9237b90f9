"""The sums behind ``submeter whatif``, and how they are printed."""

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from fnmatch import fnmatchcase

import msgspec

from submeter.commands import reading, tables
from submeter.commands.reading import Question
from submeter.commands.tables import count, plain, plural, usd, usd_exact
from submeter.core.cost import Cost, price_call
from submeter.core.pricebook import STANDARD, Match, Origin, PriceBook, tier_name
from submeter.core.record import TOKEN_CLASSES, CallRow, TokenClasses
from submeter.core.whatif import Change, changed
from submeter.errors import UsageError


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    from_model: str
    to_model: str | None
    provider: str | None
    tier: str | None
    change: Change
    period: Question


class Answer(msgspec.Struct, kw_only=True):
    """Sums over the calls that are compared; the others are counted by the reason why they are not."""

    calls: int = 0
    estimated_calls: int = 0
    """Of these, calls whose recorded cost is an estimate."""
    recorded_nano_usd: int = 0
    whatif_nano_usd: int = 0
    recorded_tokens: TokenClasses = TokenClasses()
    whatif_tokens: TokenClasses = TokenClasses()
    recorded_parts: TokenClasses = TokenClasses()
    """Nano-USD per class."""
    whatif_parts: TokenClasses = TokenClasses()
    recorded_fees_nano_usd: int = 0
    whatif_fees_nano_usd: int = 0
    other_tier_calls: int = 0
    """Priced at the standard tier, because the model has none of the recorded name."""
    not_priced: int = 0
    """Left out: their recorded cost is not known."""
    no_price: int = 0
    """Left out: the other model has no price for something in them."""
    rules: dict[str, int] = {}
    """Price-book entry and rule → calls that it priced."""


def answer(rows: Iterable[CallRow], asked: Asked, book: PriceBook, origins: Mapping[str, Origin]) -> Answer:
    """Raises ``UsageError`` where nothing matches or the other model has no price."""
    result = Answer(rules={})
    for row in _chosen(rows, asked.from_model):
        if row.tokens is None or row.cost_nano_usd is None or row.costs is None:
            result.not_priced += 1
        else:
            _add(result, row, row.tokens, row.costs, asked, _match(row, asked, book, origins))
    if not result.calls and not result.not_priced and not result.no_price:
        raise UsageError(
            f"no call of {asked.from_model} in {asked.period.period}: `submeter cost --by model` shows what there is"
        )
    if not result.calls and result.no_price:
        raise UsageError(
            f"there is no price for {asked.to_model or asked.from_model} that fits these calls: "
            "see `submeter prices show`, name its --provider, or add it under prices: in submeter.yaml"
        )
    return result


def _chosen(rows: Iterable[CallRow], model: str) -> Iterator[CallRow]:
    """What went upstream and was answered by the model, under the name asked for or the one served."""
    for row in rows:
        names = (row.model_requested, row.model_served)
        named = any(name is not None and (name == model or fnmatchcase(name, model)) for name in names)
        if named and row.cache in ("miss", "bypass") and row.cost_state != "unmetered" and not row.refused:
            yield row


def _match(row: CallRow, asked: Asked, book: PriceBook, origins: Mapping[str, Origin]) -> Match | None:
    """The price of the other model at the moment of the call: at the provider named, else at this upstream's, else at
    that of another upstream, else at the only one who sells it."""
    served = row.model_requested if row.model_served is None else row.model_served
    model = served if asked.to_model is None else asked.to_model
    own = origins.get(row.upstream, Origin(None))
    if model is None:
        return None
    if asked.provider is not None:
        return book.match(model, asked.provider, row.started_at_ns)
    for origin in (own, *origins.values()):
        found = book.match(model, origin.provider, row.started_at_ns, row.region if origin == own else origin.region)
        if found is not None:
            return found
    sellers = book.sellers(model, row.started_at_ns)
    if len(sellers) > 1:
        raise UsageError(f"{model} has a price at {', '.join(sellers)}: choose one with --provider")
    return book.match(model, sellers[0], row.started_at_ns) if sellers else None


def _add(
    result: Answer, row: CallRow, tokens: TokenClasses, costs: TokenClasses, asked: Asked, match: Match | None
) -> None:
    after = changed(tokens, asked.change)
    tier = asked.tier if asked.tier is not None else row.service_tier
    sold = match is not None and (asked.tier is not None or tier_name(tier) in match.entry.tiers)
    cost = None if match is None else _price(after, match, tier if sold else STANDARD, row)
    if match is None or cost is None:
        result.no_price += 1
        return
    assert row.cost_nano_usd is not None
    result.calls += 1
    result.estimated_calls += row.cost_state == "estimated"
    result.other_tier_calls += not sold
    result.recorded_nano_usd += row.cost_nano_usd
    result.whatif_nano_usd += cost.total
    result.recorded_fees_nano_usd += row.fees_nano_usd if row.fees_nano_usd is not None else 0
    result.whatif_fees_nano_usd += cost.fees
    result.recorded_tokens = _sum(result.recorded_tokens, tokens)
    result.whatif_tokens = _sum(result.whatif_tokens, after)
    result.recorded_parts = _sum(result.recorded_parts, costs)
    result.whatif_parts = _sum(result.whatif_parts, cost.parts)
    rule = f"{match.entry.provider or 'your own'} {match.entry.model} ({match.text})"
    result.rules[rule] = result.rules.get(rule, 0) + 1


def _price(tokens: TokenClasses, match: Match, tier: str | None, row: CallRow) -> Cost | None:
    return price_call(tokens, match.entry, tier, row.web_searches if row.web_searches is not None else 0)


def _sum(one: TokenClasses, other: TokenClasses) -> TokenClasses:
    pairs = zip(msgspec.structs.astuple(one), msgspec.structs.astuple(other), strict=True)
    return TokenClasses(*(a + b for a, b in pairs))


# ---- printing ------------------------------------------------------------------------------------------------


def write(asked: Asked, result: Answer, *, as_json: bool) -> None:
    if as_json:
        reading.write_json(_document(asked, result))
        return
    console = tables.make_console()
    to = asked.to_model or "the same model"
    table = tables.make_table(
        f"{asked.from_model} → {to}, {asked.period.period}",
        ["token class"],
        ["recorded tokens", "recorded", "tokens then", "then"],
    )
    for place, name in enumerate(TOKEN_CLASSES):
        cells = [
            msgspec.structs.astuple(each)[place]
            for each in (result.recorded_tokens, result.recorded_parts, result.whatif_tokens, result.whatif_parts)
        ]
        if any(cells):
            table.add_row(name, count(cells[0]), usd(cells[1]), count(cells[2]), usd(cells[3]))
    if result.recorded_fees_nano_usd or result.whatif_fees_nano_usd:
        table.add_row("fees", "", usd(result.recorded_fees_nano_usd), "", usd(result.whatif_fees_nano_usd))
    table.add_row("all", "", usd(result.recorded_nano_usd), "", usd(result.whatif_nano_usd), style="bold")
    console.print(table)
    for line in _lines(asked, result):
        console.print(plain(line))


def _lines(asked: Asked, result: Answer) -> Iterator[str]:
    recorded, then = result.recorded_nano_usd, result.whatif_nano_usd
    saved = recorded - then
    word = "less" if saved >= 0 else "more"
    share = f" ({abs(saved) / recorded:.1%})" if recorded else ""
    calls = plural(result.calls, "call")
    yield f"{usd_exact(recorded)} → {usd_exact(then)}: {usd(abs(saved))} {word}{share} over {calls}"
    if result.calls:
        each = (usd(total * 1000 // result.calls) for total in (recorded, then))
        yield "per 1,000 calls: {} → {}".format(*each)
    yield f"priced by {', '.join(result.rules)}"
    yield f"assumed: {', '.join(_assumptions(asked))}"
    if result.estimated_calls:
        yield f"{plural(result.estimated_calls, 'call')} of these were not reported in full, and are estimates"
    if result.other_tier_calls:
        yield f"{plural(result.other_tier_calls, 'call')} at the standard tier: theirs is not sold there"
    if result.not_priced or result.no_price:
        yield f"left out: {result.not_priced:,} without a recorded cost, {result.no_price:,} without a price there"


def _assumptions(asked: Asked) -> Iterator[str]:
    change = asked.change
    yield f"tokenizer × {change.tokenizer_ratio}"
    yield f"answers × {change.length_ratio} as long"
    share = change.cached_share
    yield "prompt cache as recorded" if share is None else f"{share * 100:f} % of the input from the prompt cache"
    if change.fewer_input_tokens:
        yield f"{change.fewer_input_tokens:,} input tokens fewer in each call"


def _document(asked: Asked, result: Answer) -> dict[str, object]:
    sums = msgspec.to_builtins(result)
    classes = ("recorded_tokens", "whatif_tokens", "recorded_parts", "whatif_parts")
    named = {name: msgspec.structs.asdict(getattr(result, name)) for name in classes}
    return {
        "from": asked.from_model,
        "to": asked.to_model or asked.from_model,
        **{name: value for name, value in asked.period.as_json().items() if name != "by"},
        "assumed": {name: _plain(getattr(asked.change, name)) for name in Change.__struct_fields__},
        **sums,
        **named,
        "difference_nano_usd": result.whatif_nano_usd - result.recorded_nano_usd,
    }


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Decimal) else value
