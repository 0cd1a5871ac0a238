"""What one tick decides from one view: order, windows, cancels, and who may do nothing."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from treasuryd.core import planner, proposals
from treasuryd.core.changes import (
    Adopted,
    Advanced,
    BaselineMoved,
    Booked,
    Burned,
    Change,
    FrozenNow,
    HoldSet,
    Rewound,
    VariantStaged,
)
from treasuryd.core.model import (
    Account,
    AccountId,
    AccountState,
    Address,
    BalanceKind,
    BaseUnits,
    BlockHash,
    BootSeconds,
    ChainState,
    Decision,
    Digest,
    Disbursement,
    DisbursementId,
    Epoch,
    Evidence,
    FeeQuote,
    Frame,
    FreezeCause,
    Height,
    Hold,
    Holding,
    House,
    HouseName,
    Intent,
    IntentId,
    Interval,
    Meaning,
    Moment,
    Nonce,
    Proposal,
    Rules,
    State,
    Status,
    Term,
    TxHash,
    UnixSeconds,
    Variant,
    VariantKind,
    View,
    Vote,
)
from treasuryd.core.planner import NO_PROPOSAL, Plan, Pricing, carry, decide, next_batch, sendable
from treasuryd.core.restore import TAKEN_UP
from treasuryd.core.staging import payload_digest

TREASURY, RESERVE = AccountId("treasury"), AccountId("reserve")
SINK = Address("treasury-sink")
ALICE = Address("tb1alice")
PAYMENT, CANCEL = VariantKind.PAYMENT, VariantKind.CANCEL
NOW = UnixSeconds(10_000.0)
FEE = BaseUnits(100)
RULES = Rules(max_unburned=4, resend_seconds=30.0, bump_seconds=300.0, allow_treasury_initiated=True)


def frame(*, count: int = 0, balance: int = 1_000_000, height: int = 50, shown: Sequence[str] = ()) -> Frame:
    holdings: dict[Address, Holding | None] = dict.fromkeys(map(Address, shown))
    for account in (TREASURY, RESERVE):
        holdings[Address(account)] = Holding(balance=BaseUnits(balance), nonce=Nonce(count))
    return Frame(height=Height(height), block_hash=BlockHash("b"), base_fee=BaseUnits(1), holdings=holdings)


SHOWN = ("treasury-sink", "reserve-sink", "tb1alice")
BASELINE = frame(shown=SHOWN)


def account(name: AccountId = TREASURY, **more: Any) -> Account:
    return replace(Account(id=name, next_nonce=Nonce(9), baseline=BASELINE), **more)


def moment(evidence: Evidence = Evidence.HASH, **more: Any) -> Moment:
    at = Moment(
        unix=NOW,
        boot=BootSeconds(0.0),
        believed=Height(50),
        settled=Epoch(4),
        seen=Epoch(5),
        evidence=evidence,
        frame=BASELINE,
        quote=FeeQuote(base_fee=BaseUnits(1), per_byte=2),
    )
    return replace(at, **more)


def item(number: int, **more: Any) -> Disbursement:
    base = Disbursement(
        id=DisbursementId(number),
        account=TREASURY,
        destination=ALICE,
        amount=BaseUnits(1_000),
        memo="",
        scheduled_epoch=Epoch(0),
        status=Status.TIMELOCKED,
    )
    found = replace(base, **more)
    return replace(found, payload_digest=more.get("payload_digest") or payload_digest(found))


def variant(
    number: int = 1, kind: VariantKind = PAYMENT, *, fee: int = FEE, sealed: bool = True, **more: Any
) -> Variant:
    name = TxHash(f"{number}") if sealed else None
    one = Variant(
        number=number, kind=kind, fee=BaseUnits(fee), tx_hash=name, tx_bytes=b"bytes" if sealed else None
    )
    return replace(one, **more)


def intent(nonce: int, *variants: Variant, name: AccountId = TREASURY, **more: Any) -> Intent:
    """A sealed payment that never left; its id is its nonce (plus 1,000 for the other account)."""
    number = nonce + (0 if name == TREASURY else 1_000)
    base = Intent(
        id=IntentId(number),
        account=name,
        nonce=Nonce(nonce),
        disbursement_id=DisbursementId(number),
        destination=ALICE,
        amount=BaseUnits(1_000),
        memo="",
        payload_digest=Digest("d"),
        idempotency_key="k",
        term=Term(1),
        state=State.SIGNED,
        variants=variants or (variant(),),
    )
    return replace(base, **more)


def sent(
    nonce: int, *variants: Variant, ago: float = 100.0, meaning: Meaning = Meaning.ACCEPTED, **more: Any
) -> Intent:
    """The same after it was broadcast; pooled unless the reply says otherwise."""
    at = UnixSeconds(NOW - ago)
    pooled = meaning in {Meaning.ACCEPTED, Meaning.ALREADY_KNOWN, Meaning.UNKNOWN}
    out = variants or (variant(sent_at=at, attempts=1, last_meaning=meaning, pooled=pooled),)
    return intent(nonce, *out, **{"state": State.BROADCAST, "sent_at": at, **more})


def doubled(nonce: int) -> Intent:
    """Payment and cancel of one nonce, both out."""
    at = UnixSeconds(NOW - 1.0)
    out: dict[str, Any] = {"sent_at": at, "attempts": 1, "last_meaning": Meaning.ACCEPTED, "pooled": True}
    return sent(nonce, variant(1, **out), variant(2, CANCEL, **out), cancel_requested=True, ago=1.0)


def view(**more: Any) -> View:
    return replace(View(accounts=(account(),), chain=ChainState(chain_id=1)), **more)


def pricing(price: int | None = FEE, *, approved: bool = True) -> Pricing:
    fee = None if price is None else BaseUnits(price)
    return Pricing(price=lambda *_: fee, approved=lambda *_: approved)


def plan(seen: View, at: Moment | None = None, *, rules: Rules = RULES, **more: Any) -> Plan:
    return decide(seen, at or moment(), rules, pricing=pricing(**more))


def asking(
    seen: View, at: Moment | None = None, *, price: dict[str, int] | None = None, passed: bool = True
) -> tuple[Plan, list[tuple[str, str, str]], list[Any]]:
    """A plan, with what the fee quote was asked of it (prices by destination, FEE by default), and the recount."""
    prices, counts = list[tuple[str, str, str]](), list[Any]()

    def priced(of: AccountId, to: Address, memo: str) -> BaseUnits | None:
        prices.append((of, to, memo))
        wanted = FEE if price is None else price.get(to)
        return None if wanted is None else BaseUnits(wanted)

    def approved(one: Disbursement, votes: tuple[Vote, ...]) -> bool:
        counts.append((one.id, votes))
        return passed

    found = decide(seen, at or moment(), RULES, pricing=Pricing(price=priced, approved=approved))
    return found, prices, counts


def ballot(number: int) -> Vote:
    return Vote(
        disbursement_id=DisbursementId(number),
        house=HouseName.OPERATORS,
        key="aa",
        counter=0,
        decision=Decision.APPROVE,
        signature="5e",
        seen_epoch=Epoch(1),
    )


def going(seen: View, at: Moment | None = None, *due: Intent, rules: Rules = RULES) -> list[int]:
    """The nonces that may go, of what the plan finds due."""
    when = at or moment()
    return [one.nonce for one in sendable((*due, *plan(seen, when, rules=rules).send), seen, when, rules)]


# --- staging ---------------------------------------------------------------------------------------------------


def test_candidates_are_staged_up_to_the_window() -> None:
    """At most `max_unburned` nonces are in flight; the rest says why it waits."""
    found = plan(view(candidates=tuple(item(n) for n in range(1, 7)), unburned={TREASURY: 1}))
    assert [draft.disbursement_id for draft in found.drafts] == [1, 2, 3]
    assert found.waiting == {Hold.PIPELINE_FULL: 3}
    free = plan(view(candidates=tuple(item(n) for n in range(1, 7))))
    assert [draft.disbursement_id for draft in free.drafts] == [1, 2, 3, 4]


def test_what_cannot_be_afforded_takes_no_place() -> None:
    """D7, D8: amount and fee of what is staged before it are gone; the small one behind the huge one is staged."""
    huge, big, again, small = item(1, amount=10**9), item(2, amount=900_000), item(3, amount=900_000), item(4)
    found = plan(view(candidates=(huge, big, again, small)))
    assert [draft.disbursement_id for draft in found.drafts] == [2, 4]
    assert found.waiting == {Hold.INSUFFICIENT_FUNDS: 2}


def test_the_fee_counts_as_funds() -> None:
    """An amount that leaves nothing for its fee waits."""
    exact = item(1, amount=1_000_000 - FEE)
    assert [draft.fee for draft in plan(view(candidates=(exact,))).drafts] == [FEE]
    assert plan(view(candidates=(item(1, amount=exact.amount + 1),))).drafts == ()
    half = 500_000 - FEE
    assert len(plan(view(candidates=(item(1, amount=half), item(2, amount=half)))).drafts) == 2
    over = plan(view(candidates=(item(1, amount=half), item(2, amount=half + 1))))
    assert (len(over.drafts), over.waiting) == (1, {Hold.INSUFFICIENT_FUNDS: 1})


def test_an_account_that_the_frame_does_not_show_has_nothing() -> None:
    """§5.1: what was not read is not there; not even one unit, and not a fee of none."""
    bare = replace(BASELINE, holdings={})
    found = plan(view(candidates=(item(1, amount=1),)), moment(frame=bare), price=0)
    assert (found.drafts, found.waiting) == ((), {Hold.INSUFFICIENT_FUNDS: 1})


def test_each_item_is_priced_as_what_it_is_and_the_cheapest_price_is_kept() -> None:
    """D5, D8: fee by account, destination and memo; the next tick looks at nothing that cannot pay the cheapest."""
    bob = Address("tb1bob")
    first, second = item(1, memo="rent"), item(2, destination=bob)
    found, prices, _ = asking(view(candidates=(first, second)), price={ALICE: 300, bob: 200})
    assert prices == [(TREASURY, ALICE, "rent"), (TREASURY, bob, "")]
    assert [draft.fee for draft in found.drafts] == [300, 200]
    assert found.least_fee == 200
    assert plan(view(candidates=(first,)), price=None).least_fee == 0
    assert plan(view()).least_fee == 0


def test_a_candidate_of_a_withdrawn_account_holds_no_other_up() -> None:
    """R9: it is passed over, and the next one is looked at."""
    seen = view(accounts=(account(RESERVE),), candidates=(item(1), item(2, account=RESERVE)))
    found = plan(seen)
    assert [draft.disbursement_id for draft in found.drafts] == [2]
    assert found.waiting == {}


def consumed(**more: Any) -> Account:
    """An account with a history that is not ours: adopted at a count of 3, read at height 50."""
    return account(baseline=frame(count=3, height=50), **more)


def stages(of: Account, at: Moment) -> bool:
    found = plan(view(accounts=(of,), candidates=(item(1),)), at)
    assert found.waiting == ({} if found.drafts else {Hold.PIPELINE_FULL: 1})
    return bool(found.drafts)


def test_our_first_nonce_waits_until_those_before_it_are_buried() -> None:
    """R2: a reorg could take what the chain had consumed when the account was adopted, and we cannot fill that gap."""
    depth = RULES.finality_depth
    here = frame(count=3, height=50)
    assert not stages(consumed(), moment(frame=here, believed=Height(50 + depth - 1)))
    assert stages(consumed(), moment(frame=here, believed=Height(50 + depth)))
    older = (frame(count=3, height=40),)
    assert stages(consumed(kept=older), moment(frame=here, believed=Height(40 + depth)))
    assert stages(consumed(high_water=Nonce(1)), moment(frame=here)), "we have staged there before"


def test_nothing_follows_on_a_count_that_the_chain_takes_back() -> None:
    """R2, R9: adopted at a count of 3, which this tick's frame does not show; what it does not show at all counts as 0."""
    deep = Height(50 + RULES.finality_depth)
    assert stages(consumed(), moment(frame=frame(count=3, height=60), believed=deep))
    assert not stages(consumed(), moment(frame=frame(count=2, height=60), believed=deep))
    absent = replace(frame(height=60), holdings={})
    assert not stages(account(baseline=frame(count=1, height=50)), moment(frame=absent, believed=deep))
    blind = moment(frame=None, believed=deep)
    assert not plan(view(accounts=(consumed(),), candidates=(item(1),)), blind).drafts
    assert stages(consumed(high_water=Nonce(1)), moment(frame=frame(count=2, height=60), believed=deep))


