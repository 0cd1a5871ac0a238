from dataclasses import replace

import pytest
from tests.core.chainlab import (
    ALICE,
    CANCEL,
    DEPTH,
    FEE,
    OPENING,
    PAYMENT,
    TREASURY,
    Lab,
    Tx,
    adopted,
    intent,
    of_type,
)

from treasuryd.core import restore
from treasuryd.core.changes import BaselineMoved, Booked, Burned, FrozenNow, Seen
from treasuryd.core.model import (
    Account,
    AccountState,
    Announced,
    BalanceKind,
    BaseUnits,
    BlockHash,
    Evidence,
    FreezeCause,
    Height,
    Intent,
    IntentId,
    Sighting,
    State,
)


@pytest.fixture
def lab() -> Lab:
    return adopted(Evidence.HASH, blocks=DEPTH + 1)


def stranger(amount: int = 0, charge: int = 0) -> Tx:
    return Tx(TREASURY, "thief", amount, charge, "stranger")


def quarantine(lab: Lab) -> None:
    lab.accounts[TREASURY] = replace(lab.account(), state=AccountState.QUARANTINED)


def test_a_mined_payment_is_seen_and_booked_at_what_was_charged(lab: Lab) -> None:
    """D12, N5: included when it is in a block, with the charge that the look-up names, a raised tip included."""
    one = intent(1)
    lab.add(one)
    lab.mine(lab.tx(one, charge=FEE + 1))
    verdict = lab.tick()
    assert [(change.height, change.fee_charged) for change in verdict if isinstance(change, Seen)] == [
        (DEPTH + 2, FEE + 1)
    ]
    assert not of_type(verdict, Booked)
    assert lab.explained() == lab.by_baseline()


def test_dust_is_funding_and_uses_up_what_was_announced(lab: Lab) -> None:
    """N7: a deposit is booked and freezes nothing."""
    lab.announced = [Announced(id=7, account=TREASURY, amount=BaseUnits(40))]
    lab.mine(deposits={TREASURY: 45})
    booked = of_type(lab.tick(), Booked)
    assert [
        Booked(account=TREASURY, kind=BalanceKind.FUNDING, delta=45, height=Height(DEPTH + 2), announced=(7,))
    ] == booked
    assert not lab.frozen


def test_a_fall_that_nothing_explains_freezes(lab: Lab) -> None:
    """D23, R14: the balance fell while no nonce of ours was used."""
    lab.mine(deposits={TREASURY: -100})
    verdict = lab.tick()
    assert [change.cause for change in verdict if isinstance(change, FrozenNow)] == [
        FreezeCause.UNEXPLAINED_FALL
    ]
    assert lab.explained() == lab.by_baseline() == OPENING - 100
    assert not lab.tick().changes, "said once"


def test_a_strangers_nonce_freezes_at_first_sight_and_voids_at_finality(lab: Lab) -> None:
    """R5 a, R14, N8: not found proves nothing before the nonce is burned; the account freezes at once."""
    one = intent(1)
    lab.add(one)
    lab.mine(stranger(charge=5))
    first = lab.tick()
    assert [(change.thaw_above, change.cause) for change in first if isinstance(change, FrozenNow)] == [
        (1, FreezeCause.FOREIGN_NONCE)
    ]
    assert not of_type(first, Burned)
    for _ in range(DEPTH - 1):
        lab.mine()
        assert not of_type(lab.tick(), Burned)
    lab.mine()
    assert of_type(lab.tick(), Burned)
    assert lab.state(1) is State.VOID
    assert len(lab.frozen) == 1
    assert lab.explained() == lab.by_baseline()


def test_a_nonce_of_nobody_freezes_and_a_higher_one_raises_the_bar(lab: Lab) -> None:
    """R14: a consumed nonce without any intent of ours; thawing waits for the highest one seen."""
    lab.mine(stranger())
    lab.tick()
    lab.mine(stranger())
    lab.tick()
    lab.mine()
    lab.tick()
    assert [change.thaw_above for change in lab.frozen] == [1, 2]


def test_a_strangers_nonce_between_ours_is_named(lab: Lab) -> None:
    """R14: nonce 1 is nobody's, nonce 2 is ours and paid."""
    two = intent(2)
    lab.add(two)
    lab.mine(stranger(), lab.tx(two))
    lab.tick()
    assert [change.thaw_above for change in lab.frozen] == [1]
    assert lab.state(2) is State.INCLUDED


