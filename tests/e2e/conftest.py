"""Fixtures that several end-to-end tests share."""

from harness.shared_redis import fresh_provider, valkey

__all__ = ["fresh_provider", "valkey"]
