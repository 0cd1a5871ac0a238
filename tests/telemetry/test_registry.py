import re

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from tests.telemetry.conftest import FakeOffice, Heard

from treasuryd.core.events import Event, EventKind
from treasuryd.errors import Corrupt
from treasuryd.telemetry import registry
from treasuryd.telemetry.registry.family import (
    GAUGES_NAMED_TOTAL,
    Family,
    Kind,
    Label,
    Unit,
    closed,
)

UNITS_OF_NAMES = {
    "_seconds": {Unit.SECONDS, Unit.UNIX_SECONDS},
    "_bytes": {Unit.BYTES},
    "_base_units": {Unit.BASE_UNITS},
    "_kwh": {Unit.KWH},
    "_bps": {Unit.BASIS_POINTS},
    "_ppm": {Unit.PPM},
}


async def exposed(heard: Heard) -> list[Metric]:
    """What a daemon with one account and one endpoint exports, as Prometheus reads it."""
    heard.telemetry.watch(FakeOffice())
    await heard.telemetry.refresh()
    heard.telemetry.saw(Event(kind=EventKind.TICKED))
    body = heard.telemetry.exposition("application/openmetrics-text")[1].decode()
    return list(openmetrics(body))  # type: ignore[no-untyped-call] # the library's own gap


async def test_everything_exported_is_declared_with_its_type_and_its_sentence(heard: Heard) -> None:
    """One source: what no file of the registry declares cannot be found in the page either."""
    by_base = {family.base: family for family in registry.ALL}
    for metric in await exposed(heard):
        family = by_base[metric.name]
        assert metric.type == family.kind.value, family.name
        if not family.name.startswith("process_"):
            assert metric.documentation == family.help


async def test_every_label_is_one_of_its_declared_values(heard: Heard) -> None:
    """Closed sets are enums; the others are names of the configuration."""
    for metric in await exposed(heard):
        for sample in metric.samples:
            family = registry.BY_SAMPLE[sample.name]
            given = {name: value for name, value in sample.labels.items() if name != "le"}
            assert tuple(given) == family.label_names or set(given) == set(family.label_names), sample
            for label in family.labels:
                assert not label.values or given[label.name] in label.values, sample


async def test_a_running_daemon_exports_every_family_that_is_never_absent(heard: Heard) -> None:
    """D26: declared and never emitted is the original's defect."""
    exported = {sample.name for metric in await exposed(heard) for sample in metric.samples}
    missing = [
        family.name
        for family in registry.ALL
        if not family.absent and not exported.issuperset(family.sample_names)
    ]
    assert missing == []


async def test_every_place_of_a_closed_label_exists_from_the_start(heard: Heard) -> None:
    """A counter that first appears with 1 is invisible to `rate` and `increase`."""
    found: dict[str, set[tuple[str, ...]]] = {}
    for metric in await exposed(heard):
        for sample in metric.samples:
            family = registry.BY_SAMPLE[sample.name]
            places = found.setdefault(family.name, set())
            places.add(tuple(sample.labels[name] for name in family.label_names))
    for family in registry.ALL:
        closed_only = family.labels and all(label.values for label in family.labels)
        if closed_only and not family.absent:
            assert found[family.name] == set(family.places()), family.name


@pytest.mark.parametrize("family", registry.ALL, ids=lambda family: family.name)
def test_a_family_says_what_it_is_in_words_and_units(family: Family) -> None:
    """Names end in their unit, counters in `_total`; a person reads a sentence."""
    assert re.fullmatch(r"[a-z][a-z0-9_]*", family.name)
    assert family.help.endswith("."), "a sentence"
    assert family.filled_by
    for ending, units in UNITS_OF_NAMES.items():
        if family.name.removesuffix("_total").endswith(ending):
            assert family.unit in units
    assert len({label.name for label in family.labels}) == len(family.labels)
    assert list(family.buckets) == sorted(set(family.buckets))
    assert (family.name in GAUGES_NAMED_TOTAL) <= (family.kind is Kind.GAUGE)


def test_no_two_families_share_a_name() -> None:
    """Nor the name of one of the other's samples."""
    names = [name for family in registry.ALL for name in family.sample_names]
    assert sorted(set(names)) == sorted(names)


def test_the_bound_is_that_of_all_labels_together() -> None:
    """A histogram counts its buckets, infinity, sum and count for each of its labels' places."""
    place = closed("kind", Kind)
    name = Label(name="account", of="names", at_most=5)
    counter = Family(
        name="a_total",
        kind=Kind.COUNTER,
        unit=Unit.COUNT,
        help="A.",
        filled_by="a test",
        labels=(place, name),
    )
    histogram = Family(
        name="a_seconds", kind=Kind.HISTOGRAM, unit=Unit.SECONDS, help="A.", filled_by="a test", labels=(name,),
        buckets=(1.0, 2.0),
    )  # fmt: skip
    assert counter.bound == len(Kind) * 5
    assert histogram.bound == 5 * 5
    assert histogram.sample_names == ("a_seconds_bucket", "a_seconds_sum", "a_seconds_count")
    assert sum(family.bound for family in registry.ALL) == registry.SERIES_BOUND


@pytest.mark.parametrize(
    ("name", "kind", "labels", "buckets"),
    [
        pytest.param("a", Kind.COUNTER, (), (), id="a counter without its ending"),
        pytest.param("a_total", Kind.GAUGE, (), (), id="a gauge that reads like a counter"),
        pytest.param("a", Kind.HISTOGRAM, (), (), id="a histogram without buckets"),
        pytest.param("a", Kind.GAUGE, (), (1.0,), id="a gauge with buckets"),
        pytest.param("a", Kind.GAUGE, (Label(name="b", of="anything"),), (), id="a label without a bound"),
    ],
)
def test_what_cannot_be_exported_so_is_refused(
    name: str, kind: Kind, labels: tuple[Label, ...], buckets: tuple[float, ...]
) -> None:
    """Found by the first import: there is no metric without a bound."""
    with pytest.raises(Corrupt, match="metric a"):
        Family(
            name=name,
            kind=kind,
            unit=Unit.COUNT,
            help="A.",
            filled_by="a test",
            labels=labels,
            buckets=buckets,
        )
