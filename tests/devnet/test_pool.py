from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from treasuryd.devnet.pool import FloorWindow
from treasuryd.wire.theblock.fees import PERCENTILE_WINDOW, percentile_floor


@given(st.lists(st.integers(0, 50), max_size=600))
def test_the_window_keeps_the_percentile_of_its_last_entries(values: list[int]) -> None:
    """The incremental window equals the plain rule over the last 256."""
    window = FloorWindow()
    for value in values:
        window.add(value)
    assert window.floor == percentile_floor(sorted(values[-PERCENTILE_WINDOW:]))


def test_the_window_follows_the_vectors(vectors: dict[str, Any]) -> None:
    """The published rows."""
    for row in vectors["percentile_floor_vectors"]["rows"]:
        window = FloorWindow()
        for value in row["admitted_tip_per_byte"]:
            window.add(value)
        assert row["floor"] == window.floor
