"""Price data: the snapshot compiled from litellm's price map, the caller's overlay, and loading both as a book."""

from submeter.prices.load import load_book, load_snapshot

__all__ = ["load_book", "load_snapshot"]
