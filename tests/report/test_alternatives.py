"""alternatives.yaml: what is read is what was written, and what is wrong is named with the line that mends it."""

import tempfile
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from submeter.errors import UsageError
from submeter.report import catalog
from submeter.report.alternatives import DEFAULT_OBJECTIVE, Alternatives, Match, WorkloadChoice, check, load

WHOLE = """
objective: {ttft_p95_ms: 1500, tpot_p95_ms: 45.5}
engineer_usd_per_week: 1500
migration_usd: 8000
gpu_usd_per_hour: {h100_sxm: {usd: 2.95, low: 2.0, high: 4.0}, own: {usd: 1}}
staging_replicas: 1
storage_usd_per_week: 20
egress_usd_per_gb: 0.1
minimum_term_weeks: 4
workloads:
  - name: support
    match: {app: support, prompt: "*", model: "gpt-4o*", class: interactive}
    objective: {ttft_p95_ms: 800, tpot_p95_ms: 40}
    buy: [{model: gpt-4o-mini, provider: openai, tier: batch, tokenizer_ratio: 1, length_ratio: 0.9}]
    equivalents:
      - model: llama-3.3-70b
        tokenizer_ratio: 1.04
        quality: {evidence: "evals/2026-11-support.md", date: 2026-11-02, holds: true}
        rent:
          - {host: together_ai, model: meta-llama/Llama-3.3-70B-Instruct-Turbo}
          - {host: mine, usd_per_million: {input: "0.60", cached_input: "0.30", output: 0.80}}
        build: [{gpu: h100_sxm, tensor_parallel: 2, precision: fp8, policy: hourly}]
        owned: {capex_usd: 250000, life_years: 4, power_kw: 10.2, pue: 1.25, usd_per_kwh: "0.12"}
      - model: own-7b
        architecture: {layers: 28, hidden: 3584, heads: 28, head_dim: 128, kv_heads: 4, parameters: 7.6e9,
                       checked_on: 2026-11-02}
  - {name: rest}
"""


def _load(tmp_path: Path, text: str) -> Alternatives:
    path = tmp_path / "alternatives.yaml"
    path.write_text(text)
    return load(path)


def test_everything_that_can_be_written_is_read(tmp_path: Path) -> None:
    found = _load(tmp_path, WHOLE)
    assert (found.engineer_usd_per_week, found.migration_usd, found.staging_replicas) == (Decimal(1500), 8000, 1)
    assert found.gpu_usd_per_hour["h100_sxm"].range == (Decimal("2.0"), Decimal("4.0"))
    assert found.gpu_usd_per_hour["own"].range == (1, 1)
    support, rest = found.workloads
    assert support.match == Match(app="support", model="gpt-4o*", klass="interactive")
    assert (found.objective_of(support).ttft_p95_s, found.objective_of(rest).tpot_p95_s) == (0.8, 0.0455)
    assert (support.buy[0].tier, support.buy[0].length_ratio) == ("batch", Decimal("0.9"))
    llama, own = support.equivalents
    assert llama.quality is not None
    assert (llama.quality.date, llama.quality.holds) == (date(2026, 11, 2), True)
    assert llama.rent[1].usd_per_million == {
        "input_uncached": Decimal("0.60"),
        "cached_read": Decimal("0.30"),
        "output_text": Decimal("0.80"),
    }
    assert (llama.build[0].tensor_parallel, llama.build[0].policy) == (2, "hourly")
    assert llama.owned is not None
    assert (llama.owned.pue, llama.owned.colo_usd_per_week) == (Decimal("1.25"), 0)
    assert (own.served.name, own.served.parameters, own.served.kv_values_per_token) == (
        "own-7b",
        7.6e9,
        2 * 28 * 4 * 128,
    )
    assert llama.served == catalog.model("llama-3.3-70b")


def test_decimals_never_pass_through_a_float(tmp_path: Path) -> None:
    """0.1 as a float is 0.1000000000000000055…"""
    found = _load(tmp_path, WHOLE)
    assert str(found.egress_usd_per_gb) == "0.1"
    assert str(found.workloads[0].equivalents[0].rent[1].usd_per_million["output_text"]) == "0.80"  # type: ignore[index]


