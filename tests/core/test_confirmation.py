from dataclasses import replace
from typing import Any

import pytest
from tests.core.chainlab import (
    ALICE,
    DEPTH,
    FEE,
    OPENING,
    RULES,
    SINK,
    TREASURY,
    Lab,
    Tx,
    adopted,
    base_rule,
    frame,
    intent,
    moment,
    of_type,
)

from treasuryd.core import confirmation
from treasuryd.core.changes import (
    Adopted,
    BaselineMoved,
    BlockBuried,
    Burned,
    Change,
    FrozenNow,
    Rewound,
    Seen,
)
from treasuryd.core.events import Event, EventKind, Severity
from treasuryd.core.model import (
    Account,
    AccountId,
    AccountState,
    Address,
    BaseUnits,
    BlockHash,
    ChainState,
    Evidence,
    Frame,
    FreezeCause,
    Height,
    Holding,
    IncludedBlock,
    IntentId,
    Nonce,
    Sighting,
    State,
    View,
)

BOTH = pytest.mark.parametrize("evidence", [Evidence.HASH, Evidence.BALANCE])


def paid(evidence: Evidence, *, blocks: int = DEPTH + 1) -> Lab:
    """A lab with one payment in the last block, seen."""
    lab = adopted(evidence, blocks=blocks)
    one = intent(1)
    lab.add(one)
    lab.mine(lab.tx(one))
    assert of_type(lab.tick(), Seen)
    return lab


def test_an_account_is_adopted_from_the_chain_once() -> None:
    """R2: the count seeds the next nonce when it is first seen, and never again."""
    lab = Lab()
    lab.mine(Tx(TREASURY, "somebody", 1, 0, "before"))
    assert [Adopted(account=TREASURY, next_nonce=Nonce(2), baseline=lab.frame())] == list(lab.tick())
    assert not lab.tick().changes


def test_a_thawed_account_keeps_the_higher_number() -> None:
    """R14: next nonce = max(ours, burned count + 1)."""
    lab = Lab()
    lab.accounts[TREASURY] = Account(id=TREASURY, next_nonce=Nonce(9))
    lab.mine()
    lab.tick()
    assert lab.account().next_nonce == 9


def test_an_absent_account_is_adopted_as_absent() -> None:
    """N15: missing is not the same as unread; its first nonce is 1."""
    lab = Lab(opening={})
    lab.mine()
    lab.tick()
    assert lab.account().next_nonce == 1
    blind = Lab(addresses=(SINK,))
    blind.mine()
    assert not blind.tick().changes


def test_a_quarantined_account_is_not_adopted() -> None:
    """§8: nothing advances in quarantine."""
    lab = Lab()
    lab.accounts[TREASURY] = Account(id=TREASURY, state=AccountState.QUARANTINED)
    lab.mine()
    assert not lab.tick().changes


def test_without_a_frame_nothing_is_asked_or_concluded() -> None:
    """protocol.md §4: a chain that cannot be read consistently decides nothing."""
    view = View(chain=ChainState(chain_id=1), accounts=(Account(id=TREASURY),))
    assert confirmation.asks(view, moment(None), RULES) == confirmation.Asks()
    verdict = confirmation.settle(
        view, moment(None), sightings=(), headers={}, rules=RULES, highest_base_fee=base_rule
    )
    assert list(verdict) == []


def test_asks_name_frames_before_blocks_within_their_bound() -> None:
    """R9: the frame itself, what baselines rest on, then blocks, the oldest first; look-ups only where there are any."""
    lab = paid(Evidence.HASH)
    lab.add(intent(2), intent(3, state=State.STAGED))
    lab.mine(lab.tx(intent(2)), Tx(TREASURY, "thief", 0, 0, "x"))
    now = lab.frame()
    asks = confirmation.asks(lab.view(now), moment(now, proof=Evidence.HASH), RULES)
    assert [one.id for one in asks.lookups] == [2]
    ground = Account(id=TREASURY, baseline=frame(0, {TREASURY: (5, 0)}))
    bare = confirmation.asks(View(chain=ChainState(chain_id=1), accounts=(ground,)), moment(now), RULES)
    assert bare.heights == (lab.height,), "below the first block nothing can change"
    assert asks.heights[0] == lab.height
    assert sorted(asks.heights) == [2, 3, 4, 5, 6]
    two = confirmation.asks(lab.view(now), moment(now), replace(RULES, batch_max=2))
    assert (two.lookups, two.heights[0], len(two.heights)) == ((), lab.height, 2)


