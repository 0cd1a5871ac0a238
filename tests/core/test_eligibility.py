from dataclasses import replace
from typing import Any

import pytest

from treasuryd.core.eligibility import Surroundings, dependencies_hold, reason_to_hold, worldly_hold
from treasuryd.core.model import (
    AccountId,
    AccountState,
    Address,
    BaseUnits,
    Disbursement,
    DisbursementId,
    Epoch,
    Hold,
    IntentId,
    Rules,
    Status,
)

TREASURY = AccountId("treasury")
RULES = Rules(max_transfer=BaseUnits(1_000))
PAYABLE = Disbursement(
    id=DisbursementId(10),
    account=TREASURY,
    destination=Address("tb1alice"),
    amount=BaseUnits(1_000),
    memo="",
    scheduled_epoch=Epoch(12),
    depends_on=(DisbursementId(1), DisbursementId(2)),
    status=Status.TIMELOCKED,
)
KNOWN = {
    DisbursementId(1): Status.FINALIZED,
    DisbursementId(2): Status.FINALIZED,
    DisbursementId(3): Status.ROLLED_BACK,
    DisbursementId(4): Status.EXECUTED,
    DisbursementId(5): Status.TIMELOCKED,
}


def hold_of(
    item: Disbursement, *, settled: int = 12, satisfied: frozenset[DisbursementId] = frozenset()
) -> Any:
    return reason_to_hold(item, settled=Epoch(settled), known=KNOWN, satisfied=satisfied, rules=RULES)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({}, None, id="nothing is missing: pay"),
        pytest.param({"status": Status.QUEUED}, Hold.NOT_APPROVED, id="a queued item is never payable"),
        pytest.param({"status": Status.DRAFT}, Hold.NOT_APPROVED, id="nor is a draft"),
        pytest.param({"status": Status.EXECUTED}, Hold.NOT_APPROVED, id="nor what was paid"),
        pytest.param({"live_intent": IntentId(7)}, Hold.IN_FLIGHT, id="nor what is being paid"),
        pytest.param({"cancel_requested": "no"}, Hold.CANCEL_REQUESTED, id="nor what a person cancelled"),
        pytest.param({"hold": Hold.REFUSED}, Hold.REFUSED, id="a stored hold holds"),
        pytest.param({"scheduled_epoch": Epoch(13)}, Hold.SCHEDULED_LATER, id="one epoch early is early"),
        pytest.param({"amount": BaseUnits(1_001)}, Hold.OVER_TRANSFER_LIMIT, id="one unit over is over"),
        pytest.param({"depends_on": (3,)}, Hold.DEPENDENCY_FAILED, id="rolled back never satisfies"),
        pytest.param({"depends_on": (3, 5)}, Hold.DEPENDENCY_FAILED, id="failed is named before pending"),
        pytest.param({"depends_on": (4,)}, Hold.DEPENDENCY_PENDING, id="executed is not enough"),
        pytest.param({"depends_on": (1, 5)}, Hold.DEPENDENCY_PENDING, id="one pending of two"),
        pytest.param({"depends_on": (9,)}, Hold.DEPENDENCY_MISSING, id="what does not exist never comes"),
        pytest.param({"depends_on": (10,)}, Hold.DEPENDENCY_CIRCULAR, id="nobody waits for himself"),
    ],
)
def test_an_item_is_held_for_the_first_thing_missing(change: Any, expected: Hold | None) -> None:
    """D10, D11, D38: the planner and `treasuryd explain` read the same answer."""
    assert expected == hold_of(replace(PAYABLE, **change))


@pytest.mark.parametrize("settled", range(14))
def test_a_queued_item_is_payable_at_no_epoch(settled: int) -> None:
    """D1: the timelock is over when the item says so, not when the epoch has come."""
    queued = replace(PAYABLE, status=Status.QUEUED, activation_epoch=Epoch(13))
    assert hold_of(queued, settled=settled) is Hold.NOT_APPROVED


def test_by_setting_an_intent_that_is_final_satisfies() -> None:
    """D11: `dependency_satisfied_by = final` counts what is executed and final, and nothing less."""
    item = replace(PAYABLE, depends_on=(DisbursementId(4), DisbursementId(5)))
    both = frozenset({DisbursementId(4), DisbursementId(5)})
    assert hold_of(item, satisfied=frozenset({DisbursementId(4)})) is Hold.DEPENDENCY_PENDING
    assert hold_of(item, satisfied=both) is None


def test_what_failed_is_not_satisfied_by_any_setting() -> None:
    """D10: a rolled-back dependency stays failed although somebody lists it as satisfied."""
    item = replace(PAYABLE, depends_on=(DisbursementId(3),))
    assert (
        dependencies_hold(item, known=KNOWN, satisfied=frozenset({DisbursementId(3)}))
        is Hold.DEPENDENCY_FAILED
    )


AROUND = Surroundings(
    account_states={TREASURY: AccountState.ACTIVE},
    led=frozenset({TREASURY}),
    room={TREASURY: 1},
    funds={TREASURY: BaseUnits(1_100)},
    fee=BaseUnits(100),
)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({}, None, id="the next tick stages it"),
        pytest.param({"account_states": {TREASURY: AccountState.FROZEN}}, Hold.ACCOUNT_FROZEN, id="frozen"),
        pytest.param(
            {"account_states": {TREASURY: AccountState.QUARANTINED}},
            Hold.ACCOUNT_QUARANTINED,
            id="quarantined",
        ),
        pytest.param({"kill_switch": True}, Hold.KILL_SWITCH, id="the kill switch is on"),
        pytest.param({"led": frozenset()}, Hold.NO_LEASE, id="somebody else leads"),
        pytest.param({"reachable": False}, Hold.CHAIN_UNREACHABLE, id="the chain does not answer"),
        pytest.param({"breaker_open": True}, Hold.BREAKER_OPEN, id="the breaker is open"),
        pytest.param({"fee": None}, Hold.FEE_ABOVE_CEILING, id="too dear now"),
        pytest.param({"room": {}}, Hold.PIPELINE_FULL, id="as many nonces are out as the endpoint takes"),
        pytest.param(
            {"funds": {TREASURY: BaseUnits(1_099)}},
            Hold.INSUFFICIENT_FUNDS,
            id="one unit short of amount and fee",
        ),
        pytest.param({"funds": {}}, Hold.INSUFFICIENT_FUNDS, id="nothing is known of its funds"),
    ],
)
def test_the_world_keeps_an_item_for_one_named_reason(change: Any, expected: Hold | None) -> None:
    """Waiting states: none of them cancels anything (protocol.md §2)."""
    assert expected == worldly_hold(PAYABLE, replace(AROUND, **change))


def test_where_no_funds_are_known_there_are_none() -> None:
    """Not even for the smallest payment that costs nothing."""
    smallest = replace(PAYABLE, amount=BaseUnits(1))
    free = replace(AROUND, fee=BaseUnits(0), funds={})
    assert worldly_hold(smallest, free) is Hold.INSUFFICIENT_FUNDS
