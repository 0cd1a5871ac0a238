"""`treasuryd explain`: one sentence, by the planner's own predicates."""

from dataclasses import replace
from typing import Any

import pytest
from tests.fakes import TREASURY, disbursement

from treasuryd.core.eligibility import Surroundings, reason_to_hold, worldly_hold
from treasuryd.core.explain import Explanation, Known, explain, rollback_ends
from treasuryd.core.model import (
    Account,
    AccountState,
    BaseUnits,
    Disbursement,
    DisbursementId,
    Epoch,
    Height,
    Hold,
    HouseName,
    Intent,
    IntentId,
    Nonce,
    Proposal,
    Rules,
    State,
    Status,
    Term,
    TxHash,
    Variant,
    VariantKind,
)

AROUND = Surroundings(
    account_states={TREASURY: AccountState.ACTIVE},
    led=frozenset({TREASURY}),
    room={TREASURY: 16},
    funds={TREASURY: BaseUnits(10_000)},
    fee=BaseUnits(10),
)
KNOWN = Known(
    rules=Rules(finality_depth=12),
    settled=Epoch(10),
    seen=Epoch(10),
    believed=Height(1_300),
    statuses={DisbursementId(2): Status.FINALIZED, DisbursementId(3): Status.QUEUED},
    surroundings=AROUND,
)
READY = disbursement(1, status=Status.TIMELOCKED, scheduled_epoch=Epoch(3))


def said(item: Disbursement = READY, known: Known = KNOWN, **changes: Any) -> Explanation:
    return explain(replace(item, **changes), known)


def bound(state: State, **changes: Any) -> Intent:
    base = Intent(
        id=IntentId(5),
        account=TREASURY,
        nonce=Nonce(7),
        disbursement_id=DisbursementId(1),
        destination=READY.destination,
        amount=READY.amount,
        memo=READY.memo,
        payload_digest=READY.payload_digest,
        idempotency_key="k",
        term=Term(1),
        state=state,
        variants=(Variant(number=1, kind=VariantKind.PAYMENT, fee=BaseUnits(9), attempts=2),),
    )
    return replace(base, **changes)


def test_a_nonce_that_a_deep_reorg_opened_is_named_to_those_behind_it() -> None:
    """R9: nothing gets past it until it is filled."""
    account = Account(id=TREASURY, lost_nonces=(Nonce(6), Nonce(8)))
    known = replace(KNOWN, intent=bound(State.BROADCAST), accounts={TREASURY: account})
    found = said(known=known, live_intent=IntentId(5)).sentence
    assert "nonce 6 before it pays nobody any more" in found
    assert "`treasuryd account fill treasury --nonce 6`" in found
    above = replace(known, accounts={TREASURY: replace(account, lost_nonces=(Nonce(8),))})
    assert "fill" not in said(known=above, live_intent=IntentId(5)).sentence


HELD: list[Any] = [
    pytest.param({"scheduled_epoch": Epoch(11)}, Hold.SCHEDULED_LATER, "epoch 11", id="scheduled later"),
    pytest.param({"depends_on": (DisbursementId(3),)}, Hold.DEPENDENCY_PENDING, "waits for 3", id="pending"),
    pytest.param(
        {"depends_on": (DisbursementId(9),)}, Hold.DEPENDENCY_MISSING, "9, which does not", id="missing"
    ),
    pytest.param(
        {"depends_on": (DisbursementId(1),)}, Hold.DEPENDENCY_CIRCULAR, "back to 1", id="D38: circular"
    ),
    pytest.param({"cancel_requested": "wrong payee"}, Hold.CANCEL_REQUESTED, "wrong payee", id="cancel"),
    pytest.param({"hold": Hold.NEEDS_RELEASE}, Hold.NEEDS_RELEASE, "treasuryd release 1", id="needs release"),
    pytest.param({"hold": Hold.REFUSED, "hold_detail": "cap"}, Hold.REFUSED, "(cap)", id="refused"),
    pytest.param({"hold": Hold.POISONED}, Hold.POISONED, "every endpoint", id="poisoned"),
    pytest.param({"hold": Hold.RESTORED}, Hold.RESTORED, "restored backup", id="restored"),
    pytest.param(
        {"hold": Hold.APPROVAL_LOST}, Hold.APPROVAL_LOST, "approval does not stand", id="approval lost"
    ),
]


@pytest.mark.parametrize(("changes", "hold", "named"), HELD)
def test_what_is_wrong_with_the_item_is_named(changes: dict[str, Any], hold: Hold, named: str) -> None:
    """The hold is the predicate's, the sentence says what it waits for."""
    item = replace(READY, **changes)
    found = explain(item, KNOWN)
    assert found.hold is hold
    assert named in found.sentence
    assert found.paid is False
    assert hold is reason_to_hold(item, settled=Epoch(10), known=KNOWN.statuses, rules=KNOWN.rules)


