"""Azure's paths: ``/openai/deployments/NAME/…`` and ``/openai/…`` with an API version, ``/openai/v1/…`` without one."""

import msgspec
from aiohttp import web

from submeter.scripted.dialect import Dialect, Refusal

DEPLOYED = frozenset({"chat/completions", "completions", "embeddings"})


def paths(dialect: Dialect) -> list[str]:
    """Where Azure has this endpoint."""
    if dialect.endpoint == "messages":
        return []
    dated = f"deployments/{{deployment}}/{dialect.endpoint}" if dialect.endpoint in DEPLOYED else dialect.endpoint
    return [f"/openai/{dated}", f"/openai/v1/{dialect.endpoint}"]


def as_asked(request: web.Request, body: bytes) -> bytes:
    """The body as OpenAI would be sent it: the deployment is the model, whatever the body says. Raises ``Refusal``."""
    dated = request.path.startswith("/openai/") and not request.path.startswith("/openai/v1/")
    if dated and "api-version" not in request.query:
        raise Refusal(404, "Resource not found")
    deployment = request.match_info.get("deployment")
    if deployment is None:
        return body
    try:
        members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except msgspec.DecodeError:
        return body  # the dialect says what is wrong with it
    return msgspec.json.encode({**members, "model": deployment})