@pytest.mark.parametrize(
    ("bound", "asked"),
    [
        (100, (50, 49, *range(30, 49), 7)),
        (40, (50, 49, *range(30, 49), 7)),
        (39, (50, 49, *range(30, 39), *range(41, 49), 7)),
        (8, (50, 49, 30, 31, 48, 7)),
        (7, (50, 49, 30, 7)),
        (4, (50, 49, 30, 7)),
        (3, (50, 49, 30)),
        (2, (50, 49)),
    ],
)
def test_of_many_kept_frames_the_ends_are_asked_and_always_the_baseline(
    bound: int, asked: tuple[int, ...]
) -> None:
    """R9: where nothing is final frames pile up; without the baseline's own header nothing would ever go on."""
    read = [frame(height, {TREASURY: (5, 0)}) for height in range(30, 50)]
    account = Account(id=TREASURY, baseline=read[-1], kept=tuple(read[:-1]))
    block = IncludedBlock(account=TREASURY, height=Height(7), block_hash=BlockHash("b"), count=1)
    view = View(chain=ChainState(chain_id=1), accounts=(account,), blocks=(block,))
    now = moment(frame(50, {TREASURY: (5, 0)}))
    assert confirmation.asks(view, now, replace(RULES, batch_max=bound)).heights == asked


@BOTH
def test_a_payment_is_final_at_depth_and_not_before(evidence: Evidence) -> None:
    """D12, R9: depth k counted from the sighting."""
    lab = paid(evidence)
    for _ in range(DEPTH - 1):
        lab.mine()
        assert not of_type(lab.tick(), BlockBuried)
    lab.mine()
    assert of_type(lab.tick(), BlockBuried)
    assert lab.state(1) is State.FINAL


@BOTH
def test_a_block_whose_header_is_not_known_does_not_become_final(evidence: Evidence) -> None:
    """R9: depth alone is not enough; the very block has to stand."""
    lab = paid(evidence)
    for _ in range(DEPTH):
        lab.mine()
    unknown = lab.tick(header=lambda height: None if height == DEPTH + 2 else lab.header(height))
    assert not of_type(unknown, BlockBuried)
    assert of_type(lab.tick(), BlockBuried)


@BOTH
def test_what_is_final_and_what_is_new_are_told_in_one_tick(evidence: Evidence) -> None:
    """D12: the block of the first payment is deep enough while the second payment is seen."""
    lab = paid(evidence)
    for _ in range(DEPTH - 1):
        lab.mine()
    two = intent(2)
    lab.add(two)
    lab.mine(lab.tx(two))
    assert [BlockBuried, Seen, BaselineMoved] == [type(change) for change in lab.tick()]


@BOTH
def test_one_absurd_head_makes_nothing_final(evidence: Evidence) -> None:
    """R16: depth is counted in the frame too, which no absurd head can raise."""
    lab = paid(evidence)
    assert not of_type(lab.tick(believed=10_000), BlockBuried)
    assert not of_type(lab.tick(header=lambda _: None, believed=10_000), BlockBuried)


@BOTH
def test_an_ordinary_reorg_that_includes_it_again_freezes_nothing(evidence: Evidence) -> None:
    """D12, R9: back to broadcast, then included in the other block, the same bytes."""
    lab = paid(evidence)
    lab.reorg(1)
    lab.mine()
    verdict = lab.tick()
    assert [Rewound] == [type(change) for change in verdict]
    assert verdict.events == (
        Event(
            kind=EventKind.REORGED_CHAIN,
            severity=Severity.WARNING,
            account=TREASURY,
            reason="ordinary",
            detail=f"the block at height {DEPTH + 2} was replaced",
            fields={"lowest": DEPTH + 2, "to": DEPTH + 1},
        ),
    )
    assert lab.state(1) is State.BROADCAST
    lab.tick()
    lab.mine(lab.tx(lab.intents[intent(1).id]))
    assert of_type(lab.tick(), Seen)
    assert not lab.frozen
    assert lab.explained() == lab.by_baseline()


