"""A provider's bill held against the ledger, by UTC day, model and key.

lines      what an invoice says, whatever its format: one frozen ``InvoiceLine`` per line of it
read       bytes → ``Invoice``: the format is recognised by content (``pages``: the APIs' JSON, ``sheets``: CSV)
mapping    the user's own words: columns of a CSV, keys and models under other names
fetch      the providers' own APIs (``openai``, ``anthropic``): every page of the closed days
ledger     the other side: sums by day, model and key at the selected cost version, rows where they are needed
match      both sides in groups, and what is wrong with each: matched, missing here, missing there, drift
causes     why: a table of conditions and the words for each; ``pricing`` tries other prices on the same tokens
settle     the remainder of an invoice spread over the calls whose end nobody saw

Parsers are pure: any bytes give an ``Invoice`` or a ``UsageError`` that names the row and the fix, never more of
the file than that. Money is exact (``Decimal``, ``Fraction``) until it is compared, in integer nano-USD.
"""
