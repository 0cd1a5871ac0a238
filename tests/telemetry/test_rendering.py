from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import exposition as library_text
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as library_openmetrics
from prometheus_client.registry import Collector
from tests.telemetry.conftest import FakeOffice, Heard

from treasuryd.core.events import Event, EventKind
from treasuryd.telemetry import rendering

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.sampled_from(
    ["\\", '"', "\n", '\\n"', "é", "\r"]
)
NUMBER = st.floats() | st.integers(-(2**63), 2**63) | st.booleans()


class Fixed(Collector):
    """The same metrics at each look: two renderings have to be of one moment."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self.metrics = list(metrics)

    def collect(self) -> Iterable[Metric]:
        return self.metrics


def assert_as_the_library_writes_it(metrics: Iterable[Metric]) -> None:
    fixed = Fixed(metrics)
    assert rendering.text(fixed.metrics) == library_text.generate_latest(fixed)
    ours = rendering.openmetrics(fixed.metrics)
    assert ours == library_openmetrics.generate_latest(fixed)  # type: ignore[no-untyped-call] # the library's own gap


async def test_all_that_is_exported_is_written_as_the_library_writes_it(heard: Heard) -> None:
    """Counters, gauges, histograms, facts; both formats, to the byte."""
    heard.telemetry.watch(FakeOffice())
    await heard.telemetry.refresh()
    heard.telemetry.saw(
        Event(
            kind=EventKind.INCLUDED, reason="payment", count=3, seconds=(0.1, 7e5, 2.5), step_seconds=(1e9,)
        )
    )
    assert_as_the_library_writes_it(heard.telemetry.metrics.registry.collect())


@given(NUMBER, TEXT, TEXT)
def test_any_value_and_any_text_is_written_as_the_library_writes_it(
    number: float, value: str, sentence: str
) -> None:
    """Names of accounts may hold anything that a person configured."""
    gauge = GaugeMetricFamily("a", sentence, labels=("zeta", "alpha"))
    gauge.add_metric((value, "x"), number)
    counter = CounterMetricFamily("b", sentence)
    counter.add_metric((), number)
    assert_as_the_library_writes_it([gauge, counter, InfoMetricFamily("c", sentence, {"one": value})])
