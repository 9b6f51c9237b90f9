"""One streamed answer of litellm's, as OpenAI's chunks; at its end the provider's usage, or none."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec

from submeter.translate.answer import chat_answer, service_tier, usage_block


class Incomplete(Exception):
    """The provider's stream ended without its end; litellm would make one up."""


class _Message(msgspec.Struct):
    model: str | None = None


class _Candidate(msgspec.Struct, rename="camel"):
    finish_reason: str | None = None


class _Event(msgspec.Struct, rename="camel"):
    """Of Gemini's chunks and Anthropic's ``message_start``: the model that answers; of Gemini's also their end."""

    model_version: str | None = None
    message: _Message | None = None
    candidates: list[_Candidate] | None = None
    prompt_feedback: msgspec.Raw = msgspec.Raw()

    @property
    def model(self) -> str | None:
        return self.model_version if self.message is None else self.message.model

    @property
    def ends(self) -> bool | None:
        """``None``: none of Gemini's."""
        if self.candidates is None:
            return True if bytes(self.prompt_feedback) else None
        return any(candidate.finish_reason is not None for candidate in self.candidates)


_event_decoder = msgspec.json.Decoder(_Event)


class Stream:
    """Iterate once over its chunks, then ask for ``usage_chunk``; close it whatever happens."""

    def __init__(self, wrapper: Any, model: str, request_id: str | None) -> None:
        self.request_id = request_id
        self._wrapper = wrapper
        self._model = model
        self._served: str | None = None
        self._gemini_ended: bool | None = None
        self._last: dict[str, object] = {}
        self._wrote = False
        source = wrapper.completion_stream
        if hasattr(getattr(source, "streaming_response", None), "__aiter__"):
            source.streaming_response = self._listening(source.streaming_response)

    async def __aiter__(self) -> AsyncIterator[dict[str, object]]:
        """Raises ``Incomplete``, and whatever litellm does."""
        async for chunk in self._wrapper:
            fields = chunk.model_dump(exclude_none=True)
            if not fields.get("choices"):
                continue  # usage, put together by litellm; ours is the provider's last word
            if any(choice.get("finish_reason") for choice in fields["choices"]) and not self._has_ended():
                raise Incomplete
            self._wrote = self._wrote or any((choice.get("delta") or {}).get("content") for choice in fields["choices"])
            self._last = fields
            yield chat_answer(fields, self._name, None)
        if not self._has_ended():
            raise Incomplete

    def usage_chunk(self) -> dict[str, object] | None:
        """OpenAI's last chunk: no choices, the usage of the whole answer. ``None``: the provider sent none."""
        reported = [usage for chunk in self._wrapper.chunks if (usage := getattr(chunk, "usage", None)) is not None]
        if not reported:
            return None
        usage = reported[-1].model_dump(exclude_none=True)
        block = usage_block(usage, wrote=self._wrote)
        tier = service_tier(self._last, usage)
        fields = {**self._last, "choices": [], "service_tier": tier}
        return None if block is None else chat_answer(fields, self._name, block)

    async def aclose(self) -> None:
        """Closes the provider's connection where the answer has not ended: it shall stop generating."""
        await self._wrapper.aclose()

    def _has_ended(self) -> bool:
        """The provider itself has given a reason for the end. (Of each chunk of Gemini's, litellm makes up one.)"""
        if self._gemini_ended is not None:
            return self._gemini_ended
        wrapper = self._wrapper
        reasons = (wrapper.received_finish_reason, wrapper.intermittent_finish_reason)
        return wrapper.received_any_finish_reason or any(reason is not None for reason in reasons)

    @property
    def _name(self) -> str:
        return self._model if self._served is None else self._served

    async def _listening(self, lines: Any) -> AsyncIterator[Any]:
        """The provider's lines, passed on; litellm's chunks repeat the model asked for, not the one that answers."""
        try:
            async for line in lines:
                self._hear(line)
                yield line
        finally:
            if hasattr(lines, "aclose"):
                await lines.aclose()

    def _hear(self, line: object) -> None:
        if not isinstance(line, str) or not line.startswith("data:"):
            return
        try:
            event = _event_decoder.decode(line[len("data:") :])
        except (msgspec.DecodeError, RecursionError):
            return
        self._served = event.model if self._served is None else self._served
        if event.ends is not None:
            self._gemini_ended = self._gemini_ended or event.ends
