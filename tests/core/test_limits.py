from dataclasses import replace

import pytest

from treasuryd.core.limits import limit_to_hold
from treasuryd.core.model import BaseUnits, Hold, Rules

OPEN = Rules()
CAPPED = replace(OPEN, max_transfer=BaseUnits(1_000))


@pytest.mark.parametrize(
    ("amount", "rules", "expected"),
    [
        pytest.param(1, OPEN, None, id="nothing in the way"),
        pytest.param(1_000, CAPPED, None, id="at the cap"),
        pytest.param(1_001, CAPPED, Hold.OVER_TRANSFER_LIMIT, id="above a cap lowered after intake"),
        pytest.param(0, OPEN, Hold.OVER_TRANSFER_LIMIT, id="stored garbage is held"),
        pytest.param(2**63 - 1, OPEN, None, id="the largest amount there is"),
        pytest.param(2**63, OPEN, Hold.OVER_TRANSFER_LIMIT, id="D29: so is what is too large"),
    ],
)
def test_a_stored_item_is_held_by_its_limit(amount: int, rules: Rules, expected: Hold | None) -> None:
    """Limits hold and never cancel."""
    assert limit_to_hold(BaseUnits(amount), rules) is expected
