"""The report's words, its charts as data, and what it never lets out of a name."""

import html
import re
from operator import attrgetter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loadtest.report_samples import INPUTS, OUTPUTS, make_fit, make_result, make_sample, matrix
from submeter.loadtest import (
    report_calls,
    report_charts,
    report_fit,
    report_heat,
    report_result,
    report_text,
    report_words,
)
from submeter.loadtest.fit import Coefficient
from submeter.loadtest.report import write_report

MS_NS = 1_000_000
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\u202e{{7*7}}"


def written(tmp_path: Path, samples: list[Any], **changes: Any) -> str:
    path = write_report(tmp_path, make_result(samples, **changes), samples)
    assert path == tmp_path / "report.html"
    return path.read_text(encoding="utf-8")


def charts_in(text: str) -> dict[str, dict[str, Any]]:
    found = re.search(r'<script type="application/json" id="charts">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    return {chart["name"]: chart for chart in msgspec.json.decode(found[1])}


# -- words ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("interval", "central", "between"),
    [
        (Coefficient(351.2, 342.7, 359.9), "351", "343 to 360"),
        (Coefficient(0.0203, 0.0185, 0.0221), "0.0203", "0.0185 to 0.0221"),
        (Coefficient(12.42, 12.31, 12.53), "12.42", "12.31 to 12.53"),
        (Coefficient(0.0004, -0.011, 0.012), "0.000", "−0.011 to 0.012"),
        (Coefficient(1234.0, 1234.0, 1234.0), "1,234", "1,234 to 1,234"),
        (Coefficient(0.0, 0.0, 0.0), "0", "0 to 0"),
    ],
)
def test_as_many_digits_as_the_interval_allows(interval: Coefficient, central: str, between: str) -> None:
    assert (report_words.central(interval), report_words.between(interval)) == (central, between)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://key:secret@llm.example.com:8443/v1?api_key=secret#secret", "https://llm.example.com:8443/v1"),
        ("http://[::1]:4100/by/search/web/v1", "http://[::1]:4100/by/search/web/v1"),
        ("secret", "–"),
        ("javascript:secret", "–"),
        ("https://host:secret/", "–"),
        ("https://[secret/", "–"),
    ],
)
def test_credentials_of_the_target_are_left_out(url: str, shown: str) -> None:
    assert report_words.without_credentials(url) == shown


@pytest.mark.parametrize(
    ("amount", "shown"),
    [(None, "–"), ("0", "$0.00"), ("0.8413", "$0.841"), ("0.00001234", "$0.0000123"), ("1234.565", "$1,234.56")],
)
def test_cost(amount: str | None, shown: str) -> None:
    assert report_words.usd(amount) == shown


def test_an_effect_that_may_be_none_is_not_told_as_one() -> None:
    found = report_result.read(make_result([], fit=make_fit(3))).fit
    assert found is not None
    assert report_words.reading(found) == "A thousand output tokens take 12.42 s, a thousand input tokens 20.3 ms."
    none = msgspec.structs.replace(found, b_ms_per_input_token=Coefficient(0.0004, -0.011, 0.012))
    assert report_words.reading(none).endswith("No effect of the input's length was found: its interval contains 0.")


# -- charts as data -------------------------------------------------------------------------------------------------


def test_calls_keep_their_ratio_to_the_fit_when_they_are_moved_to_the_median() -> None:
    """e2e = 100 + 1 x input + 10 x output; the fit tells 110 and 1100 ms, the calls took 10 % more and less."""
    fit = report_result.Latency(Coefficient(100, 100, 100), Coefficient(1, 1, 1), Coefficient(10, 10, 10))
    samples = [
        make_sample(input_tokens=50, cached_input_tokens=50, output_tokens=1, e2e_ns=round(1.1 * 110 * MS_NS)),
        make_sample(input_tokens=0, output_tokens=100, e2e_ns=round(0.9 * 1100 * MS_NS)),
    ]
    chart = report_fit.fit_charts(fit, report_calls.answered(samples))[0]
    assert chart.columns == [[1, 100], [121.0, 1210.0], [99.0, 990.0], [121.0, 990.0], [110.0, 1100.0]]
    assert [series.draw for series in chart.series] == ["edge", "edge", "points", "line"]
    assert chart.description == "At 0 uncached input tokens, the median. The band holds 95 % of the calls."


def test_a_curve_tells_the_share_of_calls_that_took_at_most_so_long() -> None:
    samples = [make_sample(e2e_ns=each * MS_NS, setting="in=1,out=1") for each in (300, 100, 200, 200)]
    samples += [make_sample(e2e_ns=250 * MS_NS, setting="in=1,out=2")]
    chart = report_charts.cdf("x", "X", report_calls.answered(samples), attrgetter("e2e_ms"), colour_by="output")
    assert chart.columns == [[100, 200, 250, 300], [0.25, 0.75, 0.75, 1], [None, None, 1, None]]
    assert [(line.label, line.colour, line.dash) for line in chart.series] == [
        ("in=1,out=1", 0, 0),
        ("in=1,out=2", 1, 0),
    ]


