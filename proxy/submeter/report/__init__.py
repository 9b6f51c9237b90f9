"""The weekly buy-vs-build report: from recorded calls to a verdict that a reader can follow.

The nouns, in the order in which a report makes them; ``analyse`` is the flow from top to bottom:

``Trace``       the week's ledger rows as columns.
``Workload``    calls that one decision is about; its ``Demand`` is what a fleet of servers would serve of them.
``Gpu``, ``Model``, ``Server``  the dated catalogs, and one replica made of them.
``StepTime``    the seconds of one iteration of a server.
``Replica``     the simulator's core: one server's continuous batching, jumping from event to event.
``Served``      what calls met on a simulated fleet: time to first token, time per output token.
``Plan``        how many replicas meet the objective, with the proof that one fewer does not.
``Option``      BUY, RENT or BUILD with its dollars by day.
``Verdict``     one of them, or why none can be given.

Every figure that is not from the ledger is an ``Assumption`` with its source and date. Nothing here imports numpy
unless it computes on columns: ``engine`` also paces the scripted provider.
"""
