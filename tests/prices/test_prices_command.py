"""``submeter prices``, as a person and as a script runs it."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import cast

import msgspec
import pytest
from typer.testing import CliRunner, Result

from submeter.commands.prices import app
from submeter.errors import UsageError
from submeter.prices import load_snapshot, sources
from submeter.prices.load import find_snapshot, snapshot_path

MAP = {
    "m-1": {
        "mode": "chat",
        "litellm_provider": "openai",
        "input_cost_per_token": 1e-6,
        "output_cost_per_token": 4e-6,
        "source": "https://prices.example",
    },
    "slip": {
        "mode": "chat",
        "litellm_provider": "openai",
        "input_cost_per_token": 9e-6,
        "output_cost_per_token": 1e-7,
    },
}
CONFIG = """
prices:
  - {model: "m-*", from: 2026-02-01, source: "contract 7", usd_per_million: {input: "0.5", output: "2"}}
"""


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def price_map(tmp_path: Path) -> Path:
    path = tmp_path / "map.json"
    path.write_text(json.dumps(MAP))
    return path


@pytest.fixture
def data_dir(tmp_path: Path, price_map: Path) -> Path:
    """With the small map imported."""
    directory = tmp_path / "data"
    run("import", str(price_map), "--yes", "--no-history", "--data-dir", str(directory))
    return directory


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "prices.yaml"
    path.write_text(CONFIG)
    return path


def run(*arguments: str, exit_code: int = 0, answer: str | None = None) -> Result:
    result = CliRunner().invoke(app, list(arguments), input=answer, catch_exceptions=False)
    assert result.exit_code == exit_code, result.output
    return result


def run_json(*arguments: str, exit_code: int = 0) -> dict[str, object]:
    found = json.loads(run(*arguments, "--json", exit_code=exit_code).stdout)
    assert isinstance(found, dict)
    return found


def refusal(*arguments: str) -> str:
    with pytest.raises(UsageError) as raised:
        CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_import_shows_what_changes_and_writes_only_after_yes(price_map: Path, tmp_path: Path) -> None:
    written = snapshot_path(tmp_path / "data")
    arguments = ("import", str(price_map), "--no-history", "--data-dir", str(tmp_path / "data"))
    shown = run(*arguments, answer="n\n")
    assert f"2 added, {len(load_snapshot().entries):,} removed, 0 changed" in shown.stdout
    assert not written.exists()
    run(*arguments, answer="y\n")
    assert [entry.model for entry in load_snapshot(written).entries] == ["m-1", "slip"]


def test_import_counts_what_it_leaves_out(tmp_path: Path) -> None:
    path = tmp_path / "map.json"
    path.write_text(json.dumps({**MAP, "picture": {"mode": "image_generation"}}))
    assert "left out of the map: mode image_generation (1)" in run("import", str(path), answer="n\n").stdout


def test_import_as_json_writes_only_with_yes(data_dir: Path, price_map: Path) -> None:
    price_map.write_text(json.dumps({"m-1": {**MAP["m-1"], "output_cost_per_token": 5e-6}}))
    before = snapshot_path(data_dir).read_bytes()
    shown = run_json("import", str(price_map), "--data-dir", str(data_dir))
    assert shown["changed"] == [{"model": "openai m-1", "what": "output_text 4 → 5"}]
    assert (shown["added"], shown["removed"], shown["written"]) == ([], ["openai slip"], None)
    assert snapshot_path(data_dir).read_bytes() == before
    run_json("import", str(price_map), "--yes", "--data-dir", str(data_dir))
    assert load_snapshot(snapshot_path(data_dir)).id == shown["after"]


def test_import_without_a_source_reads_the_wheel_and_finds_the_shipped_prices(tmp_path: Path) -> None:
    shown = run_json("import", "--yes", "--output", str(tmp_path / "out.json"))
    assert (shown["added"], shown["removed"], shown["changed"]) == ([], [], [])
    written = load_snapshot(tmp_path / "out.json")
    assert written.entries[0].checked_on is not None  # today, and on the shipped ones the day of their import
    undated = [msgspec.structs.replace(entry, checked_on=None) for entry in written.entries]
    assert undated == [msgspec.structs.replace(entry, checked_on=None) for entry in load_snapshot().entries]


def test_import_keeps_the_prices_of_then_and_the_snapshot_of_before(data_dir: Path, price_map: Path) -> None:
    before = load_snapshot(snapshot_path(data_dir))
    price_map.write_text(json.dumps({"m-1": {**MAP["m-1"], "output_cost_per_token": 4e-5}}))
    options = ("--data-dir", str(data_dir))
    shown = run("import", str(price_map), "--yes", "--effective", "2026-11-02", *options).stdout
    assert "output_text 4 → 40 (× 10)" in shown

    def output_price(model: str, at: str, *more: str) -> str:
        found = run_json("show", model, "--at", at, *options, *more)["matches"]
        assert isinstance(found, list)
        return str(found[0]["entry"]["tiers"]["standard"][0][1]["output_text"])

    assert output_price("m-1", "2026-11-01T23:59:59Z") == "4"
    assert output_price("m-1", "2026-11-02") == "40"
    assert output_price("slip", "2026-11-01") == "0.1"
    assert "there is no price for slip" in refusal("show", "slip", "--at", "2026-11-02", *options)
    assert find_snapshot(data_dir, before.id) == before
    assert output_price("m-1", "2026-11-02", "--snapshot", before.id) == "4"
    findings = run_json("check", *options, exit_code=1)["findings"]
    assert isinstance(findings, list)
    assert [(finding["kind"], finding["subject"]) for finding in findings] == [("jump", "openai/m-1")]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff\xfe", b'{"m": {"mode": "chat"}}'])
def test_a_corrupt_import_writes_nothing(data_dir: Path, tmp_path: Path, content: bytes) -> None:
    broken = tmp_path / "broken.json"
    broken.write_bytes(content)
    before = {path: path.read_bytes() for path in data_dir.rglob("*") if path.is_file()}
    assert "model_prices_and_context_window.json" in refusal(
        "import", str(broken), "--yes", "--data-dir", str(data_dir)
    )
    assert {path: path.read_bytes() for path in data_dir.rglob("*") if path.is_file()} == before


def test_a_wrong_effective_day_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    assert "--effective takes a day" in refusal("import", str(tmp_path / "none"), "--effective", "soon")


def test_show_applies_a_region_and_shows_one_tier(data_dir: Path, price_map: Path) -> None:
    more = {"input_cost_per_token_batches": 5e-7, "regional_processing_uplift_multiplier_eu": 1.1}
    search = {"search_context_cost_per_query": {"low": 0.01, "high": 0.01}}
    quiet = {"off_peak_pricing": {"hours_utc": "16:30-00:30", "input_cost_per_token": 5e-7}}
    price_map.write_text(json.dumps({"m-1": {**MAP["m-1"], **more, **search, **quiet}}))
    options = ("--data-dir", str(data_dir))
    run("import", str(price_map), "--yes", "--no-history", *options)
    shown = run("show", "m-1", "--region", "eu", "--tier", "batches", "--at", "2026-11-24T12:00:00Z", *options).stdout
    assert "region eu × 1.1" in shown
    assert "0.55" in shown
    assert "output_text  " not in shown.split("found by")[0]
    assert "fees      0.01 USD per web search" in shown
    assert "16:30–24:00" in shown
    assert "00:00–00:30" in shown
    night = run_json("show", "m-1", "--at", "2026-11-24T17:00:00Z", *options)["matches"]
    assert isinstance(night, list)
    assert night[0]["rule"] == "exact, off-peak"
    assert "has no price in the tier lunar" in refusal("show", "m-1", "--tier", "lunar", *options)


def test_list_has_the_callers_own_prices_first(data_dir: Path, config: Path) -> None:
    options = ("--data-dir", str(data_dir), "--config", str(config))
    entries = run_json("list", *options)["entries"]
    assert isinstance(entries, list)
    assert [entry["model"] for entry in entries] == ["m-*", "m-1", "slip"]
    table = run("list", *options, "--provider", "openai").stdout
    assert "m-1" in table
    assert "m-*" not in table


def test_show_explains_which_rule_found_which_price_at_which_time(data_dir: Path, config: Path) -> None:
    options = ("--data-dir", str(data_dir), "--config", str(config))
    now = run("show", "m-1", *options).stdout
    assert "your own prices: the glob m-*" in now
    assert "contract 7" in now
    earlier = run("show", "m-1", "--at", "2026-01-31", *options).stdout
    assert "the snapshot's entry of this very name" in earlier
    assert "https://prices.example" in earlier
    dated = run_json("show", "slip-2026-05-05", *options)["matches"]
    assert isinstance(dated, list)
    assert [(match["rule"], match["entry"]["model"]) for match in dated] == [("undated", "slip")]
    assert dated[0]["explained"] == "the snapshot has no slip-2026-05-05; without the trailing date it is slip"


def test_show_finds_models_of_providers_that_no_upstream_has() -> None:
    assert "groq: " in run("show", "openai/gpt-oss-120b", "--provider", "groq").stdout
    assert "cerebras" in run("show", "gpt-oss-120b").stdout


def test_show_says_that_calls_of_an_unknown_model_are_unpriced() -> None:
    assert refusal("show", "no-such-model").startswith("there is no price for no-such-model: calls of it are unpriced")
    assert "--at takes a day" in refusal("show", "gpt-4o", "--at", "yesterday")


def test_check_ends_with_one_if_it_found_something(data_dir: Path) -> None:
    found = run_json("check", "--data-dir", str(data_dir), exit_code=1)
    assert found["findings"] == [
        {"kind": "cheap_output", "subject": "openai/slip", "text": "standard: output 0.1 is far below input 9"}
    ]
    assert "openai/slip" in run("check", "--data-dir", str(data_dir), exit_code=1).stdout


def test_check_of_sound_prices_ends_with_zero(data_dir: Path, price_map: Path) -> None:
    price_map.write_text(json.dumps({"m-1": MAP["m-1"]}))
    run("import", str(price_map), "--yes", "--data-dir", str(data_dir))
    assert "nothing found" in run("check", "--data-dir", str(data_dir)).stdout


class _Maps(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps(MAP).encode() if self.path.startswith("/map.json") else b"no"
        self.send_response(200 if self.path.startswith("/map.json") else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@pytest.fixture
def maps_url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Maps) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_map_can_be_fetched_and_its_secret_is_not_kept(maps_url: str, tmp_path: Path) -> None:
    url = f"{maps_url}/map.json?token=secret"
    run("import", url, "--yes", "--data-dir", str(tmp_path / "data"))
    written = snapshot_path(tmp_path / "data")
    assert load_snapshot(written).source == "http://127.0.0.1/map.json"
    assert b"secret" not in written.read_bytes()


def test_what_cannot_be_read_names_the_fix(
    maps_url: str, tmp_path: Path, price_map: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "answered 404: check the URL" in refusal("import", f"{maps_url}/gone.json")
    assert "cannot fetch http://127.0.0.1/map.json" in refusal("import", "http://127.0.0.1:9/map.json")
    assert "cannot read" in refusal("import", str(tmp_path / "missing.json"))
    monkeypatch.setattr(sources, "MAX_MAP_BYTES", 10)
    assert "is larger than" in refusal("import", f"{maps_url}/map.json")
    assert "is larger than" in refusal("import", str(price_map))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install 'submeter[translate]'" in refusal("import")


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("m-1-2031-01-31", "undated"),
        ("m-1@20310131", "undated"),
        ("m-1-latest", "latest"),
        ("models/m-1", "listed name"),
        ("gemini-1-001", "version"),
        ("ft:m-1:acme::abc", "fine-tune"),
    ],
)
def test_show_says_by_which_rule_a_name_was_found(tmp_path: Path, price_map: Path, name: str, rule: str) -> None:
    price_map.write_text(json.dumps(dict.fromkeys(("m-1", "gemini-1", "ft:m-1"), MAP["m-1"])))
    options = ("--data-dir", str(tmp_path / "data"))
    run("import", str(price_map), "--yes", "--no-history", *options)
    (match,) = cast("list[dict[str, str]]", run_json("show", name, *options)["matches"])
    assert match["rule"] == rule
    assert "{" not in match["explained"]
