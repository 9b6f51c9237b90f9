"""litellm, fenced in: one call goes to one host once, with the key that was given, and tells nobody.

It is imported by name when the process starts, after the environment has been put right, since it reads that while it
is imported; and without its types, which take a type checker longer than all of Submeter.
"""

import logging
import os
import re
from contextvars import ContextVar
from importlib import import_module
from typing import Any

import httpx
import msgspec

from submeter.config import Upstream
from submeter.translate.answer import chat_answer, embeddings_answer, service_tier, usage_block
from submeter.translate.request import Call
from submeter.translate.stream import Stream

PREPARED = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # otherwise it downloads its price map when it is imported
    "LITELLM_MODE": "PRODUCTION",  # otherwise it reads a .env file
}
STEERING = re.compile(r"(USE_)?LITELLM_.*|.*_(API_BASE|BASE_URL|API_KEY)")
"""Variables that would choose hosts, keys, logging and retries beside Submeter's settings. (A shell that has
OPENAI_BASE_URL pointing at Submeter is where many start `submeter serve`.)"""
GRACE_S = 5.0
"""The relay's deadlines come first: it is what tells the caller and settles the call."""
ROUTED_BY_NAME = ("replicate_models", "clarifai_models", "petals_models", "snowflake_models", "ovhcloud_models")
"""Models that litellm sends to these vendors whatever provider it is told."""


class Trip(msgspec.Struct):
    """How far one call has come."""

    answered: bool = False
    """The provider began to answer with success: from here on, it may bill."""


class Answered(msgspec.Struct, frozen=True):
    body: dict[str, object]
    request_id: str | None


_trip: ContextVar[Trip | None] = ContextVar("trip", default=None)


class Engine:
    """litellm, imported and set up. One in a process: what is set up is global."""

    def __init__(self) -> None:
        for name in [name for name in os.environ if STEERING.fullmatch(name)]:
            del os.environ[name]
        os.environ.update(PREPARED)
        self._litellm: Any = import_module("litellm")
        _keep_quiet(self._litellm)
        _fence(self._litellm, import_module("litellm.llms.custom_httpx.http_handler").AsyncHTTPHandler)

    def models(self, provider: str) -> list[str]:
        """The provider's models that litellm knows of, by the provider's own names."""
        known = self._litellm.models_by_provider.get(provider, ())
        return sorted({name.removeprefix(f"{provider}/") for name in known})

    async def chat(self, upstream: Upstream, call: Call, trip: Trip) -> Answered:
        """A whole answer. Raises whatever litellm does; ``failure`` reads it."""
        _trip.set(trip)
        answer = await self._litellm.acompletion(**_arguments(upstream, call), **call.params)
        fields = answer.model_dump(exclude_none=True)
        model = str(fields.get("model", call.model)).removeprefix(f"{upstream.translate}/")
        usage = usage_block(fields.get("usage"), wrote=_wrote(fields))
        tier = service_tier(fields, fields.get("usage"))
        body = chat_answer({**fields, "service_tier": tier}, model, usage)
        return Answered(body, request_id(answer))

    async def stream(self, upstream: Upstream, call: Call, trip: Trip) -> Stream:
        """A streamed answer whose head is there: an error status has been raised. Close it."""
        _trip.set(trip)
        options = {"stream": True, "stream_options": {"include_usage": True}}
        stream = await self._litellm.acompletion(**_arguments(upstream, call), **options, **call.params)
        await stream.fetch_stream()
        return Stream(stream, call.model, request_id(stream))

    async def embeddings(self, upstream: Upstream, call: Call, trip: Trip) -> Answered:
        _trip.set(trip)
        as_base64 = call.params.get("encoding_format") == "base64"
        params = {name: value for name, value in call.params.items() if name != "encoding_format"}
        answer = await self._litellm.aembedding(**_arguments(upstream, call), **params)
        fields = answer.model_dump(exclude_none=True)
        usage = usage_block(fields.get("usage"), wrote=False)
        return Answered(embeddings_answer(fields, call.model, usage, as_base64=as_base64), request_id(answer))


def _arguments(upstream: Upstream, call: Call) -> dict[str, object]:
    """The provider stands before the model's name, so that the name cannot choose another one."""
    return {
        "model": f"{upstream.translate}/{call.model}",
        "custom_llm_provider": upstream.translate,
        "api_base": upstream.base_url or None,
        "api_key": None if upstream.api_key is None else upstream.api_key.reveal(),
        "timeout": max(upstream.first_byte_timeout_s, upstream.idle_timeout_s) + GRACE_S,
        "max_retries": 0,
        "num_retries": 0,
    }


def request_id(answer: Any) -> str | None:
    """By which the provider knows the call."""
    headers = (getattr(answer, "_hidden_params", None) or {}).get("additional_headers") or {}
    for name in ("llm_provider-x-request-id", "llm_provider-request-id", "llm_provider-x-amzn-requestid"):
        value = headers.get(name)
        if isinstance(value, str) and value.isascii() and value.isprintable():
            return value
    return None


def _wrote(fields: dict[str, Any]) -> bool:
    return any((choice.get("message") or {}).get("content") for choice in fields.get("choices") or ())


def _keep_quiet(litellm: Any) -> None:
    """No telemetry, no word on a terminal, no tokens by its own count: what it is not told stays 0."""
    litellm.telemetry = False
    litellm.suppress_debug_info = True
    litellm.disable_token_counter = True
    litellm.drop_params = False
    litellm.num_retries = None
    litellm.cache = None
    litellm.callbacks, litellm.success_callback, litellm.failure_callback = [], [], []
    for name in ("LiteLLM", "LiteLLM Proxy", "LiteLLM Router", "httpx", "httpcore", "openai", "botocore"):
        logger = logging.getLogger(name)  # what they write quotes prompts and answers
        logger.handlers, logger.propagate = [logging.NullHandler()], False
        logger.setLevel(logging.CRITICAL)


def _fence(litellm: Any, handler: Any) -> None:
    """No redirect is followed (a key would go along), nothing is sent a second time, and no name leads elsewhere."""
    litellm.disable_aiohttp_transport = True
    for name in ROUTED_BY_NAME:
        setattr(litellm, name, frozenset())
    handler.follow_redirects = property(lambda _: False, lambda _, wanted: None)
    handler.single_connection_request = _not_again
    handler.post = _noting(handler.post)


async def _not_again(*_: object, **__: object) -> None:
    raise httpx.ConnectError("it was not tried a second time")


def _noting(post: Any) -> Any:
    async def noted(*arguments: Any, **options: Any) -> Any:
        response = await post(*arguments, **options)
        trip = _trip.get()
        if trip is not None:
            trip.answered = True
        return response

    return noted
