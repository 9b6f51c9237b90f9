"""``submeter loadtest``: at whose prices a target's reported usage is."""

from pathlib import Path

import pytest

from submeter.commands import loadtesting
from submeter.config import Settings, load_settings
from submeter.errors import UsageError

CONFIG = """
upstreams:
  deep: {base_url: "https://api.deepseek.com/v1", provider: deepseek}
  own: {base_url: "http://127.0.0.1:8000/v1", self_hosted: true}
models: {"deepseek-*": deep}
"""
OPENAI, DEEPSEEK, OWN = "https://api.openai.com/v1", "https://api.deepseek.com/v1", "http://127.0.0.1:8000/v1"
SUBMETER = "http://127.0.0.1:4100/v1"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "submeter.yaml").write_text(CONFIG)
    return load_settings(tmp_path / "submeter.yaml", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("target", "model", "provider", "priced_at"),
    [
        (OPENAI, "gpt-4o-mini", None, "openai"),
        (DEEPSEEK, "deepseek-chat", None, "deepseek"),  # the target is a configured upstream
        (DEEPSEEK, "gpt-4o-mini", None, None),  # which does not sell this one
        (SUBMETER, "deepseek-chat", None, "deepseek"),  # a Submeter sends it there
        (SUBMETER, "gpt-4o-mini", None, "openai"),
        (OWN, "gpt-4o-mini", None, None),  # one's own machine has no list prices
        (OWN, "gpt-4o-mini", "openai", "openai"),
        (SUBMETER, "gpt-4o-mini", "azure", "azure"),
    ],
)
def test_whose_prices(settings: Settings, target: str, model: str, provider: str | None, priced_at: str | None) -> None:
    entry = loadtesting._price(settings, model, target, provider)
    assert (None if entry is None else entry.provider) == priced_at


def test_a_provider_that_is_not_known(settings: Settings) -> None:
    with pytest.raises(UsageError, match="--provider deepsek has no list of prices; did you mean deepseek"):
        loadtesting._price(settings, "deepseek-chat", DEEPSEEK, "deepsek")
