"""``submeter report init``: a commented alternatives.yaml out of what was seen. It loads back as it is.

What only a person can know stands there as a comment: what an engineer's share costs, and whether quality holds.
"""

import json
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from fnmatch import fnmatchcase
from math import ceil, floor, log10

import numpy as np

from submeter.core.pricebook import PriceBook
from submeter.core.week import Week
from submeter.report import catalog
from submeter.report.alternatives import DEFAULT_OBJECTIVE, Objective
from submeter.report.money import usd
from submeter.report.rent import hosts_of
from submeter.report.steptime import Unfit, kv_capacity_tokens
from submeter.report.trace import Floats, Trace
from submeter.report.workloads import Workload

MOST_WORKLOADS = 10
SMALL = ("*nano*", "*-mini*", "*haiku*", "*flash*", "*lite*", "*small*", "*instant*", "*-8b*", "*-7b*", "*gpt-3.5*")
LARGE = ("*opus*", "o1*", "o3*", "*gpt-4.5*", "*-pro*", "*405b*", "*large*")
"""Of API models, by their names. ``SMALL`` is asked first: o3-mini is small. All others are of middle size."""
EQUIVALENTS = {
    "small": ("gpt-oss-20b", "llama-3.1-8b"),
    "middle": ("llama-3.3-70b", "gpt-oss-120b"),
    "large": ("deepseek-v3", "qwen3-235b-a22b"),
}
"""Where to begin to look: the first goes into the file, the second beside it. Evidence decides, not size."""
BATCH = Objective(ttft_p95_ms=Decimal(60_000), tpot_p95_ms=Decimal(200))
_GPUS = ("h100_sxm", "h200_sxm", "b200_sxm")
_SHARDS = (1, 2, 4, 8)
_ROOM_TOKENS = 100_000
"""Of context, that a replica must hold beside the weights to batch at all."""
_LEAST_CALLS = 20
"""Fewer say nothing of a p95."""

_HEAD = """\
# What {week} could have been bought, rented or built as: written by submeter report init, to be mended by you.
# submeter report --week {week} --config alternatives.yaml

# Latency that must hold on each day (p95, ms): to the first token, and per token after it.
objective: {{ttft_p95_ms: {objective.ttft_p95_ms}, tpot_p95_ms: {objective.tpot_p95_ms}}}

# must be set: the part of an engineer's week that a fleet takes. Without it BUILD is withheld.
# engineer_usd_per_week: 1500

# What building costs beside GPUs: once, and then each week. Mend what is not so.
migration_usd: 8000
staging_replicas: 1
storage_usd_per_week: 20
egress_usd_per_gb: 0.05
minimum_term_weeks: 0

# Your own offer, where you have one; else the catalog's dated market prices hold, with their range.
# gpu_usd_per_hour: {{h100_sxm: {{usd: 2.95, low: 2.0, high: 4.0}}}}

# The first match takes a call. Globs; "" is what has no name. What nothing matches is reported by itself.
workloads:{empty}
"""


def suggest(workloads: Sequence[Workload], week: Week, book: PriceBook) -> str:
    """The file's text: the dearest workloads that ``workloads.workloads`` tells apart without a configuration."""
    shown = [each for each in workloads if _single(each)][:MOST_WORKLOADS]
    head = _HEAD.format(week=week, objective=DEFAULT_OBJECTIVE, empty="" if shown else " []")
    names = _unique([each.name for each in shown])
    parts = (_workload(each, name, week, book) for each, name in zip(shown, names, strict=True))
    return head + "".join(f"{line}\n" for part in parts for line in part)


def _single(workload: Workload) -> bool:
    """It is one app, prompt and model, with a call that a fleet could serve."""
    trace = workload.trace
    alone = all(len(np.unique(trace.codes[key])) == 1 for key in ("app", "prompt", "model"))
    return alone and bool((trace.answered & (trace.output_tokens > 0)).any())


def _unique(names: Sequence[str]) -> list[str]:
    """Short enough, and told apart where they begin alike."""
    short = [name[:80] for name in names]
    return [name if name not in short[:place] else f"{name} {place + 1}" for place, name in enumerate(short)]


def _workload(workload: Workload, name: str, week: Week, book: PriceBook) -> Iterator[str]:
    trace = workload.trace
    app, prompt, model, upstream = (_first(trace, key) for key in ("app", "prompt", "model", "upstream"))
    yield ""
    yield f"  # {_seen(trace)}"
    yield f"  - name: {_quoted(name)}"
    yield f"    match: {{app: {_glob(app)}, prompt: {_glob(prompt)}, model: {_glob(model)}}}"
    yield from _objective(trace)
    yield "    # Another model, provider or tier of the price book, if the work allows it:"
    yield f"    # buy: [{{model: {_quoted(model)}, provider: {_quoted(upstream)}, tier: batch}}]"
    yield from _equivalent(model, week, book)


def _first(trace: Trace, key: str) -> str | None:
    place = int(trace.codes[key][0])
    return trace.names[key][place]


