"""Made-up runs with planted truths: for tests of the report in a browser, and for its picture."""

import random
from collections.abc import Sequence
from typing import Any

from submeter.core.latency import nearest_rank, tpot_ns
from submeter.loadtest.samples import Sample

MS_NS = 1_000_000
S_NS = 1_000_000_000
FIXED_MS, PER_INPUT_MS, PER_OUTPUT_MS = 350.0, 0.02, 11.3

INPUTS = (50, 500, 2000, 8000)
OUTPUTS = (1, 50, 200, 500)


def make_sample(number: int = 0, **changes: Any) -> Sample:
    """One plain answered call."""
    plain: dict[str, Any] = {
        "started_ns": number * S_NS,
        "scheduled_ns": None,
        "setting": "in=1000,out=200",
        "model": "synthetic-1",
        "concurrency": 1,
        "input_tokens": 1000,
        "cached_input_tokens": 0,
        "output_tokens": 200,
        "ttfb_ns": 380 * MS_NS,
        "ttft_ns": 381 * MS_NS,
        "first_content_ns": 381 * MS_NS,
        "e2e_ns": 2630 * MS_NS,
        "max_gap_ns": 30 * MS_NS,
        "status": 200,
        "error": None,
        "call_id": f"call-{number}",
        "request_id": None,
        "streamed": True,
    }
    return Sample(**(plain | changes))


def matrix(runs: int = 20, seed: int = 1) -> list[Sample]:
    """Input x output lengths under one to twelve calls in flight, and a few errors."""
    chance = random.Random(seed)
    settings = [(tokens_in, tokens_out) for tokens_in in INPUTS for tokens_out in OUTPUTS]
    order = [setting for _ in range(runs) for setting in chance.sample(settings, len(settings))]
    return [_timed(number, *lengths, chance) for number, lengths in enumerate(order)]


def _timed(number: int, tokens_in: int, tokens_out: int, chance: random.Random) -> Sample:
    concurrency = 1 + number % 12
    setting = f"in={tokens_in},out={tokens_out}"
    if chance.random() < 0.012:
        return _failed(number, setting, concurrency)
    ttft_ms = (FIXED_MS + PER_INPUT_MS * tokens_in) * chance.lognormvariate(0, 0.11)
    token_ms = PER_OUTPUT_MS * (1 + 0.02 * (concurrency - 1)) * chance.lognormvariate(0, 0.045)
    return make_sample(
        number,
        setting=setting,
        concurrency=concurrency,
        input_tokens=tokens_in,
        output_tokens=tokens_out,
        ttft_ns=round(ttft_ms * MS_NS),
        e2e_ns=round((ttft_ms + token_ms * (tokens_out - 1)) * MS_NS),
    )


def _failed(number: int, setting: str, concurrency: int) -> Sample:
    missing = dict.fromkeys(("ttfb_ns", "ttft_ns", "first_content_ns", "max_gap_ns", "output_tokens", "input_tokens"))
    return make_sample(
        number, setting=setting, concurrency=concurrency, status=429, error="429 rate_limit_exceeded", **missing
    )


def make_result(samples: Sequence[Sample], **changes: Any) -> dict[str, object]:
    """A ``result.json`` of these samples; its coefficients are the planted ones, with made-up intervals."""
    names = list(dict.fromkeys(sample.setting for sample in samples))
    plain: dict[str, object] = {
        "scenario": "matrix",
        "description": "Input x output lengths, for the model of latency",
        "target": "https://key:secret@llm.example.com:8443/v1?api_key=secret",
        "model": "synthetic-1",
        "started_at": "2026-11-24T09:00:00Z",
        "seed": 7,
        "settings": [
            _setting(name, [one for one in samples if one.setting == name]) for name in sorted(names, key=_key)
        ],
        "fit": make_fit(sum(sample.error is None for sample in samples)),
        "cost_usd": "0.8413",
        "cost_source": "the ledger",
        "generator_limited": False,
        "coordinated_omission": "Closed loop: a call waits for an earlier one, so that a slow server is asked less.",
        "warnings": [],
    }
    return plain | changes


def _key(setting: str) -> list[int]:
    return [int(part.partition("=")[2]) for part in setting.split(",") if part.partition("=")[2].isdigit()]


def make_fit(n: int) -> dict[str, object]:
    return {
        "a_ms": {"value": 351.2, "low": 342.7, "high": 359.9},
        "b_ms_per_input_token": {"value": 0.0203, "low": 0.0185, "high": 0.0221},
        "c_ms_per_output_token": {"value": 12.42, "low": 12.31, "high": 12.53},
        "r2": 0.987,
        "n": n,
        "ttft": {
            "a": {"value": 349.0, "low": 341.2, "high": 357.4},
            "b": {"value": 0.0198, "low": 0.0181, "high": 0.0214},
            "cached": None,
        },
        "tpot": {
            "at_1": {"value": 11.28, "low": 11.17, "high": 11.39},
            "per_concurrency": {"value": 0.226, "low": 0.209, "high": 0.243},
        },
        "residuals": {"sd_ms": 152.0, "outliers": 0.006, "spread_by_length": 0.41, "drift": -0.02},
        "warnings": [],
    }


def make_steps() -> dict[str, object]:
    """A server that answers at most twelve calls a second."""
    rates = (0.5, 2, 4, 6, 8, 10, 12, 14, 18)
    answered = (0.5, 2, 4, 6, 8, 9.9, 11.4, 11.9, 11.7)
    p50_ms = (1480, 1500, 1550, 1640, 1790, 2010, 2400, 5200, 7600)
    steps = zip(rates, answered, p50_ms, strict=True)
    return {
        "steps": [{"rate_per_s": rate, "throughput_per_s": x, "p50_ms": y, "p95_ms": 1.4 * y} for rate, x, y in steps]
    }


def _setting(name: str, samples: Sequence[Sample]) -> dict[str, object]:
    good = [sample for sample in samples if sample.error is None]
    tpots = [tpot_ns(one.e2e_ns, one.ttft_ns, one.output_tokens, stream=True) for one in good]
    return {
        "setting": name,
        "n": len(samples),
        "errors": len(samples) - len(good),
        "ttft_ms": _percentiles([sample.ttft_ns for sample in good]),
        "tpot_ms": _percentiles(tpots),
        "e2e_ms": _percentiles([sample.e2e_ns for sample in good]),
    }


def _percentiles(values_ns: Sequence[int | None]) -> dict[str, float] | None:
    ordered = sorted(value for value in values_ns if value is not None)
    if not ordered:
        return None
    return {f"p{percent}": nearest_rank(ordered, percent) / MS_NS for percent in (50, 95, 99)}
