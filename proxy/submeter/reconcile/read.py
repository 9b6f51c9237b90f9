"""Bytes of any export → ``Invoice``; the format is known by what stands in it, never by the file's name."""

import msgspec

from submeter.errors import UsageError
from submeter.reconcile.lines import Invoice, InvoiceLine
from submeter.reconcile.mapping import NO_MAP, InvoiceMap
from submeter.reconcile.pages import read_pages
from submeter.reconcile.sheets import read_sheet

MAX_BYTES = 256 << 20


def read_invoice(raw: bytes, mapping: InvoiceMap = NO_MAP) -> Invoice:
    """Raises ``UsageError`` and nothing else, whatever the bytes: it names the row and the fix."""
    if len(raw) > MAX_BYTES:
        raise UsageError(f"larger than {MAX_BYTES >> 20} MiB: export a shorter period")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError("not UTF-8 text: unpack it, or save it again as CSV UTF-8") from None
    is_json = text.lstrip()[:1] in ("{", "[")
    invoice = read_pages(text) if is_json else read_sheet(text, mapping)
    return msgspec.structs.replace(invoice, lines=tuple(_named(line, mapping) for line in invoice.lines))


def _named(line: InvoiceLine, mapping: InvoiceMap) -> InvoiceLine:
    """With the ledger's name of the model, where the map gives one."""
    if line.model not in mapping.models:
        return line
    return msgspec.structs.replace(line, model=mapping.models[line.model])
