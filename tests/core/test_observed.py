import pytest
from hypothesis import given
from hypothesis import strategies as st

from treasuryd.core.observed import Distribution, Observed, ObservedReading, ObservedSource
from treasuryd.errors import Corrupt


@given(st.lists(st.floats(0, 100), max_size=20))
def test_a_distribution_counts_at_and_below_each_bound(values: list[float]) -> None:
    """Cumulative, as Prometheus wants it; the last count is all of them."""
    found = Distribution.empty((1.0, 10.0))
    for value in values:
        found = found.plus(value)
    below = [sum(value <= bound for value in values) for bound in (1.0, 10.0)]
    assert list(found.counts) == [*below, len(values)]
    assert found.total == pytest.approx(sum(values))


@pytest.mark.parametrize("counts", [(1.0,), (2.0, 1.0), (1.0, 2.0, 3.0)])
def test_counts_that_fit_no_bounds_are_our_bug(counts: tuple[float, ...]) -> None:
    """Falling ones, too few, too many."""
    with pytest.raises(Corrupt):
        Distribution(bounds=(1.0,), counts=counts, total=0.0)


def test_one_reading_lies_over_another_name_by_name() -> None:
    """A name is taken whole from one of them: places are not mixed."""
    upper = Observed(series={"a": {("x",): 1.0}})
    lower = Observed(
        series={"a": {("x",): 2.0, ("y",): 3.0}, "b": {(): 4.0}},
        distributions={"d": Distribution.empty((1.0,))},
    )
    found = upper.over(lower)
    assert found.series == {"a": {("x",): 1.0}, "b": {(): 4.0}}
    assert found.distributions == lower.distributions


def test_every_reading_has_its_source() -> None:
    """The text of the metrics is one, everything else is asked for by JSON-RPC."""
    by_metrics = [reading for reading in ObservedReading if reading.source is ObservedSource.METRICS]
    assert by_metrics == [ObservedReading.METRICS]
