"""The ledger as files for other tools: ``calls``, a row per call, and ``daily``, its roll-up.

tables  what the files hold: columns and, streamed, their rows
files   how they are written: CSV, Parquet
"""

from submeter.store.export.files import FORMATS, no_formula, write_file
from submeter.store.export.tables import TABLES, Table

__all__ = ["FORMATS", "TABLES", "Table", "no_formula", "write_file"]
