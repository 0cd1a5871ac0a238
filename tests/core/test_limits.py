from dataclasses import replace

import pytest

from treasuryd.core.limits import MAX_DEPENDENTS, crowded, limit_to_hold
from treasuryd.core.model import BaseUnits, DisbursementId, Hold, Rules

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


def test_the_first_row_too_many_is_named() -> None:
    """What waits already and what comes in count together, each dependency for itself."""
    a, b = DisbursementId(1), DisbursementId(2)
    before = {a: MAX_DEPENDENTS - 2, b: MAX_DEPENDENTS}
    assert crowded(before, [(0, a), (1, a)]) is None
    assert crowded(before, [(0, a), (1, a), (2, a), (3, b)]) == (2, a)
    assert crowded(before, [(0, a), (1, b)]) == (1, b)


def test_a_request_can_be_too_many_by_itself() -> None:
    """Refs of one request: nothing of it is stored yet."""
    item = DisbursementId(1)
    assert crowded({}, ((row, item) for row in range(MAX_DEPENDENTS))) is None
    assert crowded({}, ((row, item) for row in range(MAX_DEPENDENTS + 1))) == (MAX_DEPENDENTS, item)
