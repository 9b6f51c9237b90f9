"""The pure core: bytes and times in, decisions and records out.

No I/O, no clock, no environment, no logging, no asyncio; ``make lint`` checks it.
"""
