"""The audit of the demonstration: it counts on the chain, not in our books."""

from typing import Any

import pytest

from treasuryd.core.model import (
    AccountId,
    Address,
    BaseUnits,
    Disbursement,
    DisbursementId,
    Epoch,
    Status,
)
from treasuryd.main.demo import audit

TREASURY = AccountId("treasury")


def item(number: int, *, status: Status = Status.FINALIZED, amount: int = 100) -> Disbursement:
    return Disbursement(
        id=DisbursementId(number),
        account=TREASURY,
        destination=Address("tb1a"),
        amount=BaseUnits(amount),
        memo=f"item {number}",
        scheduled_epoch=Epoch(1),
        status=status,
    )


def row(number: int, *, amount: int = 100, sender: str = "treasury") -> dict[str, Any]:
    return {"from": sender, "to": "tb1a", "amount": amount, "memo": f"item {number}"}


def test_all_paid_once_is_fine() -> None:
    """The ordinary end; what others send is not ours to judge."""
    summary = audit([item(1), item(2)], [row(1), row(2), row(3, sender="somebody")], accounts={"treasury"})
    assert summary.fine
    assert [line.payments for line in summary.lines] == [1, 1]


@pytest.mark.parametrize(
    ("items", "rows"),
    [
        pytest.param([item(1)], [row(1), row(1)], id="paid twice"),
        pytest.param([item(1)], [], id="not paid"),
        pytest.param([item(1)], [row(1, amount=99)], id="another amount"),
        pytest.param([item(1)], [row(1), row(7)], id="something nobody asked for"),
        pytest.param([item(1, status=Status.EXECUTED)], [row(1)], id="not to the end"),
        pytest.param([], [], id="nothing was submitted"),
    ],
)
def test_everything_else_is_not(items: list[Disbursement], rows: list[dict[str, Any]]) -> None:
    """`demo` exits non-zero if anything was not paid exactly once."""
    assert not audit(items, rows, accounts={"treasury"}).fine


def test_two_items_of_one_content_need_two_payments() -> None:
    """Equal payments are counted together: one of two missing is not fine, three of two is not either."""
    twins = [item(1), item(1)]
    assert audit(twins, [row(1), row(1)], accounts={"treasury"}).fine
    assert not audit(twins, [row(1)], accounts={"treasury"}).fine
    assert not audit(twins, [row(1)] * 3, accounts={"treasury"}).fine