def test_of_several_endpoints_the_lowest_head_says_what_is_buried() -> None:
    """R9: one of them alone buries nothing."""
    depth = RULES.finality_depth
    at = moment(frame=frame(count=3, height=50), believed=Height(50 + depth), lowest=Height(50 + depth - 1))
    assert not stages(consumed(), at)
    assert stages(consumed(), replace(at, lowest=Height(50 + depth)))


def test_an_account_without_a_baseline_is_judged_by_the_frames_that_were_kept() -> None:
    """R2: after a thaw there is none; an account whose count is zero has nothing before our first nonce."""
    here = frame(count=3, height=50)
    thawed = account(baseline=None)
    assert not stages(thawed, moment(frame=here))
    kept = replace(thawed, kept=(frame(count=3, height=40),))
    assert stages(kept, moment(frame=here, believed=Height(40 + RULES.finality_depth)))
    assert stages(thawed, moment())


def test_a_fee_above_the_ceiling_waits() -> None:
    """D5: too dear is a waiting state, with its own name."""
    found = plan(view(candidates=(item(1),)), price=None)
    assert (found.drafts, found.waiting) == ((), {Hold.FEE_ABOVE_CEILING: 1})


@pytest.mark.parametrize("missing", [{"frame": None}, {"quote": None}])
def test_without_a_frame_or_a_quote_nothing_is_staged(missing: Any) -> None:
    """The chain did not answer: wait and say so."""
    found = plan(view(candidates=(item(1),)), moment(**missing))
    assert (found.drafts, found.waiting) == ((), {Hold.CHAIN_UNREACHABLE: 1})
    _, prices, _ = asking(view(candidates=(item(1),)), moment(**missing))
    assert prices == []