@BOTH
def test_a_lagging_node_is_no_reorg(evidence: Evidence) -> None:
    """R9: a lower frame under unchanged or missing headers is lag, whatever nonces it shows."""
    lab = paid(evidence)
    lag = lab.height - 2
    low = lab.tick(at=lag)
    assert (low.changes, low.events) == ((), ())
    behind = lab.tick(at=lag, header=lambda height: lab.header(height) if height <= lag else None)
    assert (behind.changes, behind.events) == ((), ())
    lab.mine()
    unknown = lab.tick(header=lambda height: lab.header(height) if height == lab.height else None)
    assert not unknown.changes, "the baseline's own block must be known to stand"
    assert lab.state(1) is State.INCLUDED


@BOTH
def test_a_fallen_nonce_under_unchanged_headers_is_a_lying_endpoint(evidence: Evidence) -> None:
    """R9: no verdict, and a page."""
    lab = paid(evidence)
    lab.mine()
    now = lab.frame()
    holdings = dict(now.holdings)
    holdings[Address(TREASURY)] = Holding(balance=BaseUnits(1), nonce=Nonce(0))
    verdict = lab.tick(of=replace(now, holdings=holdings))
    assert not verdict.changes
    paged = Event(
        kind=EventKind.ENDPOINT_CONTRADICTS,
        severity=Severity.PAGE,
        account=TREASURY,
        detail=f"nonce 1 at height {DEPTH + 2}, 0 at {DEPTH + 3}, and no header changed: "
        "an endpoint is wrong about the account or about the headers (protocol.md R9)",
    )
    assert verdict.events == (paged,)
    here = lab.frame(at=DEPTH + 2)
    same = lab.tick(
        of=replace(here, holdings={**here.holdings, Address(TREASURY): holdings[Address(TREASURY)]})
    )
    assert (same.changes, len(same.events)) == ((), 1), "at the baseline's own height, too"


def ahead_of_its_header(lab: Lab) -> Frame:
    """A frame whose balances are those after our payment, over a header of a block that does not hold it."""
    now = lab.frame()
    held = {
        Address(TREASURY): Holding(balance=BaseUnits(OPENING - 5_000 - FEE), nonce=Nonce(1)),
        ALICE: Holding(balance=BaseUnits(5_000), nonce=Nonce(0)),
    }
    return replace(now, holdings={**now.holdings, **held})


def test_a_verdict_that_rests_on_a_baseline_that_lied_is_withdrawn_at_depth() -> None:
    """R9: the nonce stays fallen under unchanged headers for k blocks; then the same bytes go again."""
    lab = adopted(Evidence.BALANCE, blocks=DEPTH + 1)
    lab.add(intent(1))
    lab.mine()
    assert of_type(lab.tick(of=ahead_of_its_header(lab)), Seen)
    for _ in range(DEPTH - 1):
        lab.mine()
        verdict = lab.tick()
        assert not verdict.changes
        assert [one.kind for one in verdict.events] == [EventKind.ENDPOINT_CONTRADICTS]
    lab.mine()
    (back,) = of_type(lab.tick(), Rewound)
    assert isinstance(back, Rewound)
    assert back.to.height == DEPTH + 1
    assert lab.state(1) is State.BROADCAST


def lied_twice() -> Lab:
    """Two readings in a row showed our payment, over headers of blocks that do not hold it."""
    lab = adopted(Evidence.BALANCE, blocks=DEPTH + 1)
    lab.add(intent(1))
    for _ in range(2):
        lab.mine()
        lab.tick(of=ahead_of_its_header(lab))
    assert lab.state(1) is State.INCLUDED
    for _ in range(DEPTH):
        lab.mine()
    return lab


def test_a_baseline_that_lied_goes_back_to_the_newest_frame_that_did_not() -> None:
    """R9: a kept frame that shows the same lie is no ground, nor is one whose block is not known to stand."""
    lab = lied_twice()
    assert [change.to.height for change in lab.tick() if isinstance(change, Rewound)] == [DEPTH + 1]
    other = lied_twice()
    blind = other.tick(header=lambda height: None if height == DEPTH + 1 else other.header(height))
    assert [change.to.height for change in blind if isinstance(change, Rewound)] == [DEPTH]


