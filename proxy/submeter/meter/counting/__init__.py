"""Counting tokens where a provider does not say how many there were.

    relay ── question ──▶ service ── thread ──▶ count ── prompt (which texts) ── tokenizer (how many tokens)
          ◀── Counted ──                                 models (whose tokenizer)

What is counted is text in memory; nothing of it is written anywhere.
"""