def test_votes_are_counted_again_before_staging() -> None:
    """§2: below quorum by the keys of today: the hold `approval_lost` is stored, and nothing is staged."""
    proposal = Proposal(title="t", summary="s")
    seen = view(candidates=(item(1, proposal=proposal),), votes={DisbursementId(1): (ballot(1),)})
    found, _, counts = asking(seen, passed=False)
    assert found.drafts == ()
    assert found.changes == (
        HoldSet(
            account=TREASURY,
            disbursement_id=DisbursementId(1),
            hold=Hold.APPROVAL_LOST,
            detail="the recount of the stored votes is below the quorum",
        ),
    )
    assert counts == [(1, (ballot(1),))]
    assert asking(replace(seen, votes={}), passed=False)[2] == [(1, ())], "no vote at all is a count, too"
    assert [draft.disbursement_id for draft in asking(seen)[0].drafts] == [1]


def test_without_a_proposal_policy_is_asked_again_before_staging() -> None:
    """§2: it was allowed when the item became payable, or the proposal's row was taken out since: both look like this."""
    seen = view(candidates=(item(1),))
    found, _, asked = asking(seen, passed=False)
    (hold,) = found.changes
    assert isinstance(hold, HoldSet)
    assert (found.drafts, hold.disbursement_id, hold.hold) == ((), 1, Hold.APPROVAL_LOST)
    assert hold.detail.startswith(
        "it has no proposal, and the policy does not allow that (governance.allow_treasury_"
    )
    assert asked == [(1, ())]
    assert [draft.disbursement_id for draft in asking(seen)[0].drafts] == [1]


def test_what_waits_for_the_world_is_not_counted_again() -> None:
    """§2: the recount decides what is staged now; what cannot be paid now keeps its approval until it can."""
    found = plan(
        view(candidates=(item(1, proposal=Proposal(title="t", summary="s"), amount=10**9),)), approved=False
    )
    assert (found.changes, found.waiting) == ((), {Hold.INSUFFICIENT_FUNDS: 1})


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"destination": Address("tb1thief")}, id="another destination"),
        pytest.param({"amount": BaseUnits(1_001)}, id="another amount"),
        pytest.param({"memo": "other"}, id="another memo"),
        pytest.param({"depends_on": (DisbursementId(9),)}, id="another dependency"),
        pytest.param({"proposal": Proposal(title="t", summary="s")}, id="another proposal"),
    ],
)
def test_content_changed_by_hand_in_the_database_is_not_paid(change: Any) -> None:
    """interfaces.md §2: what was approved is the digest; a row written by hand approves nothing, and holds itself alone."""
    found = plan(view(candidates=(replace(item(1), **change), item(2))))
    assert [draft.disbursement_id for draft in found.drafts] == [2]
    (hold,) = found.changes
    assert isinstance(hold, HoldSet)
    assert (hold.disbursement_id, hold.hold) == (1, Hold.APPROVAL_LOST)
    assert hold.detail.startswith("its stored content is not what was submitted")


@pytest.mark.parametrize("state", [AccountState.FROZEN, AccountState.QUARANTINED])
def test_an_account_that_does_not_act_stops_no_other(state: AccountState) -> None:
    """One frozen account: nothing of it is staged, signed, replaced or sent; the other goes on."""
    seen = view(
        accounts=(account(state=state), account(RESERVE)),
        candidates=(item(1), item(2, account=RESERVE)),
        unsealed=(intent(3, variant(sealed=False)), intent(3, variant(sealed=False), name=RESERVE)),
        unsent=(intent(1), intent(1, name=RESERVE)),
        cancelling=(sent(2, cancel_requested=True),),
    )
    found = plan(seen)
    assert [draft.account for draft in found.drafts] == [RESERVE]
    assert found.waiting == {
        Hold.ACCOUNT_FROZEN if state is AccountState.FROZEN else Hold.ACCOUNT_QUARANTINED: 1
    }
    assert [one.account for one in found.sign] == [RESERVE]
    assert found.changes == ()
    assert [one.account for one in sendable(found.send, seen, moment(), RULES)] == [RESERVE]


def test_in_quarantine_fillers_alone_are_signed() -> None:
    """§8.4: what was adopted goes out as it is; a new signature makes a filler, never a payment."""
    unsealed = variant(sealed=False)
    lines = (intent(3, unsealed), intent(4, unsealed, disbursement_id=None))
    taken_up = account(state=AccountState.QUARANTINED, cause=TAKEN_UP)
    assert [one.nonce for one in plan(view(accounts=(taken_up,), unsealed=lines)).sign] == [4]
    for outside in (
        account(state=AccountState.FROZEN),
        account(state=AccountState.QUARANTINED, cause="restored"),
    ):
        assert plan(view(accounts=(outside,), unsealed=lines)).sign == ()
    assert [one.nonce for one in plan(view(unsealed=lines)).sign] == [3, 4]


