"""Orders about disbursements, over fakes: who is told what, in which order."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.fakes import FakeWorld, disbursement

from treasuryd.commands import disbursements
from treasuryd.commands.fields import Person
from treasuryd.core.events import EventKind
from treasuryd.core.model import (
    BaseUnits,
    DisbursementId,
    Height,
    Hold,
    Intent,
    IntentId,
    Nonce,
    State,
    Status,
    Term,
    TxHash,
    Variant,
    VariantKind,
)
from treasuryd.errors import Refusal, Rejected

ANN = Person(who="ann", reason="looked at the chain")
ONE, TWO = DisbursementId(1), DisbursementId(2)
GOOD = {"destination": "tb1payee", "amount": 5, "scheduled_epoch": 1}


def bound(number: int, state: State, *, signed: bool = True) -> Intent:
    item = disbursement(number)
    return Intent(
        id=IntentId(number * 10),
        account=item.account,
        nonce=Nonce(number),
        disbursement_id=item.id,
        destination=item.destination,
        amount=item.amount,
        memo=item.memo,
        payload_digest=item.payload_digest,
        idempotency_key="k",
        term=Term(1),
        state=state,
        variants=(
            Variant(
                number=1,
                kind=VariantKind.PAYMENT,
                fee=BaseUnits(1),
                tx_hash=TxHash("ab" * 32) if signed else None,
            ),
        ),
    )


def held(world: FakeWorld, number: int, hold: Hold, *intents: Intent) -> None:
    world.desk.put(disbursement(number, status=Status.TIMELOCKED, hold=hold))
    world.desk.bound[DisbursementId(number)] = list(intents)


async def test_submitting_wakes_the_executor_and_is_told_once() -> None:
    """A repeated request is no event."""
    world = FakeWorld()
    office = world.office()
    for _ in range(2):
        await disbursements.submit(office, [GOOD], key=None)
    assert world.observer.kinds() == [EventKind.SUBMITTED]
    assert world.engine.wakes == 1


@pytest.mark.parametrize("verb", ["submit", "open_batch", "add_part", "seal_batch"])
async def test_a_stopping_process_takes_nothing_in(verb: str) -> None:
    """§6.7: intake stops first; the caller hears that nothing was stored, and what to do."""
    world = FakeWorld()
    office = world.office()
    world.engine.state = replace(world.engine.state, stopping=True)
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "submit": lambda: disbursements.submit(office, [GOOD], key="k"),
        "open_batch": lambda: disbursements.open_batch(office, "b"),
        "add_part": lambda: disbursements.add_part(office, "b", 0, [GOOD]),
        "seal_batch": lambda: disbursements.seal_batch(office, "b", parts=1),
    }
    with pytest.raises(Rejected, match="stopping") as caught:
        await calls[verb]()
    assert caught.value.kind is Refusal.UNAVAILABLE
    assert (world.desk.items, world.desk.batches, world.engine.wakes) == ({}, {}, 0)


async def test_every_error_travels_with_the_refusal() -> None:
    """The first one is the message, all of them are there."""
    with pytest.raises(disbursements.Unsound) as found:
        await disbursements.submit(FakeWorld().office(), [GOOD, {}, {**GOOD, "amount": 0}], key=None)
    assert found.value.field == "items[1].destination"
    assert {str(error.field).split(".")[0] for error in found.value.errors} == {"items[1]", "items[2]"}


async def test_the_signer_is_told_before_a_hold_ends() -> None:
    """protocol.md R11: what was signed and proved void, and nothing that never was."""
    world = FakeWorld()
    held(world, 1, Hold.NEEDS_RELEASE, bound(1, State.VOID), replace(bound(3, State.VOID, signed=False)))
    (outcome,) = await disbursements.release(world.office(), (ONE,), ANN)
    assert outcome.done
    assert world.signer.confirmed == [IntentId(10)]
    assert world.observer.kinds() == [EventKind.RELEASED]


async def test_what_the_signer_does_not_confirm_stays_held() -> None:
    """The other items of the order are released all the same, each with its own answer."""
    world = FakeWorld()
    held(world, 1, Hold.NEEDS_RELEASE, bound(1, State.VOID))
    held(world, 2, Hold.REFUSED)
    world.signer.refuses = {IntentId(10)}
    first, second = await disbursements.release(world.office(), (ONE, TWO), ANN)
    assert (first.done, first.what, second.done) == (False, "unknown", True)
    assert world.desk.items[ONE].hold is Hold.NEEDS_RELEASE
    assert world.desk.items[TWO].hold is None


async def test_a_refusal_by_policy_needs_no_confirmation() -> None:
    """Nothing was signed: a new intent is a new question (protocol.md R11)."""
    world = FakeWorld()
    held(world, 1, Hold.REFUSED, bound(1, State.VOID, signed=False))
    await disbursements.release(world.office(), (ONE,), ANN)
    assert world.signer.confirmed == []


@pytest.mark.parametrize(("paid", "told"), [(True, []), (False, [IntentId(10)])])
async def test_a_verdict_of_void_reaches_the_signer_first(paid: bool, told: list[IntentId]) -> None:
    """A verdict of paid does not: its bytes stay what they are."""
    world = FakeWorld()
    held(world, 1, Hold.AMBIGUOUS, bound(1, State.AMBIGUOUS))
    (outcome,) = await disbursements.resolve(world.office(), (ONE,), paid=paid, by=ANN)
    assert outcome.done
    assert world.signer.confirmed == told


async def test_the_signer_hears_nothing_of_what_cannot_be_judged_yet() -> None:
    """Not ambiguous, or not at depth: a signer that took it for void would refuse its further variants."""
    world = FakeWorld()
    held(world, 1, Hold.AMBIGUOUS, bound(1, State.AMBIGUOUS))
    held(world, 2, Hold.NEEDS_RELEASE, bound(2, State.BROADCAST))
    world.desk.deep_at = Height(9_999)
    rows = await disbursements.resolve(world.office(), (ONE, TWO), paid=False, by=ANN)
    assert [(row.done, row.what) for row in rows] == [(False, "not_deep"), (False, "not_ambiguous")]
    assert world.signer.confirmed == []
    assert world.desk.bound[ONE][0].state is State.AMBIGUOUS


async def test_a_draft_is_queued_by_the_tick() -> None:
    """D21: this asks the executor to look, and looks itself; nobody passes an epoch."""
    world = FakeWorld()
    world.desk.put(disbursement(1))

    def third_tick() -> None:
        if world.engine.wakes == 3:
            world.desk.put(disbursement(1, status=Status.VOTING))

    world.engine.on_wake = third_tick
    found = await disbursements.queue(world.office(), ONE)
    assert (found.status, world.engine.wakes) == (Status.VOTING, 3)


async def test_waiting_for_a_tick_is_bounded() -> None:
    """About a second, then the truth: still a draft."""
    world = FakeWorld()
    world.desk.put(disbursement(1))
    with pytest.raises(Rejected, match="still a draft") as found:
        await disbursements.queue(world.office(), ONE)
    assert found.value.kind is Refusal.UNAVAILABLE
    assert sum(world.clock.slept) <= 1.001


@pytest.mark.parametrize("order", ["cancel", "release", "resolve"])
async def test_an_order_over_many_answers_each_in_order(order: str) -> None:
    """One outcome per id, whatever became of it."""
    world = FakeWorld()
    held(world, 1, Hold.REFUSED, bound(1, State.AMBIGUOUS))
    held(world, 2, Hold.REFUSED, bound(2, State.AMBIGUOUS))
    more: dict[str, Any] = {"paid": True} if order == "resolve" else {}
    verb = getattr(disbursements, order)
    rows = await verb(world.office(), (TWO, ONE), by=ANN, **more)
    assert [row.id for row in rows] == [TWO, ONE]


async def test_rolling_back_and_reopening_are_told() -> None:
    """Each is one event and one look of the executor."""
    world = FakeWorld()
    world.desk.put(disbursement(1, status=Status.EXECUTED))
    world.desk.put(disbursement(2, status=Status.FINALIZED))
    await disbursements.rollback(world.office(), ONE, ANN)
    await disbursements.reopen(world.office(), TWO, ANN)
    assert world.observer.kinds() == [EventKind.ROLLED_BACK, EventKind.REOPENED]
    assert world.engine.wakes == 2
