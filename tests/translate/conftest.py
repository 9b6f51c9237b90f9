"""One unit with translated upstreams for all of these tests: the translator takes seconds to start."""

from collections.abc import Iterator

import pytest
from openai import OpenAI

from harness.processes import Unit
from translate.emulator import Emulator

PROVIDER_KEY = "sk-of-the-operator"
CALLER_KEY = "sk-of-the-caller"
CONFIG = """
upstreams:
  claude: {{translate: anthropic, base_url: '{url}', api_key_env: EMULATED_KEY}}
  google: {{translate: gemini, base_url: '{url}/v1beta', api_key_env: EMULATED_KEY}}
  nobody: {{translate: gemini, base_url: 'http://127.0.0.1:1', api_key_env: EMULATED_KEY}}
models: {{'claude-*': claude, 'gemini-*': google, 'nobody-*': nobody, '*/*': google, 'evil*': claude}}
"""


@pytest.fixture(scope="session")
def emulator() -> Iterator[Emulator]:
    with Emulator() as emulator:
        yield emulator


@pytest.fixture(scope="session")
def translating(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Unit]:
    unit = Unit(
        tmp_path_factory.mktemp("translating"),
        "http://127.0.0.1:1/v1",
        config=CONFIG.format(url=emulator.url),
        EMULATED_KEY=PROVIDER_KEY,
        # Were these heeded, calls would go elsewhere or prompts into the log.
        ANTHROPIC_BASE_URL="http://127.0.0.1:1",
        GEMINI_API_BASE="http://127.0.0.1:1",
        LITELLM_LOG="DEBUG",
    )
    yield unit
    unit.close()


@pytest.fixture(scope="session")
def client(translating: Unit) -> Iterator[OpenAI]:
    with OpenAI(base_url=translating.base_url, api_key=CALLER_KEY, max_retries=0, timeout=60.0) as client:
        yield client