def test_the_kill_switch_leaves_nothing_to_do() -> None:
    """§7: nothing is staged, signed, replaced or sent; governance goes on."""
    seen = view(
        kill_switch=True,
        candidates=(item(1),),
        unsealed=(intent(2, variant(sealed=False)),),
        unsent=(intent(1),),
        cancelling=(sent(3, cancel_requested=True),),
        advancing=(item(9, status=Status.DRAFT),),
    )
    found = plan(seen)
    assert (found.drafts, found.sign, found.waiting) == ((), (), {Hold.KILL_SWITCH: 1})
    assert sendable(found.send, seen, moment(), RULES) == ()
    assert [type(change) for change in found.changes] == [Advanced]


# --- governance ------------------------------------------------------------------------------------------------


def advanced(one: Disbursement, at: Moment | None = None, **more: Any) -> Any:
    (change,) = plan(view(advancing=(one,)), at, **more).changes
    return change


def test_windows_open_by_the_seen_epoch_and_end_by_the_settled_one() -> None:
    """§2: a lagging or lying head may delay a payment and never hasten one."""
    proposal = Proposal(title="t", summary="s", vote_window_epochs=7, timelock_epochs=6)
    this: dict[str, Any] = {"account": TREASURY, "disbursement_id": DisbursementId(1)}
    house = House(name=HouseName.OPERATORS, keys={"aa": 3, "bb": 4}, retired=frozenset({"bb"}))
    rules = replace(RULES, houses={HouseName.OPERATORS: house})
    assert advanced(item(1, status=Status.DRAFT, proposal=proposal), rules=rules) == Advanced(
        **this,
        was=Status.DRAFT,
        to=Status.VOTING,
        vote_deadline_epoch=Epoch(5 + 7),
        weights=proposals.weights(rules),
    )
    voting = item(1, status=Status.VOTING, proposal=proposal, vote_deadline_epoch=Epoch(4))
    assert advanced(voting) == Advanced(
        **this, was=Status.VOTING, to=Status.QUEUED, activation_epoch=Epoch(5 + 6)
    )
    assert advanced(voting, approved=False) == Advanced(
        **this, was=Status.VOTING, to=Status.ROLLED_BACK, reason="quorum_not_reached"
    )
    open_still = replace(voting, vote_deadline_epoch=Epoch(5))  # reached by the seen epoch only
    assert plan(view(advancing=(open_still,))).changes == ()


def test_no_vote_opens_before_the_chain_was_seen() -> None:
    """§2, found by seed 40390: its window would count from epoch 0, and be over as soon as the chain is known."""
    draft = item(1, status=Status.DRAFT, proposal=Proposal(title="t", summary="s"))
    unseen = moment(believed=Height(0), settled=Epoch(0), seen=Epoch(0), frame=None)
    queued = item(2, status=Status.QUEUED, activation_epoch=Epoch(0))
    [behind] = plan(view(advancing=(draft, queued)), unseen).changes
    assert isinstance(behind, Advanced)
    assert behind.disbursement_id == queued.id, "it holds no other one up"
    assert advanced(draft, replace(unseen, believed=Height(1))).to is Status.VOTING


@pytest.mark.parametrize("settled", range(8))
def test_a_queued_item_is_activated_at_its_epoch_and_not_before(settled: int) -> None:
    """D1: queued becomes timelocked when the settled epoch has come, and is never payable itself."""
    queued = item(1, status=Status.QUEUED, activation_epoch=Epoch(4))
    found = plan(view(advancing=(queued,)), moment(settled=Epoch(settled), seen=Epoch(100)))
    assert found.drafts == ()
    activated = Advanced(
        account=TREASURY,
        disbursement_id=queued.id,
        was=Status.QUEUED,
        to=Status.TIMELOCKED,
        ready_epoch=Epoch(4),
    )
    assert found.changes == ((activated,) if settled >= 4 else ())


def test_what_no_epoch_moves_yet_holds_no_other_up() -> None:
    """§2: each item by itself, and each vote counted with the votes of its own item."""
    proposal = Proposal(title="t", summary="s")
    waits, moves = (
        item(n, status=Status.VOTING, proposal=proposal, vote_deadline_epoch=Epoch(deadline))
        for n, deadline in ((1, 9), (2, 4))
    )
    votes = {DisbursementId(n): (ballot(n),) for n in (1, 2)}
    found, _, counts = asking(view(advancing=(waits, moves), votes=votes))
    assert [change.disbursement_id for change in found.changes if isinstance(change, Advanced)] == [2]
    assert counts == [(2, (ballot(2),))]
    assert asking(view(advancing=(moves,)))[2] == [(2, ())], "no vote at all is a count, too"


def test_without_a_proposal_policy_decides() -> None:
    """D20: a draft without a proposal is payable where policy says so, else it is held."""
    draft = item(1, status=Status.DRAFT, scheduled_epoch=Epoch(3))
    assert advanced(draft) == Advanced(
        account=TREASURY,
        disbursement_id=draft.id,
        was=Status.DRAFT,
        to=Status.TIMELOCKED,
        ready_epoch=Epoch(3),
    )
    assert advanced(draft, rules=replace(RULES, allow_treasury_initiated=False)) == HoldSet(
        account=TREASURY,
        disbursement_id=draft.id,
        hold=Hold.APPROVAL_LOST,
        detail=NO_PROPOSAL,
    )


# --- sending ---------------------------------------------------------------------------------------------------


def test_the_oldest_nonce_goes_first_and_the_window_bounds() -> None:
    """R8: nonce order whatever the order of the view; never beyond the chain's count plus `max_unburned`."""
    seen = view(unsent=tuple(intent(n) for n in (3, 1, 6, 2, 5, 4)))
    assert going(seen) == [1, 2, 3, 4]


def test_nothing_at_or_below_the_chains_count_is_signed_or_sent() -> None:
    """R14: neither by the frame's count nor by the baseline's, whichever is higher."""
    seen = view(
        accounts=(account(baseline=frame(count=2, shown=SHOWN)),),
        unsent=(intent(1), intent(2), intent(3)),
        unsealed=(intent(2, variant(sealed=False)), intent(4, variant(sealed=False))),
    )
    assert going(seen) == [3]
    assert [one.nonce for one in plan(seen).sign] == [4]
    ahead = moment(frame=frame(count=3, shown=SHOWN))
    assert going(seen, ahead) == []
    assert [one.nonce for one in plan(seen, ahead).sign] == [4]


