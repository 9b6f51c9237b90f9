"""Heat maps of a median over input and output length, as geometry for inline SVG.

The map's axes are the lengths that the settings ask for; where settings have no such names (a replay), powers of two.
"""

from collections.abc import Callable, Sequence
from statistics import median
from typing import NamedTuple

from submeter.loadtest import report_calls, report_words
from submeter.loadtest.report_calls import Call

FEWEST_LENGTHS = 2
CELL_WIDTH, CELL_HEIGHT = 62, 38
LEFT, BOTTOM = 62, 40
NARROWEST = 420


class Cell(NamedTuple):
    """``heat`` is 0 to 100, from the map's least value to its greatest."""

    x: float
    y: float
    heat: int
    text: str
    title: str


class Label(NamedTuple):
    x: float
    y: float
    text: str


class HeatMap(NamedTuple):
    """Everything in units of the view box. ``missing`` says why there is nothing to draw."""

    name: str
    title: str
    description: str
    missing: str | None
    width: float = 0
    height: float = 0
    cell_width: float = 0
    cell_height: float = CELL_HEIGHT
    left: float = LEFT
    bottom: float = BOTTOM
    cells: Sequence[Cell] = ()
    columns: Sequence[Label] = ()
    rows: Sequence[Label] = ()


def heat_map(name: str, title: str, calls: Sequence[Call], value: Callable[[Call], float | None]) -> HeatMap:
    """The median of ``value`` in ms for each pair of input (across) and output length (up)."""
    found: dict[tuple[int, int], list[float]] = {}
    named = all(report_calls.lengths(call.setting) is not None for call in calls)
    for call in calls:
        at, measured = _place(call, named=named), value(call)
        if at is not None and measured is not None:
            found.setdefault(at, []).append(measured)
    inputs, outputs = (sorted({at[axis] for at in found}) for axis in (0, 1))
    missing = _missing(len(inputs), len(outputs))
    if missing is not None:
        return HeatMap(name, title, missing, missing)
    medians = {at: median(values) for at, values in found.items()}
    return _drawn(name, title, inputs, outputs, medians, {at: len(values) for at, values in found.items()})


def _place(call: Call, *, named: bool) -> tuple[int, int] | None:
    if named:
        return report_calls.lengths(call.setting)
    if call.input_tokens is None or call.output_tokens is None:
        return None
    return _power_of_two(call.input_tokens), _power_of_two(call.output_tokens)


def _power_of_two(tokens: int) -> int:
    """The greatest that is not above ``tokens``; 0 of none."""
    return 1 << (tokens.bit_length() - 1) if tokens > 0 else 0


def _missing(inputs: int, outputs: int) -> str | None:
    if inputs == 0:
        return "No answered call has this figure together with its lengths."
    if inputs < FEWEST_LENGTHS and outputs < FEWEST_LENGTHS:
        return "Every call had the same input and output length: a map needs several."
    return None


def _drawn(
    name: str,
    title: str,
    inputs: Sequence[int],
    outputs: Sequence[int],
    medians: dict[tuple[int, int], float],
    counts: dict[tuple[int, int], int],
) -> HeatMap:
    low, high = min(medians.values()), max(medians.values())
    cell_width = max(CELL_WIDTH, (NARROWEST - LEFT) / len(inputs))
    height = CELL_HEIGHT * len(outputs)
    cells = []
    for (tokens_in, tokens_out), value in sorted(medians.items()):
        x = LEFT + cell_width * inputs.index(tokens_in)
        y = height - CELL_HEIGHT * (outputs.index(tokens_out) + 1)
        words = f"{tokens_in:,} tokens in, {tokens_out:,} out: median {report_words.duration(value)}"
        words += f" of {report_words.plural(counts[tokens_in, tokens_out], 'call')}"
        cells.append(Cell(x, y, _heat(value, low, high), short(value), words))
    ends = (report_words.duration(low), report_words.duration(high))
    return HeatMap(
        name,
        title,
        f"Median of {len(medians)} pairs of lengths, from {ends[0]} to {ends[1]}.",
        None,
        width=LEFT + cell_width * len(inputs),
        height=height + BOTTOM,
        cell_width=cell_width,
        cells=cells,
        columns=[Label(LEFT + cell_width * (at + 0.5), height + 16, f"{tokens:,}") for at, tokens in enumerate(inputs)],
        rows=[
            Label(LEFT - 8, height - CELL_HEIGHT * (at + 0.5) + 4, f"{tokens:,}") for at, tokens in enumerate(outputs)
        ],
    )


def _heat(value: float, low: float, high: float) -> int:
    return 50 if high == low else round(100 * (value - low) / (high - low))


def short(value_ms: float) -> str:
    """In a cell there is room for few characters: ``412 ms``, ``1.24 s``, ``12.4 s``."""
    if value_ms < 1000:
        return f"{report_words.ms(value_ms) if value_ms < 10 else round(value_ms)} ms"
    return f"{value_ms / 1000:.{2 if value_ms < 10_000 else 1}f} s"
