from dataclasses import replace

import pytest
from tests.core.chainlab import (
    ALICE,
    BOB,
    DEPTH,
    FEE,
    OPENING,
    RULES,
    SINK,
    TREASURY,
    Lab,
    Tx,
    adopted,
    intent,
    of_type,
)

from treasuryd.core import restore
from treasuryd.core.changes import BaselineMoved, Booked, FrozenNow, Seen, Unproven
from treasuryd.core.confirmation import Verdict
from treasuryd.core.events import Event, EventKind, Severity
from treasuryd.core.model import (
    Account,
    AccountId,
    AccountState,
    Address,
    Announced,
    BalanceKind,
    BaseUnits,
    DisbursementId,
    Evidence,
    Frame,
    FreezeCause,
    Height,
    IntentId,
    Nonce,
    State,
)
from treasuryd.core.settling import LOOKUP_PATIENCE

SECOND = AccountId("treasury-2")


@pytest.fixture
def lab() -> Lab:
    return adopted(blocks=DEPTH + 1)


def stranger(amount: int = 0, charge: int = 0, to: str = "thief") -> Tx:
    return Tx(TREASURY, to, amount, charge, "stranger")


def test_a_mined_payment_is_seen_at_the_frame(lab: Lab) -> None:
    """§5.1: included, evidence BALANCE, the block is the frame's."""
    one = intent(1)
    lab.add(one)
    lab.mine(lab.tx(one))
    lab.mine()
    seen = [change for change in lab.tick() if isinstance(change, Seen)]
    assert [(lab.height, lab.blocks[-1].hash, FEE, Evidence.BALANCE)] == [
        (change.height, change.block_hash, change.fee_charged, change.evidence) for change in seen
    ]
    assert lab.explained() == lab.by_baseline()


def test_dust_in_the_interval_neither_hides_nor_freezes(lab: Lab) -> None:
    """N7: a small deposit beside a payment is funding, the payment is seen."""
    one = intent(1)
    lab.add(one)
    lab.mine(lab.tx(one), deposits={TREASURY: 9})
    verdict = lab.tick()
    assert of_type(verdict, Seen)
    assert lab.booked
    assert [kind for kind, _, _ in lab.booked] == [BalanceKind.FUNDING]
    assert lab.explained() == lab.by_baseline()
    assert not lab.frozen


def test_a_base_fee_jump_between_admission_and_inclusion_freezes_nothing(lab: Lab) -> None:
    """N6: the charge follows the including block, and may exceed the signed fee."""
    one = intent(1)
    lab.add(one)
    lab.mine(lab.tx(one, charge=FEE + 40), base_fee=41)
    assert of_type(lab.tick(), Seen)
    assert lab.explained() == lab.by_baseline()
    assert not lab.frozen


def test_a_foreign_spend_freezes_and_is_never_our_payment(lab: Lab) -> None:
    """N8: the account is frozen at the next read, our intent is ambiguous with its two frames."""
    lab.add(intent(1))
    before = lab.account().baseline
    lab.mine(stranger(charge=5))
    verdict = lab.tick()
    assert not of_type(verdict, Seen)
    assert [(before, lab.frame())] == [
        (change.first, change.second) for change in verdict if isinstance(change, Unproven)
    ]
    assert [change for change in verdict if isinstance(change, FrozenNow)] == [
        FrozenNow(
            account=TREASURY,
            cause=FreezeCause.FOREIGN_NONCE,
            detail=f"{ALICE} rose by 0 and is owed 5000, without having moved",
            thaw_above=Nonce(1),
        )
    ]
    assert not of_type(verdict, Booked), "its remainder is booked by the person who judges it"
    assert lab.account().baseline == lab.frame(), "the baseline always advances"
    assert lab.account().thaw_above == 1


def test_nonces_of_nobody_freeze_without_any_intent(lab: Lab) -> None:
    """R14: the count rose above our highest staged nonce; the fall is booked as unexplained."""
    lab.mine(stranger(amount=70), stranger())
    lab.tick()
    assert lab.frozen == [
        FrozenNow(
            account=TREASURY,
            cause=FreezeCause.FOREIGN_NONCE,
            detail="2 consumed nonces up to 2 belong to no intent of ours",
            thaw_above=Nonce(2),
        )
    ]
    assert [(kind, delta) for kind, delta, _ in lab.booked] == [(BalanceKind.UNEXPLAINED, -70)]
    assert not lab.tick().changes