@pytest.mark.parametrize("seen_by", ["baseline", "frame"])
def test_nothing_is_begun_behind_a_staged_nonce_that_was_consumed(seen_by: str) -> None:
    """R5 c: what is staged goes back from the end of the sequence, so no bytes may stand behind it (seed 122799)."""
    taken = frame(count=4, shown=SHOWN)
    lines = tuple(
        intent(nonce, variant(sealed=False), name=name, state=State.STAGED)
        for nonce, name in ((4, TREASURY), (5, TREASURY), (5, RESERVE))
    )
    cancel = sent(6, variant(), variant(2, CANCEL, sealed=False))
    seen = view(
        accounts=(
            account(baseline=taken if seen_by == "baseline" else BASELINE, high_water=Nonce(3)),
            account(RESERVE, high_water=Nonce(3)),
        ),
        candidates=(item(1), item(2, account=RESERVE)),
        unsealed=(*lines, cancel),
    )
    at = moment(frame=taken if seen_by == "frame" else frame(count=0, shown=SHOWN))
    found = plan(seen, at)
    assert [(one.account, one.nonce) for one in found.sign] == [(RESERVE, 5), (TREASURY, 6)]
    assert [draft.account for draft in found.drafts] == [RESERVE]
    assert [one.nonce for one in plan(replace(seen, unsealed=lines[1:]), at).sign] == [5, 5]
    withdrawn = replace(seen, accounts=seen.accounts[1:])
    assert [one.account for one in plan(withdrawn, at).sign] == [RESERVE]


def test_an_account_that_no_frame_shows_has_consumed_nothing() -> None:
    """R2, R14: its count is zero, so its first nonce may go and be replaced."""
    bare = replace(BASELINE, holdings={ALICE: None})
    seen = view(accounts=(account(baseline=bare),), resend=(sent(1),))
    assert going(seen, moment(frame=bare)) == [1]
    asked = view(accounts=(account(baseline=None),), cancelling=(sent(1, cancel_requested=True),))
    assert len(plan(asked, moment(frame=None)).changes) == 1


def test_without_a_frame_nothing_is_sent() -> None:
    """Nobody knows where the chain's count stands."""
    seen = view(unsent=(intent(1),))
    assert going(seen, moment(frame=None)) == []


def test_without_look_up_a_first_send_needs_its_destination_in_the_baseline() -> None:
    """§5.1: what it held before is what its inclusion is proved with; what is behind it waits, too."""
    strange = intent(1, destination=Address("tb1nobody"))
    seen = view(unsent=(strange, intent(2)))
    assert going(seen, moment(Evidence.BALANCE)) == []
    assert going(seen, moment(Evidence.HASH)) == [1, 2]
    sent_before = replace(sent(1, ago=100.0), destination=Address("tb1nobody"))
    again = view(resend=(sent_before,), unsent=(intent(2),))
    assert going(again, moment(Evidence.BALANCE)) == [1, 2]
    dearer = replace(sent_before, variants=(*sent_before.variants, variant(2, fee=900)))
    anew = view(resend=(dearer,), unsent=(dearer,))
    assert going(anew, moment(Evidence.BALANCE)) == [1], "a new price of it is no first send"


def test_before_an_account_was_read_nothing_of_it_is_sent() -> None:
    """§5.1, R14: after a thaw it has no baseline; what was sealed before waits for the next one."""
    assert going(view(accounts=(account(baseline=None),), unsent=(intent(1),))) == []
    assert going(view(unsent=(intent(1),))) == [1]


def test_what_has_no_bytes_does_not_go_and_nothing_passes_it() -> None:
    """R1, R8: a staged nonce is no pool's; what is sealed behind it waits for it."""
    staged = intent(1, variant(sealed=False), state=State.STAGED)
    assert going(view(), None, staged, intent(2)) == []
    assert going(view(), None, intent(1), intent(2)) == [1, 2]


def test_nothing_passes_a_nonce_that_no_pool_can_hold() -> None:
    """D4, R8: behind what never left, or was turned away, the endpoint would only find a gap."""
    assert going(view(unsent=(intent(2), intent(3)), unsealed=(intent(1, variant(sealed=False)),))) == []
    waits = sent(1, meaning=Meaning.FEE_TOO_LOW, ago=1.0)
    assert going(view(unsent=(intent(2),), oldest_sent={TREASURY: waits})) == []
    assert going(view(unsent=(intent(2),), oldest_sent={TREASURY: sent(1, ago=1.0)})) == [2]


def test_after_mempool_loss_the_oldest_goes_again_first() -> None:
    """D4: all are due after `resend_seconds`, with the stored bytes, in nonce order."""
    line = tuple(sent(n, ago=31.0) for n in (3, 1, 2))
    assert going(view(resend=line)) == [1, 2, 3]
    assert (
        going(view(resend=tuple(replace(one, variants=(variant(sent_at=NOW, pooled=True),)) for one in line)))
        == []
    )


@pytest.mark.parametrize(
    "meaning", [Meaning.PENDING_LIMIT, Meaning.POOL_FULL, Meaning.NONCE_GAP, Meaning.REPLAYED]
)
def test_what_a_block_may_change_goes_again_after_a_block(meaning: Meaning) -> None:
    """N12: turned away for the moment: sent again when the head has risen since, not before."""
    turned = sent(1, meaning=meaning, ago=2.0)
    waiting = view(resend=(turned,))
    risen = replace(waiting, chain=ChainState(chain_id=1, risen_at=UnixSeconds(NOW - 1.0)))
    assert going(waiting) == []
    assert going(risen) == [1]
    now = replace(waiting, chain=ChainState(chain_id=1, risen_at=NOW))
    assert going(now) == [1], "seen in this very moment"
    same = replace(waiting, chain=ChainState(chain_id=1, risen_at=UnixSeconds(NOW - 2.0)))
    assert going(same) == [], "the block it was turned away in"


def test_what_was_refused_for_its_fee_does_not_go_again_with_every_block() -> None:
    """R6: it is priced anew, or waits for `resend_seconds`; each attempt is written down."""
    refused = sent(1, meaning=Meaning.FEE_TOO_LOW, ago=2.0)
    risen = ChainState(chain_id=1, risen_at=UnixSeconds(NOW - 1.0))
    assert going(view(resend=(refused,), chain=risen)) == []