def test_a_band_as_wide_as_calls_of_similar_length_spread() -> None:
    """Short answers spread by 20 %, long ones by 2 %."""
    fit = report_result.Latency(Coefficient(0, 0, 0), Coefficient(0, 0, 0), Coefficient(1, 1, 1))
    tokens = [(100, 0.8), (100, 1.2)] * 20 + [(200, 0.98), (200, 1.02)] * 20 + [(104, 1.0)]
    samples = [make_sample(output_tokens=n, e2e_ns=round(n * ratio * MS_NS)) for n, ratio in tokens]
    chart = report_fit.fit_charts(fit, report_calls.answered(samples))[0]
    band = {x: (low, high) for x, high, low in zip(*chart.columns[:3], strict=True)}
    assert band[100] == (80, 120)
    assert band[104] == pytest.approx((104 * (0.8 + 0.04 * 0.18), 104 * (1.2 - 0.04 * 0.18)), rel=1e-3)
    assert band[200] == (196, 204)


def test_steps_of_load_are_joined_in_their_order_also_where_throughput_falls() -> None:
    steps: list[dict[str, Any]] = [
        {"rate_per_s": rate, "throughput_per_s": x, "p50_ms": y, "p95_ms": 2 * y}
        for rate, x, y in [(1, 1, 10), (8, 8, 40), (16, 7, 90)]
    ]
    steps.insert(1, {"rate_per_s": 2, "throughput_per_s": 2, "p50_ms": None, "p95_ms": None})
    chart = report_charts.throughput_chart(report_result.read(make_result([], steps=steps)))
    assert chart is not None
    assert chart.columns == [[1, 7, 8], [10, 90, 40], [20, 180, 80]]
    assert [chart.columns[0][at] for at in chart.order] == [1, 8, 7]
    assert chart.mark == report_charts.Mark(8, "knee at 8.00/s")
    assert report_charts.throughput_chart(report_result.read(make_result([]))) is None


def test_a_server_that_kept_up_has_no_knee_and_the_curve_says_so() -> None:
    steps = [{"rate_per_s": rate, "throughput_per_s": rate, "p50_ms": 9, "p95_ms": 9} for rate in (1, 2)]
    chart = report_charts.throughput_chart(report_result.read(make_result([], steps=steps)))
    assert chart is not None
    assert chart.mark is None
    assert "Never saturated: 2 calls/s" in chart.description


def test_the_file_stays_small_however_long_the_run(tmp_path: Path) -> None:
    samples = [
        make_sample(at, setting=f"user-{at % 40}", output_tokens=1 + at % 777, concurrency=1 + at % 90)
        for at in range(20_000)
    ]
    text = written(tmp_path, samples)
    assert len(text) < 600_000
    charts = charts_in(text)
    assert len(charts["fit-output"]["columns"][0]) == 2858
    assert "2,858 of 20,000 are drawn" in charts["fit-output"]["description"]
    assert len(charts["tpot-concurrency"]["columns"][0]) <= 24
    assert "the other 16 settings had fewer calls" in charts["cdf-e2e"]["description"]


def test_a_map_over_the_lengths_that_settings_ask_for() -> None:
    samples = [
        make_sample(setting=f"in={tokens_in},out={tokens_out},whole", ttft_ns=ttft * MS_NS)
        for tokens_in, tokens_out, ttft in [(100, 1, 10), (100, 1, 30), (100, 1, 20), (900, 5, 1200)]
    ]
    found = report_heat.heat_map("x", "X", report_calls.answered(samples), attrgetter("ttft_ms"))
    assert [(cell.heat, cell.text) for cell in found.cells] == [(0, "20 ms"), (100, "1.20 s")]
    assert found.cells[0].title == "100 tokens in, 1 out: median 20.0 ms of 3 calls"
    assert [label.text for label in (*found.columns, *found.rows)] == ["100", "900", "1", "5"]
    assert found.cells[0].y > found.cells[1].y


def test_a_map_of_calls_without_settings_has_powers_of_two() -> None:
    samples = [
        make_sample(setting="replay", input_tokens=tokens_in, output_tokens=tokens_out)
        for tokens_in, tokens_out in [(1000, 0), (1024, 3), (1500, 2), (None, 2)]
    ]
    found = report_heat.heat_map("x", "X", report_calls.answered(samples), attrgetter("e2e_ms"))
    assert [label.text for label in (*found.columns, *found.rows)] == ["512", "1,024", "0", "2"]
    assert len(found.cells) == 2


