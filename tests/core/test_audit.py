from dataclasses import replace
from typing import Any

import pytest

from treasuryd.core.audit import Case, Content, Judge, Page
from treasuryd.core.audit_books import Ledger, Movement
from treasuryd.core.findings import TO_DO, Finding, Violation
from treasuryd.core.model import (
    AccountId,
    Address,
    BaseUnits,
    Decision,
    Digest,
    Disbursement,
    DisbursementId,
    Epoch,
    Evidence,
    House,
    HouseName,
    Intent,
    IntentId,
    Nonce,
    Ppm,
    Proposal,
    Rules,
    State,
    Status,
    Term,
    TxHash,
    UnixSeconds,
    Variant,
    VariantKind,
    Vote,
)
from treasuryd.core.staging import payload_digest

OPS = AccountId("ops")
KEYS = {HouseName.OPERATORS: "a" * 64, HouseName.BUILDERS: "b" * 64}
RULES = Rules(
    epoch_blocks=10,
    finality_depth=3,
    allow_treasury_initiated=True,
    houses={name: House(name=name, keys={key: 1}) for name, key in KEYS.items()},
)
PROPOSAL = Proposal(title="t", summary="s", operators_ppm=Ppm(500_000), builders_ppm=Ppm(500_000))
HASH = TxHash("h" * 64)
PAYMENT = Content(
    account=OPS, destination=Address("tb1bob"), amount=100, memo="rent", nonce=Nonce(4), tx_hash=HASH
)
CANCEL = replace(PAYMENT, destination=Address("ops-sink"), amount=1, memo="", tx_hash=TxHash("c" * 64))
BYTES = {b"payment": PAYMENT, b"cancel": CANCEL, b"theft": replace(PAYMENT, destination=Address("tb1thief"))}


def judge(rules: Rules = RULES) -> Judge:
    return Judge(rules=rules, chain_id=7, read=BYTES.get, verify=lambda *_: True)


def item(**changes: Any) -> Disbursement:
    bare = Disbursement(
        id=DisbursementId(1),
        account=OPS,
        destination=Address("tb1bob"),
        amount=BaseUnits(100),
        memo="rent",
        scheduled_epoch=Epoch(1),
        idempotency_key="k",
        request_digest=Digest("r"),
        payload_digest=Digest(""),
        created_at=UnixSeconds(1.0),
        status_at=UnixSeconds(1.0),
    )
    made = replace(bare, proposal=changes.pop("proposal", None))
    made = replace(made, payload_digest=payload_digest(made))
    return replace(
        made, **{"status": Status.FINALIZED, "live_intent": IntentId(9), "tx_hash": HASH, **changes}
    )


def intent(**changes: Any) -> Intent:
    variant = Variant(number=1, kind=VariantKind.PAYMENT, fee=BaseUnits(3), tx_bytes=b"payment", tx_hash=HASH)
    made = Intent(
        id=IntentId(9),
        account=OPS,
        nonce=Nonce(4),
        disbursement_id=DisbursementId(1),
        destination=Address("tb1bob"),
        amount=BaseUnits(100),
        memo="rent",
        payload_digest=Digest(""),
        idempotency_key="k",
        term=Term(1),
        state=State.FINAL,
        variants=(variant,),
        winner=1,
        evidence=Evidence.HASH,
    )
    return replace(made, **changes)


def variants(tx_bytes: bytes, **changes: Any) -> tuple[Variant, ...]:
    return (replace(intent().variants[0], tx_bytes=tx_bytes, **changes),)


def vote(house: HouseName, decision: Decision = Decision.APPROVE) -> Vote:
    return Vote(
        disbursement_id=DisbursementId(1),
        house=house,
        key=KEYS[house],
        counter=1,
        decision=decision,
        signature="s" * 128,
        taken_at=UnixSeconds(1.0),
        seen_epoch=Epoch(1),
    )


