"""A made-up fortnight of four teams, and the weekly report over it: keep buying, rent an open model, or build?

Everything is synthetic and says so: the calls, the choices, the evidence of quality. Prices and hardware are real.
"""

from pathlib import Path

from submeter.core.week import Week
from submeter.demo.traffic import SEED
from submeter.prices.load import load_book
from submeter.report import alternatives, analyse, history, synthetic, trace
from submeter.report.analyse import Progress, Request
from submeter.report.changes import bought_by_name
from submeter.report.document import Report
from submeter.store.ledger import Ledger

CALLS_PER_WEEK = 1500
"""Few, so that nobody waits for the demo."""

ALTERNATIVES = """\
# Made up, as the calls are. Of your own calls: submeter report init
engineer_usd_per_week: 1500
migration_usd: 4000
workloads:
  - name: support
    match: {app: chatbot}
    objective: {ttft_p95_ms: 1500, tpot_p95_ms: 50}
    equivalents:
      - model: llama-3.3-70b
        tokenizer_ratio: 1.04
        quality: {evidence: "made up for the demo", date: 2026-11-02, holds: true}
        rent: [{host: together_ai, model: meta-llama/Llama-3.3-70B-Instruct-Turbo}]
        build: [{gpu: h100_sxm, tensor_parallel: 2, precision: fp8}]
  - name: coder # nobody has looked whether that model does the work
    match: {app: coder}
    equivalents:
      - model: qwen3-235b-a22b
        rent: [{host: deepinfra, model: Qwen/Qwen3-235B-A22B-Instruct-2507}]
  - name: router
    match: {app: router}
    equivalents:
      - model: llama-3.1-8b
        quality: {evidence: "made up for the demo", date: 2026-11-02, holds: true}
        rent: [{host: deepinfra, model: meta-llama/Meta-Llama-3.1-8B-Instruct-Turbo}]
  - name: contracts
    match: {app: contracts}
    objective: {ttft_p95_ms: 60000, tpot_p95_ms: 200}
    buy: [{model: gpt-4.1-mini, provider: openai, tier: batch}]
    equivalents:
      - model: gpt-oss-120b
        quality: {evidence: "made up for the demo", date: 2026-11-02, holds: false}
        build: [{gpu: h100_sxm, precision: fp4}]
"""


def make_report(directory: Path, week: Week, progress: Progress) -> Report:
    """The report of ``week``, out of a ledger of its own in ``directory``. Raises ``UsageError``."""
    book = load_book((), directory)
    config = directory / "alternatives.yaml"
    config.write_text(ALTERNATIVES)
    progress("a made-up fortnight", 0.0)
    with Ledger.open(str(directory / "ledger.sqlite3")) as ledger:
        ledger.migrate()
        rows = synthetic.generate((week.previous(), week), book, calls_per_week=CALLS_PER_WEEK, seed=SEED)
        synthetic.write_ledger(ledger, rows)
        chosen = alternatives.load(config)
        earlier = trace.from_ledger(ledger, week.previous())
        request = Request(
            week=week,
            trace=trace.from_ledger(ledger, week),
            before=bought_by_name(earlier, chosen, book, synthetic.ORIGINS),
            days=trace.daily(ledger, week),
            book=book,
            origins=synthetic.ORIGINS,
            alternatives=chosen,
            history=history.load(directory, week),
            seed=SEED,
        )
    return analyse.analyse(request, progress)