def test_an_answer_older_than_the_frame_decides_nothing(lab: Lab) -> None:
    """R4, R5: a lagging look-up is no evidence; the baseline waits with it."""
    one, two = intent(1), intent(2)
    lab.add(one, two)
    lab.mine(lab.tx(one), lab.tx(two))
    lab.knows_intervals = False

    def lagging(asked: Intent) -> Sighting | None:
        return Sighting(intent_id=IntentId(1), as_of=Height(1)) if asked.id == 1 else lab.find(asked)

    assert not lab.tick(find=lagging).changes
    assert not lab.tick(find=lambda asked: None).changes
    lab.knows_intervals = True
    partly = lab.tick(find=lagging)
    assert [change.intent_id for change in partly if isinstance(change, Seen)] == [2]
    assert not of_type(partly, BaselineMoved)
    rest = lab.tick()
    assert [change.intent_id for change in rest if isinstance(change, Seen)] == [1]
    assert not of_type(rest, Booked)
    assert lab.explained() == lab.by_baseline()


def test_a_list_that_was_cut_is_settled_part_by_part(lab: Lab) -> None:
    """protocol.md §4: what the view had no room for is nobody's stranger."""
    several = [intent(number) for number in range(1, 6)]
    lab.add(*several)
    lab.mine(*(lab.tx(one) for one in several))
    lab.limit = 2
    for expected in (2, 4, 5):
        lab.tick()
        assert expected == sum(lab.state(number) is State.INCLUDED for number in range(1, 6))
    assert not lab.frozen
    assert lab.explained() == lab.by_baseline() == lab.held(TREASURY)[0]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"variant": 9}, id="a variant that we never made"),
        pytest.param({"height": None}, id="no height"),
        pytest.param({"block_hash": None}, id="no block"),
        pytest.param({"fee_charged": None}, id="no charge"),
        pytest.param({"height": Height(99)}, id="above the frame"),
        pytest.param({"block_hash": BlockHash("7:5")}, id="a block of another fork"),
    ],
)
def test_garbage_from_a_look_up_decides_nothing(lab: Lab, change: dict[str, object]) -> None:
    """One bad answer harms nobody: the intent stays as it is, and so does the baseline."""
    one = intent(1)
    lab.add(one)
    lab.mine(lab.tx(one))
    assert not lab.tick(find=lambda asked: replace(lab.find(asked), **change)).changes  # type: ignore[arg-type]
    assert of_type(lab.tick(), Seen)


def test_nothing_is_held_against_us_while_the_frame_may_be_replaced(lab: Lab) -> None:
    """R9: a look-up of another fork than the frame's knows nothing of it; the header tells, read last."""
    one = intent(1)
    lab.add(one)
    lab.mine(lab.tx(one))
    seen = lab.frame()
    lab.reorg(1)
    lab.mine()
    assert not lab.tick(of=seen).changes, "the block was replaced"
    lab.mine(deposits={TREASURY: -5})
    before = lab.height
    blind = lab.tick(header=lambda height: None if height == before else lab.header(height))
    assert not blind.changes, "the block is not known to stand: a fall waits"
    lab.mine(stranger())
    top = lab.height
    assert not lab.tick(header=lambda height: None if height == top else lab.header(height)).changes
    assert not lab.frozen


def test_a_spend_of_nothing_is_not_passed_over_while_the_frame_is_unsure(lab: Lab) -> None:
    """R14: the balance says nothing of it, so the baseline must not move above it before it is judged."""
    lab.add(intent(1))
    lab.mine(stranger())
    top = lab.height
    assert not lab.tick(header=lambda height: None if height == top else lab.header(height)).changes
    assert of_type(lab.tick(), FrozenNow)


def test_the_cancel_variant_found_is_the_outcome(lab: Lab) -> None:
    """R7, R5 a: whichever is final decides; the cancel makes it void, its unit and fee are booked."""
    one = intent(1, cancel_fee=FEE)
    lab.add(one)
    lab.mine(lab.tx(one, 2))
    lab.tick()
    assert lab.explained() == lab.by_baseline() == OPENING - 1 - FEE
    for _ in range(DEPTH):
        lab.mine()
        lab.tick()
    assert lab.state(1) is State.VOID
    assert {PAYMENT, CANCEL} == {used.kind for used in one.variants}