def found(case: Case, rules: Rules = RULES, **page: Any) -> list[Finding]:
    return [one.finding for one in judge(rules).judge(Page(cases=[case], **page))]


def houses(operators: dict[str, int], *, retired: frozenset[str] = frozenset()) -> dict[HouseName, House]:
    """Those of RULES, but for the operators."""
    house = House(name=HouseName.OPERATORS, keys=operators, retired=retired)
    return {**RULES.houses, HouseName.OPERATORS: house}


VOTED = {"proposal": PROPOSAL, "weights": dict.fromkeys(HouseName, 1), "vote_deadline_epoch": Epoch(9)}
YES = tuple(vote(house) for house in HouseName)
CANCELLED = (
    *intent().variants,
    replace(variants(b"cancel", kind=VariantKind.CANCEL, tx_hash=CANCEL.tx_hash)[0], number=2),
)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(Case(item=item(), intents=(intent(),)), id="paid"),
        pytest.param(Case(item=item(**VOTED), intents=(intent(),), votes=YES), id="voted and paid"),
        pytest.param(
            Case(item=item(status=Status.EXECUTED), intents=(intent(state=State.INCLUDED),)), id="included"
        ),
        pytest.param(
            Case(item=item(status=Status.TIMELOCKED, tx_hash=None), intents=(intent(state=State.BROADCAST),)),
            id="under way",
        ),
        pytest.param(
            Case(
                item=item(status=Status.ROLLED_BACK, live_intent=None, tx_hash=None),
                intents=(intent(state=State.VOID, variants=CANCELLED, winner=2),),
            ),
            id="cancelled on its nonce",
        ),
        pytest.param(
            Case(item=item(status=Status.ROLLED_BACK, prior_tx=HASH), intents=(intent(),)),
            id="rolled back in its window",
        ),
        pytest.param(
            Case(
                item=item(tx_hash=TxHash("x,y"), evidence=Evidence.PERSON),
                intents=(intent(evidence=Evidence.PERSON),),
            ),
            id="judged by a person",
        ),
        pytest.param(Case(item=item(status=Status.DRAFT, live_intent=None), intents=()), id="a draft"),
        pytest.param(
            Case(item=item(request_digest=Digest(""), payload_digest=Digest("other")), intents=(intent(),)),
            id="imported from the signer",
        ),
    ],
)
def test_what_is_right_is_no_violation(case: Case) -> None:
    """No false alarm: it would stop the treasury."""
    assert found(case) == []


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        pytest.param(
            Case(item=item(), intents=(intent(), intent(id=IntentId(8)))), [Finding.PAID_TWICE], id="twice"
        ),
        pytest.param(
            Case(item=item(), intents=(intent(variants=variants(b"theft")),)),
            [Finding.PAID_OTHERWISE],
            id="the bytes pay somebody else",
        ),
        pytest.param(
            Case(item=item(), intents=(intent(variants=variants(b"nonsense")),)),
            [Finding.PAID_OTHERWISE],
            id="the bytes are none",
        ),
        pytest.param(
            Case(item=item(), intents=(intent(nonce=Nonce(5)),)), [Finding.PAID_OTHERWISE], id="another nonce"
        ),
        pytest.param(
            Case(item=item(), intents=(intent(amount=BaseUnits(99)),)),
            [Finding.PAID_OTHERWISE],
            id="the intent pays another amount",
        ),
        pytest.param(
            Case(
                item=item(status=Status.TIMELOCKED, tx_hash=None),
                intents=(
                    intent(
                        state=State.BROADCAST,
                        variants=variants(b"theft", kind=VariantKind.CANCEL),
                        winner=None,
                    ),
                ),
            ),
            [Finding.PAID_OTHERWISE],
            id="a cancel that pays, before it is in a block",
        ),
        pytest.param(
            Case(item=item(tx_hash=TxHash("z" * 64)), intents=(intent(),)),
            [Finding.PAID_OTHERWISE],
            id="another hash is told",
        ),
        pytest.param(Case(item=item(), intents=()), [Finding.NOT_PAID], id="nothing was paid"),
        pytest.param(
            Case(item=item(status=Status.EXECUTED), intents=(intent(state=State.BROADCAST),)),
            [Finding.NOT_PAID],
            id="executed before it was in a block",
        ),
        pytest.param(
            Case(item=item(), intents=(intent(state=State.INCLUDED),)),
            [Finding.NOT_PAID],
            id="finalized too early",
        ),
        pytest.param(
            Case(item=item(), intents=(intent(variants=CANCELLED, winner=2),)),
            [Finding.NOT_PAID],
            id="its cancel is in the block",
        ),
        pytest.param(
            Case(item=item(status=Status.ROLLED_BACK), intents=(intent(),)),
            [Finding.PAID_AND_ROLLED_BACK],
            id="rolled back and paid",
        ),
        pytest.param(
            Case(item=item(status=Status.QUEUED), intents=(intent(),)),
            [Finding.PAID_UNNOTICED],
            id="paid too early",
        ),
        pytest.param(
            Case(item=replace(item(), memo="more"), intents=(intent(),)),
            [Finding.PAID_OTHERWISE, Finding.NOT_APPROVED],
            id="content changed after approval",
        ),
        pytest.param(
            Case(item=item(**VOTED), intents=(intent(),), votes=YES[:1]),
            [Finding.NOT_APPROVED],
            id="one house alone",
        ),
        pytest.param(
            Case(item=item(proposal=PROPOSAL), intents=(intent(),), votes=YES),
            [Finding.NOT_APPROVED],
            id="no vote was ever opened",
        ),
    ],
)
def test_what_is_wrong_is_named(case: Case, expected: list[Finding]) -> None:
    """Each rule of §10 that rows can show, with its item and what to do."""
    assert found(case) == expected