def test_a_rolled_back_dependency_never_satisfies() -> None:
    """D10: the dependent is held, and the sentence names which one failed."""
    known = replace(KNOWN, statuses={DisbursementId(2): Status.ROLLED_BACK})
    found = said(known=known, depends_on=(DisbursementId(2),))
    assert (found.hold, "depends on 2, which was rolled back" in found.sentence) == (
        Hold.DEPENDENCY_FAILED,
        True,
    )


WORLD: list[Any] = [
    pytest.param({"account_states": {TREASURY: AccountState.FROZEN}}, Hold.ACCOUNT_FROZEN, id="frozen"),
    pytest.param(
        {"account_states": {TREASURY: AccountState.QUARANTINED}}, Hold.ACCOUNT_QUARANTINED, id="quarantined"
    ),
    pytest.param({"kill_switch": True}, Hold.KILL_SWITCH, id="kill switch"),
    pytest.param({"led": frozenset()}, Hold.NO_LEASE, id="no lease"),
    pytest.param({"reachable": False}, Hold.CHAIN_UNREACHABLE, id="unreachable"),
    pytest.param({"breaker_open": True}, Hold.BREAKER_OPEN, id="breaker"),
    pytest.param({"fee": None}, Hold.FEE_ABOVE_CEILING, id="fee"),
    pytest.param({"room": {TREASURY: 0}}, Hold.PIPELINE_FULL, id="pipeline"),
    pytest.param({"funds": {TREASURY: BaseUnits(1_009)}}, Hold.INSUFFICIENT_FUNDS, id="funds"),
]


@pytest.mark.parametrize(("changes", "hold"), WORLD)
def test_what_is_wrong_with_the_world_is_named(changes: dict[str, Any], hold: Hold) -> None:
    """An approved item whose hour has come waits for the world."""
    around = replace(AROUND, **changes)
    accounts = {TREASURY: Account(id=TREASURY, cause="foreign_nonce", detail="nonce 9")}
    found = said(known=replace(KNOWN, surroundings=around, accounts=accounts, last_error="timeout"))
    assert found.hold is hold is worldly_hold(READY, around)
    assert found.sentence.endswith((".", "`."))


def test_nothing_in_the_way_is_said_too() -> None:
    """The next tick stages it."""
    assert said().hold is Hold.NEXT_TICK


@pytest.mark.parametrize(
    ("intent", "named"),
    [
        (bound(State.STAGED), "bound to nonce 7 of treasury; not signed yet"),
        (bound(State.SIGNED), "signed under nonce 7 of treasury; not sent yet"),
        (bound(State.BROADCAST), "in flight at nonce 7 of treasury, sent 2 times"),
        (bound(State.INCLUDED, height=Height(1_295)), "included at height 1295; final in 7 blocks"),
        (None, "cannot be read"),
    ],
)
def test_a_payment_under_way_says_how_far_it_is(intent: Intent | None, named: str) -> None:
    """Nonce, height, blocks until final."""
    found = said(known=replace(KNOWN, intent=intent), live_intent=IntentId(5))
    assert (found.hold, named in found.sentence) == (Hold.IN_FLIGHT, True)


UNDER_WAY = (State.STAGED, State.SIGNED, State.BROADCAST)


@pytest.mark.parametrize("state", UNDER_WAY)
@pytest.mark.parametrize(
    ("account", "around", "named"),
    [
        (
            Account(id=TREASURY, state=AccountState.FROZEN, cause="person", detail="drill"),
            AROUND,
            "while account treasury is frozen (person drill): `treasuryd account show`",
        ),
        (
            Account(id=TREASURY, state=AccountState.QUARANTINED, cause="found"),
            AROUND,
            "while account treasury is in quarantine: `treasuryd quarantine show`",
        ),
        (
            Account(id=TREASURY),
            replace(AROUND, kill_switch=True),
            "while the kill switch is on: `treasuryd breaker reset`",
        ),
    ],
    ids=["frozen", "quarantine", "kill switch"],
)
def test_what_stops_a_payment_under_way_is_named(
    state: State, account: Account, around: Surroundings, named: str
) -> None:
    """Else "in flight, sent once" reads as if it were sent again by itself."""
    known = replace(KNOWN, intent=bound(state), accounts={TREASURY: account}, surroundings=around)
    found = said(known=known, live_intent=IntentId(5))
    assert found.hold is Hold.IN_FLIGHT
    verb = "signed" if state is State.STAGED else "sent"
    assert f"it is not {verb} again {named}." in found.sentence
    included = replace(known, intent=bound(State.INCLUDED, height=Height(1_295)))
    assert "while" not in said(known=included, live_intent=IntentId(5)).sentence
    free = replace(known, accounts={TREASURY: Account(id=TREASURY)}, surroundings=AROUND)
    assert "while" not in said(known=free, live_intent=IntentId(5)).sentence