def test_a_baseline_that_no_kept_frame_contradicts_is_left_while_nothing_of_ours_follows_on_it() -> None:
    """R9, R2: where every frame shows the higher nonce it is counted anew; once we staged above it, it goes on paging."""
    for mark in (0, 2):
        lab = Lab(evidence=Evidence.BALANCE)
        lab.mine()
        lab.tick(of=ahead_of_its_header(lab))
        lab.accounts[TREASURY] = replace(lab.accounts[TREASURY], high_water=Nonce(mark))
        back: list[Change] = []
        for _ in range(DEPTH):
            assert back == []
            lab.mine()
            verdict = lab.tick()
            back += verdict.changes
            assert [one.severity for one in verdict.events] == [Severity.PAGE]
        assert [change.to.height for change in back if isinstance(change, Rewound)] == [0][mark:]


def test_headers_are_asked_for_the_blocks_that_a_look_up_named_and_no_others() -> None:
    """R9: after what was asked for anyway, from the ground up to the frame, within the batch."""
    lab = paid(Evidence.HASH)
    at = moment(lab.frame(), proof=Evidence.HASH)
    asked = confirmation.Asks(heights=(Height(5), Height(2)))
    named = [
        Sighting(
            intent_id=IntentId(number), as_of=Height(5), height=None if height is None else Height(height)
        )
        for number, height in enumerate((4, 0, 3, 6, None, 2, 1), start=1)
    ]
    assert confirmation.heights(asked, named, at, RULES) == (5, 2, 1, 3, 4)
    top = Sighting(intent_id=IntentId(9), as_of=Height(5), height=Height(5))
    assert confirmation.heights(confirmation.Asks(), [top], at, RULES) == (5,)
    assert confirmation.heights(asked, named, at, replace(RULES, batch_max=3)) == (5, 2, 1)
    assert confirmation.heights(asked, named, at, replace(RULES, batch_max=1)) == (5, 2)
    assert confirmation.heights(confirmation.Asks(), named, moment(None), RULES) == ()


@BOTH
def test_a_block_becomes_final_though_the_frame_says_nothing_of_the_account(evidence: Evidence) -> None:
    """R9: only a frame that takes the nonce back would keep it from that; one without a word of it does not."""
    lab = paid(evidence)
    for _ in range(DEPTH):
        lab.mine()
    now = lab.frame()
    silent = replace(
        now, holdings={name: held for name, held in now.holdings.items() if name != Address(TREASURY)}
    )
    assert of_type(lab.tick(of=silent), BlockBuried)
    assert lab.state(1) is State.FINAL


@BOTH
def test_a_reorg_deeper_than_finality_freezes_every_account(evidence: Evidence) -> None:
    """R9: all accounts of the chain stop and a person is paged; it is said once."""
    lab = paid(evidence)
    other, sick = AccountId("other"), AccountId("sick")
    lab.accounts[other] = Account(id=other)
    lab.accounts[sick] = Account(id=sick, state=AccountState.QUARANTINED)
    lab.reorg(DEPTH + 1)
    for _ in range(DEPTH + 2):
        lab.mine()
    verdict = lab.tick()
    found = f"the block at height 2 was replaced, {DEPTH} blocks deep or deeper"
    elsewhere = "another account of this chain found a reorg deeper than finality"
    assert [change for change in verdict if isinstance(change, FrozenNow)] == [
        FrozenNow(account=name, cause=FreezeCause.DEEP_REORG, detail=detail)
        for name, detail in ((TREASURY, found), (other, elsewhere), (sick, elsewhere))
    ]
    assert verdict.events == (
        Event(
            kind=EventKind.REORGED_CHAIN,
            severity=Severity.PAGE,
            account=TREASURY,
            reason="deep",
            detail="the block at height 2 was replaced",
            fields={"lowest": 2, "to": 2},
        ),
    )
    assert of_type(verdict, Rewound)
    assert lab.state(1) is State.BROADCAST
    lab.mine()
    assert not of_type(lab.tick(), FrozenNow)


