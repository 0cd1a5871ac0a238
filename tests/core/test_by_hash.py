from collections.abc import Callable, Iterable
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
from treasuryd.core.changes import (
    BaselineMoved,
    BlockBuried,
    Booked,
    Burned,
    Change,
    FrozenNow,
    Seen,
    Unproven,
)
from treasuryd.core.model import (
    MAX_AMOUNT,
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
from treasuryd.core.settling import LOOKUP_PATIENCE


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
    assert [change for change in verdict if isinstance(change, Seen)] == [
        Seen(
            account=TREASURY,
            intent_id=one.id,
            variant=1,
            height=Height(DEPTH + 2),
            block_hash=BlockHash(lab.blocks[-1].hash),
            fee_charged=BaseUnits(FEE + 1),
            evidence=Evidence.HASH,
        )
    ]
    assert not of_type(verdict, Booked)
    assert lab.explained() == lab.by_baseline()


def charges(verdict: Iterable[Change]) -> list[int]:
    return [change.fee_charged for change in verdict if isinstance(change, Seen)]


def claim(lab: Lab, charge: int) -> Callable[[Intent], Sighting]:
    """Have the look-up name another charge than the chain's."""
    return lambda of: replace(lab.find(of), fee_charged=BaseUnits(charge))


@pytest.mark.parametrize("charge", [FEE + 2, 2**53, 2**62 - 1, 2**63 - 1])
def test_a_charge_that_cannot_be_is_not_booked(lab: Lab, charge: int) -> None:
    """§5.1 item 2: at most the signed fee as tip, and the dearest base fee that the chain's rule allows in that block."""
    one = intent(1)
    lab.add(one)
    lab.mine(lab.tx(one, charge=FEE + 1))
    assert not lab.tick(find=claim(lab, charge)).changes
    lab.mine()
    assert not lab.tick(find=claim(lab, charge)).changes
    assert charges(lab.tick()) == [FEE + 1], "an endpoint tells the truth"
    assert not lab.frozen
    assert lab.explained() == lab.by_baseline()


def test_a_charge_in_a_dear_block_is_booked(lab: Lab) -> None:
    """N5: the including block's base fee comes on top of the tip, however little the fee has room for it."""
    one = intent(1)
    lab.add(one)
    lab.mine(base_fee=5_000)
    lab.tick()
    lab.mine(lab.tx(one, charge=FEE + 5_000))
    assert charges(lab.tick()) == [FEE + 5_000]
    assert lab.explained() == lab.by_baseline()


def test_a_charge_is_bounded_by_the_blocks_between_two_readings(lab: Lab) -> None:
    """§5.1 item 2: one block lies between them, however high the chain is; its base fee rises by an eighth at most."""
    one = intent(1)
    lab.add(one)
    for _ in range(8):
        lab.mine(base_fee=1_000)
    lab.tick()
    lab.mine(lab.tx(one, charge=FEE + 1_000))
    assert not lab.tick(find=claim(lab, FEE + 1_300)).changes
    assert charges(lab.tick()) == [FEE + 1_000]


def test_a_charge_below_all_that_was_read_is_bounded_by_what_was_held(lab: Lab) -> None:
    """A restored store adopts what was paid before its account was first read."""
    one = intent(1)
    lab.mine(lab.tx(one, charge=FEE + 1))
    paid_at = lab.height
    for _ in range(2 * DEPTH):
        lab.tick()
        lab.mine()
    lab.add(one)
    assert all(frame.height > paid_at for frame in lab.account().kept)
    assert charges(lab.tick()) == [FEE + 1]


@pytest.mark.parametrize("missing", ["before", "after"])
def test_where_no_base_fee_was_read_a_charge_is_bounded_by_what_was_held(lab: Lab, missing: str) -> None:
    """An endpoint without metrics: a charge is taken from what is there, and what is there was seen."""
    one = intent(1)
    lab.add(one)
    if missing == "before":
        lab.mine()
        lab.tick(of=replace(lab.frame(), base_fee=None))
    lab.mine(lab.tx(one, charge=FEE + 5_000))
    shown = replace(lab.frame(), base_fee=None) if missing == "after" else lab.frame()
    assert not lab.tick(of=shown, find=claim(lab, FEE + OPENING + 1)).changes
    assert charges(lab.tick(of=shown)) == [FEE + 5_000]


def test_an_amount_and_a_charge_can_be_stored_together(lab: Lab) -> None:
    """What a payment took is one number of a column: a sum that does not fit is no charge, whatever was held."""
    one = intent(1, amount=MAX_AMOUNT - 2 * FEE)
    lab.add(one)
    lab.mine(stranger())
    shown = replace(lab.frame(), base_fee=None)
    told = Sighting(
        intent_id=one.id,
        as_of=Height(lab.height),
        variant=1,
        height=Height(lab.height),
        block_hash=BlockHash(lab.blocks[-1].hash),
        fee_charged=BaseUnits(2 * FEE + 1),
    )
    assert not of_type(lab.tick(of=shown, find=lambda of: told), Seen)
    told = replace(told, fee_charged=BaseUnits(2 * FEE))
    assert of_type(lab.tick(of=shown, find=lambda of: told), Seen)


def test_two_payments_seen_in_one_tick_explain_the_fall_together(lab: Lab) -> None:
    """D36: what both cost is the change of the balance; nothing is left to book or to freeze for."""
    both = [intent(1), intent(2, amount=7_000)]
    lab.add(*both)
    lab.mine(*(lab.tx(one) for one in both))
    assert [Seen, Seen, BaselineMoved] == [type(change) for change in lab.tick()]
    assert lab.explained() == lab.by_baseline()


def test_a_deposit_of_one_unit_is_funding(lab: Lab) -> None:
    """N7, D36: to the unit."""
    lab.mine(deposits={TREASURY: 1})
    assert [(change.kind, change.delta) for change in lab.tick() if isinstance(change, Booked)] == [
        (BalanceKind.FUNDING, 1)
    ]


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
    assert [change for change in verdict if isinstance(change, FrozenNow)] == [
        FrozenNow(
            account=TREASURY,
            cause=FreezeCause.UNEXPLAINED_FALL,
            detail="the balance fell by 100 more than intents and fees explain",
        )
    ]
    assert lab.explained() == lab.by_baseline() == OPENING - 100
    assert not lab.tick().changes, "said once"
    lab.mine(stranger())
    assert [change.thaw_above for change in lab.tick() if isinstance(change, FrozenNow)] == [1], (
        "a frozen account hears of the first foreign nonce"
    )


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
    assert [change for change in lab.tick() if isinstance(change, Burned)] == [
        Burned(
            account=TREASURY,
            intent_id=one.id,
            detail="nonce 1 is burned, and no block holds any of its 1 variants",
        )
    ]
    assert lab.state(1) is State.VOID
    assert len(lab.frozen) == 1
    assert lab.explained() == lab.by_baseline()


@pytest.mark.parametrize(
    ("blocks", "judged"),
    [(DEPTH, Burned), (LOOKUP_PATIENCE * DEPTH, Burned), (LOOKUP_PATIENCE * DEPTH + 1, Unproven)],
)
def test_what_an_endpoint_may_still_know_is_not_voided(lab: Lab, blocks: int, judged: type[Change]) -> None:
    """
    R5 a: "not found" by one while another could not say, or has it pooled. The account freezes at first sight.

    The frames that show what left in that interval are kept for four times k blocks; then a person judges.
    """
    one = intent(1)
    lab.add(one)
    lab.mine(stranger(charge=5))

    def doubted(of: Intent) -> Sighting:
        return replace(lab.find(of), doubted=True)

    for _ in range(blocks):
        assert not of_type(lab.tick(find=doubted), Burned)
        lab.mine()
    verdict = lab.tick(find=doubted)
    assert not of_type(verdict, Burned)
    assert not of_type(verdict, Unproven)
    assert [one.cause for one in lab.frozen] == [FreezeCause.FOREIGN_NONCE]
    assert of_type(lab.tick(), judged)


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


def test_an_account_frozen_for_something_graver_hears_of_the_first_foreign_nonce(lab: Lab) -> None:
    """R14: thawing waits for it, whatever the account stands still for."""
    lab.accounts[TREASURY] = replace(lab.account(), state=AccountState.FROZEN, cause=FreezeCause.DEEP_REORG)
    lab.mine(stranger())
    lab.tick()
    assert [change.thaw_above for change in lab.frozen] == [1]


def test_thawing_waits_for_the_higher_of_nobodys_and_the_absent(lab: Lab) -> None:
    """R14: nonce 1 is nobody's, nonce 2 was ours and a stranger used it."""
    lab.add(intent(2))
    lab.mine(stranger(), stranger())
    lab.tick()
    assert [change.thaw_above for change in lab.frozen] == [2]


@pytest.mark.parametrize("newest_first", [False, True])
def test_two_answers_that_wait_keep_the_baseline_whatever_their_order(
    lab: Lab, *, newest_first: bool
) -> None:
    """R4, R5: one waits for the signer, one for the look-up; neither makes the interval decided."""
    lab.newest_first = newest_first
    lab.add(intent(1, state=State.STAGED), intent(2))
    lab.mine(stranger(), stranger())
    verdict = lab.tick(find=lambda _: None)
    assert [one.id for one in verdict.ask_signer] == [1]
    assert not of_type(verdict, BaselineMoved)


@pytest.mark.parametrize("late", [State.STAGED, State.BROADCAST])
def test_what_waits_below_the_baseline_does_not_decide_what_waits_above_it(lab: Lab, late: State) -> None:
    """R5: an intent whose nonce was consumed long ago says nothing of this interval."""
    lab.newest_first = True
    lab.mine(stranger())
    lab.tick()
    other = State.BROADCAST if late is State.STAGED else State.STAGED
    lab.add(intent(1, state=late), intent(2, state=other))
    lab.mine(stranger())
    assert not of_type(lab.tick(find=lambda _: None), BaselineMoved)


def test_what_waits_for_the_signer_keeps_no_other_from_being_seen(lab: Lab) -> None:
    """R5: each intent by itself."""
    two = intent(2)
    lab.add(intent(1, state=State.STAGED), two)
    lab.mine(stranger(), lab.tx(two))
    assert [change.intent_id for change in lab.tick() if isinstance(change, Seen)] == [2]


def test_where_the_interval_is_not_known_only_what_lies_in_it_is_waited_for(lab: Lab) -> None:
    """R5: an intent whose nonce an earlier frame had consumed is no part of the interval."""
    lab.add(intent(1))
    lab.mine(stranger())
    lab.tick()
    lab.knows_intervals = False
    lab.mine(deposits={TREASURY: 45})
    assert [change.delta for change in lab.tick() if isinstance(change, Booked)] == [45]


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
        pytest.param({"height": Height(0)}, id="below the first block"),
        pytest.param({"block_hash": BlockHash("")}, id="an empty block hash"),
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


def test_a_block_that_not_enough_endpoints_show_yet_is_no_proof(lab: Lab) -> None:
    """R9, found by seed 22986: what a look-up named there was on no chain, and looked like a deep reorg later."""
    one = intent(1)
    lab.add(one)
    lab.mine(lab.tx(one))
    named = lab.height
    lab.mine()
    liar = replace(lab.find(one), block_hash=BlockHash("7:5"))
    unseen = lab.tick(
        find=lambda _asked: liar, header=lambda height: None if height == named else lab.header(height)
    )
    assert not of_type(unseen, Seen)
    assert of_type(lab.tick(), Seen)
    for _ in range(5):
        lab.mine()
        lab.tick()
    assert not lab.frozen


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


@pytest.mark.parametrize("whole", [True, False])
def test_a_payment_found_after_all_takes_back_the_unexplained_fall(lab: Lab, *, whole: bool) -> None:
    """R4: frozen for a stranger, then the look-up finds it: executed, and the books still equal the chain."""
    one = intent(1)
    lab.add(one)
    lab.mine(lab.tx(one))
    absent = lab.tick(find=lambda asked: Sighting(intent_id=asked.id, as_of=Height(lab.height)))
    assert of_type(absent, FrozenNow)
    again = lab.tick(header=lambda _: None, find=lambda asked: Sighting(intent_id=asked.id, as_of=Height(1)))
    assert not again.changes
    lab.mine()
    lab.knows_intervals = whole
    verdict = lab.tick()
    assert of_type(verdict, Seen)
    assert [change for change in verdict if isinstance(change, Booked)] == [
        Booked(
            account=TREASURY,
            kind=BalanceKind.UNEXPLAINED,
            delta=one.amount + FEE,
            height=Height(DEPTH + 2),  # where it was booked as unexplained, not where it was found
            intent_id=one.id,
        )
    ]
    assert lab.explained() == lab.by_baseline()
    assert lab.account().state is AccountState.FROZEN, "only a person thaws"


def test_the_frame_of_the_baseline_needs_no_header_to_be_believed_again(lab: Lab) -> None:
    """R9: what was read of that very block still holds: a payment found late in a block that stands is seen."""
    one = intent(1)
    lab.add(one)
    lab.mine(lab.tx(one))
    for _ in range(2):
        lab.tick(find=lambda asked: Sighting(intent_id=asked.id, as_of=Height(lab.height)))
        lab.mine()
    seen = lab.frame(at=lab.height - 1)
    found = lab.tick(of=seen, header=lambda height: None if height == seen.height else lab.header(height))
    assert of_type(found, Seen)


@pytest.mark.parametrize(("fall", "state"), [(2_500, State.VOID), (2_501, State.AMBIGUOUS)])
def test_a_fall_of_more_than_half_the_amount_leaves_it_to_a_person(lab: Lab, fall: int, state: State) -> None:
    """R5 a: up to half of it the balance says that the payee was not paid by us; the first frame shows it."""
    one = intent(1)
    assert one.amount == 5_000
    lab.add(one)
    lab.mine(stranger(fall))
    first = lab.frame()
    for _ in range(DEPTH):
        lab.tick()
        lab.mine()
    verdict = lab.tick()
    assert lab.state(1) is state
    doubted = Unproven(account=TREASURY, intent_id=one.id, first=first, second=first)
    assert of_type(verdict, Unproven) == ([doubted] if state is State.AMBIGUOUS else [])


def test_what_was_consumed_before_the_first_reading_is_a_persons(lab: Lab) -> None:
    """R5 a: no frame shows what the balance did then, so nobody calls it void."""
    lab.mine(stranger())
    lab.accounts[TREASURY] = Account(id=TREASURY)
    lab.tick()
    lab.add(intent(1))
    for _ in range(DEPTH + 1):
        lab.mine()
        lab.tick()
    assert lab.state(1) is State.AMBIGUOUS


def test_doubt_about_what_was_consumed_before_the_first_reading_keeps_no_frame(lab: Lab) -> None:
    """R5 a: it waits, too, and nothing that was read could tell; then it is a person's."""
    lab.mine(stranger())
    lab.accounts[TREASURY] = Account(id=TREASURY)
    first = lab.tick()
    assert first.changes
    lab.add(intent(1))
    for _ in range(DEPTH + 1):
        lab.mine()
        lab.tick(find=lambda of: replace(lab.find(of), doubted=True))
    assert lab.state(1) is State.BROADCAST
    lab.tick()
    assert lab.state(1) is State.AMBIGUOUS


def test_doubt_about_one_burned_nonce_keeps_no_other_from_being_judged(lab: Lab) -> None:
    """R5 a: and of the frames those are kept that its own verdict rests on."""
    lab.add(intent(1), intent(2), intent(3))
    began = lab.height
    for _ in range(3):
        lab.mine(stranger())
        lab.tick()

    def doubted(*numbers: int) -> Callable[[Intent], Sighting]:
        return lambda of: replace(lab.find(of), doubted=of.id in numbers)

    kept: list[int] = []
    for doubts in ((1, 2), (1, 2), (1, 2), (2,)):
        lab.mine()
        moved = [change for change in lab.tick(find=doubted(*doubts)) if isinstance(change, BaselineMoved)]
        kept += [change.keep_from - began for change in moved]
    assert [lab.state(number) for number in (1, 2, 3)] == [State.VOID, State.BROADCAST, State.VOID]
    assert kept == [0, 0, 0, 1]


@pytest.mark.parametrize("newest_first", [False, True])
def test_each_burned_nonce_is_judged_for_itself(lab: Lab, *, newest_first: bool) -> None:
    """R5 a: what is not burned yet, and what a person judges, keep no other from being judged."""
    lab.newest_first = newest_first
    lab.add(intent(1), intent(2), intent(3))
    lab.mine(stranger(9_000), stranger(9_000))
    lab.tick()
    for _ in range(DEPTH - 1):
        lab.mine()
        lab.tick()
    lab.mine(stranger())
    lab.tick()
    assert [lab.state(number) for number in (1, 2, 3)] == [
        State.AMBIGUOUS,
        State.AMBIGUOUS,
        State.BROADCAST,
    ]


def test_in_quarantine_what_is_final_and_what_is_seen_are_told_in_one_tick(lab: Lab) -> None:
    """§8: the block of the first payment is deep enough while the second is seen, where the store can tell its cost."""
    one, two = intent(1), intent(2)
    lab.add(one)
    lab.mine(lab.tx(one))
    lab.tick()
    for _ in range(DEPTH - 1):
        lab.mine()
    lab.add(two)
    quarantine(lab)
    lab.mine(lab.tx(two))
    lab.knows_intervals = False
    assert [BlockBuried] == [type(change) for change in lab.tick()]
    lab.knows_intervals = True
    assert [Seen] == [type(change) for change in lab.tick()]


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


def test_in_quarantine_a_filler_whose_nonce_was_taken_keeps_nobody(lab: Lab) -> None:
    """§8.4: signed, it is void at depth, since it pays nobody; staged, the signer is asked to refuse it for good."""
    lab.add(intent(1, cancel_fee=FEE, filler=True))
    lab.accounts[TREASURY] = replace(lab.account(), state=AccountState.QUARANTINED, cause=restore.TAKEN_UP)
    lab.mine(stranger(9_000))
    for _ in range(DEPTH + 1):
        assert lab.state(1) is State.BROADCAST
        lab.tick()
        lab.mine()
    assert lab.state(1) is State.VOID
    staged = intent(2, cancel_fee=FEE, filler=True, state=State.STAGED)
    lab.add(staged)
    lab.mine(stranger())
    assert lab.tick().ask_signer == (staged,)


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


def test_an_inclusion_that_too_few_endpoints_show_is_waited_for(lab: Lab) -> None:
    """R9: nothing is seen, burned or taken for a stranger's, and the baseline stays; once they agree, all at once."""
    one = intent(1)
    lab.add(one)
    lab.mine(lab.tx(one))
    for _ in range(2 * LOOKUP_PATIENCE * DEPTH):
        verdict = lab.tick(find=lambda of: replace(lab.find(of), doubted=True))
        assert not verdict.changes
        lab.mine()

    lab.tick()

    assert lab.state(1) is State.INCLUDED
    assert not lab.frozen
