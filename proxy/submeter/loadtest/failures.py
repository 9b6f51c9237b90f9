"""Calls that failed: which error was the most frequent, and what to do about it."""

from collections import Counter
from collections.abc import Sequence

from submeter.loadtest.samples import Sample

_NEXT_STEPS = {
    "ConnectionRefusedError": "nothing listens at {target}: start it, or correct --target",
    "gaierror": "there is no host of that name: correct --target {target}",
    "SSLCertVerificationError": "the certificate of {target} proves nothing: correct --target, or set SSL_CERT_FILE",
    "TimeoutError": "{target} said nothing for call_limit_s: look at its log, or raise that in the scenario",
    "status 400": "{target} refuses the request: models that reason need output_limit_key, body may hold too much",
    "status 401": "set OPENAI_API_KEY to a key that {target} takes",
    "status 403": "set OPENAI_API_KEY to a key that may use {model} at {target}",
    "status 404": "correct --model {model}, or --target {target}, which should end as an SDK's base URL does",
    "status 422": "{target} refuses the request: compare body and output_limit_key of the scenario with its manual",
    "status 429": "{target} limits how much it is asked: lower users or rate_per_s in the scenario",
}
_SERVER = "look at the log of {target}"
_ANY = "ask {target} once by hand, for instance with curl"


def by_error(samples: Sequence[Sample]) -> dict[str, int]:
    """How many calls ended with each error, the most frequent first."""
    return dict(Counter(sample.error for sample in samples if sample.error is not None).most_common())


def total_failure(samples: Sequence[Sample], target: str, model: str) -> str | None:
    """Where no call was answered: one line with the error and the next step."""
    errors = by_error(samples)
    if not samples or sum(errors.values()) < len(samples):
        return None
    error, calls = next(iter(errors.items()))
    most = "all" if calls == len(samples) else f"{calls:,}"
    step = _NEXT_STEPS.get(error, _SERVER if error.startswith("status 5") else _ANY)
    return f"every call failed ({len(samples):,}), {most} with {error}: {step.format(target=target, model=model)}"
