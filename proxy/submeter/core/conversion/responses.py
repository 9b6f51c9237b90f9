"""OpenAI's ``responses``: the last event of a stream has the whole response in it."""

from collections.abc import Iterator
from itertools import count

from submeter.core.conversion.events import event_data, named
from submeter.core.conversion.members import Object, Unfaithful, as_index, as_list, as_object, as_text, read

_ENDS = {"completed": "response.completed", "incomplete": "response.incomplete"}
_NOT_YET: Object = {"status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
_CALLS = {
    "function_call": ("arguments", "response.function_call_arguments"),
    "custom_tool_call": ("input", "response.custom_tool_call_input"),
}
_PARTS = {
    "output_text": ("text", "response.output_text"),
    "refusal": ("refusal", "response.refusal"),
    "reasoning_text": ("text", "response.reasoning_text"),
}


# ---- from the stream to the response ---------------------------------------------------------------------------


def gather(stream: bytes) -> Object:
    """Some leave the output out of the last event: then it is what the items were when each was done."""
    seen: set[int] = set()
    done: dict[int, object] = {}
    for data in event_data(stream):
        event = read(data)
        kind = as_text(event.get("type"))
        if kind in _ENDS.values():
            return _with_output(as_object(event.get("response")), seen, done)
        if "output_index" in event:
            seen.add(as_index(event["output_index"]))
        if kind == "response.output_item.done":
            done[as_index(event.get("output_index"))] = event.get("item")
    raise Unfaithful


def _with_output(response: Object, seen: set[int], done: dict[int, object]) -> Object:
    if response.get("output") or not seen:
        return response
    if seen != done.keys():
        raise Unfaithful
    return response | {"output": [done[index] for index in sorted(done)]}


# ---- from the response to the stream ---------------------------------------------------------------------------


def spread(response: Object) -> bytes:
    end = _ENDS.get(as_text(response.get("status")))
    if end is None or response.get("error") is not None:
        raise Unfaithful
    begun = response | {name: value for name, value in _NOT_YET.items() if name in response}
    if "completed_at" in begun:
        begun["completed_at"] = None
    events: list[Object] = [{"type": f"response.{kind}", "response": begun} for kind in ("created", "in_progress")]
    for index, item in enumerate(as_list(response.get("output"))):
        events += _item_events(index, as_object(item))
    events.append({"type": end, "response": response})
    numbers = count()
    return b"".join(named({"type": event.pop("type"), "sequence_number": next(numbers), **event}) for event in events)


def _item_events(index: int, item: Object) -> Iterator[Object]:
    """Items of a server's tools have events of their own that tell how they went: those are not known here."""
    kind, place = as_text(item.get("type")), {"item_id": as_text(item.get("id")), "output_index": index}
    if kind == "message":
        begun, pieces = item | {"content": []}, _content_events(place, item)
    elif kind == "reasoning":
        begun, pieces = _reasoning_begun(item), _reasoning_events(place, item)
    elif kind in _CALLS:
        begun, pieces = item | {_CALLS[kind][0]: ""}, _call_events(place, item, *_CALLS[kind])
    else:
        raise Unfaithful
    if "status" in begun:
        begun["status"] = "in_progress"
    yield {"type": "response.output_item.added", "output_index": index, "item": begun}
    yield from pieces
    yield {"type": "response.output_item.done", "output_index": index, "item": item}


def _reasoning_begun(item: Object) -> Object:
    return item | {name: [] for name in ("summary", "content") if item.get(name)}


def _reasoning_events(place: Object, item: Object) -> Iterator[Object]:
    for index, part in enumerate(as_list(item.get("summary"))):
        yield from _summary_events({**place, "summary_index": index}, as_object(part))
    if item.get("content"):
        yield from _content_events(place, item)


def _summary_events(place: Object, part: Object) -> Iterator[Object]:
    if part.get("type") != "summary_text":
        raise Unfaithful
    text = as_text(part.get("text"))
    yield {"type": "response.reasoning_summary_part.added", **place, "part": part | {"text": ""}}
    yield {"type": "response.reasoning_summary_text.delta", **place, "delta": text}
    yield {"type": "response.reasoning_summary_text.done", **place, "text": text}
    yield {"type": "response.reasoning_summary_part.done", **place, "part": part}


def _content_events(place: Object, item: Object) -> Iterator[Object]:
    for index, part in enumerate(as_list(item.get("content"))):
        yield from _part_events({**place, "content_index": index}, as_object(part))


def _part_events(place: Object, part: Object) -> Iterator[Object]:
    member, name = _PARTS.get(as_text(part.get("type")), ("", ""))
    text = as_text(part.get(member))
    logprobs: Object = {"logprobs": part.get("logprobs") or []} if name == "response.output_text" else {}
    begun = part | {member: ""} | {name: [] for name in ("annotations", "logprobs") if part.get(name)}
    yield {"type": "response.content_part.added", **place, "part": begun}
    yield {"type": f"{name}.delta", **place, "delta": text, **logprobs}
    for index, annotation in enumerate(as_list(part.get("annotations") or [])):
        yield {"type": f"{name}.annotation.added", **place, "annotation_index": index, "annotation": annotation}
    yield {"type": f"{name}.done", **place, member: text, **logprobs}
    yield {"type": "response.content_part.done", **place, "part": part}


def _call_events(place: Object, item: Object, member: str, name: str) -> Iterator[Object]:
    text = as_text(item.get(member))
    function: Object = {"name": item.get("name")} if member == "arguments" else {}
    if text:
        yield {"type": f"{name}.delta", **place, "delta": text}
    yield {"type": f"{name}.done", **place, **function, member: text}
