from dataclasses import replace

import pytest

from treasuryd.core.limits import check_amount, limit_to_hold
from treasuryd.core.model import MAX_AMOUNT, BaseUnits, Hold, Rules
from treasuryd.errors import Refusal, Rejected

OPEN = Rules()
CAPPED = replace(OPEN, max_transfer=BaseUnits(1_000))


@pytest.mark.parametrize("amount", [1, 1_000, 2**63 - 1])
def test_an_amount_within_the_range_passes(amount: int) -> None:
    """Both ends belong to it."""
    assert check_amount(amount, OPEN, field="amount") == amount


@pytest.mark.parametrize("amount", [2**63, 2**64 - 1, 2**64])
def test_an_amount_that_no_store_could_hold_is_refused_with_the_limit(amount: int) -> None:
    """D29: the original stored the status and then failed on the balance event, whose number is signed."""
    with pytest.raises(Rejected, match=str(MAX_AMOUNT)) as caught:
        check_amount(amount, OPEN, field="items[3].amount")
    assert caught.value.field == "items[3].amount"
    assert str(amount) in caught.value.message


@pytest.mark.parametrize("amount", [0, -1])
def test_an_amount_below_one_is_refused(amount: int) -> None:
    """Nothing and less than nothing cannot be paid."""
    with pytest.raises(Rejected):
        check_amount(amount, OPEN, field="amount")


def test_an_amount_above_the_cap_is_refused_at_intake() -> None:
    """The operator's cap is named, and so is the setting."""
    assert check_amount(1_000, CAPPED, field="amount") == 1_000
    with pytest.raises(Rejected, match="1000") as caught:
        check_amount(1_001, CAPPED, field="amount")
    assert "max_transfer" in caught.value.hint
    assert caught.value.kind is Refusal.INVALID


@pytest.mark.parametrize(
    ("amount", "rules", "kill_switch", "expected"),
    [
        pytest.param(1, OPEN, False, None, id="nothing in the way"),
        pytest.param(1_000, CAPPED, False, None, id="at the cap"),
        pytest.param(1_001, CAPPED, False, Hold.OVER_TRANSFER_LIMIT, id="above a cap lowered after intake"),
        pytest.param(1, OPEN, True, Hold.KILL_SWITCH, id="kill switch"),
        pytest.param(1_001, CAPPED, True, Hold.KILL_SWITCH, id="the kill switch is named first"),
        pytest.param(0, OPEN, False, Hold.OVER_TRANSFER_LIMIT, id="stored garbage is held"),
        pytest.param(2**63, OPEN, False, Hold.OVER_TRANSFER_LIMIT, id="so is what is too large"),
    ],
)
def test_a_stored_item_is_held_by_the_first_limit(
    amount: int, rules: Rules, kill_switch: bool, expected: Hold | None
) -> None:
    """Limits hold and never cancel."""
    assert expected == limit_to_hold(BaseUnits(amount), rules, kill_switch=kill_switch)
