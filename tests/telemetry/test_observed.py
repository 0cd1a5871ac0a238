from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from tests.observer.world import watching
from tests.telemetry.conftest import Heard

from treasuryd.core.observed import MAX_PROVIDERS, ORACLE_BUCKETS, Distribution, Observed
from treasuryd.telemetry.observed import ObservedCollector
from treasuryd.telemetry.registry.observed import FAMILIES

BOUND = sum(family.bound for family in FAMILIES)


def exported(observed: Observed) -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(ObservedCollector(lambda: observed, failed=failing))
    return registry


def failing() -> None:
    raise AssertionError("the collector failed")


def names(registry: CollectorRegistry) -> set[str]:
    return {metric.name for metric in registry.collect()}


async def test_everything_that_the_observer_shows_is_exported() -> None:
    """Under the registry's names, types and labels, and within its bound."""
    observed = await watching().round()
    registry = exported(observed)
    assert names(registry) == {family.base for family in FAMILIES}
    kinds = {metric.name: metric.type for metric in registry.collect()}
    assert kinds == {family.base: family.kind.value for family in FAMILIES}
    for name, places in observed.series.items():
        family = next(one for one in FAMILIES if one.name == name)
        for place, value in places.items():
            labels = dict(zip(family.label_names, place, strict=True))
            assert registry.get_sample_value(name, labels) == value
    assert sum(len(metric.samples) for metric in registry.collect()) <= BOUND


async def test_both_formats_are_valid_with_gauges_that_are_named_like_counters() -> None:
    """`energy_provider_total` is a gauge, as the node's is."""
    registry = exported(await watching().round())
    text = openmetrics(registry).decode()  # type: ignore[no-untyped-call]
    found = {family.name: family for family in parse_openmetrics(text)}  # type: ignore[no-untyped-call]
    assert found["energy_provider_total"].type == "gauge"
    assert found["energy_dispute"].type == "counter"
    assert {family.name for family in parse_text(generate_latest(registry).decode())} >= {
        "energy_provider_total"
    }


def test_what_is_not_known_has_no_line() -> None:
    """Neither a value nor a type without one."""
    assert names(exported(Observed())) == set()
    assert names(exported(Observed(series={"energy_reputation_score": {}}))) == set()


@pytest.mark.parametrize(
    "series",
    [
        pytest.param({"energy_made_up": {(): 1.0}}, id="a name of nobody"),
        pytest.param({"energy_readings_total": {("x",): 1.0}}, id="a label too many"),
        pytest.param({"energy_reputation_score": {(): 1.0}}, id="a label too few"),
        pytest.param({"energy_dispute_total": {("weird",): 1.0}}, id="a value that the set does not have"),
        pytest.param({"receipt_slashes_total": {("ad",): 1.0}}, id="a market without slashes"),
    ],
)
def test_what_the_registry_does_not_have_is_not_exported(series: Any) -> None:
    """The last gate, should the ones before it have a bug."""
    found = exported(Observed(series=series))
    assert sum(len(metric.samples) for metric in found.collect()) == 0


def test_the_bound_of_a_family_holds_whatever_comes() -> None:
    """Of a thousand providers as many as were published."""
    many: dict[tuple[str, ...], float] = {(f"p{n}",): 1.0 for n in range(1_000)}
    registry = exported(Observed(series={"energy_reputation_score": many}))
    (metric,) = registry.collect()
    assert len(metric.samples) == MAX_PROVIDERS + 1


def test_a_histogram_with_other_bounds_is_not_exported() -> None:
    """Its series would be none of the registry's."""
    good = Distribution(bounds=ORACLE_BUCKETS[:2], counts=(1.0, 2.0, 3.0), total=4.5)
    registry = exported(Observed(distributions={"oracle_latency_seconds": good}))
    assert registry.get_sample_value("oracle_latency_seconds_bucket", {"le": "0.005"}) == 1
    assert registry.get_sample_value("oracle_latency_seconds_bucket", {"le": "+Inf"}) == 3
    assert registry.get_sample_value("oracle_latency_seconds_sum") == 4.5
    bad = Distribution(bounds=(0.007,), counts=(1.0, 2.0), total=1.0)
    assert names(exported(Observed(distributions={"oracle_latency_seconds": bad}))) == set()


def test_a_failing_observer_leaves_the_scrape_whole(heard: Heard) -> None:
    """Its series are missing, the others are there, and it is counted."""
    metrics = heard.telemetry.metrics

    def broken() -> Observed:
        raise RuntimeError("oops")

    metrics.registry.register(ObservedCollector(broken, failed=metrics.failures.inc))
    _, body = heard.telemetry.exposition("")
    assert b"treasury_executor_result_total" in body
    assert b"energy_" not in body
    assert heard.sample("treasury_telemetry_failures_total") == 1
