"""What the chain observer knows, written at the scrape: under names of the registry, within its bounds, or not at all."""

from collections.abc import Callable, Iterable
from itertools import islice

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from treasuryd.core.observed import Distribution, Observed, Places
from treasuryd.telemetry import families
from treasuryd.telemetry.registry.family import Family, Kind
from treasuryd.telemetry.registry.observed import FAMILIES


class ObservedCollector(Collector):
    """
    Asks the observer at each scrape.

    Guarantees: no more series than the registry's bound, no label value of a closed set that is not in it; a failure in
        here leaves these series out and the scrape whole.
    """

    def __init__(self, observed: Callable[[], Observed], *, failed: Callable[[], object]) -> None:
        self._observed = observed
        self._failed = failed

    def describe(self) -> Iterable[Metric]:
        """Tell nothing at registration: there is nothing to look at yet."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Write what is known now."""
        try:
            return _written(self._observed())
        except Exception:  # noqa: BLE001 - the scrape is worth more than these series
            self._failed()
            return ()


def _written(observed: Observed) -> list[Metric]:
    found: list[Metric] = []
    for family in FAMILIES:
        if family.kind is Kind.HISTOGRAM:
            distribution = observed.distributions.get(family.name)
            if distribution is not None and set(distribution.bounds) <= set(family.buckets):
                found.append(_histogram(family, distribution))
        else:
            places = observed.series.get(family.name)
            if places:
                found.append(_numbers(family, places))
    return found


def _numbers(family: Family, places: Places) -> Metric:
    metric = families.counter(family) if family.kind is Kind.COUNTER else families.gauge(family)
    fitting = (item for item in places.items() if _fits(family, item[0]))
    for place, value in islice(fitting, family.bound):
        metric.add_metric(place, value)
    return metric


def _fits(family: Family, place: tuple[str, ...]) -> bool:
    return len(place) == len(family.labels) and all(
        not label.values or value in label.values for label, value in zip(family.labels, place, strict=True)
    )


def _histogram(family: Family, distribution: Distribution) -> Metric:
    metric = families.histogram(family)
    bounds = [*(str(bound) for bound in distribution.bounds), "+Inf"]
    metric.add_metric((), list(zip(bounds, distribution.counts, strict=True)), sum_value=distribution.total)
    return metric