def test_what_was_never_sent_is_not_sent_at_all() -> None:
    """And several causes are all named."""
    frozen = Account(id=TREASURY, state=AccountState.FROZEN, cause="person")
    around = replace(AROUND, kill_switch=True)
    intent = bound(State.SIGNED, variants=())
    known = replace(KNOWN, intent=intent, accounts={TREASURY: frozen}, surroundings=around)
    sentence = said(known=known, live_intent=IntentId(5)).sentence
    assert (
        "it is not sent while account treasury is frozen (person): `treasuryd account show`, and while"
        in sentence
    )
    assert sentence.endswith("the kill switch is on: `treasuryd breaker reset`.")


def test_what_was_adopted_in_quarantine_is_sent_again_and_signed_no_more() -> None:
    """§8.4: fillers alone are signed there; adopted bytes go out once the kill switch is off."""
    taken_up = Account(id=TREASURY, state=AccountState.QUARANTINED, cause="taken_up")
    for state, stopped in ((State.STAGED, True), (State.BROADCAST, False)):
        known = replace(KNOWN, intent=bound(state), accounts={TREASURY: taken_up})
        found = said(known=known, live_intent=IntentId(5)).sentence
        assert ("is in quarantine: `treasuryd quarantine show`" in found) is stopped


def test_what_the_signer_waits_for_is_said_of_what_is_not_signed() -> None:
    """R11: one that lost its ledger waits for a person, and so does every payment."""
    waits = "this ledger knows 0: a person imports the bindings first, `treasuryd signer import treasury`"
    known = replace(KNOWN, intent=bound(State.STAGED), signer_waits=waits)
    assert (
        f"not signed yet; the signer waits: {waits}." in said(known=known, live_intent=IntentId(5)).sentence
    )
    sent = replace(known, intent=bound(State.BROADCAST))
    assert "signer" not in said(known=sent, live_intent=IntentId(5)).sentence


@pytest.mark.parametrize("status", [Status.EXECUTED, Status.FINALIZED])
def test_what_a_deep_reorg_took_is_not_called_paid(status: Status) -> None:
    """R9: the sentence names the word that sends its bytes again."""
    lost = Account(id=TREASURY, lost_payments=(DisbursementId(1),))
    changes: dict[str, Any] = {"status": status, "tx_hash": TxHash("ab" * 32), "executed_height": Height(882)}
    found = said(known=replace(KNOWN, accounts={TREASURY: lost}), **changes)
    assert found.paid is False
    assert found.sentence == "final, then lost by a deep reorg: `treasuryd reopen 1`."
    other = replace(lost, lost_payments=(DisbursementId(2),))
    assert said(known=replace(KNOWN, accounts={TREASURY: other}), **changes).paid is True


def test_a_cancellation_that_lost_the_race_says_so() -> None:
    """protocol.md §2: the request has failed, visibly."""
    changes: dict[str, Any] = {"tx_hash": TxHash("ab" * 32), "executed_height": Height(1_295)}
    late = {**changes, "cancel_requested": "wrong"}
    for status in (Status.EXECUTED, Status.FINALIZED):
        buried = replace(KNOWN, believed=Height(1_400))
        assert said(known=buried, status=status, **late).sentence.endswith("Its cancellation came too late.")
        assert "cancellation" not in said(known=buried, status=status, **changes).sentence
    fresh = said(status=Status.EXECUTED, **late).sentence
    assert fresh.endswith("Its cancellation is too late, unless a reorg takes this block back.")


def test_an_ambiguous_payment_asks_for_a_person() -> None:
    """With the two words that a person may say."""
    found = said(known=replace(KNOWN, intent=bound(State.AMBIGUOUS)), live_intent=IntentId(5))
    assert found.hold is Hold.AMBIGUOUS
    assert "treasuryd resolve 1 --paid` or `--void" in found.sentence


def test_a_cancellation_under_way_may_fail_visibly() -> None:
    """protocol.md §2: if the payment wins, it is executed and the request has failed."""
    cancel = Variant(number=2, kind=VariantKind.CANCEL, fee=BaseUnits(9))
    intent = bound(State.BROADCAST, variants=(*bound(State.BROADCAST).variants, cancel))
    found = said(known=replace(KNOWN, intent=intent), live_intent=IntentId(5), cancel_requested="wrong")
    assert "its cancellation is at nonce 7" in found.sentence
    assert "if the payment wins, it has failed" in found.sentence


