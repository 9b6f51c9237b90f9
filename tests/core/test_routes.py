"""FAULTS 12: which targets are ours, and what they mean."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from submeter.core.routes import METERED, Route, read_target

HOST = "127.0.0.1:4100"


@pytest.mark.parametrize(
    ("target", "route"),
    [
        ("/v1/chat/completions", Route("chat/completions", "")),
        ("/v1/models?limit=5", Route("models", "?limit=5")),
        ("/v1/models?x=//%2e%2e/../é", Route("models", "?x=//%2e%2e/../é")),
        ("/v1/files/file-1/content", Route("files/file-1/content", "")),
        ("/messages", Route("messages", "")),
        ("/messages?beta=true", Route("messages", "?beta=true")),
        ("/v1/messages", Route("messages", "")),
        ("/v1/messages/count_tokens", Route("messages/count_tokens", "")),
        ("/by/search/bot/v1/responses?x", Route("responses", "?x", "search", "bot")),
        ("/by/a%20b/%C3%A9/v1/embeddings", Route("embeddings", "", "a b", "é")),
        ("/by/%ff/%zz/v1/models", Route("models", "", "%ff", "%zz")),
        ("/healthz", Route("", "", health=True)),
        ("http://127.0.0.1:4100/v1/models?x=1", Route("models", "?x=1")),
        ("HTTP://127.0.0.1:4100/v1/models", Route("models", "")),
        ("/v1/.well", Route(".well", "")),
        (
            "/openai/deployments/my%20gpt/chat/completions?api-version=2024-10-21",
            Route(
                "chat/completions",
                "?api-version=2024-10-21",
                azure_path="deployments/my%20gpt/chat/completions",
                deployment="my gpt",
            ),
        ),
        ("/openai/responses?api-version=x", Route("responses", "?api-version=x", azure_path="responses")),
        ("/openai/v1/embeddings", Route("embeddings", "", azure_path="v1/embeddings")),
        ("/by/t/a/openai/v1/responses/r", Route("responses/r", "", "t", "a", azure_path="v1/responses/r")),
        ("/openai/files/f/content", Route("files/f/content", "", azure_path="files/f/content")),
        ("/v1/a..b", Route("a..b", "")),
    ],
)
def test_ours(target: str, route: Route) -> None:
    assert read_target(target, HOST) == route


@pytest.mark.parametrize(
    "target",
    [
        *("", "/", "*", "/v1", "/v1/", "/v2/models", "/V1/models", "/v1models", "/metrics", "/api/calls", "/healthz/"),
        *(
            "//v1/models",
            "/v1//models",
            "/v1/models//",
            "/v1/../metrics",
            "/v1/..",
            "/v1/./models",
            "/v1/.",
            "/../v1/x",
        ),
        *("/v1/%2e%2e/x", "/v1/%2E./x", "/v1/%2fmodels", "/v1/%5Cx", "/v1/a%00b", "/v1\\models", "/v1/a\\..\\b"),
        *("/v1/modèles", "/by/t/v1/models", "/by/t/a/models", "/by//a/v1/models", "/by/t/a/v1/", "/by/t/a/v1"),
        *("/by/t/a/messages", "/messages/", "/messages/count_tokens", "/by/%2e%2e/a/v1/x", "/by/t/a%2fb/v1/x"),
        *("http://evil.test/v1/models", "http://127.0.0.1:4100.evil.test/v1/models", "http://127.0.0.1:4101/v1/models"),
        *("http://127.0.0.1:4100", "http://x@127.0.0.1:4100/v1/models", "ftp://127.0.0.1:4100/v1/models", "v1/models"),
        "/by/" + "t" * 257 + "/a/v1/models",
        *("/openai", "/openai/", "/openaix/v1/models", "/openai//v1", "/openai/../v1/models", "/by/t/a/openai/"),
        *("/openai/deployments/%2e%2e/x", "/openai/deployments/a%2fb/chat/completions"),
    ],
)
def test_not_ours(target: str) -> None:
    assert read_target(target, HOST) is None


def test_what_goes_upstream_and_what_is_metered() -> None:
    route = read_target("/by/t/a/v1/chat/completions?x=1", HOST)
    assert route is not None
    assert (route.target, route.metered) == ("/chat/completions?x=1", True)
    assert {"chat/completions", "completions", "embeddings", "responses", "messages"} == METERED
    azure = read_target("/openai/deployments/d/completions?x=1", HOST)
    assert azure is not None
    assert (azure.target, azure.metered, azure.azure) == ("/deployments/d/completions?x=1", True, True)
    assert not Route("chat/completions/", "").metered
    assert not Route("messages/count_tokens", "").metered


@given(st.text(st.sampled_from("/v1.%2efE\\?by~aé\x00"), max_size=20))
def test_no_target_leaves_the_tree(rest: str) -> None:
    route = read_target("/v1/" + rest, HOST)
    if route is not None:
        segments = route.endpoint.split("/")
        assert "" not in segments[:-1]
        assert not {".", ".."} & set(segments)
        assert "%2e" not in route.endpoint.lower()
        assert route.target.startswith("/" + rest.partition("?")[0])