def test_a_violation_says_what_to_do() -> None:
    """Every finding has its sentence."""
    assert set(TO_DO) == set(Finding)
    violation = Violation(finding=Finding.BOOKS, detail="x")
    assert violation.to_do == TO_DO[Finding.BOOKS]


# --- what cannot be recounted ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "restored", "votes"),
    [
        pytest.param(replace(RULES, houses={}), False, YES, id="a key has left the configuration"),
        pytest.param(
            replace(RULES, houses=houses({"a" * 64: 1, "c" * 64: 3})),
            False,
            YES,
            id="weights were exchanged, and their sum is the same",
        ),
        pytest.param(RULES, True, YES[:1], id="the store was restored and may have lost votes"),
    ],
)
def test_what_cannot_be_recounted_is_a_doubt(rules: Rules, restored: bool, votes: tuple[Vote, ...]) -> None:
    """A changed configuration must not freeze an account for what was paid years ago."""
    one = judge(rules)
    weights = {HouseName.OPERATORS: 4, HouseName.BUILDERS: 1}
    case = Case(item=item(**VOTED | {"weights": weights}), intents=(intent(),), votes=votes)
    assert one.judge(Page(cases=[case], restored=restored)) == []
    assert one.doubts == [1]


RETIRED = replace(RULES, houses=houses({"a" * 64: 1, "d" * 64: 1}, retired=frozenset({"d" * 64})))
HEAVIER = replace(RULES, houses=houses({"a" * 64: 3, "c" * 64: 1}))