def test_a_newer_version_waits_for_the_pool() -> None:
    """protocol.md R6: explain says so where the chain replaces nothing."""
    bump = Variant(number=2, kind=VariantKind.PAYMENT, fee=BaseUnits(19))
    intent = bound(State.BROADCAST, variants=(*bound(State.BROADCAST).variants, bump))
    waits = said(known=replace(KNOWN, intent=intent), live_intent=IntentId(5)).sentence
    assert "until the pool drops the older one (up to 1800 s" in waits
    replaces = replace(KNOWN, intent=intent, rules=Rules(replaces_pooled=True))
    assert "pool" not in said(known=replaces, live_intent=IntentId(5)).sentence


def test_before_approval_the_vote_is_described() -> None:
    """Draft, voting with the count, queued with the end of its timelock."""
    proposal = Proposal(title="t", summary="s")
    assert "opens its vote" in said(status=Status.DRAFT, proposal=proposal).sentence
    assert "not allowed" in said(status=Status.DRAFT).sentence
    allowed = replace(KNOWN, rules=Rules(allow_treasury_initiated=True))
    assert "makes it payable" in said(known=allowed, status=Status.DRAFT).sentence
    counted = replace(KNOWN, tallies={HouseName.OPERATORS: (1, 3)})
    voting = said(known=counted, status=Status.VOTING, vote_deadline_epoch=Epoch(12))
    assert voting.sentence == (
        "its vote is open until the settled epoch reaches 12 (it is 10); operators 1 of 3 in favour."
    )
    queued = said(status=Status.QUEUED, activation_epoch=Epoch(14))
    assert (queued.hold, "reaches 14" in queued.sentence) == (Hold.NOT_APPROVED, True)


def test_a_queued_item_is_never_called_payable() -> None:
    """D1: whatever else is in order, a timelock that is not over holds it."""
    assert said(status=Status.QUEUED, activation_epoch=Epoch(11)).hold is Hold.NOT_APPROVED


def test_afterwards_it_says_how_it_ended() -> None:
    """Executed with what is missing to the end, finalized, rolled back before or after payment."""
    tx = TxHash("ab" * 32)
    executed: dict[str, Any] = {
        "status": Status.EXECUTED,
        "tx_hash": tx,
        "executed_height": Height(1_295),
        "executed_epoch": Epoch(10),
    }
    fresh = said(**executed)
    assert fresh.paid is True
    assert "final in 7 blocks" in fresh.sentence
    assert "rolled back until the settled epoch reaches 11" in fresh.sentence
    buried = said(known=replace(KNOWN, believed=Height(1_400), settled=Epoch(11)), **executed)
    assert buried.sentence == f"included at height 1295 by {tx}; final on the chain."
    judged = said(status=Status.EXECUTED, executed_epoch=Epoch(10))
    assert "judged paid by a person" in judged.sentence
    assert said(status=Status.FINALIZED, tx_hash=tx, executed_height=Height(5)).paid is True
    assert said(status=Status.ROLLED_BACK, reason="quorum_not_reached").sentence == (
        "rolled back, never paid: quorum_not_reached."
    )
    assert "did not move back" in said(status=Status.ROLLED_BACK, reason="r", prior_tx=tx).sentence


def test_the_rollback_window_is_the_larger_of_the_two() -> None:
    """The proposal's, or the configured minimum."""
    rules = Rules(min_rollback_window_epochs=3)
    item = replace(READY, status=Status.EXECUTED, executed_epoch=Epoch(10))
    wide = Proposal(title="t", summary="s", rollback_window_epochs=9)
    assert rollback_ends(item, rules) == 13
    assert rollback_ends(replace(item, proposal=wide), rules) == 19
    assert rollback_ends(READY, rules) is None


@pytest.mark.parametrize("hold", [hold for hold in Hold if hold not in {Hold.IN_FLIGHT, Hold.NEXT_TICK}])
def test_every_hold_has_a_sentence(hold: Hold) -> None:
    """A new member of the closed set without a sentence fails here, not at an operator's desk."""
    from treasuryd.core import explain as module  # noqa: PLC0415 - the tables are private on purpose

    assert hold in {**module._ITEM, **module._WORLD}


def test_before_the_chain_was_read_nothing_is_invented() -> None:
    """Unknown is said as unknown."""
    blind = replace(KNOWN, settled=None, seen=None, believed=None)
    assert said(known=blind).hold is Hold.SCHEDULED_LATER
    assert "unknown" in said(known=blind).sentence