def test_the_fall_of_one_strangers_spend_is_told_once(lab: Lab) -> None:
    """R14: the foreign nonce explains it; it is no second finding."""
    lab.mine(stranger(amount=70))
    lab.tick()
    assert [one.cause for one in lab.frozen] == [FreezeCause.FOREIGN_NONCE]


def test_a_nonce_of_nobody_beside_ours_leaves_ours_ambiguous(lab: Lab) -> None:
    """§5.1: if a consumed nonce has no live intent, all intents of the interval are ambiguous."""
    one = intent(1)
    lab.add(one)
    lab.mine(lab.tx(one), stranger())
    lab.tick()
    assert lab.state(1) is State.AMBIGUOUS
    assert lab.account().state is AccountState.FROZEN


def test_a_deposit_of_half_the_payment_is_a_persons_and_the_account_works_on(lab: Lab) -> None:
    """§5.1: unannounced deposits as large as the payment make it ambiguous, and freeze nothing."""
    one, two = intent(1), intent(2)
    lab.add(one, two)
    lab.mine(lab.tx(one), deposits={TREASURY: one.amount})
    lab.tick()
    assert lab.state(1) is State.AMBIGUOUS
    lab.mine(lab.tx(two))
    lab.tick()
    assert lab.state(2) is State.INCLUDED
    assert not lab.frozen


def test_an_announced_deposit_beside_a_payment_is_used_up_by_it(lab: Lab) -> None:
    """protocol.md §5.1 item 3: a person said that it would come, so the payment is certain all the same."""
    one = intent(1)
    lab.announced = [Announced(id=7, account=TREASURY, amount=BaseUnits(one.amount))]
    lab.add(one)
    lab.mine(lab.tx(one), deposits={TREASURY: one.amount})
    verdict = lab.tick()
    assert of_type(verdict, Seen)
    assert [change for change in verdict if isinstance(change, Booked)] == [
        Booked(
            account=TREASURY,
            kind=BalanceKind.FUNDING,
            delta=one.amount,
            height=Height(lab.height),
            announced=(7,),
        )
    ]


def test_a_cancel_is_seen_by_the_sink_of_its_account(lab: Lab) -> None:
    """R7: its one unit arrived there, and the payee got nothing."""
    one = intent(1, cancel_fee=FEE)
    lab.add(one)
    lab.mine(lab.tx(one, 2))
    assert [change.variant for change in lab.tick() if isinstance(change, Seen)] == [2]


def test_a_fall_with_no_nonce_used_freezes(lab: Lab) -> None:
    """D23, R14: nothing of ours was consumed, and the balance fell."""
    lab.mine(deposits={TREASURY: -1})
    lab.tick()
    assert [one.cause for one in lab.frozen] == [FreezeCause.UNEXPLAINED_FALL]


def test_nothing_is_held_against_us_while_the_frame_may_be_replaced(lab: Lab) -> None:
    """R9: without the header of the frame itself a good verdict stands, a bad one waits."""
    one = intent(1)
    lab.add(one)
    lab.mine(lab.tx(one))
    top = lab.height
    assert of_type(lab.tick(header=lambda height: None if height == top else lab.header(height)), Seen)
    lab.add(intent(2))
    for bad in (stranger(), stranger(amount=9)):
        lab.mine(bad)
        high = lab.height
        verdict = lab.tick(header=lambda height, high=high: None if height == high else lab.header(height))  # type: ignore[misc]
        assert not verdict.changes
    lab.intents.popitem()
    assert not lab.tick(header=lambda height: None if height == lab.height else lab.header(height)).changes
    assert not lab.frozen


def test_a_payment_in_a_block_that_was_replaced_is_not_seen(lab: Lab) -> None:
    """R9: the frame was true when it was read, and its block is gone: the next frame decides."""
    one = intent(1)
    lab.add(one)
    lab.mine(lab.tx(one))
    gone = lab.frame()
    lab.reorg(1)
    lab.mine()
    assert not lab.tick(of=gone).changes
    assert not of_type(lab.tick(), Seen)


def test_what_look_up_has_settled_of_an_interval_is_not_a_strangers(lab: Lab) -> None:
    """interfaces.md §5: look-up decided a part and was lost; the rest is judged by what it leaves unexplained."""
    both = [intent(1), intent(2)]
    lab.add(*both)
    lab.mine(*(lab.tx(one) for one in both))
    lab.evidence = Evidence.HASH
    lab.tick(find=lambda asked: lab.find(asked) if asked.id == 1 else None)
    assert lab.state(1) is State.INCLUDED
    lab.evidence = Evidence.BALANCE
    assert [change.intent_id for change in lab.tick() if isinstance(change, Seen)] == [2]
    assert lab.explained() == lab.by_baseline()
    assert not lab.frozen


