"""What outlives a process: the ledger (SQL; the meter's) and the answer cache (the relays').

Nothing is imported here, because a relay imports ``store.cache`` and must never pay for SQL.
"""
