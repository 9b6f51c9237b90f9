"""The ops plane: everything a person sees is derived here, from the journal.

process   one meter process: settings from its parent, a socket, signals
ship      journal -> settled calls -> priced rows -> ledger, with the cursors in the same transaction
labels    bounded sets of metric label values
metrics   what Prometheus reads: integers inside, numbers only when asked
ops       the web app: page, API, metrics, health
page      the page at /
"""
