"""The events of a stream as its JSON objects, and back."""

from collections.abc import Iterator

from submeter.core.conversion.members import Object, write
from submeter.core.sse import SseScanner, event_fields

DONE = b"data: [DONE]\n\n"


def event_data(stream: bytes) -> Iterator[bytes]:
    """The data of each event that has some, in order; comments are none."""
    scanner = SseScanner()
    events = scanner.feed(stream)
    for raw in (*events, scanner.tail):
        _, data = event_fields(raw)
        if data:
            yield data


def unnamed(chunk: Object) -> bytes:
    return b"data: " + write(chunk) + b"\n\n"


def named(event: Object) -> bytes:
    """With its type as the name of the event."""
    return f"event: {event['type']}\n".encode() + unnamed(event)
