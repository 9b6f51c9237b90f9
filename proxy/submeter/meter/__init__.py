"""The ops plane: everything a person sees is derived here, from the journal.

process   one meter process: settings from its parent, a socket, signals
ship      journal -> settled calls -> priced rows -> ledger, cursors and counters in the same transaction
reading   one relay's journal, as the meter reads it
labels    bounded sets of metric label values
metrics   what calls count for: integers inside, numbers only when asked (families, series, served, exposition)
ops       the web app: page, API, metrics, health
page      the page at /
"""
