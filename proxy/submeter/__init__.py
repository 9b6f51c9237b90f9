"""Submeter: a small meter behind the provider's big one.

The nouns, in the order a call meets them:

app         what sets ``OPENAI_BASE_URL`` to a relay
relay       a data-plane process: forwards a call, reads what passes, journals what it saw (``submeter.relay``)
upstream    where a relay forwards to: a provider, an own vLLM, the translator
dialect     what an endpoint's bytes mean: first token, usage, the end (``submeter.core.dialect``)
exchange    one call's state machine: bytes and times in, exactly one FINISH out (``submeter.core.exchange``)
usage       what the provider says it counted, as disjoint token classes (``submeter.core.usage``)
journal     append-only files, one directory per relay: START, PROGRESS, FINISH, TALLY (``submeter.journal``)
meter       the ops-plane process: reads the journal, prices calls, fills the ledger (``submeter.meter``)
price book  dated prices, a snapshot plus the caller's own contracts (``submeter.core.pricebook``)
settle      START + FINISH + price book -> one row (``submeter.core.settle``)
ledger      the rows, in SQLite or Postgres (``submeter.store.ledger``)
cache       answers of deterministic calls, scoped to a tenant (``submeter.store.cache``)
invoice     what the scripted provider says it billed, for comparison (``submeter.scripted``)

``submeter.core`` is pure: no I/O, no clock, no environment, no logging. Everything else is a thin edge around it.
"""

__version__ = "0.1.0"
