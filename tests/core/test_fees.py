import pytest
from hypothesis import given
from hypothesis import strategies as st

from treasuryd.core.fees import bumped, fee_for
from treasuryd.core.model import BaseUnits, FeeQuote
from treasuryd.errors import Corrupt


def units(amount: int) -> BaseUnits:
    return BaseUnits(amount)


amounts = st.integers(0, 2**63 - 1).map(BaseUnits)
small = st.integers(0, 10_000).map(BaseUnits)


def test_a_fee_is_the_base_fee_and_the_price_of_each_byte() -> None:
    """D5: the original priced one per byte against a floor of two; here the quote says how much."""
    quote = FeeQuote(base_fee=units(1), per_byte=2)
    assert fee_for(quote, size=700, ceiling=units(100_000)) == 1_401


@pytest.mark.parametrize(("ceiling", "expected"), [(1_401, 1_401), (1_400, None)])
def test_a_fee_above_the_ceiling_waits(ceiling: int, expected: int | None) -> None:
    """D5: a spike above the ceiling is a waiting state and cancels nothing."""
    quote = FeeQuote(base_fee=units(1), per_byte=2)
    assert fee_for(quote, size=700, ceiling=units(ceiling)) == expected


def test_a_quote_beyond_all_numbers_waits_too() -> None:
    """A node that asks for more than can be stored asks for more than the ceiling."""
    quote = FeeQuote(base_fee=units(2**64 - 1), per_byte=2**64 - 1)
    assert fee_for(quote, size=700, ceiling=units(2**63 - 1)) is None


@pytest.mark.parametrize(
    ("base_fee", "per_byte", "size"),
    [
        pytest.param(1, 1, 0, id="no bytes"),
        pytest.param(-1, 1, 10, id="negative base fee"),
        pytest.param(1, -1, 10, id="negative price"),
    ],
)
def test_nonsense_is_our_bug_and_no_price(base_fee: int, per_byte: int, size: int) -> None:
    """A negative fee must not slip under the ceiling."""
    with pytest.raises(Corrupt):
        fee_for(FeeQuote(base_fee=units(base_fee), per_byte=per_byte), size=size, ceiling=units(10))


@given(dearest=amounts, needed=st.one_of(st.none(), amounts), ceiling=amounts)
def test_a_bump_is_dearer_by_an_eighth_and_never_above_the_ceiling(
    dearest: BaseUnits, needed: BaseUnits | None, ceiling: BaseUnits
) -> None:
    """R6: a node that replaces wants more than before; whoever pays wants it under the ceiling."""
    fee = bumped(dearest, needed=needed, ceiling=ceiling)
    if fee is not None:
        assert needed is not None
        assert fee > dearest
        assert 8 * fee >= 9 * dearest
        assert needed <= fee <= ceiling


@given(dearest=small, needed=small)
def test_a_bump_asks_for_no_more_than_it_must(dearest: BaseUnits, needed: BaseUnits) -> None:
    """N13: overpaying raises the node's floor for good."""
    fee = bumped(dearest, needed=needed, ceiling=units(10**9))
    assert fee is not None
    cheaper = fee - 1
    assert cheaper < needed or cheaper <= dearest or 8 * cheaper < 9 * dearest


def test_a_bump_without_a_price_under_the_ceiling_waits() -> None:
    """D5: what the chain asks is above the ceiling already."""
    assert bumped(units(100), needed=None, ceiling=units(1_000)) is None