def _seen(trace: Trace) -> str:
    inputs, outputs = (int(column[trace.answered].mean()) for column in (trace.input_tokens, trace.output_tokens))
    cost = usd(int(trace.cost_nano_usd.sum())).quantize(Decimal("0.01"))
    return f"seen: {len(trace):,} calls, ${cost:,}, {inputs:,} tokens in and {outputs:,} out on average"


def _objective(trace: Trace) -> Iterator[str]:
    if {trace.names["klass"][code] for code in np.unique(trace.codes["klass"])} == {"batch"}:
        yield "    # all of class batch, which nobody waits for:"
        yield f"    objective: {{ttft_p95_ms: {BATCH.ttft_p95_ms}, tpot_p95_ms: {BATCH.tpot_p95_ms}}}"
        return
    seen = _p95s(trace)
    if seen is None:
        yield "    # too few streamed answers to say how fast they came: the objective above holds"
        return
    yield "    # as fast as what was seen: p95, rounded up. Relax it if the work allows: it decides the fleet's size."
    yield f"    objective: {{ttft_p95_ms: {seen.ttft_p95_ms:f}, tpot_p95_ms: {seen.tpot_p95_ms:f}}}"


def _p95s(trace: Trace) -> Objective | None:
    streamed = trace.answered & trace.streamed & (trace.output_tokens > 1)
    known = trace.where(streamed & ~np.isnan(trace.ttft_ns) & ~np.isnan(trace.e2e_ns))
    if len(known) < _LEAST_CALLS:
        return None
    tpot_ns = (known.e2e_ns - known.ttft_ns) / (known.output_tokens - 1)
    return Objective(ttft_p95_ms=_p95_ms(known.ttft_ns), tpot_p95_ms=_p95_ms(tpot_ns))


def _p95_ms(durations_ns: Floats) -> Decimal:
    """Rounded up to two digits, from 0.1 ms."""
    ms = max(0.1, float(np.percentile(durations_ns, 95)) / 1e6)
    digit = floor(log10(ms)) - 1
    return Decimal(ceil(round(ms / 10.0**digit, 6))).scaleb(digit)


def size(model: str | None) -> str:
    """``small``, ``middle`` or ``large``, by the name of an API model."""
    name = "" if model is None else model.lower()
    if any(fnmatchcase(name, pattern) for pattern in SMALL):
        return "small"
    return "large" if any(fnmatchcase(name, pattern) for pattern in LARGE) else "middle"


def _equivalent(model: str | None, week: Week, book: PriceBook) -> Iterator[str]:
    known = [name for name in EQUIVALENTS[size(model)] if name in catalog.models()]
    if not known:
        return
    name, *others = known
    yield f"    equivalents:  # by size alone; also look at {', '.join(others)}" if others else "    equivalents:"
    yield f"      - model: {name}"
    yield "        tokenizer_ratio: 1.0  # its tokens per recorded token of the same text: measure it on your prompts"
    yield "        length_ratio: 1.0  # the length of its answers per recorded one: likewise"
    yield "        # Until somebody has looked, the verdict is at most BUILD IF QUALITY HOLDS:"
    yield f'        # quality: {{evidence: "evals/{week.monday}.md", date: {week.monday}, holds: true}}'
    hosts = hosts_of(name, book, week.start_ns)[:3]
    if hosts:
        yield "        rent:"
    for host in hosts:
        prices = f"${host.usd_per_million_in:f} in, ${host.usd_per_million_out:f} out per million"
        yield f"          - {{host: {_quoted(host.provider)}, model: {_quoted(host.model)}}}  # {prices}"
    yield from _build(catalog.model(name))


def _build(model: catalog.Model) -> Iterator[str]:
    """The smallest group that holds it, on the first GPU on which one does."""
    servers = (
        catalog.Server(gpu=catalog.gpu(gpu), model=model, tensor_parallel=shards)
        for gpu in _GPUS
        if gpu in catalog.gpus()
        for shards in _SHARDS
        if shards <= catalog.gpu(gpu).node_gpus
    )
    server = next((server for server in servers if _room_tokens(server) >= _ROOM_TOKENS), None)
    if server is not None:
        group = f"gpu: {server.gpu.name}, tensor_parallel: {server.tensor_parallel}, precision: {server.precision}"
        yield f"        build: [{{{group}, policy: static}}]"


def _room_tokens(server: catalog.Server) -> int:
    try:
        return kv_capacity_tokens(server)
    except Unfit:
        return 0


def _glob(name: str | None) -> str:
    """That fits this name alone."""
    return _quoted("" if name is None else re.sub(r"([*?\[])", r"[\1]", name))


def _quoted(text: str | None) -> str:
    """A YAML text in double quotes, on one line, of printable characters only: names come from clients."""
    written = json.dumps("" if text is None else text, ensure_ascii=False)
    return "".join(each if each.isprintable() else f"\\U{ord(each):08x}" for each in written)
