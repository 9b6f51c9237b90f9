"""POST /v1/embeddings: deterministic unit vectors, as numbers or as base64 of little-endian float32."""

import base64
import hashlib
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import msgspec

from submeter.scripted import usage
from submeter.scripted.answer import Answer, Json, Order
from submeter.scripted.dialect import Dialect, Event, openai_error, openai_headers, openai_stream_error, read_json
from submeter.scripted.prices import Tokens
from submeter.scripted.script import Positive
from submeter.scripted.text import Input, Inputs, as_inputs

_DIMENSIONS = {"text-embedding-3-large": 3072}
_OTHER_DIMENSIONS = 1536


class EmbeddingRequest(msgspec.Struct):
    model: str
    input: Inputs
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Positive | None = None


@dataclass(frozen=True, kw_only=True)
class EmbeddingOrder(Order):
    inputs: list[Input]
    base64: bool
    dimensions: int


def read(body: bytes) -> Order:
    request = read_json(body, EmbeddingRequest)
    inputs = as_inputs(request.input)
    usual = _DIMENSIONS.get(request.model, _OTHER_DIMENSIONS)
    return EmbeddingOrder(
        model=request.model,
        prompt="\n".join(one.text for one in inputs),
        input_tokens=sum(one.tokens for one in inputs),
        generates=False,
        inputs=inputs,
        base64=request.encoding_format == "base64",
        dimensions=usual if request.dimensions is None else request.dimensions,
    )


def whole(answer: Answer) -> Json:
    order = answer.order
    assert isinstance(order, EmbeddingOrder)  # read() makes no other
    data = [
        {"object": "embedding", "index": index, "embedding": _embedding(one.text, order)}
        for index, one in enumerate(order.inputs)
    ]
    return {"object": "list", "data": data, "model": answer.model, **usage.last(answer, _usage_block)}


def vector(text: str, dimensions: int) -> list[float]:
    """A unit vector that depends on nothing but its arguments."""
    drawn = hashlib.shake_256(text.encode("utf-8", "surrogatepass")).digest(2 * dimensions)
    raw = struct.unpack(f"<{dimensions}h", drawn)
    length = math.sqrt(sum(number * number for number in raw)) or 1.0
    return [number / length for number in raw]


def _embedding(text: str, order: EmbeddingOrder) -> list[float] | str:
    numbers = vector(text, order.dimensions)
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode() if order.base64 else numbers


def _usage_block(tokens: Tokens) -> Json:
    return {"prompt_tokens": tokens.input, "total_tokens": tokens.input}


def _no_events(_: Answer) -> Iterator[Event]:
    return iter(())


EMBEDDINGS = Dialect("embeddings", read, whole, _no_events, openai_error, openai_stream_error, openai_headers)
