"""Out of the series, what Prometheus reads: its text format, or OpenMetrics with exemplars where that is asked for."""

from collections.abc import Iterable, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar as ExposedExemplar

from submeter.meter.families import COUNTERS, HISTOGRAMS, NANO, Family, Gauge, GaugeFamily, Labels
from submeter.meter.series import Exemplar, Series, SeriesTable

LabelledValues = Mapping[GaugeFamily, Mapping[Labels, float]]

_Bucket = tuple[str, float] | tuple[str, float, ExposedExemplar]


def encode(collector: Collector, accept: str) -> tuple[bytes, str]:
    """(body, content type), in the format that ``accept``, an HTTP header, names; exemplars are in OpenMetrics only.
    Takes milliseconds: not for an event loop."""
    encoder, content_type = choose_encoder(accept)
    return encoder(collector), content_type


def collect(table: SeriesTable, gauges: Iterable[Gauge], labelled: LabelledValues) -> list[Metric]:
    """Everything, and at last how many lines it is."""
    metrics = [
        *(_counter(family, table.of(family)) for family in COUNTERS),
        *(_histogram(family, table.of(family)) for family in HISTOGRAMS),
        *map(_gauge, (gauge for gauge in gauges if gauge.value is not None)),
        *(_labelled_gauge(family, values) for family, values in labelled.items()),
    ]
    lines = sum(len(metric.samples) for metric in metrics) + 1
    return [*metrics, _gauge(Gauge("submeter_series", "Sample lines of this scrape, this one among them.", lines))]


def _counter(family: Family, all_series: Iterable[Series]) -> Metric:
    metric = CounterMetricFamily(family.name, family.help, labels=family.labels)
    for series in all_series:
        exemplar = _exemplar(family, series.latest[0])
        metric.add_metric(series.labels, series.cells[0] / family.per_unit, exemplar=exemplar)
    return metric


def _histogram(family: Family, all_series: Iterable[Series]) -> Metric:
    metric = HistogramMetricFamily(family.name, family.help, labels=family.labels)
    for series in all_series:
        metric.add_metric(series.labels, _buckets(family, series), series.cells[-1] / family.per_unit)
    return metric


def _buckets(family: Family, series: Series) -> list[_Bucket]:
    running = 0
    buckets: list[_Bucket] = []
    bounds = (*map(repr, family.buckets), "+Inf")
    for bound, count, latest in zip(bounds, series.cells[:-1], series.latest[:-1], strict=True):
        running += count
        exemplar = _exemplar(family, latest)
        buckets.append((bound, running) if exemplar is None else (bound, running, exemplar))
    return buckets


def _exemplar(family: Family, latest: Exemplar | None) -> ExposedExemplar | None:
    if latest is None:
        return None
    return ExposedExemplar({"call_id": latest.call_id}, latest.value / family.per_unit, latest.at_ns / NANO)


def _gauge(gauge: Gauge) -> Metric:
    metric = GaugeMetricFamily(gauge.name, gauge.help, labels=[name for name, _ in gauge.labels])
    metric.add_metric([value for _, value in gauge.labels], 0.0 if gauge.value is None else gauge.value)
    return metric


def _labelled_gauge(family: GaugeFamily, values: Mapping[Labels, float]) -> Metric:
    metric = GaugeMetricFamily(family.name, family.help, labels=family.labels)
    for labels, value in values.items():
        metric.add_metric(labels, value)
    return metric