@pytest.mark.parametrize(
    "rules", [RULES, RETIRED, HEAVIER], ids=["as it was", "a key retired", "other weights"]
)
@pytest.mark.parametrize(
    "votes",
    [
        pytest.param(YES[1:], id="no vote"),
        pytest.param(
            (replace(YES[0], key="f" * 64, signature="bogus"), YES[1]), id="a forged vote of nobody"
        ),
        pytest.param((replace(YES[0], seen_epoch=Epoch(9)), YES[1]), id="a vote taken too late"),
        pytest.param((vote(HouseName.OPERATORS, Decision.REJECT), YES[1]), id="a rejection"),
    ],
)
def test_where_nobody_of_a_house_approved_no_configuration_excuses_the_payment(
    rules: Rules, votes: tuple[Vote, ...]
) -> None:
    """A retired key, or one that came later, makes no doubt of what was never voted for."""
    one = judge(rules)
    one.verify = lambda _message, _key, signature: signature != "bogus"
    case = Case(item=item(**VOTED), intents=(intent(),), votes=votes)
    assert [said.finding for said in one.judge(Page(cases=[case]))] == [Finding.NOT_APPROVED]
    assert one.doubts == []


def test_a_cancel_is_held_against_the_sink_that_the_store_keeps() -> None:
    """Of an account that is not configured here the settings do not know the sink; where none is kept they decide."""
    cancelled = item(status=Status.ROLLED_BACK, live_intent=None, tx_hash=None)
    case = Case(item=cancelled, intents=(intent(state=State.VOID, variants=CANCELLED, winner=2),))
    elsewhere = replace(RULES, sinks={OPS: Address("tb1elsewhere")})
    assert found(case, elsewhere) == [Finding.PAID_OTHERWISE]
    assert found(case, elsewhere, sinks={OPS: Address("ops-sink")}) == []
    assert found(case, sinks={OPS: Address("tb1elsewhere")}) == [Finding.PAID_OTHERWISE]


def test_a_policy_that_changed_is_a_doubt_too() -> None:
    """It was allowed when it was submitted, or intake would have refused it."""
    one = judge(replace(RULES, allow_treasury_initiated=False))
    assert one.judge(Page(cases=[Case(item=item(), intents=(intent(),))])) == []
    assert one.doubts == [1]


# --- books and journal ------------------------------------------------------------------------------------------------

MOVED = Movement(
    id=5, account=OPS, kind="execution", delta=-103, fee=3, balance=897, before=1_000,
    item=DisbursementId(1), of_item=DisbursementId(1), of_amount=100,
)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, 0),
        ({"kind": "cancellation", "delta": -4, "balance": 996}, 0),
        ({"kind": "funding", "delta": 7, "fee": 0, "balance": 1_007, "of_item": None}, 0),
        ({"balance": 898}, 1),
        ({"fee": 4}, 1),
        ({"of_item": DisbursementId(2)}, 1),
        ({"of_amount": None}, 1),
        ({"kind": "cancellation"}, 1),
    ],
)
def test_a_balance_event_agrees_with_its_intent_and_its_neighbour(
    change: dict[str, Any], expected: int
) -> None:
    """Whoever changes one event has to change all behind it, and the intent."""
    page = Page(movements=[replace(MOVED, **change)])
    assert [one.finding for one in judge().judge(page)] == [Finding.BOOKS] * expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, 0),
        ({"booked": 901}, 1),
        ({"booked": 901, "open": True}, 0),
        ({"booked": 901, "shown": None}, 0),
        ({"booked": 850, "placed": 50}, 0),
    ],
)
def test_books_are_what_the_baseline_shows(change: dict[str, Any], expected: int) -> None:
    """Unless something that was consumed still waits for its verdict."""
    ledger = Ledger(account=OPS, booked=900, shown=900, placed=0, open=False)
    found = judge().judge(Page(ledgers=[replace(ledger, **change)]))
    assert [one.finding for one in found] == [Finding.BOOKS] * expected


def test_a_broken_link_of_the_journal_is_a_violation() -> None:
    """Of one account, or of all."""
    found = judge().judge(Page(broken=[(OPS, "x"), (None, "y")]))
    assert [(one.finding, one.account) for one in found] == [(Finding.JOURNAL, OPS), (Finding.JOURNAL, None)]
