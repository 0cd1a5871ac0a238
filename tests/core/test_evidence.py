from dataclasses import replace

import pytest
from tests.core.chainlab import (
    ALICE,
    BOB,
    CANCEL,
    FEE,
    PAYMENT,
    RULES,
    SINK,
    TREASURY,
    base_rule,
    frame,
    intent,
)

from treasuryd.core.evidence import MAX_ANNOUNCED, BaseFeeRule, Judgement, Span, best_announced, judge
from treasuryd.core.model import (
    Address,
    Announced,
    BaseUnits,
    Evidence,
    FreezeCause,
    Intent,
    IntentId,
    Rules,
)

OWN = 1_000_000
AMOUNT = 50_000
PAYEE = intent(1, amount=AMOUNT)
CANCELLED = intent(1, amount=AMOUNT, cancel_fee=FEE)


def judged(
    *consumed: Intent,
    fell: int,
    alice: int = 0,
    bob: int = 0,
    sink: int = 0,
    moved: bool = False,
    hidden: str = "",
    base: tuple[int | None, int | None] = (1, 1),
    rules: Rules = RULES,
    announced: tuple[int, ...] = (),
    elsewhere: int = 0,
    strangers: int = 0,
    placed: int = 0,
    rule: BaseFeeRule = base_rule,
) -> Judgement:
    """Judge an interval of two blocks in which the balance fell by `fell` and others rose."""
    before: dict[str, tuple[int, int] | None] = {TREASURY: (OWN, 0), ALICE: None, BOB: (7, 3), SINK: None}
    after: dict[str, tuple[int, int] | None] = {
        TREASURY: (OWN - fell, len(consumed) + strangers),
        ALICE: (alice, int(moved)) if alice or moved else None,
        BOB: (7 + bob, 3),
        SINK: (sink, 0) if sink else None,
    }
    before.pop(hidden, None)
    return judge(
        Span(
            account=TREASURY,
            sink=SINK,
            first=frame(10, before, base_fee=base[0]),
            second=frame(12, after, base_fee=base[1]),
            consumed=consumed,
            placed_cost=placed,
            elsewhere={ALICE: elsewhere},
            announced=tuple(
                Announced(id=place, account=TREASURY, amount=BaseUnits(amount))
                for place, amount in enumerate(announced, start=1)
            ),
            strangers=strangers,
        ),
        rules,
        rule,
    )


def kinds(judgement: Judgement) -> list[str]:
    """`payment` or `cancel` for each placed intent."""
    return [
        next(used.kind.value for used in one.intent.variants if used.number == one.variant.number)
        for one in judgement.placed
    ]


