"""Whole answers of every kind, for property tests of their conversion."""

from typing import Any

from hypothesis import strategies as st

TEXTS = st.text(max_size=12)
NUMBERS = st.integers(-(2**63), 2**64) | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3))
COUNTS = st.integers(0, 10_000)
UNKNOWN = st.dictionaries(TEXTS.map("x_".__add__).filter("x_groq".__ne__), JSON, max_size=2)
"""Members that nobody here has heard of."""


def objects(**members: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    known = st.fixed_dictionaries({name.rstrip("_"): value for name, value in members.items()})
    return st.builds(lambda unknown, known: unknown | known, UNKNOWN, known)


def optional(members: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=members)


def merged(*parts: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.tuples(*parts).map(lambda found: {name: value for part in found for name, value in part.items()})


TOKENS = st.lists(objects(token=TEXTS, logprob=NUMBERS), max_size=2)
TOOL_CALLS = st.lists(
    objects(id=TEXTS, type=st.just("function"), function=objects(name=TEXTS, arguments=TEXTS))
    | objects(id=TEXTS, type=st.just("custom"), custom=objects(name=TEXTS, input=TEXTS)),
    max_size=3,
)
MESSAGES = merged(
    objects(
        role=st.just("assistant"),
        content=st.none()
        | TEXTS
        | st.lists(
            objects(type=st.just("text"), text=TEXTS) | objects(type=st.just("thinking"), thinking=JSON),
            min_size=1,
            max_size=2,
        ),
    ),
    optional(
        {
            "refusal": st.none() | TEXTS,
            "annotations": st.lists(objects(type=TEXTS), max_size=2),
            "reasoning": st.none() | TEXTS,
            "reasoning_content": st.none() | TEXTS,
            "reasoning_details": st.lists(objects(type=TEXTS), max_size=2),
            "tool_calls": st.none() | TOOL_CALLS,
            "function_call": st.none() | objects(name=TEXTS, arguments=TEXTS),
        }
    ),
)
CHAT_CHOICES = merged(
    objects(message=MESSAGES, finish_reason=TEXTS),
    optional(
        {
            "logprobs": st.none()
            | st.fixed_dictionaries({"content": st.none() | TOKENS, "refusal": st.none() | TOKENS}),
            "stop_reason": SCALARS,
        }
    ),
)
TEXT_CHOICES = merged(
    objects(text=TEXTS, finish_reason=TEXTS),
    optional(
        {
            "logprobs": st.none()
            | st.fixed_dictionaries(
                {
                    "tokens": st.lists(TEXTS, max_size=2),
                    "token_logprobs": st.none() | st.lists(st.none() | NUMBERS, max_size=2),
                }
            )
        }
    ),
)


def completions(kind: str, choice: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    counts = st.builds(
        lambda more, asked, said: (
            more | {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}
        ),
        UNKNOWN,
        COUNTS,
        COUNTS,
    )
    numbered = st.lists(choice, min_size=1, max_size=2).map(
        lambda found: [{"index": index} | each for index, each in enumerate(found)]
    )
    return merged(
        objects(
            id=TEXTS, object=st.just(kind), created=st.integers(1, 2**40), model=TEXTS, choices=numbered, usage=counts
        ),
        optional({"service_tier": st.none() | TEXTS, "system_fingerprint": st.none() | TEXTS}),
    )


TEXT_BLOCKS = merged(
    objects(type=st.just("text"), text=TEXTS),
    optional({"citations": st.none() | st.lists(objects(cited_text=TEXTS), max_size=3)}),
)
BLOCKS = (
    TEXT_BLOCKS
    | objects(type=st.just("thinking"), thinking=TEXTS, signature=TEXTS)
    | objects(type=st.just("redacted_thinking"), data=TEXTS)
    | objects(
        type=st.sampled_from(["tool_use", "server_tool_use"]),
        id=TEXTS,
        name=TEXTS,
        input=st.dictionaries(TEXTS, JSON, max_size=3),
    )
    | objects(type=st.just("web_search_tool_result"), tool_use_id=TEXTS, content=JSON)
)
MESSAGE_USAGES = merged(
    objects(input_tokens=COUNTS, output_tokens=COUNTS),
    optional(
        {
            "cache_creation_input_tokens": st.none() | COUNTS,
            "cache_read_input_tokens": st.none() | COUNTS,
            "output_tokens_details": st.none() | objects(thinking_tokens=st.just(0)),
            "server_tool_use": st.none() | objects(web_search_requests=COUNTS),
            "service_tier": st.none() | TEXTS,
        }
    ),
)
ANTHROPIC = merged(
    objects(
        id=TEXTS,
        type=st.just("message"),
        role=st.just("assistant"),
        model=TEXTS,
        content=st.lists(BLOCKS, max_size=4),
        stop_reason=TEXTS,
        stop_sequence=st.none() | TEXTS,
        usage=MESSAGE_USAGES,
    ),
    optional({"container": st.none() | objects(id=TEXTS), "stop_details": st.none() | objects(type=TEXTS)}),
)
PARTS = st.lists(
    objects(type=st.just("output_text"), text=TEXTS, annotations=st.lists(JSON, max_size=2), logprobs=TOKENS)
    | objects(type=st.just("refusal"), refusal=TEXTS),
    max_size=2,
)
ITEMS = (
    objects(id=TEXTS, type=st.just("message"), status=st.just("completed"), role=st.just("assistant"), content=PARTS)
    | objects(
        id=TEXTS,
        type=st.just("reasoning"),
        summary=st.lists(objects(type=st.just("summary_text"), text=TEXTS), max_size=2),
        content=st.none() | st.lists(objects(type=st.just("reasoning_text"), text=TEXTS), max_size=2),
    )
    | objects(id=TEXTS, type=st.just("function_call"), call_id=TEXTS, name=TEXTS, arguments=TEXTS)
    | objects(id=TEXTS, type=st.just("custom_tool_call"), call_id=TEXTS, name=TEXTS, input=TEXTS)
)
RESPONSES = objects(
    id=TEXTS,
    object=st.just("response"),
    status=st.sampled_from(["completed", "incomplete"]),
    error=st.none(),
    model=TEXTS,
    output=st.lists(ITEMS, max_size=4),
    usage=objects(input_tokens=COUNTS, output_tokens=COUNTS),
)