def test_whoever_froze_an_account_before_a_deep_reorg_freezes_it_for_that() -> None:
    """R9: a drill is not what a person has to lift then, neither where it is found nor in another account."""
    lab = paid(Evidence.HASH)
    other = AccountId("other")
    drill: dict[str, Any] = {"state": AccountState.FROZEN, "cause": FreezeCause.PERSON}
    lab.accounts[TREASURY] = replace(lab.account(), **drill)
    lab.accounts[other] = Account(id=other, **drill)
    lab.reorg(DEPTH + 1)
    for _ in range(DEPTH + 2):
        lab.mine()
    lab.tick()
    assert [(one.account, one.cause) for one in lab.frozen] == [
        (TREASURY, FreezeCause.DEEP_REORG),
        (other, FreezeCause.DEEP_REORG),
    ]


def test_a_reorg_whose_ground_is_unknown_waits() -> None:
    """R9: it is told at once and taken back when the ground can be read."""
    lab = paid(Evidence.BALANCE)
    lab.reorg(1)
    lab.mine()
    verdict = lab.tick(header=lambda height: lab.header(height) if height == lab.height else None)
    assert not verdict.changes
    assert [(one.kind, one.fields) for one in verdict.events] == [
        (EventKind.REORGED_CHAIN, {"lowest": DEPTH + 2, "to": None})
    ]
    assert of_type(lab.tick(), Rewound)


def test_a_final_nonce_that_vanished_freezes_where_no_kept_header_tells() -> None:
    """R9: the final payment lay between two readings, so only the chain's count betrays that it is gone."""
    lab = adopted(Evidence.HASH, blocks=DEPTH + 1)
    one = intent(1)
    lab.add(one)
    lab.mine(lab.tx(one))
    for _ in range(DEPTH):
        lab.mine()
    lab.tick()
    lab.tick()
    assert lab.state(1) is State.FINAL
    lab.reorg(DEPTH + 1)
    for _ in range(DEPTH + 2):
        lab.mine()
    lab.tick()
    lab.accounts[TREASURY] = replace(lab.account(), state=AccountState.ACTIVE)
    lab.frozen.clear()
    lab.tick(believed=lab.height + 1)
    assert not lab.frozen, "a frame below the believed head may only lag"
    other = AccountId("other")
    lab.accounts[other] = Account(id=other)
    lab.tick()
    assert [(one.account, one.cause) for one in lab.frozen] == [
        (TREASURY, FreezeCause.DEEP_REORG),
        (other, FreezeCause.DEEP_REORG),
    ]
    assert lab.frozen[0].detail == "nonce 1 was final, the chain shows 0"
    lab.mine()
    lab.tick()
    assert len(lab.frozen) == 2


@BOTH
def test_after_a_thaw_a_frozen_account_goes_on_and_a_later_reorg_thaws_nothing(evidence: Evidence) -> None:
    """R14: frozen is stored; confirming goes on all the while."""
    lab = adopted(evidence, blocks=DEPTH + 1)
    lab.mine(Tx(TREASURY, "thief", 0, 5, "stranger"))
    lab.tick()
    assert lab.account().state is AccountState.FROZEN
    lab.reorg(1)
    lab.mine()
    lab.tick()
    lab.tick()
    assert lab.account().state is AccountState.FROZEN
    one = intent(1)
    lab.add(one)
    lab.mine(lab.tx(one))
    assert of_type(lab.tick(), Seen)


@BOTH
def test_one_accounts_garbage_never_stops_another(evidence: Evidence) -> None:
    """§2: each account is judged for itself."""
    second = AccountId("second")
    lab = Lab(evidence=evidence, opening={TREASURY: 10_000_000, second: 10_000_000})
    lab.addresses = (*lab.addresses, Address(second), Address("second-sink"))
    lab.accounts[second] = Account(id=second)
    lab.mine()
    lab.tick()
    good = intent(1)
    lab.add(good, intent(2, nonce=1, account=second, to=Address("tb1unseen"), state=State.STAGED))
    lab.mine(lab.tx(good), Tx(second, "thief", 7, 0, "stranger"))
    verdict = lab.tick()
    assert lab.state(1) is State.INCLUDED
    assert [one.id for one in verdict.ask_signer] == [2]


