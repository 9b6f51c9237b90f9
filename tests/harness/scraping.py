"""What a unit's /metrics says, read as Prometheus reads it."""

from prometheus_client.parser import text_string_to_metric_families

from harness.processes import Unit
from harness.raw import ask

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(unit: Unit) -> Samples:
    samples = scrape_or_none(unit)
    assert samples is not None, "the meter is still catching up"
    return samples


def scrape_or_none(unit: Unit) -> Samples | None:
    """``None``: a meter has just started, and has not read all that the relays wrote meanwhile."""
    answer = ask(unit.ops_port, "GET", "/metrics")
    if answer.status == 503:
        return None
    assert answer.status == 200
    samples: Samples = {}
    for family in text_string_to_metric_families(answer.body.decode()):
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in samples, f"{key} is there twice"
            samples[key] = sample.value
    return samples


def value(samples: Samples, name: str, **labels: str) -> float | None:
    """The sample with exactly these labels (``klass`` stands for ``class``)."""
    named = {"class" if label == "klass" else label: text for label, text in labels.items()}
    return samples.get((name, frozenset(named.items())))


def total(samples: Samples, name: str, **labels: str) -> float:
    wanted = labels.items()
    return sum(count for (found, has), count in samples.items() if found == name and wanted <= has)