def test_what_look_up_has_settled_explains_its_part_of_the_fall(lab: Lab) -> None:
    """interfaces.md §5: it saw the payment under an unsure frame, and was lost: the rest of the fall is booked."""
    one = intent(1)
    lab.add(one)
    lab.mine(lab.tx(one), deposits={TREASURY: -9})
    lab.mine()
    top = lab.height
    lab.evidence = Evidence.HASH
    lab.tick(header=lambda height: None if height == top else lab.header(height))
    assert lab.state(1) is State.INCLUDED
    lab.evidence = Evidence.BALANCE
    lab.tick()
    assert [(kind, delta) for kind, delta, _ in lab.booked] == [(BalanceKind.UNEXPLAINED, -9)]
    assert lab.explained() == lab.by_baseline()


def test_a_staged_intent_whose_nonce_is_consumed_waits_for_the_signer(lab: Lab) -> None:
    """R5: its bytes may have left before a restore; the interval is judged once the signer has answered."""
    one = intent(1, state=State.STAGED)
    lab.add(one)
    lab.mine(lab.tx(intent(1)))
    verdict = lab.tick()
    assert [asked.id for asked in verdict.ask_signer] == [1]
    assert not verdict.changes
    lab.add(intent(1))
    assert of_type(lab.tick(), Seen)


def test_a_list_that_was_cut_is_judged_when_it_is_whole(lab: Lab) -> None:
    """§5.1 needs every consumed intent of the interval: a part of it proves nothing."""
    both = [intent(1), intent(2)]
    lab.add(*both)
    lab.mine(*(lab.tx(one) for one in both))
    lab.limit = 1
    assert not lab.tick().changes
    lab.limit = 2
    assert len(of_type(lab.tick(), Seen)) == 2


def test_what_was_consumed_before_the_baseline_is_a_persons(lab: Lab) -> None:
    """§8: adopted above it, no interval can tell what used its nonce."""
    lab.mine(stranger())
    lab.accounts[TREASURY] = Account(id=TREASURY)
    lab.tick()
    lab.add(intent(1))
    baseline = lab.account().baseline
    lab.mine()
    assert [(baseline, baseline)] == [
        (change.first, change.second) for change in lab.tick() if isinstance(change, Unproven)
    ]


def test_what_was_sent_under_look_up_waits_for_it_and_then_for_a_person(lab: Lab) -> None:
    """interfaces.md §5: its destination does not stand in the baseline, so balances prove nothing of it."""
    lab.evidence, lab.addresses = Evidence.HASH, (Address(TREASURY), SINK)
    lab.tick()
    one = intent(1)
    lab.add(one)
    lab.mine(lab.tx(one))
    lab.evidence, lab.addresses = Evidence.BALANCE, (Address(TREASURY), SINK, ALICE)
    waiting = lab.tick()
    assert waiting.events == (
        Event(
            kind=EventKind.LOOKUP_MISSING,
            severity=Severity.WARNING,
            account=TREASURY,
            count=1,
            ids=(DisbursementId(1),),
            detail="sent while there was look-up; their destinations do not stand in the baseline",
        ),
    )
    assert not waiting.changes
    for _ in range(LOOKUP_PATIENCE * DEPTH - 1):
        lab.mine()
    assert not lab.tick().changes, "as many blocks as it is waited for"
    lab.mine()
    assert of_type(lab.tick(), Unproven)
    assert not lab.frozen


def blind(lab: Lab) -> Frame:
    """The newest frame of an endpoint whose base fee could not be read."""
    return replace(lab.frame(), base_fee=None)


def unproven(verdict: Verdict) -> list[IntentId]:
    return [change.intent_id for change in verdict if isinstance(change, Unproven)]


def test_a_frame_without_its_base_fee_is_passed_over_for_a_while(lab: Lab) -> None:
    """§5.1 item 2: nothing fits where a reading is missing; a later frame that has it shows the payment."""
    one = intent(1)
    lab.add(one)
    lab.mine(lab.tx(one))
    for _ in range(LOOKUP_PATIENCE * DEPTH - 1):
        assert not lab.tick(of=blind(lab)).changes
        lab.mine()
    assert not lab.tick(of=blind(lab)).changes, "as many blocks as it is waited for"
    assert of_type(lab.tick(), Seen)


