"""A script: what one call shall do. The keys are the fields of ``Script``; the package docstring lists them."""

import difflib
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from submeter.scripted.text import Alphabet

Count = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Millis = Annotated[float, msgspec.Meta(ge=0, le=3_600_000)]
Choices = Annotated[int, msgspec.Meta(ge=1, le=128)]
Noise = Annotated[float, msgspec.Meta(ge=0, le=2)]
Status = Annotated[int, msgspec.Meta(ge=400, le=599)]

UsageMode = Literal[
    "normal", "none", "null", "zero", "negative", "nan", "float", "string", "huge", "inconsistent",
    "finish_chunk", "repeated", "cumulative", "decreasing",
]  # fmt: skip
Malformed = Literal["bad_json", "bad_utf8", "no_blank_line", "huge_line"]
LineEnd = Literal["lf", "crlf", "cr"]
Ending = Literal["cut", "reset", "end", "stall", "error"]


SCRIPTED_TIME = ("ttft_ms", "gap_ms")
LINEAR_TIME = ("base_ms", "input_ms_per_token", "cached_ms_per_token", "output_ms_per_token", "noise")


class ScriptError(ValueError):
    """A key that is not known or a value that does not fit; the text names the key and is shown to the caller."""


class Script(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a call shall do. ``None`` means that the fault does not happen."""

    # time
    ttft_ms: Millis = 0
    gap_ms: Millis = 0
    base_ms: Millis = 0
    input_ms_per_token: Millis = 0
    cached_ms_per_token: Millis = 0
    output_ms_per_token: Millis = 0
    noise: Noise = 0
    slow_close_ms: Millis = 0
    background_ms: Millis = 0
    # what is generated, and what it counts
    seed: int = 0
    text: Alphabet = "ascii"
    output_tokens: Count = 16
    reasoning_tokens: Count = 0
    reasoning: Literal["shown", "hidden"] = "shown"
    tool_call: bool = False
    tokens_per_chunk: Positive = 1
    input_tokens: Count | None = None
    cached_tokens: Count = 0
    cache_write_tokens: Count = 0
    cache_write_5m_tokens: Count = 0
    cache_write_1h_tokens: Count = 0
    model_served: str | None = None
    fixed_ids: bool = False
    usage: UsageMode = "normal"
    # how the bytes look
    chunk_bytes: Positive | None = None
    split_utf8: bool = False
    line_end: LineEnd = "lf"
    comments: bool = False
    done: bool = True
    content_length: bool = False
    until_close: bool = False
    gzip: bool = False
    # faults before the head
    status: Status | None = None
    redirect: bool = False
    reset_before_head: bool = False
    hang_before_head: bool = False
    reject_stream_options: bool = False
    not_json: bool = False
    # faults in the body
    cut_after_chunks: Count | None = None
    reset_after_chunks: Count | None = None
    end_after_chunks: Count | None = None
    stall_after_chunks: Count | None = None
    error_after_chunks: Count | None = None
    malformed: Malformed | None = None
    huge_bytes: Positive = 10_000_000
    whole_cut: bool = False

    def __post_init__(self) -> None:
        scripted, linear = self._told(SCRIPTED_TIME), self._told(LINEAR_TIME)
        if scripted and linear:
            raise ValueError(
                f"{', '.join(scripted)} and {', '.join(linear)} are two models of time: give one, or 0 for the other"
            )

    @property
    def time_keys(self) -> tuple[str, ...]:
        """The keys by which this script says when tokens come."""
        return self._told(SCRIPTED_TIME + LINEAR_TIME)

    def _told(self, keys: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(key for key in keys if getattr(self, key) != 0)

    def ending(self, chunks: int) -> Ending | None:
        """How the stream ends now that ``chunks`` chunks with tokens have gone out; ``None``: it goes on."""
        endings: tuple[tuple[Ending, int | None], ...] = (
            ("cut", self.cut_after_chunks),
            ("reset", self.reset_after_chunks),
            ("end", self.end_after_chunks),
            ("stall", self.stall_after_chunks),
            ("error", self.error_after_chunks),
        )
        return next((ending for ending, after in endings if after == chunks), None)


KEYS: tuple[str, ...] = Script.__struct_fields__


def with_keys(script: Script, keys: Mapping[str, object]) -> Script:
    """``script`` with ``keys`` in place of its own; values may be strings. Raises ``ScriptError``."""
    for key in keys:
        _check_known(key)
    try:
        return msgspec.convert({**msgspec.structs.asdict(script), **keys}, Script, strict=False)
    except msgspec.ValidationError as error:
        raise ScriptError(f"x-scripted: {error}") from None


def parse(script: Script, text: str) -> Script:
    """``script`` with the keys of ``key=value;key=value``; a bare ``key`` means ``key=1``. Raises ``ScriptError``."""
    pairs = (part.partition("=") for part in text.split(";") if part.strip())
    return with_keys(script, {key.strip(): value.strip() if is_ else "1" for key, is_, value in pairs})


def check_batched(script: Script) -> None:
    """Raise ``ScriptError`` if ``script`` says when tokens come, although the provider's batching decides it."""
    if script.time_keys:
        raise ScriptError(f"x-scripted: {', '.join(script.time_keys)}: this provider's batching decides the times")


def _check_known(key: str) -> None:
    if key in KEYS:
        return
    near = difflib.get_close_matches(key, KEYS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"the keys are {', '.join(KEYS)}"
    raise ScriptError(f"x-scripted: unknown key {key!r}; {hint}")