def test_freshly_sealed_bytes_stand_in_for_the_views_copy() -> None:
    """What was sealed in this very tick goes out in its place in the line."""
    fresh = intent(2)
    seen = view(unsent=(intent(1), intent(3)), unsealed=(intent(2, variant(sealed=False)),))
    assert going(seen, None, fresh) == [1, 2, 3]


# --- cancels -----------------------------------------------------------------------------------------------------


def test_a_cancel_is_ordered_on_the_same_nonce_at_the_dearest_fee() -> None:
    """R7: one more variant, never cheaper than what it replaces."""
    asked = sent(1, variant(fee=700, sent_at=NOW), cancel_requested=True)
    (ordered,) = plan(view(cancelling=(asked,))).changes
    assert ordered == VariantStaged(
        account=TREASURY, intent_id=asked.id, number=2, kind=CANCEL, fee=BaseUnits(700)
    )


@pytest.mark.parametrize("evidence", list(Evidence)[:2])
def test_after_a_cancel_request_the_payment_never_goes(evidence: Evidence) -> None:
    """R3: neither for the first time nor again: the cancel variant alone."""
    never_sent, out = intent(1, cancel_requested=True), sent(2, cancel_requested=True)
    at = moment(evidence)
    assert going(view(unsent=(never_sent,), cancelling=(never_sent,)), at) == []
    assert going(view(resend=(out,), cancelling=(out,)), at) == []
    assert (
        going(view(), at, never_sent) == []
    )  # requested between staging and sealing: the fresh copy says so
    ordered = intent(1, variant(), variant(2, CANCEL), cancel_requested=True)
    (leaves,) = sendable((ordered,), view(unsent=(ordered,)), at, RULES)
    assert leaves.current().kind is CANCEL


def test_an_unsealed_intent_is_cancelled_before_it_is_ever_sent() -> None:
    """A cancel requested while nothing is signed: ordered at once; both are signed, only the cancel leaves."""
    staged = intent(1, variant(sealed=False), state=State.STAGED, cancel_requested=True)
    found = plan(view(unsealed=(staged,), cancelling=(staged,)))
    assert [change.kind for change in found.changes if isinstance(change, VariantStaged)] == [CANCEL]
    assert going(view(unsealed=(staged,), cancelling=(staged,))) == []


def test_without_look_up_one_cancel_at_a_time_the_lowest_first() -> None:
    """R7: at most one nonce per account has two payloads out."""
    asked = tuple(sent(n, cancel_requested=True) for n in (3, 2))
    found = plan(view(cancelling=asked), moment(Evidence.BALANCE)).changes
    assert [change.intent_id for change in found if isinstance(change, VariantStaged)] == [2]
    both = plan(view(cancelling=asked), moment(Evidence.HASH)).changes
    assert len(both) == 2
    taken = view(cancelling=asked, resend=(doubled(1),))
    assert plan(taken, moment(Evidence.BALANCE)).changes == ()
    assert len(plan(taken, moment(Evidence.HASH)).changes) == 2


def test_of_two_nonces_with_two_payloads_the_lower_one_counts() -> None:
    """R7: whichever the view names last; what lies between them waits, though no pool holds it."""
    between = intent(3, cancel_requested=True)
    seen = view(cancelling=(between,), unsealed=(doubled(2),), resend=(doubled(4),))
    assert plan(seen, moment(Evidence.BALANCE)).changes == ()


def test_a_cancel_is_priced_for_the_sink_of_its_account() -> None:
    """R7: that is where it sends its one unit; a new price of a cancel is one for the sink, too."""
    asked = sent(1, cancel_requested=True)
    _, prices, _ = asking(view(cancelling=(asked,)))
    assert prices == [(TREASURY, SINK, "")]
    low: dict[str, Any] = {"sent_at": NOW, "last_meaning": Meaning.FEE_TOO_LOW}
    refused = sent(1, variant(), variant(2, CANCEL, **low), cancel_requested=True, memo="rent")
    found, prices, _ = asking(view(oldest_sent={TREASURY: refused}), price={SINK: 500, ALICE: 900})
    assert prices == [(TREASURY, SINK, "")]
    assert found.changes == (
        VariantStaged(account=TREASURY, intent_id=refused.id, number=3, kind=CANCEL, fee=BaseUnits(500)),
    )


@pytest.mark.parametrize(
    "first",
    [
        pytest.param({"count": 1}, id="consumed"),
        pytest.param({"state": AccountState.FROZEN}, id="frozen"),
        pytest.param({"price": {"treasury-sink": FEE}}, id="too dear"),
        pytest.param({"doubled": True}, id="another of it is under way"),
    ],
)
def test_a_cancel_that_cannot_be_ordered_holds_no_other_up(first: dict[str, Any]) -> None:
    """R8: account by account; the first of the line is passed over, the cancel behind it is ordered."""
    blocked = sent(2, cancel_requested=True, name=RESERVE)
    base = frame(shown=SHOWN)
    if "count" in first:
        base = replace(
            base, holdings={**base.holdings, Address(RESERVE): Holding(balance=FEE, nonce=Nonce(2))}
        )
    accounts = (
        account(RESERVE, baseline=base, state=first.get("state", AccountState.ACTIVE)),
        account(),
    )
    seen = view(accounts=accounts, cancelling=(blocked, sent(1, cancel_requested=True)))
    if "doubled" in first:
        seen = replace(seen, resend=(replace(doubled(1), account=RESERVE, id=IntentId(1_001)),))
    found, _, _ = asking(seen, moment(Evidence.BALANCE), price=first.get("price"))
    assert [change.account for change in found.changes] == [TREASURY]


def test_a_cancel_goes_again_whatever_the_baseline_shows_of_its_sink() -> None:
    """§5.1: the sink is asked for before the first send alone; both payloads are out, and its nonce has to be filled."""
    out: dict[str, Any] = {"sent_at": UnixSeconds(NOW - 60.0), "pooled": True}
    both = sent(1, variant(1, **out), variant(2, CANCEL, **out), cancel_requested=True)
    bare = view(accounts=(account(baseline=frame(shown=("tb1alice",))),), resend=(both,))
    assert going(bare, moment(Evidence.BALANCE)) == [1]


