"""Where a price map can be read: the litellm wheel (never imported: that takes seconds and network), a file, a URL."""

import asyncio
import importlib.metadata
import importlib.util
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from submeter.errors import UsageError
from submeter.prices.snapshot import Origin

MAP_NAME = "model_prices_and_context_window_backup.json"
MAX_MAP_BYTES = 64 << 20
FETCH_TIMEOUT_S = 60


def read_source(where: str | None) -> tuple[bytes, Origin]:
    """The map's bytes and their origin; ``where`` None: the litellm wheel. Raises UsageError."""
    if where is None:
        raw, source, version = _read_wheel()
    elif urlsplit(where).scheme in ("http", "https"):
        raw, source, version = asyncio.run(_fetch(where)), _without_secrets(where), "url"
    else:
        raw, source, version = _read_file(Path(where)), f"file {Path(where).name}", "file"
    return raw, Origin(source, version, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))


def _read_wheel() -> tuple[bytes, str, str]:
    spec = importlib.util.find_spec("litellm")
    if spec is None or spec.origin is None:
        raise UsageError("litellm is not installed: pip install 'submeter[translate]', or give a file or URL")
    version = importlib.metadata.version("litellm")
    return _read_file(Path(spec.origin).with_name(MAP_NAME)), f"litellm {version} wheel", version


def _read_file(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_MAP_BYTES:
            raise UsageError(f"{path} is larger than {MAX_MAP_BYTES >> 20} MiB: give litellm's price map")
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}; give a file, a URL or nothing") from error


async def _fetch(url: str) -> bytes:
    timeout = aiohttp.ClientTimeout(total=FETCH_TIMEOUT_S)
    jar = aiohttp.DummyCookieJar()
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, cookie_jar=jar, trust_env=True) as session,
            session.get(url) as answer,
        ):
            if answer.status != 200:
                raise UsageError(f"{_without_secrets(url)} answered {answer.status}: check the URL")
            raw = await answer.content.read(MAX_MAP_BYTES + 1)
            while not answer.content.at_eof() and len(raw) <= MAX_MAP_BYTES:
                raw += await answer.content.readany()
    except (aiohttp.ClientError, TimeoutError) as error:
        why = type(error).__name__
        raise UsageError(
            f"cannot fetch {_without_secrets(url)} ({why}): check it, or download it and give the file"
        ) from error
    if len(raw) > MAX_MAP_BYTES:
        raise UsageError(f"{_without_secrets(url)} is larger than {MAX_MAP_BYTES >> 20} MiB: give litellm's price map")
    return raw


def _without_secrets(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}{parts.path}"