def test_a_base_fee_that_does_not_come_leaves_the_payment_to_a_person(lab: Lab) -> None:
    """§5.1: after four times k blocks the frame is taken as it is; the next one begins where it ends."""
    one, two = intent(1), intent(2)
    lab.add(one, two)
    lab.mine(lab.tx(one))
    for _ in range(LOOKUP_PATIENCE * DEPTH):
        lab.mine()
    assert unproven(lab.tick(of=blind(lab))) == [one.id]
    lab.mine(lab.tx(two))
    assert unproven(lab.tick(of=blind(lab))) == [two.id]


def test_income_without_a_base_fee_waits_for_a_frame_that_has_it(lab: Lab) -> None:
    """An account at rest keeps the frame whose base fee is known, so that what it sends next can be proved."""
    lab.mine()
    assert not lab.tick(of=blind(lab)).changes
    lab.mine(deposits={TREASURY: 5})
    assert not lab.tick(of=blind(lab)).changes
    lab.tick()
    assert [(kind, delta) for kind, delta, _ in lab.booked] == [(BalanceKind.FUNDING, 5)]


@pytest.mark.parametrize("with_ours", [False, True])
def test_a_stranger_freezes_at_first_sight_though_the_base_fee_is_missing(
    lab: Lab, *, with_ours: bool
) -> None:
    """R14: what no base fee explains does not wait for one."""
    one = intent(1)
    if with_ours:
        lab.add(one)
        lab.mine(lab.tx(one), stranger())
    else:
        lab.mine(stranger())
    lab.tick(of=blind(lab))
    assert [change.cause for change in lab.frozen] == [FreezeCause.FOREIGN_NONCE]


def test_a_fall_freezes_at_first_sight_though_the_base_fee_is_missing(lab: Lab) -> None:
    """R14: nothing of ours was consumed, so no fee can be the reason."""
    lab.mine(deposits={TREASURY: -1})
    lab.tick(of=blind(lab))
    assert [change.cause for change in lab.frozen] == [FreezeCause.UNEXPLAINED_FALL]


def test_an_event_names_no_more_than_twenty_of_what_waits_for_look_up(lab: Lab) -> None:
    """Bounds on everything: all are counted."""
    lab.evidence, lab.addresses = Evidence.HASH, (Address(TREASURY), SINK)
    lab.tick()
    many = [intent(number, amount=10) for number in range(1, 22)]
    lab.add(*many)
    lab.mine(*(lab.tx(one) for one in many))
    lab.evidence = Evidence.BALANCE
    (event,) = lab.tick().events
    assert (event.count, event.ids) == (21, tuple(range(1, 21)))


def test_what_was_consumed_before_the_baseline_is_told_beside_what_is_seen(lab: Lab) -> None:
    """§8: the one is a person's, the other is proved by the interval."""
    lab.mine(stranger())
    lab.accounts[TREASURY] = Account(id=TREASURY)
    lab.tick()
    two = intent(2)
    lab.add(intent(1), two)
    lab.mine(lab.tx(two))
    assert [Unproven, Seen, BaselineMoved] == [type(change) for change in lab.tick()]


def test_look_up_that_returns_decides_what_waited(lab: Lab) -> None:
    """interfaces.md §5: lost for a moment and back again: nothing became ambiguous."""
    lab.evidence, lab.addresses = Evidence.HASH, (Address(TREASURY), SINK)
    lab.tick()
    one = intent(1)
    lab.add(one)
    lab.mine(lab.tx(one))
    lab.evidence = Evidence.BALANCE
    lab.tick()
    lab.evidence = Evidence.HASH
    assert of_type(lab.tick(), Seen)


def test_a_quarantined_account_keeps_its_baseline(lab: Lab) -> None:
    """§8: the backup's baseline is what §5.1 will be tried with."""
    one = intent(1)
    lab.add(one)
    lab.accounts[TREASURY] = replace(lab.account(), state=AccountState.QUARANTINED)
    lab.mine(lab.tx(one))
    assert not lab.tick().changes