@pytest.mark.parametrize("where", ["unsealed", "unsent", "resend"])
def test_without_look_up_nothing_passes_two_payloads(where: str) -> None:
    """R7: wherever the doubled nonce stands, and also for what was sealed just now."""
    seen = view(**{where: (doubled(2),)}, oldest_sent={TREASURY: sent(1, ago=1.0)})
    behind = (intent(3), intent(4))
    assert [
        n for n in going(replace(seen, unsent=(*seen.unsent, *behind)), moment(Evidence.BALANCE)) if n > 2
    ] == []
    assert [n for n in going(seen, moment(Evidence.BALANCE), *behind) if n > 2] == []
    assert [n for n in going(seen, moment(Evidence.HASH), *behind) if n > 2] == [3, 4]


def test_a_cancel_that_is_about_to_be_ordered_bars_the_line_already() -> None:
    """R7: in the tick that orders it nothing behind it leaves any more."""
    asked = sent(1, cancel_requested=True, ago=1.0)
    seen = view(cancelling=(asked,), oldest_sent={TREASURY: asked}, unsent=(intent(2),))
    assert going(seen, moment(Evidence.BALANCE)) == []


def test_a_lower_nonce_goes_again_while_a_higher_one_has_the_two_payloads() -> None:
    """R7: it may have no cancel variant yet, and the higher one waits for it: what may be out already goes again."""
    lower = sent(1, cancel_requested=True, ago=60.0)
    seen = view(cancelling=(lower,), resend=(lower, doubled(2)))
    assert plan(seen, moment(Evidence.BALANCE)).changes == ()
    assert going(seen, moment(Evidence.BALANCE)) == [1]


def test_a_cancel_variant_needs_its_sink_in_the_baseline() -> None:
    """§5.1: without look-up the cancel is proved by the sink; sent for the first time only when that stands there."""
    at = UnixSeconds(NOW - 60.0)
    ordered = sent(1, variant(sent_at=at, pooled=True), variant(2, CANCEL), cancel_requested=True)
    bare = view(accounts=(account(baseline=frame(shown=("tb1alice",))),), unsent=(ordered,))
    assert going(bare, moment(Evidence.BALANCE)) == []
    assert going(replace(bare, accounts=(account(),)), moment(Evidence.BALANCE)) == [1]


def test_poison_is_held_and_replaced_in_one_plan() -> None:
    """R8: refused for its content by every endpoint, often enough: a hold and a cancel variant, hold first."""
    bad = sent(1, meaning=Meaning.CONTENT_REFUSED, refusals=RULES.poison_refusals)
    seen = view(resend=(bad,), unsent=(intent(2),))
    assert plan(seen).changes == (
        HoldSet(
            account=TREASURY,
            disbursement_id=DisbursementId(1),
            hold=Hold.POISONED,
            detail=f"its content was refused {RULES.poison_refusals} times",
        ),
        VariantStaged(account=TREASURY, intent_id=bad.id, number=2, kind=CANCEL, fee=FEE),
    )
    assert going(seen) == []  # its payment goes no more, and nothing can pass it
    told = plan(replace(seen, cancelling=(bad,))).changes
    assert [type(change) for change in told] == [VariantStaged]  # the hold is stored already
    few = replace(bad, refusals=RULES.poison_refusals - 1)
    assert plan(view(resend=(few,))).changes == ()


# --- fees --------------------------------------------------------------------------------------------------------


def test_a_cancel_above_the_ceiling_waits_and_holds_nothing_up_elsewhere() -> None:
    """R8, R6: no price, no variant; it is asked again in the next tick."""
    asked = sent(1, cancel_requested=True)
    assert plan(view(cancelling=(asked,)), price=None).changes == ()
    assert len(plan(view(cancelling=(asked,))).changes) == 1


def test_what_was_refused_for_its_fee_is_priced_anew_at_once_with_all_behind_it() -> None:
    """D5, N14: on its own nonce; what was priced with it and never left would be refused, too."""
    refused = sent(1, meaning=Meaning.FEE_TOO_LOW, ago=1.0)
    seen = view(oldest_sent={TREASURY: refused}, unsent=(intent(2), intent(3, variant(fee=900))))
    assert plan(seen, price=500).changes == tuple(
        VariantStaged(account=TREASURY, intent_id=IntentId(n), number=2, kind=PAYMENT, fee=BaseUnits(500))
        for n in (1, 2)
    )
    same = replace(seen, unsent=(intent(2, variant(fee=500)),))
    assert [change.account for change in plan(same, price=500).changes] == [TREASURY], "never at a fee tried"


def test_a_payment_is_priced_anew_as_what_it_is() -> None:
    """R6: by account, destination and memo, as when it was staged."""
    refused = sent(1, meaning=Meaning.FEE_TOO_LOW, ago=1.0, memo="rent")
    _, prices, _ = asking(view(oldest_sent={TREASURY: refused}))
    assert prices == [(TREASURY, ALICE, "rent")]


def test_what_the_pool_has_dropped_is_priced_anew() -> None:
    """R6: after `pool_ttl_seconds`, by the clock and the rules of this tick."""
    ttl = RULES.pool_ttl_seconds
    old, young = sent(1, ago=ttl + 1.0), sent(1, ago=ttl)
    assert len(plan(view(oldest_sent={TREASURY: old}), price=500).changes) == 1
    assert plan(view(oldest_sent={TREASURY: young}), price=500).changes == ()


def test_what_is_being_replaced_or_consumed_is_not_priced_anew_and_holds_no_other_up() -> None:
    """R3, R14: one cancel is ordered for the first; the chain has the second; the third gets its price."""
    low: dict[str, Any] = {"meaning": Meaning.FEE_TOO_LOW, "ago": 1.0}
    asked = sent(2, cancel_requested=True, **low)
    seen = view(cancelling=(asked,), resend=(asked, sent(3, **low)), oldest_sent={TREASURY: sent(1, **low)})
    at = moment(frame=frame(count=1, shown=SHOWN))
    ordered = [change for change in plan(seen, at, price=500).changes if isinstance(change, VariantStaged)]
    assert [(change.intent_id, change.kind) for change in ordered] == [(2, CANCEL), (3, PAYMENT)]


def test_without_a_refusal_nothing_unsent_is_priced_anew() -> None:
    """A dearer quote alone makes no new variants."""
    assert plan(view(unsent=(intent(1), intent(2))), price=500).changes == ()


