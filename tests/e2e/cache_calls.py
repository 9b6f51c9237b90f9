"""Calls that the cache may answer, and what it says of them."""

from typing import Any

from harness.processes import Unit
from harness.raw import Answer, ask, chat

TEXTS = (f"Question {number}" for number in range(10_000))


def question(**more: Any) -> dict[str, Any]:
    """A chat call with temperature 0 that nobody has made yet."""
    return chat(messages=[{"role": "user", "content": next(TEXTS)}], temperature=0) | more


def call(unit: Unit, body: Any, path: str = "chat/completions", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ask(unit.port, "POST", f"/v1/{path}", named | {"Content-Type": "application/json"}, body)


def cached(answer: Answer) -> str | None:
    assert answer.status == 200
    return answer.header("x-submeter-cache")


def assert_never_hits(unit: Unit, body: dict[str, Any], *, said: str, path: str = "chat/completions") -> None:
    assert [cached(call(unit, body, path)) for _ in range(3)] == [said] * 3


DETERMINISTIC = {
    "chat": ("chat/completions", question()),
    "completions": ("completions", {"model": "gpt-3.5-turbo-instruct", "prompt": "Once", "temperature": 0}),
    "responses": ("responses", {"model": "gpt-4o-mini", "input": "Say.", "temperature": 0}),
    "messages": (
        "messages",
        {
            "model": "claude-haiku-4-5",
            "max_tokens": 64,
            "temperature": 0,
            "messages": [{"role": "user", "content": "Say."}],
        },
    ),
    "embeddings": ("embeddings", {"model": "text-embedding-3-small", "input": ["a", "b"]}),
}