def test_calls_that_failed_are_counted_and_not_drawn(tmp_path: Path) -> None:
    failed = [make_sample(error="boom <b>", status=None), make_sample(status=500), make_sample(status=500)]
    samples = [make_sample(), *failed]
    assert len(report_calls.answered(samples)) == 1
    result = report_result.read(make_result(samples))
    calls, errors, *_ = report_text.tiles(result, samples, report_calls.answered(samples))
    assert (calls.figure, errors.figure, errors.note) == ("4", "3", "75.0 % of calls")
    assert report_text.checks(result, samples)[-1].text == "2 × status 500; 1 × boom <b>"
    assert "1 × boom &lt;b&gt;" in written(tmp_path, samples)


def test_the_models_of_the_parts_and_the_residuals() -> None:
    checks = {check.title: check.text for check in report_text.checks(report_result.read(make_result([])), [])}
    assert checks["TTFT"] == "349 ms (341 to 357) fixed + 0.0198 ms (0.0181 to 0.0214) per uncached input token"
    assert checks["TPOT"].endswith(" + 0.226 ms (0.209 to 0.243) per further call in flight")
    assert checks["Residuals"] == (
        "Standard deviation 152 ms, 0.6 % of calls far out. Rank correlation with the time of the call −0.02 (drift), "
        "of their size with the prediction +0.41 (long answers scatter more)."
    )
    assert checks["Cost"] == "$0.8413, from the ledger."


# -- what is missing says why ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"fit_missing": "3 calls are too few"}, "3 calls are too few"),
        ({}, "input and output length must both vary"),
    ],
)
def test_no_fit(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    text = written(tmp_path, [make_sample(), make_sample(input_tokens=7)], fit=None, **changes)
    assert why in text
    assert "There is no fit to draw." in text
    assert "fit-output" not in charts_in(text)


def test_no_call_at_all(tmp_path: Path) -> None:
    text = html.unescape(written(tmp_path, [], fit=None, cost_usd=None, settings=[], coordinated_omission=None))
    assert charts_in(text) == {}
    for why in (
        "no call was answered",
        "No answered call has this figure",
        "there is no time per token",
        "No setting was run",
        "Not known: there was no call",
        "Not known.",
    ):
        assert why in text


def test_one_concurrency_and_one_length(tmp_path: Path) -> None:
    text = written(tmp_path, [make_sample(), make_sample()])
    assert "Every call had 1,000 uncached input tokens." in text
    assert "Every call had 1 in flight: only one concurrency was tried." in text
    assert "a map needs several" in text


def test_a_limited_generator_stands_above_all(tmp_path: Path) -> None:
    text = written(tmp_path, [make_sample()], generator_limited=True, warnings=["take care"])
    assert '<div class="notice problem"><strong>Generator limited.</strong>' in text
    assert text.index("Generator limited") < text.index("take care") < text.index('class="sentence"')


# -- nothing gets out -----------------------------------------------------------------------------------------------


def test_hostile_names_are_text(tmp_path: Path) -> None:
    samples = [make_sample(setting=HOSTILE, error=error) for error in (None, HOSTILE)]
    names = ("scenario", "description", "model", "target", "started_at", "note", "fit_missing")
    names += ("coordinated_omission", "cost_source")
    text = written(tmp_path, samples, fit=None, warnings=[HOSTILE], **dict.fromkeys(names, HOSTILE))
    assert text.count("</script>") == 3
    assert "<img" not in text
    assert "\u202e" not in text
    assert HOSTILE.replace("\u202e", "\\x202e") in html.unescape(text)
    assert charts_in(text)["cdf-e2e"]["series"][0]["label"] == HOSTILE.replace("\u202e", "\\x202e")


def test_no_credential_and_no_address_but_the_target(tmp_path: Path) -> None:
    text = written(tmp_path, matrix(2))
    assert "secret" not in text
    assert set(re.findall(r"https?://[^\s\"'<)]+", text)) == {
        "https://llm.example.com:8443/v1",
        "https://github.com/leeoniya/uPlot",
        "http://www.w3.org/2000/svg",
    }


def test_uplots_licence_goes_along(tmp_path: Path) -> None:
    assert "Permission is hereby granted, free of charge" in written(tmp_path, [])


def test_the_table_has_each_setting(tmp_path: Path) -> None:
    samples = matrix(5)
    text = written(tmp_path, samples)
    rows = re.findall(r'<th scope="row" class="name"><bdi title="(.*?)"', text)
    assert rows == [f"in={tokens_in},out={tokens_out}" for tokens_in in INPUTS for tokens_out in OUTPUTS]