@BOTH
def test_a_tick_that_sees_nothing_new_writes_nothing(evidence: Evidence) -> None:
    """protocol.md §4: the same frame again costs no change."""
    lab = adopted(evidence, blocks=2)
    assert not lab.tick().changes
    lab.mine()
    assert [BaselineMoved] == [type(change) for change in lab.tick()]


@BOTH
def test_kept_frames_are_those_of_the_last_blocks_and_one_below(evidence: Evidence) -> None:
    """protocol.md §1: the frames of the last k blocks, and the newest one at or below believed - k."""
    lab = adopted(evidence, blocks=4 * DEPTH)
    top = lab.height
    assert [top - DEPTH, *range(top - DEPTH + 1, top)] == [kept.height for kept in lab.account().kept]


BASELINE = frame(5, {TREASURY: (10, 3), ALICE: None, SINK: None})


@pytest.mark.parametrize(
    ("nonce", "baseline", "hashed", "balanced"),
    [
        pytest.param(4, BASELINE, True, True, id="payee and sink stand there, absent"),
        pytest.param(3, BASELINE, False, False, id="R14: nothing under a nonce at or below the count"),
        pytest.param(4, frame(5, {TREASURY: (10, 3), SINK: None}), True, False, id="payee not read"),
        pytest.param(4, frame(5, {TREASURY: (10, 3), ALICE: None}), True, False, id="sink not read"),
        pytest.param(
            4, frame(5, {TREASURY: None, ALICE: None, SINK: None}), False, False, id="account absent"
        ),
        pytest.param(4, frame(5, {ALICE: None, SINK: None}), False, False, id="account not read"),
    ],
)
def test_a_first_send_needs_what_its_proof_will_need(
    nonce: int, baseline: Frame, *, hashed: bool, balanced: bool
) -> None:
    """§5.1, R14: without look-up destination and sink stand in the baseline before anything leaves."""
    one = intent(nonce)
    assert confirmation.first_send_allowed(one, baseline, RULES, Evidence.HASH) is hashed
    assert confirmation.first_send_allowed(one, baseline, RULES, Evidence.BALANCE) is balanced


def test_a_first_send_to_the_account_itself_needs_no_other_address() -> None:
    """§5.1: destination and account are one; it and the sink stand there."""
    own = intent(4, to=Address(TREASURY))
    bare = frame(5, {TREASURY: (10, 3), SINK: None})
    assert confirmation.first_send_allowed(own, bare, RULES, Evidence.BALANCE)


def test_a_void_intent_stays_void_after_its_burn() -> None:
    """R5 a: once burned by a stranger it is never looked at again."""
    lab = adopted(Evidence.HASH, blocks=DEPTH + 1)
    lab.add(intent(1))
    lab.mine(Tx(TREASURY, "thief", 0, 0, "stranger"))
    for _ in range(DEPTH + 2):
        lab.tick()
        lab.mine()
    assert lab.state(1) is State.VOID
    assert not of_type(lab.tick(), Burned)
    assert Height(lab.height) == lab.frame().height


@BOTH
def test_a_count_that_is_not_ours_is_followed_only_where_its_block_is_known_to_stand(
    evidence: Evidence,
) -> None:
    """R2, found by seed 48113: endpoints disagreed on the block that had shown a stranger's nonce, and it was gone."""
    lab = Lab(evidence=evidence)
    lab.mine(Tx(TREASURY, "thief", 0, 5, "stranger"))
    assert lab.tick().rooted, "nothing was adopted yet"
    adopted_at = lab.height
    for _ in range(DEPTH + 1):
        lab.mine()
    unknown = lab.tick(header=lambda height: None if height == adopted_at else lab.header(height))
    assert not unknown.rooted
    assert lab.tick().rooted
    lab.accounts[TREASURY] = replace(lab.account(), high_water=Nonce(1))
    own = lab.tick(header=lambda height: None if height == adopted_at else lab.header(height))
    assert own.rooted, "what follows on our own nonces needs no other ground"
