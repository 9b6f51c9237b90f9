"""The commands that read. ``cli`` registers them; each imports what it needs when it runs.

SQL and tables take half a second to import, which ``submeter --help`` and ``submeter serve`` must not pay: hence
the imports inside the command functions, and nothing but typer at the top of ``calls``, ``cost`` and ``latency``.
"""