@pytest.mark.parametrize("text", ["", "# nothing decided\n", "workloads:\n", "workloads: []\n"])
def test_an_empty_file_decides_nothing(tmp_path: Path, text: str) -> None:
    found = _load(tmp_path, text)
    assert found == Alternatives()
    assert (found.engineer_usd_per_week, found.objective_of(None)) == (None, DEFAULT_OBJECTIVE)


def test_keys_whose_lines_are_all_commented_out_are_not_decided(tmp_path: Path) -> None:
    text = "engineer_usd_per_week:\ngpu_usd_per_hour:\nworkloads:\n  - name: a\n    match:\n    buy:\n    objective:\n"
    found = _load(tmp_path, text)
    assert (found.engineer_usd_per_week, found.gpu_usd_per_hour) == (None, {})
    assert found.workloads == (WorkloadChoice(name="a"),)


_IN_WORKLOAD = "workloads:\n  - name: a\n    "
_IN_EQUIVALENT = _IN_WORKLOAD + "equivalents:\n      - model: llama-3.3-70b\n        "


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("objectiv: {}", "alternatives.yaml line 1: objectiv: unknown key; did you mean objective?"),
        ("objective: {ttft_p95: 1}", "objective.ttft_p95: unknown key; did you mean ttft_p95_ms?"),
        ("objective: {ttft_p95_ms: 1}", "objective: add the line `tpot_p95_ms: 50`"),
        ("objective: fast", "objective: expected settings below it, got text"),
        ("objective: {ttft_p95_ms: 0, tpot_p95_ms: 1}", "objective.ttft_p95_ms: must be above 0, such as 2000"),
        ("engineer_usd_per_week: lots", 'engineer_usd_per_week must be a decimal string from "0" to "1000000000"'),
        ("engineer_usd_per_week: -1", "engineer_usd_per_week must be a decimal string"),
        ("migration_usd: .inf", "migration_usd must be a decimal string"),
        ("gpu_usd_per_hour: 3", "gpu_usd_per_hour: expected names, and below each its settings, got a number"),
        ("gpu_usd_per_hour: {h100_sxm: {}}", "gpu_usd_per_hour.h100_sxm: add the line `usd: 2.95`"),
        ("gpu_usd_per_hour: {a: {usd: 3, low: 4}}", "gpu_usd_per_hour.a: `low` is at most `usd`, and that at most"),
        ("staging_replicas: 1.5", "staging_replicas: expected a whole number from 0 to 10000, got 1.5"),
        ("workloads: {name: a}", "workloads: expected a list, each entry after a dash"),
        ("workloads: [{}]", "workloads[0]: add the line `name: support`"),
        ("workloads: [{name: a}, {name: a}]", "alternatives.yaml: two workloads are called a: rename one"),
        (_IN_WORKLOAD + "mach: {}", "workloads[0].mach: unknown key; did you mean match?"),
        (_IN_WORKLOAD + "match: {ap: x}", "workloads[0].match.ap: unknown key; did you mean app?"),
        (_IN_WORKLOAD + "match: {app: 3}", "workloads[0].match.app: expected text, got a number; use quotes"),
        (_IN_WORKLOAD + "buy: [{model: x}]", "workloads[0].buy[0]: add the line `provider: openai`"),
        (_IN_EQUIVALENT + "build: [{}]", "equivalents[0].build[0]: add the line `gpu: h100_sxm`"),
        (_IN_EQUIVALENT + "build: [{gpu: h, precision: int8}]", "precision: expected one of bf16, fp4, fp8"),
        (_IN_EQUIVALENT + "build: [{gpu: h, policy: fixed}]", "policy: expected one of hourly, reactive, static"),
        (_IN_EQUIVALENT + "build: [{gpu: h, tensor_parallel: 0}]", "a whole number from 1 to 64, got 0"),
        (_IN_EQUIVALENT + "rent: [{host: x}]", "rent[0]: give either `model:`, as the price book has it, or"),
        (_IN_EQUIVALENT + "rent: [{host: x, usd_per_million: {inputs: 1}}]", "unknown key inputs; did you mean input?"),
        (_IN_EQUIVALENT + "tokenizer_ratio: 0", "tokenizer_ratio: must be above 0, such as 1.04"),
        (_IN_EQUIVALENT + "quality: {evidence: x, date: soon, holds: true}", "date: expected a day such as 2026-11-02"),
        (_IN_EQUIVALENT + "quality: {evidence: x, holds: true}", "quality: add the line `date: 2026-11-02`"),
        (_IN_EQUIVALENT + "quality: {evidence: x, date: 2026-01-01, holds: 7}", "holds: expected true or false"),
        (_IN_EQUIVALENT + "owned: {capex_usd: 1}", "owned: add the line `life_years: 4`"),
        (_IN_EQUIVALENT + "architecture: {layers: 1}", "architecture: add the line `hidden: "),
        (
            _IN_EQUIVALENT
            + "architecture: {layers: many, hidden: 1, heads: 1, head_dim: 1, parameters: 1, checked_on: x}",
            "architecture.layers: expected a number, got text",
        ),
        ("a: b: c", "line 1: not valid YAML"),
        ("- a", "expected settings such as"),
    ],
)
def test_what_is_wrong_is_named_with_the_line_that_mends_it(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(UsageError) as raised:
        _load(tmp_path, text)
    assert says in str(raised.value)
    assert str(raised.value).startswith("alternatives.yaml")


def test_heads_are_grouped_or_latent_not_both(tmp_path: Path) -> None:
    architecture = "{layers: 1, hidden: 1, heads: 1, head_dim: 1, parameters: 1, checked_on: 2026-01-01}"
    with pytest.raises(UsageError, match="architecture: either `kv_heads` or both `kv_latent` and `kv_rope`"):
        _load(tmp_path, _IN_EQUIVALENT + f"architecture: {architecture}")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("gpu_usd_per_hour: {h10_sxm: {usd: 1}}", "gpu_usd_per_hour: unknown GPU 'h10_sxm'; did you mean h100_sxm?"),
        (
            _IN_WORKLOAD + "equivalents: [{model: llama-3-70b}]",
            "unknown model 'llama-3-70b'; did you mean llama-3.3-70b?",
        ),
        (_IN_WORKLOAD + "equivalents: [{model: qqq}]", "(one of your own needs `architecture:`): unknown model 'qqq'"),
        (_IN_EQUIVALENT + "build: [{gpu: tpu}]", "workloads[0].equivalents[0].build[0]: unknown GPU 'tpu'"),
    ],
)
def test_what_the_catalogs_do_not_have_is_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(UsageError) as raised:
        check(_load(tmp_path, text), "alternatives.yaml")
    assert says in str(raised.value)


