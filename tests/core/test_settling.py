"""What finality is judged from."""

import pytest
from tests.core.test_planner import RULES, frame, moment

from treasuryd.core.model import Height
from treasuryd.core.settling import Shared


@pytest.mark.parametrize(
    ("believed", "lowest", "read", "expected"),
    [
        pytest.param(100, None, 100, 88, id="one endpoint: depth below its head"),
        pytest.param(100, 90, 100, 78, id="R9: one of two endpoints alone buries nothing"),
        pytest.param(100, 100, 95, 83, id="a lagging frame only makes it lower"),
        pytest.param(90, 100, 100, 78, id="what is not believed yet buries nothing"),
    ],
)
def test_finality_rests_on_the_lowest(believed: int, lowest: int | None, read: int, expected: int) -> None:
    """R9: where more than one endpoint is configured, depth counts on the lowest believed head."""
    at = moment(believed=Height(believed), lowest=None if lowest is None else Height(lowest))
    shared = Shared(
        at=at,
        frame=frame(height=read),
        rules=RULES,
        headers={},
        sightings={},
        claims={},
        highest_base_fee=lambda first, _second, _blocks: first,
    )
    assert shared.final == expected