def test_no_price_no_bump() -> None:
    """R6: above the ceiling it waits on its nonce."""
    refused = sent(1, meaning=Meaning.FEE_TOO_LOW, ago=1.0)
    assert plan(view(oldest_sent={TREASURY: refused}), price=None).changes == ()


def test_an_intent_with_an_unsealed_variant_gets_no_other() -> None:
    """R6: one after the other."""
    waiting = sent(1, variant(last_meaning=Meaning.FEE_TOO_LOW), variant(2, sealed=False))
    assert plan(view(oldest_sent={TREASURY: waiting}, unsealed=(waiting,)), price=500).changes == ()


# --- what the settled part means for the rest ----------------------------------------------------------------------


def test_a_freeze_found_in_this_tick_stops_this_tick() -> None:
    """R14: at first sight."""
    seen = view(accounts=(account(), account(RESERVE)), unsent=(intent(1), intent(1, name=RESERVE)))
    frozen = FrozenNow(account=TREASURY, cause=FreezeCause.FOREIGN_NONCE, detail="")
    stopped = account(state=AccountState.FROZEN, cause=FreezeCause.FOREIGN_NONCE)
    assert carry(seen, [frozen]).accounts == (stopped, account(RESERVE))
    assert [one.account for one in sendable(seen.unsent, carry(seen, [frozen]), moment(), RULES)] == [RESERVE]


def test_a_rewound_account_does_nothing_more_in_this_tick() -> None:
    """R9: its verdicts are open again; its candidates are not counted as anybody's."""
    seen = carry(view(unsent=(intent(1),), candidates=(item(1),)), [Rewound(account=TREASURY, to=BASELINE)])
    found = plan(seen)
    assert (found.drafts, found.waiting) == ((), {})
    assert sendable(found.send, seen, moment(), RULES) == ()


def test_what_was_settled_leaves_the_lists_and_a_new_baseline_counts() -> None:
    """An intent that this tick settled is neither signed nor sent; first sends look at the baseline of this tick."""
    both = (intent(1), intent(2))
    seen = view(
        accounts=(account(baseline=frame()),),
        unsealed=both,
        unsent=both,
        resend=both,
        cancelling=both,
        oldest_sent={TREASURY: sent(1)},
    )
    carried = carry(
        seen,
        [
            Burned(account=TREASURY, intent_id=IntentId(1)),
            BaselineMoved(account=TREASURY, frame=BASELINE, keep_from=Height(1)),
        ],
    )
    for rows in (carried.unsealed, carried.unsent, carried.resend, carried.cancelling):
        assert [one.nonce for one in rows] == [2]
    assert carried.oldest_sent == {}
    sending = replace(seen, unsealed=(), resend=(), cancelling=())
    assert going(sending, moment(Evidence.BALANCE)) == []
    after = replace(carried, unsealed=(), resend=(), cancelling=())
    assert going(after, moment(Evidence.BALANCE)) == [2]


def test_what_concerns_no_account_of_the_view_carries_nothing() -> None:
    """A book entry changes no decision, and an account that was withdrawn does not come back."""
    seen = view(unsent=(intent(1),))
    entry = Booked(account=TREASURY, kind=BalanceKind.FUNDING, delta=5, height=Height(50))
    assert carry(seen, [entry]) == seen
    withdrawn: list[Change] = [
        Rewound(account=TREASURY, to=BASELINE),
        Rewound(account=TREASURY, to=BASELINE),
        BaselineMoved(account=TREASURY, frame=BASELINE, keep_from=Height(1)),
        Adopted(account=TREASURY, next_nonce=Nonce(1), baseline=BASELINE),
        FrozenNow(account=TREASURY, cause=FreezeCause.DEEP_REORG, detail=""),
    ]
    assert carry(seen, withdrawn).accounts == ()


def test_an_adopted_account_begins_in_the_same_tick() -> None:
    """R2: its sequence and baseline are those of the change."""
    new = view(accounts=(account(baseline=None, next_nonce=None),), candidates=(item(1),))
    carried = carry(new, [Adopted(account=TREASURY, next_nonce=Nonce(1), baseline=BASELINE)])
    assert carried.accounts == (account(baseline=BASELINE, next_nonce=Nonce(1)),)
    assert len(plan(carried).drafts) == 1


# --- batches -----------------------------------------------------------------------------------------------------


def test_batches_follow_the_depth_of_the_queue() -> None:
    """§4: twice as many while a list is cut, half when half would do, between floor and ceiling."""
    rules = replace(RULES, batch_min=16, batch_max=100)
    deep, shallow = view(more=True), view()
    sizes = [16]
    for seen in (deep, deep, deep, deep, shallow, shallow, shallow):
        sizes.append(next_batch(sizes[-1], seen, moment(), rules))
    assert sizes == [16, 32, 64, 100, 100, 50, 25, 16]
    busy = view(candidates=tuple(item(n) for n in range(1, 41)))
    assert next_batch(64, busy, moment(), rules) == 64
    assert next_batch(80, busy, moment(), rules) == 40, "half would just do"
    assert next_batch(33, shallow, moment(), replace(rules, batch_min=1)) == 16


def test_without_look_up_an_interval_is_read_whole() -> None:
    """§5.1: never fewer rows than the nonces that may be in flight."""
    rules = replace(RULES, batch_min=16, batch_max=100, max_unburned=300)
    assert next_batch(16, view(), moment(Evidence.BALANCE), rules) == 300
    assert next_batch(16, view(), moment(Evidence.HASH), rules) == 16
    deep = view(more=True)
    assert next_batch(32, deep, moment(Evidence.BALANCE), replace(rules, max_unburned=3)) == 64
    rewound = view(
        intervals={TREASURY: Interval(consumed=301)}
    )  # found by seed 88677: it was never listed whole
    assert next_batch(300, rewound, moment(Evidence.BALANCE), rules) == 301
    assert next_batch(16, rewound, moment(Evidence.HASH), rules) == 16
    endless = view(intervals={TREASURY: Interval(consumed=10**6)})
    assert next_batch(300, endless, moment(Evidence.BALANCE), rules) == 300 * (rules.finality_depth + 1)


def test_planning_is_pure() -> None:
    """The same view gives the same plan."""
    seen = view(candidates=(item(1),), unsent=(intent(1),), cancelling=(sent(2, cancel_requested=True),))
    assert plan(seen) == plan(seen)
    assert planner.sendable(seen.unsent, seen, moment(), RULES) == planner.sendable(
        seen.unsent, seen, moment(), RULES
    )
