"""Anthropic's ``messages``: blocks that are begun, added to and ended; the usage in two parts."""

from collections.abc import Iterator

from submeter.core.conversion.events import event_data, named
from submeter.core.conversion.members import (
    Object,
    Unfaithful,
    add_text,
    as_list,
    as_object,
    as_text,
    read,
    say_once,
    without,
    write,
)

_TOOL_USES = ("tool_use", "server_tool_use", "mcp_tool_use")
_AT_ONCE = ("redacted_thinking", "container_upload")
_AT_THE_END = ("stop_reason", "stop_sequence", "stop_details", "container")
_COUNTED_AT_THE_END = ("output_tokens_details", "server_tool_use", "iterations")
_INPUT_COUNTS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")


# ---- from the stream to the message ----------------------------------------------------------------------------


def gather(stream: bytes) -> Object:
    gathered = _Gathered()
    for data in event_data(stream):
        if gathered.add(read(data)):
            return gathered.message
    raise Unfaithful


class _Gathered:
    def __init__(self) -> None:
        self.message: Object = {}
        self._blocks: list[object] = []
        self._inputs: dict[int, str] = {}
        """The JSON of tools' inputs, by the index of their block."""

    def add(self, event: Object) -> bool:
        """Is it the end?"""
        match event.get("type"):
            case "message_start" if not self.message:
                self._begin(as_object(event.get("message")))
            case "content_block_start" if event.get("index") == len(self._blocks):
                self._blocks.append(as_object(event.get("content_block")))
            case "content_block_delta" if event.get("index") == len(self._blocks) - 1:
                self._add_to_block(as_object(self._blocks[-1]), as_object(event.get("delta")))
            case "message_delta" if self.message:
                self._end(event)
            case "message_stop" if self.message.get("stop_reason") is not None:
                self._read_inputs()
                return True
            case "ping" | "content_block_stop":
                pass
            case _:
                raise Unfaithful
        return False

    def _begin(self, message: Object) -> None:
        if message.get("content") != []:
            raise Unfaithful
        self.message = {**message, "content": self._blocks}

    def _add_to_block(self, block: Object, delta: Object) -> None:
        match delta.get("type"):
            case "text_delta":
                add_text(block, "text", delta.get("text"))
            case "thinking_delta":
                add_text(block, "thinking", delta.get("thinking"))
            case "signature_delta":
                say_once(block, "signature", delta.get("signature"))
            case "input_json_delta":
                at = len(self._blocks) - 1
                self._inputs[at] = self._inputs.get(at, "") + as_text(delta.get("partial_json"))
            case "citations_delta":
                block["citations"] = [*as_list(block.get("citations") or []), delta.get("citation")]
            case _:
                raise Unfaithful

    def _end(self, event: Object) -> None:
        """The counts of the end are totals: the last that is not null holds."""
        usage, last = as_object(self.message.get("usage")), as_object(event.get("usage"))
        if type(last.get("output_tokens")) is not int:
            raise Unfaithful
        self.message |= without(event, "type", "usage", "delta") | as_object(event.get("delta"))
        self.message["usage"] = usage | {name: n for name, n in last.items() if n is not None or name not in usage}

    def _read_inputs(self) -> None:
        for index, text in self._inputs.items():
            if text:
                as_object(self._blocks[index])["input"] = read(text)


# ---- from the message to the stream ----------------------------------------------------------------------------


def spread(message: Object) -> bytes:
    """The counts of the input stand in both ends, as the provider has them; those of the output in the last."""
    if message.get("type") != "message":
        raise Unfaithful
    usage = as_object(message.get("usage"))
    output_tokens = usage.get("output_tokens")
    if type(output_tokens) is not int:
        raise Unfaithful
    late = {name: usage[name] for name in _COUNTED_AT_THE_END if usage.get(name) is not None}
    first: Object = without(usage, *late) | {"output_tokens": min(1, output_tokens)}
    last = {name: usage[name] for name in (*_INPUT_COUNTS, "output_tokens") if usage.get(name) is not None} | late
    as_text(message.get("stop_reason"))
    ends = {name: message[name] for name in _AT_THE_END if name in message}
    begun = message | dict.fromkeys(ends) | {"content": [], "usage": first}
    events: list[Object] = [{"type": "message_start", "message": begun}]
    for index, block in enumerate(as_list(message.get("content"))):
        events += _block_events(index, as_object(block))
    events.append({"type": "message_delta", "delta": ends, "usage": last})
    events.append({"type": "message_stop"})
    return b"".join(map(named, events))


def _block_events(index: int, block: Object) -> Iterator[Object]:
    begun, deltas = _cut(block)
    yield {"type": "content_block_start", "index": index, "content_block": begun}
    for delta in deltas:
        yield {"type": "content_block_delta", "index": index, "delta": delta}
    yield {"type": "content_block_stop", "index": index}


def _cut(block: Object) -> tuple[Object, list[Object]]:
    """How a block begins, and what is added to it. What a server's tool has found comes in one piece."""
    kind = as_text(block.get("type"))
    if kind == "text":
        return _cut_text(block)
    if kind == "thinking":
        return _cut_thinking(block)
    if kind in _TOOL_USES:
        return _cut_tool_use(block)
    if kind in _AT_ONCE or kind.endswith("_tool_result"):
        return block, []
    raise Unfaithful


def _cut_text(block: Object) -> tuple[Object, list[Object]]:
    begun = block | {"text": ""}
    deltas: list[Object] = [{"type": "text_delta", "text": as_text(block.get("text"))}]
    if block.get("citations"):
        begun["citations"] = []
        deltas += [{"type": "citations_delta", "citation": each} for each in as_list(block["citations"])]
    return begun, deltas


def _cut_thinking(block: Object) -> tuple[Object, list[Object]]:
    thinking, signature = as_text(block.get("thinking")), as_text(block.get("signature"))
    deltas: list[Object] = [{"type": "thinking_delta", "thinking": thinking}] if thinking else []
    deltas.append({"type": "signature_delta", "signature": signature})
    return block | {"thinking": "", "signature": ""}, deltas


def _cut_tool_use(block: Object) -> tuple[Object, list[Object]]:
    """An input without members is no JSON at all."""
    given = as_object(block.get("input"))
    texts = ["", write(given).decode()] if given else [""]
    return block | {"input": {}}, [{"type": "input_json_delta", "partial_json": text} for text in texts]