def test_what_was_taken_up_after_a_restore_is_proved_by_balances_and_the_signer_is_asked_nothing(
    lab: Lab,
) -> None:
    """§8: what the signer bound was adopted with its bytes; a staged row waits for a person."""
    one, staged = intent(1), intent(2, state=State.STAGED)
    lab.add(one)
    lab.accounts[TREASURY] = replace(lab.account(), state=AccountState.QUARANTINED, cause=restore.TAKEN_UP)
    lab.mine(lab.tx(one))
    assert of_type(lab.tick(), Seen)
    lab.add(staged)
    lab.mine(stranger())
    verdict = lab.tick()
    assert (verdict.changes, verdict.ask_signer) == ((), ())


@pytest.mark.parametrize("seen", [False, True], ids=["in this interval", "before the baseline"])
def test_in_quarantine_the_signer_is_asked_of_a_staged_filler(lab: Lab, *, seen: bool) -> None:
    """§8.4: whether its nonce was consumed before it was staged or after, it is never signed."""
    staged = intent(1, cancel_fee=FEE, filler=True, state=State.STAGED)
    lab.accounts[TREASURY] = replace(lab.account(), state=AccountState.QUARANTINED, cause=restore.TAKEN_UP)
    lab.mine(stranger())
    if seen:
        lab.tick()
    lab.add(staged)
    assert lab.tick().ask_signer == (staged,)


def two_accounts() -> Lab:
    """Two paying accounts of one store, both read in each frame."""
    lab = Lab(opening={TREASURY: OPENING, SECOND: OPENING})
    lab.addresses = (*lab.addresses, Address(SECOND), Address("treasury-2-sink"))
    lab.accounts[SECOND] = Account(id=SECOND)
    lab.mine()
    lab.tick()
    return lab


def test_one_rise_is_not_credited_to_two_accounts() -> None:
    """§5.1 item 1: the payments of all accounts of the store count; one income cannot prove two of them."""
    lab = two_accounts()
    ours, theirs = intent(1), intent(2, nonce=1, account=SECOND)
    lab.add(ours, theirs)
    lab.mine(lab.tx(theirs), stranger(amount=ours.amount, charge=FEE))
    lab.tick()
    assert lab.state(1) is State.AMBIGUOUS
    assert lab.state(2) is State.AMBIGUOUS


def test_both_accounts_paid_and_both_are_seen() -> None:
    """§5.1 item 1: the destination rose by the sum."""
    lab = two_accounts()
    ours, theirs = intent(1), intent(2, nonce=1, account=SECOND)
    lab.add(ours, theirs, intent(3, nonce=2, account=SECOND))
    lab.mine(lab.tx(theirs), lab.tx(ours))
    assert len(of_type(lab.tick(), Seen)) == 2


def test_what_another_account_paid_before_the_interval_does_not_count_against_us() -> None:
    """§5.1 item 1: its nonce was consumed in the baseline already; the rise of this interval is ours."""
    lab = two_accounts()
    ours, theirs = intent(1), intent(2, nonce=1, account=SECOND)
    lab.add(ours, theirs)
    lab.mine(lab.tx(theirs))
    lab.tick()
    lab.mine(lab.tx(ours))
    assert [change.intent_id for change in lab.tick() if isinstance(change, Seen)] == [1]


def test_an_account_that_the_frame_does_not_show_counts_against_us() -> None:
    """§5.1 item 1: what another account of the store may have paid is never taken for ours."""
    lab = two_accounts()
    ours, theirs = intent(1, to=BOB), intent(2, nonce=1, account=SECOND, to=BOB, state=State.FINAL)
    lab.add(ours, theirs)
    lab.addresses = (Address(TREASURY), SINK, ALICE, BOB)
    del lab.accounts[SECOND]
    lab.mine()
    lab.tick()
    lab.mine(lab.tx(ours))
    verdict = lab.tick()
    assert not of_type(verdict, Seen)
    assert of_type(verdict, BaselineMoved)
    assert not lab.frozen, "nor is it held against anybody"


def test_two_of_one_account_leave_a_mover_to_the_fall() -> None:
    """§5.1: a listed destination is decided by our own fall, evidence PAYER."""
    lab = adopted(rules=replace(RULES, movers=frozenset({ALICE})))
    one = intent(1)
    lab.add(one)
    lab.mine(lab.tx(one), Tx(ALICE, "elsewhere", one.amount, 0, "sweep"))
    seen = [change for change in lab.tick() if isinstance(change, Seen)]
    assert [change.evidence for change in seen] == [Evidence.PAYER]
    assert Nonce(1) == one.nonce
