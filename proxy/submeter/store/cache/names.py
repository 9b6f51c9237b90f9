"""What our keys in Redis are called. The braces make all keys of one answer fall into one slot of a cluster.

A flight's key is the answer's, with or without ``:`` and the kind of flight: one answer may come in several ways.
"""

ANSWERS = "submeter:{*}:answer"
"""The pattern of all answers."""
EVERYTHING = "submeter:{*"


def answer(key: str) -> str:
    return f"submeter:{{{key}}}:answer"


def answer_of(flight_key: str) -> str:
    """Where the answer of a flight will be."""
    return answer(flight_key.partition(":")[0])


def flight(flight_key: str) -> str:
    """Who is making the call: a token, for as long as its lock holds."""
    return _of(flight_key, "flight")


def heard(flight_key: str) -> str:
    """Is there while somebody follows."""
    return _of(flight_key, "heard")


def stream(flight_key: str, token: str) -> str:
    """What one flight has received so far."""
    return f"{_of(flight_key, 'stream')}:{token}"


def _of(flight_key: str, what: str) -> str:
    answer_key, _, kind = flight_key.partition(":")
    return f"submeter:{{{answer_key}}}:{what}" + (f":{kind}" if kind else "")