@pytest.mark.parametrize(
    ("facts", "placed", "frozen"),
    [
        pytest.param({"fell": AMOUNT + FEE, "alice": AMOUNT}, ["payment"], None, id="paid"),
        pytest.param(
            {"fell": AMOUNT + FEE + 1, "alice": AMOUNT}, ["payment"], None, id="N5: the tip was raised"
        ),
        pytest.param(
            {"fell": AMOUNT + FEE, "alice": AMOUNT + 9}, ["payment"], None, id="others pay it as well"
        ),
        pytest.param({"fell": AMOUNT + FEE - 3, "alice": AMOUNT}, ["payment"], None, id="N7: dust came in"),
        pytest.param(
            {"fell": AMOUNT + FEE, "alice": AMOUNT, "hidden": SINK},
            ["payment"],
            None,
            id="without a cancel the sink says nothing",
        ),
        pytest.param(
            {"fell": AMOUNT + FEE - AMOUNT // 2, "alice": AMOUNT},
            [],
            None,
            id="half of it came in: a person decides",
        ),
        pytest.param(
            {"fell": FEE, "alice": AMOUNT}, [], None, id="N8: zero-value spend, the destination has income"
        ),
        pytest.param(
            {"fell": FEE},
            [],
            FreezeCause.FOREIGN_NONCE,
            id="N8: zero-value spend, nothing for the destination",
        ),
        pytest.param(
            {"fell": FEE - AMOUNT},
            [],
            FreezeCause.FOREIGN_NONCE,
            id="N8: zero-value spend and a deposit of our amount",
        ),
        pytest.param(
            {"fell": FEE - AMOUNT, "alice": AMOUNT},
            [],
            None,
            id="N8: that, and income of the destination: held",
        ),
        pytest.param(
            {"fell": AMOUNT + FEE},
            [],
            FreezeCause.FOREIGN_NONCE,
            id="N8: a theft of our amount, the payee got nothing",
        ),
        pytest.param(
            {"fell": AMOUNT + FEE, "alice": AMOUNT - 1}, [], FreezeCause.FOREIGN_NONCE, id="one unit short"
        ),
        pytest.param(
            {"fell": AMOUNT + FEE, "alice": 1, "moved": True},
            [],
            None,
            id="the destination spends at once: held",
        ),
        pytest.param(
            {"fell": AMOUNT + FEE + 2, "alice": AMOUNT},
            [],
            FreezeCause.UNEXPLAINED_FALL,
            id="more than fees can take",
        ),
        pytest.param(
            {"fell": AMOUNT + FEE, "alice": AMOUNT, "strangers": 1},
            [],
            FreezeCause.FOREIGN_NONCE,
            id="one too many",
        ),
        pytest.param(
            {"fell": AMOUNT + FEE, "alice": AMOUNT, "base": (None, 1)}, [], None, id="no first base fee"
        ),
        pytest.param(
            {"fell": AMOUNT + FEE, "alice": AMOUNT, "base": (1, None)}, [], None, id="no second base fee"
        ),
        pytest.param(
            {"fell": 10 * AMOUNT, "alice": AMOUNT, "base": (1, None)}, [], None, id="and so no bound"
        ),
        pytest.param(
            {"fell": AMOUNT + FEE, "alice": AMOUNT, "hidden": ALICE}, [], None, id="payee not in the baseline"
        ),
        pytest.param(
            {"fell": AMOUNT + FEE, "alice": AMOUNT, "elsewhere": 1},
            [],
            None,
            id="another account paid one unit of it",
        ),
        pytest.param(
            {"fell": 2 * AMOUNT + 2 * FEE, "alice": AMOUNT, "placed": AMOUNT + FEE},
            ["payment"],
            None,
            id="partly known",
        ),
    ],
)
def test_one_payment_is_proved_by_payee_and_fall_alone(
    facts: dict[str, int], placed: list[str], frozen: FreezeCause | None
) -> None:
    """N5-N8: the table of protocol.md §5.1 for a payment without a cancel variant."""
    judgement = judged(PAYEE, **facts)  # type: ignore[arg-type]
    assert placed == kinds(judgement)
    assert bool(placed) != bool(judgement.ambiguous)
    assert frozen == (judgement.frozen[0] if judgement.frozen else None)


@pytest.mark.parametrize(
    ("facts", "placed", "frozen"),
    [
        pytest.param({"fell": AMOUNT + FEE, "alice": AMOUNT}, ["payment"], None, id="the payment won"),
        pytest.param({"fell": 1 + FEE, "sink": 1}, ["cancel"], None, id="the cancel won"),
        pytest.param(
            {"fell": 1 + FEE, "sink": 1, "alice": AMOUNT - 1}, ["cancel"], None, id="with other income"
        ),
        pytest.param(
            {"fell": 1 + FEE, "sink": 1, "alice": AMOUNT}, [], None, id="the payee rose by the amount"
        ),
        pytest.param({"fell": 1 + FEE, "sink": 1, "moved": True}, [], None, id="the payee moved"),
        pytest.param(
            {"fell": 1 + FEE, "sink": 1, "hidden": SINK}, [], None, id="the sink is not in the baseline"
        ),
        pytest.param({"fell": 1 + FEE, "sink": 1, "hidden": ALICE}, [], None, id="nor the payee"),
        pytest.param(
            {"fell": AMOUNT + FEE, "alice": AMOUNT, "sink": 1}, ["payment"], None, id="dust for the sink"
        ),
        pytest.param({"fell": FEE}, [], FreezeCause.FOREIGN_NONCE, id="N8: neither, so a stranger"),
        pytest.param({"fell": AMOUNT + FEE, "sink": 1}, [], None, id="a theft and dust for the sink: held"),
    ],
)
def test_payment_and_cancel_look_different(
    facts: dict[str, int], placed: list[str], frozen: FreezeCause | None
) -> None:
    """R7: which of the two was in a block is told by payee, sink and fall; a foreign spend is neither."""
    judgement = judged(CANCELLED, **facts)  # type: ignore[arg-type]
    assert placed == kinds(judgement)
    assert frozen == (judgement.frozen[0] if judgement.frozen else None)


def test_the_residual_risk_is_as_stated() -> None:
    """N8: a theft of our amount together with equal income of the destination is invisible without look-up, and no more."""
    assert kinds(judged(PAYEE, fell=AMOUNT + FEE, alice=AMOUNT)) == ["payment"]
    assert kinds(judged(PAYEE, fell=AMOUNT // 2 + FEE + 2, alice=AMOUNT)) == ["payment"]
    assert kinds(judged(PAYEE, fell=AMOUNT // 2 + FEE + 1, alice=AMOUNT)) == []
    assert kinds(judged(PAYEE, fell=AMOUNT // 2, alice=AMOUNT)) == []
    assert kinds(judged(PAYEE, fell=AMOUNT + FEE + 2, alice=AMOUNT)) == []
    assert kinds(judged(PAYEE, fell=AMOUNT + FEE)) == []


def test_an_announced_deposit_is_taken_off_the_left_over() -> None:
    """protocol.md §5.1 item 3: a deposit that a person announced does not make the payment ambiguous."""
    judgement = judged(PAYEE, fell=FEE, alice=AMOUNT, announced=(9, AMOUNT))
    assert kinds(judgement) == ["payment"]
    assert judgement.announced == (2,)
    assert judgement.funding == AMOUNT


def test_a_deposit_that_nothing_speaks_for_stays_announced() -> None:
    """protocol.md §5.1 item 3: only what must have come in uses one up; the fee's doubt alone does not."""
    judgement = judged(PAYEE, fell=AMOUNT + FEE, alice=AMOUNT, announced=(1,))
    assert (kinds(judgement), judgement.announced, judgement.funding) == (["payment"], (), 0)


def test_announced_deposits_are_chosen_as_the_largest_sum_that_fits() -> None:
    """A sum of several may have arrived together; beyond a bound they are not looked at."""
    deposits = [
        Announced(id=n, account=TREASURY, amount=BaseUnits(n * 10)) for n in range(1, MAX_ANNOUNCED + 5)
    ]
    assert best_announced(deposits, 35) == (30, (1, 2))
    assert best_announced(deposits, 9) == (0, ())
    assert best_announced(deposits, 10) == (10, (1,))
    assert best_announced(deposits[MAX_ANNOUNCED - 1 :], 10_000)[0] == sum(n * 10 for n in range(10, 15))
    assert best_announced(deposits, 10**9)[0] == sum(n * 10 for n in range(1, MAX_ANNOUNCED + 1))


def test_many_payments_with_differing_fees_are_booked_to_the_unit() -> None:
    """D36: amounts, charges and funding are the change of the balance, whoever got which charge."""
    several = [
        intent(1, amount=AMOUNT, fees=(1_000, 1_400)),
        intent(2, amount=AMOUNT, to=BOB),
        intent(3, amount=AMOUNT, fees=(900,)),
    ]
    fell = 3 * AMOUNT + 1_400 + 1_000 + 900 + 2
    judgement = judged(*several, fell=fell, alice=2 * AMOUNT, bob=AMOUNT)
    assert [one.variant.number for one in judgement.placed] == [2, 1, 1]
    assert sum(one.fee_charged for one in judgement.placed) == fell - 3 * AMOUNT
    low = judged(*several, fell=3 * AMOUNT + 2_000, alice=2 * AMOUNT, bob=AMOUNT)
    assert low.funding - sum(one.fee_charged for one in low.placed) - 3 * AMOUNT == -(3 * AMOUNT + 2_000)


def test_each_payment_to_one_destination_is_owed_there() -> None:
    """protocol.md §5.1 item 1: two payments of which one arrived prove neither, and a stranger was at work."""
    both = [intent(1, amount=AMOUNT), intent(2, amount=AMOUNT)]
    fell = 2 * (AMOUNT + FEE)
    assert kinds(judged(*both, fell=fell, alice=2 * AMOUNT)) == ["payment", "payment"]
    half = judged(*both, fell=fell, alice=AMOUNT)
    assert (half.placed, half.frozen) == (
        (),
        (
            FreezeCause.FOREIGN_NONCE,
            f"{ALICE} rose by {AMOUNT} and is owed {2 * AMOUNT}, without having moved",
        ),
    )


def test_what_a_destination_held_before_is_no_rise() -> None:
    """protocol.md §5.1 item 1: BOB had seven units, and a nonce of his own, before."""
    short = judged(intent(1, amount=AMOUNT, to=BOB), fell=AMOUNT + FEE, bob=AMOUNT - 1)
    assert short.placed == ()
    assert short.frozen is not None
    assert short.frozen[0] is FreezeCause.FOREIGN_NONCE


def test_a_mover_excuses_no_other_destination() -> None:
    """protocol.md §5.1: ALICE moves all the time, BOB does not, and got nothing."""
    movers = replace(RULES, movers=frozenset({ALICE}))
    two = (intent(1, amount=AMOUNT), intent(2, amount=AMOUNT, to=BOB))
    assert judged(*two, fell=2 * (AMOUNT + FEE), rules=movers).placed == ()


def test_a_cancel_that_may_have_been_it_excuses_no_other_payment() -> None:
    """R14: the sink rose, so the first may be cancelled; the second has no cancel, and its payee got nothing."""
    two = (CANCELLED, intent(2, amount=AMOUNT, to=BOB))
    judgement = judged(*two, fell=AMOUNT + 1 + 2 * FEE, sink=1)
    assert judgement.placed == ()
    assert judgement.frozen is not None
    assert judgement.frozen[0] is FreezeCause.FOREIGN_NONCE


def test_charges_go_first_to_what_was_bumped() -> None:
    """D36: what was charged beyond the cheapest fees, to the unit, where the signed fees leave most room for it."""
    two = (intent(1, amount=AMOUNT, fees=(900,)), intent(2, amount=AMOUNT, to=BOB, fees=(1_000, 1_400)))
    for extra, charges in ((401, [900, 1_401]), (402, [901, 1_401])):
        judgement = judged(*two, fell=2 * AMOUNT + 1_900 + extra, alice=AMOUNT, bob=AMOUNT)
        assert [one.fee_charged for one in judgement.placed] == charges


def test_the_highest_base_fee_is_asked_for_the_blocks_between_the_readings() -> None:
    """protocol.md §5.1 item 2: two blocks lie between them; where none charged anything nothing comes on top."""
    asked: list[tuple[int, int, int]] = []

    def free(first: int, second: int, blocks: int) -> int:
        asked.append((first, second, blocks))
        return 0

    judgement = judged(PAYEE, fell=AMOUNT + FEE + 1, alice=AMOUNT, base=(3, 4), rule=free)
    assert asked == [(3, 4, 2)]
    assert judgement.placed == ()
    assert judgement.frozen is not None
    assert judgement.frozen[0] is FreezeCause.UNEXPLAINED_FALL


def test_more_doubt_than_allowed_decides_nothing() -> None:
    """protocol.md §5.1 item 2: where fees can be anything, a balance proves nothing; the bound on a theft still holds."""
    strict = replace(RULES, fee_uncertainty_max=BaseUnits(0))
    assert not judged(PAYEE, fell=AMOUNT + FEE, alice=AMOUNT, rules=strict).placed
    stolen = judged(PAYEE, fell=2 * AMOUNT, alice=AMOUNT, rules=strict)
    assert stolen.frozen is not None
    dear = judged(PAYEE, fell=AMOUNT + FEE + 1, alice=AMOUNT, rules=strict)
    assert (dear.placed, dear.frozen) == ((), None), "no more than amounts and fees come to"
    just = replace(RULES, fee_uncertainty_max=BaseUnits(1))
    assert judged(PAYEE, fell=AMOUNT + FEE, alice=AMOUNT, rules=just).placed


def test_within_the_fees_doubt_the_destination_alone_decides() -> None:
    """protocol.md §5.1 item 3: of one or two units the fall says nothing; with a cancel out exactly one may have risen."""
    tiny = intent(1, amount=2)
    assert kinds(judged(tiny, fell=2 + FEE, alice=2)) == ["payment"]
    assert kinds(judged(tiny, fell=FEE - 100, alice=2)) == ["payment"]
    assert kinds(judged(tiny, fell=2 + FEE, alice=1)) == []
    three = intent(1, amount=3)
    assert kinds(judged(three, fell=3 + FEE, alice=3)) == ["payment"]
    assert kinds(judged(three, fell=0, alice=3)) == [], "beyond the doubt a spend of nothing shows"
    bumped = intent(1, amount=20, fees=(FEE, FEE + 10))
    assert kinds(judged(bumped, fell=0, alice=20)) == ["payment"], "twice the doubt of eleven"
    both = intent(1, amount=2, cancel_fee=FEE)
    assert kinds(judged(both, fell=2 + FEE, alice=2)) == ["payment"]
    assert kinds(judged(both, fell=1 + FEE, sink=1)) == ["cancel"]
    assert kinds(judged(both, fell=2 + FEE, alice=2, sink=1)) == []


def test_a_mover_is_decided_by_our_fall_and_never_for_a_tiny_amount() -> None:
    """protocol.md §5.1: a listed exchange spends all the time; evidence PAYER, and only where the fall can tell."""
    movers = replace(RULES, movers=frozenset({ALICE}))
    moving = {"alice": 1, "moved": True, "rules": movers}
    judgement = judged(PAYEE, fell=AMOUNT + FEE, **moving)  # type: ignore[arg-type]
    assert [one.evidence for one in judgement.placed] == [Evidence.PAYER]
    held = judged(PAYEE, fell=FEE, **moving)  # type: ignore[arg-type]
    assert (held.placed, held.frozen) == ((), None)
    assert not judged(intent(1, amount=2), fell=2 + FEE, **moving).placed  # type: ignore[arg-type]
    cancelled = judged(CANCELLED, fell=1 + FEE, sink=1, **moving)  # type: ignore[arg-type]
    assert kinds(cancelled) == ["cancel"]
    assert [one.evidence for one in cancelled.placed] == [Evidence.BALANCE]


def test_a_stranger_cannot_swap_a_payment_and_a_cancel() -> None:
    """R7: a spend of nothing on the nonce before, and dust for the sink, must not make a paid intent look cancelled."""
    behind = replace(CANCELLED, id=IntentId(2), nonce=PAYEE.nonce)
    swapped = {"fell": AMOUNT + FEE, "alice": AMOUNT, "sink": 1}
    assert judged(PAYEE, behind, **swapped).placed == ()  # type: ignore[arg-type]
    movers = replace(RULES, movers=frozenset({ALICE}))
    assert judged(PAYEE, behind, rules=movers, **swapped).placed == ()  # type: ignore[arg-type]


def test_a_filler_is_proved_by_the_sink_alone() -> None:
    """A filler pays nobody: the sink's unit shows it, and its absence a stranger."""
    filler = intent(1, filler=True, cancel_fee=FEE, amount=0)
    assert kinds(judged(filler, fell=1 + FEE, sink=1)) == ["cancel"]
    judgement = judged(filler, fell=FEE)
    assert judgement.frozen is not None
    assert judgement.frozen[0] is FreezeCause.FOREIGN_NONCE


def test_two_open_cancels_leave_open_only_what_they_leave_open() -> None:
    """Beyond R7: which of two alike was cancelled cannot be told, a third payment can; what is left is a person's."""
    alike = [intent(number, amount=AMOUNT, cancel_fee=FEE) for number in (1, 2)]
    third = intent(3, amount=AMOUNT, to=BOB)
    movers = replace(RULES, movers=frozenset({ALICE, Address("tb1exchange")}))
    judgement = judged(*alike, third, fell=2 * AMOUNT + 1 + 3 * FEE, sink=1, bob=AMOUNT, rules=movers)
    assert len(judgement.ambiguous) == 3  # two movers: neither may be called cancelled beside the other
    apart = [intent(1, amount=AMOUNT, cancel_fee=FEE), intent(2, amount=AMOUNT, to=BOB, cancel_fee=FEE)]
    both = judged(*apart, fell=AMOUNT + 1 + 2 * FEE, bob=AMOUNT, sink=1)
    assert kinds(both) == ["cancel", "payment"]


def test_only_what_hypotheses_disagree_on_is_a_persons() -> None:
    """protocol.md §5.1: a mover, a dear cancel and dust for the sink leave two readings; the other payment is certain."""
    movers = replace(RULES, movers=frozenset({ALICE}))
    open_one = intent(1, amount=5_000, cancel_fee=8_000)
    certain = intent(2, amount=AMOUNT, to=BOB)
    judgement = judged(open_one, certain, fell=6_000 + AMOUNT + FEE, bob=AMOUNT, sink=1, rules=movers)
    assert [open_one] == list(judgement.ambiguous)
    assert [certain] == [one.intent for one in judgement.placed]
    assert (judgement.funding, judgement.frozen) == (0, None)


def test_too_many_open_cancels_are_not_told_apart() -> None:
    """A bound on the work: with more than four nonces that have two payloads out nothing is proved."""
    many = [intent(number, amount=AMOUNT, cancel_fee=FEE) for number in range(1, 6)]
    judgement = judged(*many, fell=5 * (AMOUNT + FEE), alice=5 * AMOUNT)
    assert len(judgement.ambiguous) == 5
    assert judgement.frozen is None
    assert len(judged(*many[:4], fell=4 * (AMOUNT + FEE), alice=4 * AMOUNT).placed) == 4
    plain = [intent(number, amount=AMOUNT) for number in range(1, 7)]
    assert len(judged(*plain, fell=6 * (AMOUNT + FEE), alice=6 * AMOUNT).placed) == 6


def test_unsealed_bytes_explain_nothing() -> None:
    """R1: a variant without bytes cannot have left, so it can be no hypothesis."""
    unsealed = replace(
        CANCELLED,
        variants=tuple(
            used if used.kind is PAYMENT else replace(used, tx_hash=None) for used in CANCELLED.variants
        ),
    )
    assert any(used.kind is CANCEL for used in unsealed.variants)
    judgement = judged(unsealed, fell=1 + FEE, sink=1)
    assert judgement.placed == ()
    assert judgement.frozen is not None
