"""Makes what the client library wants of what the registry says; whoever looks at the scrape writes through these."""

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)

from treasuryd.telemetry.registry.family import Family, Kind


def gauge(family: Family) -> GaugeMetricFamily:
    """Begin a gauge; values are added under its labels, in their order."""
    assert family.kind is Kind.GAUGE, family.name
    return GaugeMetricFamily(family.name, family.help, labels=family.label_names)


def counter(family: Family) -> CounterMetricFamily:
    """Begin a counter whose values are counted elsewhere."""
    assert family.kind is Kind.COUNTER, family.name
    return CounterMetricFamily(family.base, family.help, labels=family.label_names)


def histogram(family: Family) -> HistogramMetricFamily:
    """Begin a histogram whose buckets are counted elsewhere."""
    assert family.kind is Kind.HISTOGRAM, family.name
    return HistogramMetricFamily(family.name, family.help, labels=family.label_names)


def info(family: Family, facts: dict[str, str]) -> InfoMetricFamily:
    """One line of facts; their names are the family's labels."""
    assert family.kind is Kind.INFO, family.name
    assert facts.keys() == set(family.label_names), family.name
    return InfoMetricFamily(family.base, family.help, facts)