def test_what_the_catalogs_have_passes(tmp_path: Path) -> None:
    check(_load(tmp_path, WHOLE.replace(", own: {usd: 1}", "")), "alternatives.yaml")


@pytest.mark.parametrize(
    ("match", "fits"),
    [
        (Match(), True),
        (Match(app="web"), True),
        (Match(app="Web"), False),
        (Match(app="w*", model="gpt-4o*"), True),
        (Match(app="w*", model="claude*"), False),
        (Match(prompt="*"), True),
        (Match(prompt=""), True),
        (Match(prompt="?*"), False),
    ],
)
def test_globs_must_all_fit_and_a_star_fits_no_name_too(match: Match, fits: bool) -> None:
    assert match.fits(app="web", model="gpt-4o-mini", prompt=None) is fits


_WORDS = st.sampled_from(["objective", "workloads", "name", "match", "equivalents", "model", "rent", "usd", "own"])
_TREES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4), _WORDS),
    lambda below: st.one_of(st.lists(below, max_size=3), st.dictionaries(_WORDS, below, max_size=4)),
    max_leaves=12,
)


@settings(max_examples=150)
@given(_TREES)
def test_any_yaml_is_a_configuration_or_a_clear_error(tree: object) -> None:
    import yaml

    _try(yaml.safe_dump(tree).encode())


@settings(max_examples=150)
@given(st.binary(max_size=60))
def test_any_bytes_are_a_configuration_or_a_clear_error(content: bytes) -> None:
    _try(content)


def _try(content: bytes) -> None:
    with tempfile.NamedTemporaryFile(suffix=".yaml") as file:
        file.write(content)
        file.flush()
        try:
            assert isinstance(load(Path(file.name)), Alternatives)
        except UsageError as error:
            assert "\n" not in str(error)  # noqa: PT017 - both ends are right