def test_a_staged_intent_whose_nonce_is_consumed_is_the_signers_to_answer(lab: Lab) -> None:
    """R5: its bytes may have left before a restore: the signer is asked what it bound, and nothing is void before."""
    lab.add(intent(1, state=State.STAGED))
    lab.mine(stranger())
    verdict = lab.tick()
    assert [one.id for one in verdict.ask_signer] == [1]
    assert not verdict.changes


def test_a_payment_found_after_all_takes_back_the_unexplained_fall(lab: Lab) -> None:
    """R4: frozen for a stranger, then the look-up finds it: executed, and the books still equal the chain."""
    one = intent(1)
    lab.add(one)
    lab.mine(lab.tx(one))
    absent = lab.tick(find=lambda asked: Sighting(intent_id=asked.id, as_of=Height(lab.height)))
    assert of_type(absent, FrozenNow)
    verdict = lab.tick()
    assert of_type(verdict, Seen)
    assert lab.explained() == lab.by_baseline()
    assert lab.account().state is AccountState.FROZEN, "only a person thaws"


def test_a_quarantined_account_sees_and_judges_nothing_else(lab: Lab) -> None:
    """§8: reads and confirmations go on; nothing is judged void, asked of the signer or accounted for."""
    lab.add(intent(1), intent(2, state=State.STAGED), intent(3))
    lab.mine(lab.tx(intent(1)), stranger(), stranger())
    quarantine(lab)
    assert [Seen] == [type(change) for change in lab.tick()]
    assert lab.tick() == replace(lab.tick(), changes=(), ask_signer=())
    lab.knows_intervals = False
    assert not lab.tick().changes


def test_what_was_taken_up_after_a_restore_is_confirmed_and_nothing_of_it_is_voided(lab: Lab) -> None:
    """§8: the payment is seen; what a stranger replaced is a person's to judge, and the signer is asked nothing."""
    paid, replaced = intent(1), intent(2)
    lab.add(paid, replaced)
    lab.accounts[TREASURY] = replace(lab.account(), state=AccountState.QUARANTINED, cause=restore.TAKEN_UP)
    lab.mine(lab.tx(paid))
    assert of_type(lab.tick(), Seen)
    lab.mine(stranger())
    lab.tick()
    for _ in range(DEPTH):
        assert lab.state(2) is State.BROADCAST
        lab.mine()
        lab.tick()
    assert lab.state(2) is State.AMBIGUOUS
    lab.add(intent(3, state=State.STAGED))
    lab.mine(stranger())
    assert lab.tick().ask_signer == ()


def test_a_filler_whose_nonce_a_stranger_used_is_void_whatever_the_balance_did(lab: Lab) -> None:
    """R5 a: it pays nobody, so nobody has to judge whom it paid; a payment in its place would be ambiguous."""
    lab.add(intent(1, cancel_fee=FEE, filler=True), intent(2))
    lab.mine(stranger(9_000), stranger(9_000))
    for _ in range(DEPTH + 1):
        lab.tick()
        lab.mine()
    assert (lab.state(1), lab.state(2)) == (State.VOID, State.AMBIGUOUS)


def test_thousands_of_consumed_intents_are_one_pass(lab: Lab) -> None:
    """A full tick of the bench: every intent judged once, in one go."""
    many = [intent(number, amount=1) for number in range(1, 2_001)]
    lab.add(*many)
    lab.limit = 5_000
    lab.mine(*(lab.tx(one) for one in many))
    where = {
        one.id: Sighting(
            intent_id=one.id,
            as_of=Height(lab.height),
            variant=1,
            height=Height(lab.height),
            block_hash=BlockHash(lab.blocks[-1].hash),
            fee_charged=BaseUnits(FEE),
        )
        for one in many
    }
    verdict = lab.tick(find=lambda asked: where[asked.id])
    assert len(of_type(verdict, Seen)) == 2_000
    assert lab.explained() == lab.by_baseline()
    assert Account(id=TREASURY).baseline is None
    assert many[0].destination == ALICE
