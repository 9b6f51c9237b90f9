"""What our keys in Redis are called. The braces make all keys of one answer fall into one slot of a cluster."""

ANSWERS = "submeter:{*}:answer"
"""The pattern of all answers."""
EVERYTHING = "submeter:{*"


def answer(key: str) -> str:
    return f"submeter:{{{key}}}:answer"


def flight(key: str) -> str:
    """Who is making the call: a token, for as long as its lock holds."""
    return f"submeter:{{{key}}}:flight"


def stream(key: str, token: str) -> str:
    """What one flight has received so far."""
    return f"submeter:{{{key}}}:stream:{token}"
