"""The Store port's contract, over each driver."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.store.kit import (
    CHAIN_ID,
    FEE,
    ME,
    OTHER,
    PAYER,
    RIVAL,
    RULES,
    Bench,
    block,
    depend,
    opened,
    seen,
    sent,
    signed,
)

from treasuryd.core.changes import (
    Adopted,
    Advanced,
    BaselineMoved,
    BlockBuried,
    Booked,
    Burned,
    ChainMoved,
    Change,
    FrozenNow,
    HoldSet,
    QuarantinedNow,
    Rewound,
    Unproven,
    VariantStaged,
)
from treasuryd.core.events import EventKind, Severity
from treasuryd.core.model import (
    AccountState,
    BalanceKind,
    BaseUnits,
    BlockHash,
    ChainState,
    DisbursementId,
    Epoch,
    Evidence,
    FreezeCause,
    Height,
    Held,
    Hold,
    HouseName,
    Incarnation,
    IntentId,
    Lease,
    Meaning,
    Moment,
    Nonce,
    NotWritten,
    Refused,
    Snapshot,
    State,
    Status,
    Term,
    UnixSeconds,
    VariantKind,
)
from treasuryd.errors import Corrupt
from treasuryd.ports import Store, written
from treasuryd.sqlite.connect import Connection
from treasuryd.sqlite.inline import InlineDriver
from treasuryd.sqlite.threaded import ThreadedDriver


@pytest.fixture(params=[InlineDriver, ThreadedDriver], ids=["inline", "threaded"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    driver = await opened(request.param, tmp_path / "store.db")
    yield Bench(driver)
    await driver.close()


@pytest.fixture
async def payer(bench: Bench) -> Bench:
    """With the payer's account adopted."""
    await bench.adopt(PAYER)
    return bench


# --- ownership ------------------------------------------------------------------------------------------------


async def test_it_is_a_store(bench: Bench) -> None:
    """The type checker holds the class to the port; this line makes it look."""
    store: Store = bench.store
    assert (await store.chain_state()).chain_id == CHAIN_ID


async def test_leases_are_made_where_missing_and_come_in_the_order_asked(bench: Bench) -> None:
    """A row that nobody took yet reads as released, with term 0."""
    rows = await bench.store.leases([PAYER, OTHER])
    assert [(row.account, row.term, row.released) for row in rows] == [(PAYER, 0, True), (OTHER, 0, True)]


async def test_an_account_that_is_added_later_gets_rows_of_its_own(bench: Bench) -> None:
    """The known one keeps its lease; its birth is journalled once, and so is the new one's."""
    await bench.claim(PAYER)
    rows = await bench.store.leases([PAYER, OTHER])
    assert [(row.account, row.term, row.released) for row in rows] == [(PAYER, 1, False), (OTHER, 0, True)]
    assert await bench.sql("SELECT chain FROM journal WHERE verb = 'create' ORDER BY id") == [
        (f"account:{PAYER}",),
        (f"account:{OTHER}",),
    ]


async def test_a_claim_raises_the_term_above_store_and_signer(bench: Bench) -> None:
    """§6.1: term = max(the store's, the signer's mark) + 1; an account that the signer does not know has no mark."""
    one, other = await bench.store.leases([PAYER, OTHER])
    [lease] = await bench.store.claim([other], bench.me, above={})
    assert lease == Lease(account=OTHER, incarnation=bench.me.incarnation, term=Term(1))
    [lease] = await bench.store.claim([one], bench.me, above={PAYER: Term(41)})
    assert lease == Lease(account=PAYER, incarnation=bench.me.incarnation, term=Term(42))
    [row] = await bench.store.leases([PAYER])
    assert (row.holder, row.incarnation, row.machine, row.folder) == ("one", "a" * 32, "m", "f")


async def test_a_claim_on_what_moved_meanwhile_is_refused(bench: Bench) -> None:
    """The holder renewed after the candidate had looked: nothing is taken."""
    await bench.claim(PAYER)
    rival = Bench(bench.driver, me=RIVAL)
    seen_before = [*await rival.store.leases([PAYER])]
    await bench.store.renew(bench.held)
    seen_before += await rival.store.leases([OTHER])
    answer, other = await rival.store.claim(seen_before, RIVAL, above={})
    assert isinstance(answer, NotWritten)
    assert answer.reason == "changed"
    assert isinstance(other, Lease), "it keeps no other account from being taken"


async def test_a_lease_that_was_taken_is_missing_from_the_renewal(bench: Bench) -> None:
    """Zero rows means lost (§6.2)."""
    await bench.claim(PAYER, OTHER)
    await Bench(bench.driver, me=RIVAL).claim(PAYER)
    kept = await bench.store.renew(bench.held)
    assert [lease.account for lease in kept] == [OTHER]


async def test_a_released_lease_fences_whoever_released_it(payer: Bench) -> None:
    """After a release nothing may be written under that term."""
    await payer.store.release(payer.held)
    [row] = await payer.store.leases([PAYER])
    assert row.released
    answers = await payer.store.stage(await payer.drafts(await payer.insert()), payer.held, at=payer.at())
    assert [row.reason for row in answers if isinstance(row, NotWritten)] == ["fenced"]


@pytest.mark.parametrize(
    "forged",
    [
        pytest.param({"term": Term(2)}, id="a term that the store does not know"),
        pytest.param({"incarnation": Incarnation("another start")}, id="the term of another start"),
    ],
)
async def test_a_lease_is_term_and_incarnation_together(payer: Bench, forged: dict[str, Any]) -> None:
    """R13, §6.2: whoever names one of them alone is fenced, renews nothing and gives nothing back."""
    held = payer.held
    payer.held = replace(held, leases={PAYER: replace(held.leases[PAYER], **forged)})
    drafts = await payer.drafts(await payer.insert())
    answers = await payer.store.stage(drafts, payer.held, at=payer.at())
    assert [row.reason for row in answers if isinstance(row, NotWritten)] == ["fenced"]
    assert await payer.store.renew(payer.held) == []
    await payer.store.release(payer.held)
    assert await payer.store.renew(held) == list(held.leases.values())


async def test_what_was_given_back_is_not_renewed(bench: Bench) -> None:
    """§6.7: a renewal that was under way when the lease was given back does not keep others waiting."""
    await bench.claim(PAYER)
    [before] = await bench.store.leases([PAYER])
    await bench.store.release(bench.held)
    assert await bench.store.renew(bench.held) == []
    [after] = await bench.store.leases([PAYER])
    assert (after.released, after.beat) == (True, before.beat)


async def test_of_two_candidates_with_one_reading_one_takes_the_lease(bench: Bench) -> None:
    """§6.1: one compare-and-swap."""
    rows = await bench.store.leases([PAYER])
    answers = [*await bench.store.claim(rows, ME, above={}), *await bench.store.claim(rows, RIVAL, above={})]
    assert [isinstance(answer, NotWritten) for answer in answers] == [False, True]
    [row] = await bench.store.leases([PAYER])
    assert (row.incarnation, row.term) == (ME.incarnation, 1)


async def test_a_stale_leader_that_wakes_up_writes_nothing(payer: Bench) -> None:
    """D13: every write carries the term; after a takeover a paused holder's rows all come back fenced."""
    first, second = await payer.insert(2)
    [intent] = await payer.stage([first])
    await Bench(payer.driver, me=RIVAL).claim(PAYER)
    staged = await payer.store.stage(await payer.drafts([second]), payer.held, at=payer.at())
    sealed = await payer.store.seal(signed([intent]), payer.held)
    refused = Refused(row=0, reason="no", intent_id=intent.id, final=True, first=True)
    unstaged = await payer.store.unstage([refused], payer.held)
    recorded = await payer.record([FrozenNow(account=PAYER, cause=FreezeCause.PERSON, detail="")])
    reasons = [
        row.reason
        for row in (*staged, *sealed, *unstaged.unwritten, *recorded.unwritten)
        if isinstance(row, NotWritten)
    ]
    assert reasons == ["fenced"] * 4
    assert recorded.unwritten[0].detail == PAYER
    assert await payer.sql("SELECT state, tx_hash FROM intent JOIN variant ON intent_id = id") == [
        ("staged", None)
    ]


async def test_rows_of_a_lost_account_fall_out_alone(bench: Bench) -> None:
    """Two accounts in one batch: the one still held goes on."""
    await bench.adopt(PAYER, OTHER)
    mine, lost = (await bench.insert())[0], (await bench.insert(account=OTHER))[0]
    await Bench(bench.driver, me=RIVAL).claim(OTHER)
    answers = await bench.store.stage(await bench.drafts([lost, mine]), bench.held, at=bench.at())
    assert isinstance(answers[0], NotWritten)
    assert not isinstance(answers[1], NotWritten)


# --- staging --------------------------------------------------------------------------------------------------


async def test_staging_numbers_in_the_order_of_the_drafts(payer: Bench) -> None:
    """Nonces come from our own table (R2), one after the other."""
    ids = await payer.insert(3)
    intents = await payer.stage(reversed(ids))
    assert [(intent.nonce, intent.disbursement_id) for intent in intents] == [
        (1, ids[2]),
        (2, ids[1]),
        (3, ids[0]),
    ]


async def test_two_accounts_number_independently(bench: Bench) -> None:
    """A nonce sequence belongs to one account."""
    await bench.adopt(PAYER, OTHER)
    intents = await bench.stage([*await bench.insert(2), *await bench.insert(2, account=OTHER)])
    assert [intent.nonce for intent in intents] == [1, 2, 1, 2]


async def test_after_a_failed_send_the_next_item_has_the_next_nonce(payer: Bench) -> None:
    """D3: the sequence moves on when a nonce is bound, not when a send succeeds."""
    first, second = await payer.insert(2)
    [one] = await payer.seal(await payer.stage([first]))
    await payer.send([one], Meaning.UNKNOWN)
    [two] = await payer.stage([second])
    assert (one.nonce, two.nonce) == (1, 2)
    [again] = (await payer.store.view(payer.held, at=payer.at(), limit=10)).unsealed
    assert again.nonce == 2


async def test_the_same_draft_twice_is_bound_once(payer: Bench) -> None:
    """One live intent per disbursement, in one batch and over two."""
    [draft] = await payer.drafts(await payer.insert())
    both = await payer.store.stage([draft, draft], payer.held, at=payer.at())
    again = await payer.store.stage([draft], payer.held, at=payer.at())
    assert [isinstance(row, NotWritten) for row in (*both, *again)] == [False, True, True]
    assert await payer.sql("SELECT count(*) FROM intent") == [(1,)]


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        pytest.param({"status": "queued"}, "held:not_approved", id="a queued item is never payable"),
        pytest.param({"scheduled_epoch": 101}, "held:scheduled_later", id="one epoch early is early"),
        pytest.param({"cancel_requested": "no"}, "held:cancel_requested", id="a cancel was requested"),
        pytest.param({"hold": "restored"}, "held:restored", id="a stored hold"),
        pytest.param({"amount": 10**12}, "held:insufficient_funds", id="amount plus fee above the balance"),
        pytest.param({"destination": PAYER}, "held:refused", id="to the paying account itself"),
        pytest.param({"destination": f"{PAYER}-sink"}, "held:refused", id="to the sink"),
    ],
)
async def test_staging_checks_the_row_again(payer: Bench, columns: dict[str, Any], reason: str) -> None:
    """R10: what the plan assumed is checked inside; the healthy neighbour is bound all the same."""
    bad, good = (await payer.insert(**columns))[0], (await payer.insert())[0]
    answers = await payer.store.stage(await payer.drafts([bad, good]), payer.held, at=payer.at())
    assert isinstance(answers[0], NotWritten)
    assert answers[0].reason == reason
    assert not isinstance(answers[1], NotWritten)
    assert answers[1].nonce == 1


@pytest.mark.parametrize("evidence", Evidence)
async def test_an_own_account_is_paid_only_where_it_can_be_looked_up(
    payer: Bench, evidence: Evidence
) -> None:
    """§5.1: whoever leads it, and whatever intake knew of it; a person hears of what is not paid."""
    await payer.adopt(OTHER)
    (item,) = await payer.insert(destination=OTHER)
    (sink,) = await payer.insert(destination=f"{OTHER}-sink")
    answers = await payer.store.stage(
        await payer.drafts([item, sink]), payer.held, at=replace(payer.at(), evidence=evidence)
    )
    paid = evidence is Evidence.HASH
    assert [isinstance(answer, NotWritten) for answer in answers] == [not paid, True]
    assert (await payer.item(item)).hold is (None if paid else Hold.REFUSED)
    held = await payer.item(sink)
    assert (held.hold, held.hold_detail.partition(",")[0]) == (
        Hold.REFUSED,
        "its destination is a sink or an account of this treasury",
    )


async def test_the_kill_switch_stops_staging(payer: Bench) -> None:
    """The send breaker forced open by a person."""
    ids = await payer.insert()
    await payer.sql("INSERT INTO breaker_override VALUES ('*', 'send', 'forced_open', 'stop', 'p', 1.0)")
    answers = await payer.store.stage(await payer.drafts(ids), payer.held, at=payer.at())
    assert [row.reason for row in answers if isinstance(row, NotWritten)] == ["held:kill_switch"]
    assert (await payer.store.view(payer.held, at=payer.at(), limit=1)).kill_switch


async def test_a_draft_that_differs_from_the_stored_content_is_not_bound(payer: Bench) -> None:
    """What is paid is what was approved, to the last byte."""
    [draft] = await payer.drafts(await payer.insert())
    for other in (
        replace(draft, amount=BaseUnits(999)),
        replace(draft, memo="rent!"),
        replace(draft, account=OTHER),
    ):
        [answer] = await payer.store.stage([other], payer.held, at=payer.at())
        assert isinstance(answer, NotWritten)
        assert answer.reason in ("changed", "fenced")


async def test_funds_promised_to_open_intents_are_not_spent_twice(bench: Bench) -> None:
    """Baseline balance less amount and fee of each live intent that is not in a block yet."""
    bench.balance = BaseUnits(2 * (1_000 + FEE) + 500)
    await bench.adopt(PAYER)
    first, second, third = await bench.insert(3)
    await bench.stage([first])
    answers = await bench.store.stage(await bench.drafts([second, third]), bench.held, at=bench.at())
    assert [getattr(row, "reason", "bound") for row in answers] == ["bound", "held:insufficient_funds"]


async def test_the_transfer_limit_is_checked_inside(payer: Bench) -> None:
    """A limit that was lowered after the plan was made still counts."""
    limited = Bench(payer.driver, rules=replace(RULES, max_transfer=BaseUnits(999)))
    limited.held = payer.held
    [answer] = await limited.store.stage(await payer.drafts(await payer.insert()), payer.held, at=payer.at())
    assert isinstance(answer, NotWritten)
    assert answer.reason == "held:over_transfer_limit"


async def test_other_rules_count_from_the_next_verb_on(payer: Bench) -> None:
    """SIGHUP: a cap that was lowered holds what was affordable a moment ago, and raised again lets it through."""
    drafts = await payer.drafts(await payer.insert())
    payer.store.retune(replace(RULES, max_transfer=BaseUnits(10)))
    [held] = await payer.store.stage(drafts, payer.held, at=payer.at())
    assert isinstance(held, NotWritten)
    assert held.reason == "held:over_transfer_limit"
    payer.store.retune(RULES)
    [bound] = await payer.store.stage(drafts, payer.held, at=payer.at())
    assert not isinstance(bound, NotWritten)


async def test_a_quarantined_account_stages_nothing(payer: Bench) -> None:
    """§8: checked inside the transaction, whatever the plan knew."""
    ids = await payer.insert()
    await payer.written(QuarantinedNow(account=PAYER, detail="older"))
    [answer] = await payer.store.stage(await payer.drafts(ids), payer.held, at=payer.at())
    assert isinstance(answer, NotWritten)
    assert answer.reason == "held:account_quarantined"


async def test_a_frozen_account_stages_nothing(payer: Bench) -> None:
    """Frozen is stored and found inside the transaction."""
    await payer.written(FrozenNow(account=PAYER, cause=FreezeCause.PERSON, detail="why"))
    answers = await payer.store.stage(await payer.drafts(await payer.insert()), payer.held, at=payer.at())
    assert [row.reason for row in answers if isinstance(row, NotWritten)] == ["held:account_frozen"]


async def test_nothing_is_bound_at_or_below_the_chains_count(payer: Bench) -> None:
    """R14: a chain count above our sequence is a stranger's doing, never a reason to go on."""
    payer.nonce = Nonce(1)
    payer.height = Height(payer.height + 1)
    await payer.written(BaselineMoved(account=PAYER, frame=payer.frame(), keep_from=Height(0)))
    items = await payer.insert()
    for state, expected in (("frozen", "held:account_frozen"), ("active", "held:chain_unreachable")):
        await payer.driver.write(_stands, state)  # whatever the account is called
        answers = await payer.store.stage(await payer.drafts(items), payer.held, at=payer.at())
        assert [row.reason for row in answers if isinstance(row, NotWritten)] == [expected]


def _stands(connection: Connection, state: str) -> None:
    connection.execute("UPDATE account SET state = ? WHERE id = ?", (state, PAYER))


# --- dependencies ---------------------------------------------------------------------------------------------


async def test_a_dependent_becomes_a_candidate_when_its_dependency_is_finalized(payer: Bench) -> None:
    """§2: executed is not enough, final is not enough; finalized satisfies."""
    first, second = await payer.insert(2)
    await payer.driver.write(depend, second, first)
    intents = await payer.pay([first])
    for step in (payer.include(intents), payer.bury()):
        await step
        assert (await _candidates(payer)) == []
    await payer.finalize(settled=105)
    assert (await _candidates(payer)) == []
    await payer.finalize(settled=106)
    assert (await _candidates(payer)) == [second]


async def test_by_setting_a_final_intent_satisfies(bench: Bench) -> None:
    """`dependency_satisfied_by = final`: the rollback window may still be open, and a reorg takes it back."""
    bench = Bench(bench.driver, rules=replace(RULES, dependency_satisfied_by_final=True))
    await bench.adopt(PAYER)
    first, second = await bench.insert(2)
    await bench.driver.write(depend, second, first)
    intents = await bench.pay([first])
    await bench.include(intents)
    assert (await _candidates(bench)) == []
    await bench.bury()
    assert (await _candidates(bench)) == [second]
    assert len(await bench.stage([second])) == 1


@pytest.mark.parametrize(
    ("by_final", "buried", "status", "reason"),
    [
        pytest.param(
            False, True, "executed", "held:dependency_pending", id="final, where that is not enough"
        ),
        pytest.param(
            True, False, "executed", "held:dependency_pending", id="in a block, where final is enough"
        ),
        pytest.param(True, True, "executed", "bound", id="final, where that is enough"),
        pytest.param(True, True, "rolled_back", "held:dependency_failed", id="final, and given up since"),
    ],
)
async def test_whether_a_dependency_counts_is_looked_up_inside(
    bench: Bench, by_final: bool, buried: bool, status: str, reason: str
) -> None:
    """R10: by its own row and its intent's, whatever the plan that asks for it assumed."""
    bench = Bench(bench.driver, rules=replace(RULES, dependency_satisfied_by_final=by_final))
    await bench.adopt(PAYER)
    first, second = await bench.insert(2)
    await bench.include(await bench.pay([first]))
    if buried:
        await bench.bury()
    await bench.sql("UPDATE disbursement SET status = ? WHERE id = ?", status, first)
    await bench.driver.write(depend, second, first)
    [answer] = await bench.store.stage(await bench.drafts([second]), bench.held, at=bench.at())
    assert getattr(answer, "reason", "bound") == reason


async def test_a_rolled_back_dependency_holds_its_dependents(payer: Bench) -> None:
    """D10: never satisfied; held with `dependency_failed` in the transaction that rolls back."""
    [first] = await payer.insert(status="voting", vote_deadline_epoch=5)
    await payer.sql("INSERT INTO proposal VALUES (?, 't', 's', '[]', '[]', 1, 1, 1, 1, 1)", first)
    [second] = await payer.insert()
    await payer.driver.write(depend, second, first)
    told = await payer.written(
        Advanced(
            account=PAYER,
            disbursement_id=first,
            was=Status.VOTING,
            to=Status.ROLLED_BACK,
            reason="quorum_not_reached",
        )
    )
    [held] = [one for one in told.events if one.kind is EventKind.HELD]
    assert (held.ids, held.reason, held.detail) == (
        (second,),
        "dependency_failed",
        "a dependency was rolled back",
    )
    assert (await payer.item(second)).hold is Hold.DEPENDENCY_FAILED
    assert (await payer.item(first)).reason == "quorum_not_reached"


async def test_stored_garbage_holds_that_item_alone(payer: Bench) -> None:
    """D9: a missing dependency in a row written by hand is held; its neighbours are paid."""
    bad, good = await payer.insert(2)
    await payer.driver.write(depend, bad, 999, recount=False)
    answers = await payer.store.stage(await payer.drafts([bad, good]), payer.held, at=payer.at())
    assert [getattr(row, "reason", "bound") for row in answers] == ["held:dependency_missing", "bound"]
    assert (await payer.item(bad)).hold is Hold.DEPENDENCY_MISSING
    assert (await _candidates(payer)) == []


async def test_stored_json_of_a_strange_shape_stops_no_other(payer: Bench) -> None:
    """D9: proposals and weights that this program never writes are read as empty; every row is still read."""
    bad, good = await payer.insert(2)
    add = "INSERT INTO proposal VALUES (?, 't', 's', '{\"a\":1}', '[1,{\"name\":2}]', 0, 0, 1, 1, 1)"
    await payer.driver.write(lambda connection: len(connection.execute(add, (bad,)).fetchall()))
    spoil = "UPDATE disbursement SET weights = '[\"operators\"]' WHERE id = ?"
    await payer.driver.write(lambda connection: len(connection.execute(spoil, (bad,)).fetchall()))
    found = await payer.item(bad)
    assert found.proposal is not None
    assert (found.proposal.deps, found.proposal.attachments, found.weights) == ((), (), {})
    assert {bad, good} <= set(await _candidates(payer))


async def test_an_item_that_depends_on_itself_is_held_visibly(payer: Bench) -> None:
    """D38: in stored data it is held as circular, whether staging or the takeover finds it."""
    [staged] = await payer.insert()
    [waiting] = await payer.insert()
    await payer.driver.write(depend, staged, staged, recount=False)
    await payer.driver.write(depend, waiting, waiting)
    await payer.store.stage(await payer.drafts([staged]), payer.held, at=payer.at())
    assert (await payer.item(staged)).hold is Hold.DEPENDENCY_CIRCULAR
    await payer.claim(PAYER)
    assert (await payer.item(waiting)).hold is Hold.DEPENDENCY_CIRCULAR


async def test_a_cycle_in_stored_data_is_held_and_what_waits_for_it_is_not(payer: Bench) -> None:
    """D38: each item of the cycle is held; an item behind it merely waits."""
    one, two, behind = await payer.insert(3)
    for item, needs in ((one, two), (two, one), (behind, one)):
        await payer.driver.write(depend, item, needs, recount=False)
    await payer.store.stage(await payer.drafts([one, two, behind]), payer.held, at=payer.at())
    holds = [(await payer.item(item)).hold for item in (one, two, behind)]
    assert holds == [Hold.DEPENDENCY_CIRCULAR, Hold.DEPENDENCY_CIRCULAR, None]
    assert (await _candidates(payer)) == []


async def test_whoever_takes_an_account_over_holds_what_waits_for_ever(payer: Bench) -> None:
    """D9, D10, D38: rows written by hand; each is held alone and visibly, and what merely waits goes on waiting."""
    missing, failed, waiting, first, lost = await payer.insert(5)
    await payer.driver.write(depend, missing, 999)
    await payer.driver.write(depend, failed, lost)
    await payer.driver.write(depend, waiting, first)
    await payer.sql("UPDATE disbursement SET status = 'rolled_back' WHERE id = ?", lost)
    await payer.claim(PAYER)
    assert [(await payer.item(item)).hold for item in (missing, failed, waiting)] == [
        Hold.DEPENDENCY_MISSING,
        Hold.DEPENDENCY_FAILED,
        None,
    ]


async def test_a_takeover_counts_the_votes_anew(payer: Bench) -> None:
    """§2: the configuration may know other keys now, so a lost approval is looked at again; a person's hold stays."""
    [lost], [refused] = await payer.insert(hold="approval_lost"), await payer.insert(hold="refused")
    await payer.claim(PAYER)
    assert [(await payer.item(item)).hold for item in (lost, refused)] == [None, Hold.REFUSED]
    [(body,)] = await payer.sql("SELECT body FROM journal WHERE verb = 'claim' ORDER BY id DESC LIMIT 1")
    assert '"released"' in body


async def _candidates(bench: Bench) -> list[DisbursementId]:
    view = await bench.store.view(bench.held, at=bench.at(), limit=100)
    return [item.id for item in view.candidates]


# --- unstage, seal --------------------------------------------------------------------------------------------


async def test_refused_rows_return_their_nonces(payer: Bench) -> None:
    """R5 c, R11: the refused item is held, those behind it are eligible again under the same nonces."""
    ids = await payer.insert(3)
    one, two, three = await payer.stage(ids)
    await payer.seal([one])
    recorded = await payer.store.unstage(
        [
            Refused(row=0, reason="policy", intent_id=two.id, disbursement_id=ids[1], final=True, first=True),
            Refused(row=1, reason="policy", intent_id=three.id, disbursement_id=ids[2], final=True),
        ],
        payer.held,
    )
    assert recorded.unwritten == ()
    assert [(await payer.item(item)).hold for item in ids] == [None, Hold.REFUSED, None]
    [again] = await payer.stage([ids[2]])
    assert again.nonce == two.nonce
    assert again.id > three.id


async def test_a_nonce_with_something_live_behind_it_is_not_returned(payer: Bench) -> None:
    """A gap could never be filled: the signer forgets nothing."""
    one, two = await payer.stage(await payer.insert(2))
    recorded = await payer.store.unstage(
        [Refused(row=0, reason="policy", intent_id=one.id, final=True, first=True)], payer.held
    )
    assert [row.reason for row in recorded.unwritten] == ["not_last"]
    assert await payer.sql("SELECT state FROM intent ORDER BY id") == [("staged",), ("staged",)]
    assert two.nonce == 2


async def test_a_filler_that_the_signer_refuses_returns_no_nonce(payer: Bench) -> None:
    """It stands in the midst of the sequence: its nonce is open again, and a person's to fill."""
    one, two = await payer.stage(await payer.insert(2))
    await payer.sql("UPDATE disbursement SET live_intent = NULL WHERE live_intent = ?", one.id)
    await payer.sql("UPDATE intent SET disbursement_id = NULL WHERE id = ?", one.id)
    recorded = await payer.store.unstage(
        [Refused(row=0, reason="policy", intent_id=one.id, final=True, first=True)], payer.held
    )
    assert recorded.unwritten == ()
    assert await payer.sql("SELECT state FROM intent ORDER BY id") == [("void",), ("staged",)]
    assert await payer.sql("SELECT next_nonce FROM account") == [(two.nonce + 1,)]


async def test_what_is_sealed_is_never_unstaged(payer: Bench) -> None:
    """The bytes exist: only the chain decides about them now."""
    [intent] = await payer.seal(await payer.stage(await payer.insert()))
    recorded = await payer.store.unstage(
        [Refused(row=0, reason="policy", intent_id=intent.id, final=True, first=True)], payer.held
    )
    assert [row.reason for row in recorded.unwritten] == ["changed"]


async def test_a_cancelled_item_is_rolled_back_when_it_is_unstaged(payer: Bench) -> None:
    """§2: in the transaction that voids its intent, however that was proved."""
    [item] = await payer.insert()
    [intent] = await payer.stage([item])
    await payer.sql("UPDATE disbursement SET cancel_requested = 'changed my mind' WHERE id = ?", item)
    await payer.store.unstage(
        [Refused(row=0, reason="policy", intent_id=intent.id, final=True, first=True)], payer.held
    )
    after = await payer.item(item)
    assert (after.status, after.reason, after.live_intent) == (Status.ROLLED_BACK, "changed my mind", None)


async def test_sealing_answers_intents_that_are_ready_to_send(payer: Bench) -> None:
    """Exactly the bytes that were given, in the order of the rows."""
    staged = await payer.stage(await payer.insert(3))
    rows = signed(staged)
    sealed = written(await payer.store.seal(list(reversed(rows)), payer.held))
    assert [intent.current().tx_bytes for intent in sealed] == [row.tx_bytes for row in reversed(rows)]
    assert {intent.state for intent in sealed} == {State.SIGNED}
    assert [intent.memo for intent in sealed] == ["rent"] * 3


async def test_sealing_twice_is_harmless_and_other_bytes_are_refused(payer: Bench) -> None:
    """R3: one set of bytes per variant, for ever."""
    [row] = signed(await payer.stage(await payer.insert()))
    first, second = [await payer.store.seal([row], payer.held) for _ in range(2)]
    assert first == second
    [other] = await payer.store.seal([replace(row, tx_bytes=b"forged")], payer.held)
    assert isinstance(other, NotWritten)
    assert other.reason == "other_bytes"


async def test_bytes_that_nobody_asked_for_are_not_stored(payer: Bench) -> None:
    """Of an intent or a variant that does not exist; what was asked for beside them is sealed."""
    [intent] = await payer.stage(await payer.insert())
    [bytes_] = signed([intent])
    answers = await payer.store.seal(
        [replace(bytes_, intent_id=IntentId(99)), replace(bytes_, variant=7), bytes_], payer.held
    )
    assert [row.reason for row in answers if isinstance(row, NotWritten)] == ["missing", "missing"]
    assert await payer.sql("SELECT intent_id, number FROM variant WHERE tx_bytes IS NOT NULL") == [
        (intent.id, 1)
    ]


async def test_bytes_that_come_after_the_intent_was_voided_are_not_stored(payer: Bench) -> None:
    """R5 c: the signer had promised never to bind it; bytes of it are no payment of ours."""
    [intent] = await payer.stage(await payer.insert())
    await payer.store.take_back([intent.id], payer.held)
    [answer] = await payer.store.seal(signed([intent]), payer.held)
    assert isinstance(answer, NotWritten)
    assert answer.reason == "changed"
    assert await payer.sql("SELECT tx_bytes FROM variant") == [(None,)]


async def test_the_marks_name_the_highest_that_was_sealed(payer: Bench) -> None:
    """R11: the signer must know no less than this."""
    ids = await payer.insert(2)
    await payer.seal(await payer.stage(ids))
    marks = await payer.store.sealed_marks([PAYER])
    assert (marks[PAYER].nonce, marks[PAYER].disbursement_id, marks[PAYER].term) == (2, ids[1], 1)


# --- record ---------------------------------------------------------------------------------------------------


async def test_a_payment_walks_to_the_end(payer: Bench) -> None:
    """Staged, signed, broadcast, included, final, finalized: each field of the receipt is there."""
    [item] = await payer.insert()
    [intent] = await payer.pay([item])
    events = (await payer.include([intent])).events
    executed = await payer.item(item)
    assert executed.status is Status.EXECUTED
    assert (executed.tx_hash, executed.fee_paid) == (intent.current().tx_hash, FEE)
    assert (executed.executed_height, executed.executed_epoch) == (1_050, 105)
    assert executed.evidence is Evidence.HASH
    assert [(event.kind, event.count, event.ids) for event in events] == [(EventKind.INCLUDED, 1, (item,))]
    await payer.bury()
    await payer.finalize(settled=106)
    assert (await payer.item(item)).status is Status.FINALIZED
    assert await payer.sql("SELECT next FROM counter WHERE name = 'finalized'") == [(1,)]


async def test_many_rows_of_one_fact_are_one_event(payer: Bench) -> None:
    """Style rule 25: a count, and at most twenty ids."""
    sealed = await payer.seal(await payer.stage(await payer.insert(30)))
    [event] = (await payer.send(sealed)).events
    assert (event.kind, event.count, len(event.ids), event.reason) == (EventKind.SENT, 30, 20, "accepted")


async def test_a_reply_changes_no_status(payer: Bench) -> None:
    """R4: whatever the node answers, the intent was broadcast and the item is timelocked."""
    ids = await payer.insert(len(Meaning) - 1)
    sealed = await payer.seal(await payer.stage(ids))
    for intent, meaning in zip(sealed, [each for each in Meaning if each != Meaning.NOT_SENT], strict=True):
        await payer.written(sent(intent, meaning))
    assert await payer.sql("SELECT DISTINCT state FROM intent") == [("broadcast",)]
    assert await payer.sql("SELECT DISTINCT status FROM disbursement") == [("timelocked",)]


async def test_a_reply_to_the_older_bytes_leaves_the_new_ones_to_be_signed(payer: Bench) -> None:
    """R6, R7: a variant was ordered while the older one was under way; its word does not end the order."""
    [intent] = await payer.pay(await payer.insert())
    await payer.written(_cancel(intent.id))
    await payer.send([intent])
    assert await payer.sql("SELECT step FROM intent") == [("sign",)]
    assert len((await payer.store.view(payer.held, at=payer.at(), limit=9)).unsealed) == 1


async def test_content_refusals_are_counted_in_a_row(payer: Bench) -> None:
    """R8: an acceptance in between begins anew, an unknown outcome says nothing."""
    [intent] = await payer.seal(await payer.stage(await payer.insert()))
    for meaning, count in (
        (Meaning.CONTENT_REFUSED, 1),
        (Meaning.UNKNOWN, 1),
        (Meaning.CONTENT_REFUSED, 2),
        (Meaning.ACCEPTED, 0),
    ):
        await payer.written(sent(intent, meaning))
        assert await payer.sql("SELECT refusals FROM intent") == [(count,)]


async def test_what_has_no_bytes_cannot_have_left(payer: Bench) -> None:
    """R1: a staged variant is never sent, whoever says so."""
    [intent] = await payer.stage(await payer.insert())
    recorded = await payer.record([sent(intent), seen(intent, 1_050)])
    assert [row.reason for row in recorded.unwritten] == ["changed", "changed"]


async def test_a_reorg_takes_inclusion_back_and_the_same_bytes_go_out(payer: Bench) -> None:
    """R9: broadcast and timelocked again, same intent, same bytes, the booking reversed."""
    [item] = await payer.insert()
    [intent] = await payer.pay([item])
    before = payer.frame()
    payer.height = Height(1_051)
    await payer.include([intent])
    await payer.written(BaselineMoved(account=PAYER, frame=payer.frame(), keep_from=Height(0)))
    await payer.written(Rewound(account=PAYER, to=before))
    after = await payer.item(item)
    assert (after.status, after.live_intent, after.tx_hash) == (Status.TIMELOCKED, intent.id, None)
    view = await payer.store.view(payer.held, at=_later(payer), limit=10)
    assert [again.current().tx_bytes for again in view.resend] == [intent.current().tx_bytes]
    assert view.accounts[0].baseline == before
    [(booked, total)] = await payer.sql(
        "SELECT booked, (SELECT sum(delta) FROM balance_event) FROM account WHERE id = ?", PAYER
    )
    assert booked == total == payer.balance
    await payer.include([intent])
    assert (await payer.item(item)).status is Status.EXECUTED


async def test_a_second_rewind_reverses_nothing_twice(payer: Bench) -> None:
    """Funding that was taken back once stays taken back once; its announced deposit may explain another."""
    before = payer.frame()
    await payer.sql("INSERT INTO announced VALUES (1, ?, 50, 'p', 'r', 1.0, NULL)", PAYER)
    await payer.written(
        Booked(account=PAYER, kind=BalanceKind.FUNDING, delta=50, height=Height(1_060), announced=(1,))
    )
    for height in (1_055, 1_052):
        await payer.written(Rewound(account=PAYER, to=replace(before, height=Height(height))))
    assert await payer.sql("SELECT booked FROM account WHERE id = ?", PAYER) == [(payer.balance,)]
    view = await payer.store.view(payer.held, at=payer.at(), limit=10)
    assert [deposit.id for deposit in view.announced] == [1]


async def test_a_final_cancel_variant_rolls_the_item_back(payer: Bench) -> None:
    """R7: the cancel won; one unit and the fee are booked, the disbursement is rolled back."""
    [item] = await payer.insert()
    [intent] = await payer.pay([item])
    await payer.sql("UPDATE disbursement SET cancel_requested = 'stop' WHERE id = ?", item)
    [listed] = (await payer.store.view(payer.held, at=payer.at(), limit=9)).cancelling
    assert listed.cancel_requested
    await payer.written(_cancel(intent.id))
    view = await payer.store.view(payer.held, at=payer.at(), limit=9)
    assert view.cancelling == ()
    [both] = await payer.seal(view.unsealed)
    assert both.current().kind is VariantKind.CANCEL
    assert both.current().tx_bytes is not None
    await payer.send([both])
    await payer.include([both])
    assert (await payer.item(item)).status is Status.TIMELOCKED
    await payer.bury()
    assert (await payer.item(item)).status is Status.ROLLED_BACK
    assert await payer.sql("SELECT kind, delta FROM balance_event ORDER BY id DESC LIMIT 1") == [
        ("cancellation", -1 - FEE)
    ]


async def test_a_payment_that_wins_against_its_cancel_is_executed(payer: Bench) -> None:
    """§2: the request has failed, visibly; it stays on the row."""
    [item] = await payer.insert()
    [intent] = await payer.pay([item])
    await payer.sql("UPDATE disbursement SET cancel_requested = 'stop' WHERE id = ?", item)
    await payer.written(_cancel(intent.id))
    await payer.seal((await payer.store.view(payer.held, at=payer.at(), limit=9)).unsealed)
    await payer.written(seen(intent, 1_050, variant=1))
    after = await payer.item(item)
    assert (after.status, after.cancel_requested) == (Status.EXECUTED, "stop")


async def test_a_poisoned_item_is_held_and_replaced_on_its_own_nonce(payer: Bench) -> None:
    """R8: it is listed for a cancel variant; once that is final it waits for a person."""
    [item] = await payer.insert()
    [intent] = await payer.pay([item])
    await payer.written(HoldSet(account=PAYER, disbursement_id=item, hold=Hold.POISONED, detail="3 times"))
    view = await payer.store.view(payer.held, at=payer.at(), limit=9)
    assert [each.id for each in view.cancelling] == [intent.id]
    await payer.written(_cancel(intent.id))
    [both] = await payer.seal((await payer.store.view(payer.held, at=payer.at(), limit=9)).unsealed)
    await payer.send([both])
    await payer.include([both])
    await payer.bury()
    after = await payer.item(item)
    assert (after.status, after.hold, after.live_intent) == (Status.TIMELOCKED, Hold.POISONED, None)


async def test_a_burned_nonce_voids_and_waits_for_a_person(payer: Bench) -> None:
    """R5 a: needs_release; a new intent of it gets a nonce of its own."""
    [item] = await payer.insert()
    [intent] = await payer.pay([item])
    await payer.written(Burned(account=PAYER, intent_id=intent.id, detail="a stranger's"))
    after = await payer.item(item)
    assert (after.hold, after.live_intent) == (Hold.NEEDS_RELEASE, None)
    await payer.sql("UPDATE disbursement SET hold = NULL WHERE id = ?", item)
    [again] = await payer.stage([item])
    assert again.nonce == 2


async def test_an_ambiguous_intent_keeps_its_two_frames(payer: Bench) -> None:
    """§5.1: it is neither paid nor void, and a reorg below its second frame opens it again."""
    [item] = await payer.insert()
    [intent] = await payer.pay([item])
    first, second = payer.frame(height=1_050, tb1payee=5), payer.frame(height=1_052, tb1payee=6)
    await payer.written(Unproven(account=PAYER, intent_id=intent.id, first=first, second=second))
    assert await payer.sql("SELECT state FROM intent") == [("ambiguous",)]
    [(kept,)] = await payer.sql("SELECT json_extract(second, '$.holdings.tb1payee[0]') FROM ambiguity")
    assert kept == 6
    view = await payer.store.view(payer.held, at=payer.at(payer.frame()), limit=9)
    assert (view.consumed, view.resend, view.unburned) == ((), (), {PAYER: 0})
    await payer.written(Rewound(account=PAYER, to=first))
    assert await payer.sql("SELECT state FROM intent") == [("broadcast",)]
    assert (await payer.item(item)).status is Status.TIMELOCKED


async def test_a_ground_that_was_never_a_baseline_takes_the_books_along(payer: Bench) -> None:
    """R9: no kept frame is on the chain any more; what it shows otherwise than the books is unexplained."""
    payer.balance = BaseUnits(payer.balance - 70)
    ground = payer.frame(height=1_049)
    await payer.written(Rewound(account=PAYER, to=ground))
    assert await payer.sql("SELECT booked FROM account WHERE id = ?", PAYER) == [(payer.balance,)]
    assert await payer.sql("SELECT kind, delta, height FROM balance_event ORDER BY id DESC LIMIT 1") == [
        ("unexplained", -70, None)
    ]


async def test_over_such_a_ground_the_books_wait_for_what_a_person_has_to_judge(payer: Bench) -> None:
    """§5.1: an ambiguous intent's cost is booked with the judgement, not twice."""
    payer.nonce = Nonce(1)
    [intent] = await payer.pay(await payer.insert())
    first, second = payer.frame(height=1_050), payer.frame(height=1_052)
    await payer.written(Unproven(account=PAYER, intent_id=intent.id, first=first, second=first))
    before = await payer.sql("SELECT booked FROM account WHERE id = ?", PAYER)
    payer.balance = BaseUnits(payer.balance - 70)
    await payer.written(BaselineMoved(account=PAYER, frame=second, keep_from=Height(0)))
    await payer.written(Rewound(account=PAYER, to=payer.frame(height=1_051)))
    assert await payer.sql("SELECT state FROM intent") == [("ambiguous",)]
    assert await payer.sql("SELECT booked FROM account WHERE id = ?", PAYER) == before


async def test_a_frame_that_does_not_show_the_account_is_no_baseline_of_it(payer: Bench) -> None:
    """R14: nothing could be held against it; to take it for an empty account would free every nonce."""
    blind = payer.frame(OTHER, height=1_060)
    for change in (
        BaselineMoved(account=PAYER, frame=blind, keep_from=Height(0)),
        Rewound(account=PAYER, to=blind),
    ):
        with pytest.raises(Corrupt, match="does not show the account treasury"):
            await payer.record([change])
    [account] = (await payer.store.view(payer.held, at=payer.at(), limit=1)).accounts
    assert account.baseline == payer.frame()


async def test_a_bump_keeps_nonce_and_content(payer: Bench) -> None:
    """R6: one more payment variant; both are kept, the newest goes out, what it may cost is promised."""
    [intent] = await payer.pay(await payer.insert())
    await payer.written(
        VariantStaged(
            account=PAYER, intent_id=intent.id, number=2, kind=VariantKind.PAYMENT, fee=BaseUnits(300)
        )
    )
    [both] = await payer.seal((await payer.store.view(payer.held, at=payer.at(), limit=9)).unsealed)
    assert [variant.number for variant in both.variants] == [1, 2]
    assert (both.nonce, both.state, both.current().number) == (intent.nonce, State.BROADCAST, 2)
    assert [each.id for each in (await payer.store.view(payer.held, at=payer.at(), limit=9)).unsent] == [
        intent.id
    ]
    assert await payer.sql("SELECT fee FROM intent") == [(300,)]


async def test_lifecycle_changes_are_compare_and_set(payer: Bench) -> None:
    """A status that moved meanwhile, a proposal without a vote, an arrow that does not exist: unwritten."""
    [plain] = await payer.insert(status="draft")
    [voted] = await payer.insert(status="draft")
    await payer.sql("INSERT INTO proposal VALUES (?, 't', 's', '[]', '[]', 1, 1, 1, 1, 1)", voted)
    wrong: list[Change] = [
        Advanced(account=PAYER, disbursement_id=voted, was=Status.DRAFT, to=Status.TIMELOCKED),
        Advanced(account=PAYER, disbursement_id=plain, was=Status.QUEUED, to=Status.TIMELOCKED),
        Advanced(account=PAYER, disbursement_id=plain, was=Status.DRAFT, to=Status.EXECUTED),
        Advanced(account=OTHER, disbursement_id=plain, was=Status.DRAFT, to=Status.TIMELOCKED),
        Advanced(account=PAYER, disbursement_id=DisbursementId(99), was=Status.DRAFT, to=Status.TIMELOCKED),
        HoldSet(account=PAYER, disbursement_id=DisbursementId(99), hold=Hold.POISONED),
    ]
    reasons = [row.reason for row in (await payer.record(wrong)).unwritten]
    assert sorted(reasons) == ["changed", "changed", "changed", "fenced", "missing", "missing"]
    await payer.written(
        Advanced(
            account=PAYER,
            disbursement_id=voted,
            was=Status.DRAFT,
            to=Status.VOTING,
            vote_deadline_epoch=Epoch(110),
            weights={HouseName.OPERATORS: 3},
        ),
        Advanced(
            account=PAYER,
            disbursement_id=plain,
            was=Status.DRAFT,
            to=Status.TIMELOCKED,
            ready_epoch=Epoch(1),
        ),
    )
    voting = await payer.item(voted)
    assert (voting.status, voting.vote_deadline_epoch, voting.weights) == (
        Status.VOTING,
        110,
        {HouseName.OPERATORS: 3},
    )


async def test_holds_of_a_person_are_not_ended_by_the_executor(payer: Bench) -> None:
    """needs_release, refused, restored, poisoned: only a person's word ends them."""
    [item] = await payer.insert(hold="needs_release")
    for hold in (None, Hold.APPROVAL_LOST):
        recorded = await payer.record([HoldSet(account=PAYER, disbursement_id=item, hold=hold)])
        assert [row.reason for row in recorded.unwritten] == ["changed"]
    [lost] = await payer.insert()
    await payer.written(HoldSet(account=PAYER, disbursement_id=lost, hold=Hold.APPROVAL_LOST))
    assert (await payer.item(lost)).hold is Hold.APPROVAL_LOST
    assert (
        await payer.written(HoldSet(account=PAYER, disbursement_id=lost, hold=Hold.APPROVAL_LOST))
    ).events == ()
    await payer.written(HoldSet(account=PAYER, disbursement_id=lost, hold=None))
    assert (await payer.item(lost)).hold is None


async def test_the_first_freeze_counts_and_a_quarantine_is_stronger(payer: Bench) -> None:
    """Stored at first sight; a lesser cause says nothing new, a higher foreign nonce does."""
    await payer.written(
        FrozenNow(account=PAYER, cause=FreezeCause.FOREIGN_NONCE, detail="1", thaw_above=Nonce(4))
    )
    events = (
        await payer.written(
            FrozenNow(account=PAYER, cause=FreezeCause.UNEXPLAINED_FALL, detail="2", thaw_above=Nonce(6))
        )
    ).events
    [account] = (await payer.store.view(payer.held, at=payer.at(), limit=1)).accounts
    assert (account.state, account.cause, account.thaw_above) == (AccountState.FROZEN, "foreign_nonce", 6)
    assert events == ()
    await payer.written(QuarantinedNow(account=PAYER, detail="older"))
    assert (await payer.written(QuarantinedNow(account=PAYER, detail="older still"))).events == ()
    await payer.written(FrozenNow(account=PAYER, cause=FreezeCause.PERSON, detail="3"))
    [account] = (await payer.store.view(payer.held, at=payer.at(), limit=1)).accounts
    assert (account.state, account.detail) == (AccountState.QUARANTINED, "older")


async def test_a_graver_cause_replaces_a_persons_and_pages(payer: Bench) -> None:
    """R14: what was found during a drill is not forgotten with it, and a thaw names what it lifts."""
    await payer.written(FrozenNow(account=PAYER, cause=FreezeCause.PERSON, detail="a drill"))
    fall = FrozenNow(account=PAYER, cause=FreezeCause.UNEXPLAINED_FALL, detail="700 are gone")

    first = (await payer.written(fall)).events
    again = (await payer.written(fall)).events

    assert [(event.kind, event.reason, event.severity) for event in first] == [
        (EventKind.ACCOUNT_FROZEN, "unexplained_fall", Severity.PAGE)
    ]
    assert again == ()
    [account] = (await payer.store.view(payer.held, at=payer.at(), limit=1)).accounts
    assert (account.state, account.cause) == (AccountState.FROZEN, "unexplained_fall")
    assert account.detail == "700 are gone (frozen before: person: a drill)"


@pytest.mark.parametrize(
    ("state", "cause", "expected"),
    [
        pytest.param("active", "", {PAYER, OTHER}, id="nobody stopped it"),
        pytest.param("frozen", "person", {OTHER}, id="frozen"),
        pytest.param("quarantined", "restored", {OTHER}, id="the store may be older than the world"),
        pytest.param("quarantined", "taken_up", {PAYER, OTHER}, id="what the signer bound may go again"),
    ],
)
async def test_only_what_nobody_stopped_may_send(
    bench: Bench, state: str, cause: str, expected: set[str]
) -> None:
    """R14, §8.4: whoever stopped it, and whatever the tick under way read before."""
    await bench.adopt(PAYER)
    await bench.adopt(OTHER)
    await bench.sql("UPDATE account SET state = ?, cause = ? WHERE id = ?", state, cause, PAYER)
    assert await bench.store.may_send(bench.held) == expected


async def test_with_the_kill_switch_on_nobody_may_send(bench: Bench) -> None:
    """§7: whichever process was told, before its next batch; what is forced elsewhere stops no account."""
    await bench.adopt(PAYER)
    for switch, expected in (
        (("*", "read", "forced_open"), True),
        (("one", "send", "forced_open"), True),
        (("*", "send", "forced_closed"), True),
        (("*", "send", "forced_open"), False),
    ):
        await bench.sql("DELETE FROM breaker_override")
        await bench.sql("INSERT INTO breaker_override VALUES (?, ?, ?, 'stop', 'p', 1.0)", *switch)
        assert (PAYER in await bench.store.may_send(bench.held)) is expected


async def test_who_lost_a_lease_may_not_send(payer: Bench) -> None:
    """R13: the fence, as a reading; released counts as lost."""
    stale = payer.held
    await Bench(payer.driver, me=RIVAL).claim(PAYER)
    assert await payer.store.may_send(stale) == frozenset()


async def test_an_empty_account_is_adopted_without_a_movement(bench: Bench) -> None:
    """Nothing came in, so nothing is booked; its sequence begins all the same."""
    bench.balance = BaseUnits(0)
    await bench.adopt(PAYER)
    assert await bench.sql("SELECT * FROM balance_event") == []
    assert await bench.sql("SELECT next_nonce, booked FROM account") == [(1, 0)]


async def test_an_adopted_account_is_not_adopted_again(payer: Bench) -> None:
    """R2: the chain seeds the sequence once; later counts above ours are R14."""
    recorded = await payer.record([Adopted(account=PAYER, next_nonce=Nonce(9), baseline=payer.frame())])
    assert [row.reason for row in recorded.unwritten] == ["changed"]
    [account] = (await payer.store.view(payer.held, at=payer.at(), limit=1)).accounts
    assert account.next_nonce == 1


async def test_the_baseline_moves_forward_only(payer: Bench) -> None:
    """A lower frame is lag (R9); frames below `keep_from` are dropped, the others kept in order."""
    for height in (1_051, 1_052, 1_053):
        await payer.written(
            BaselineMoved(account=PAYER, frame=payer.frame(height=height), keep_from=Height(1_051))
        )
    recorded = await payer.record(
        [BaselineMoved(account=PAYER, frame=payer.frame(height=1_049), keep_from=Height(0))]
    )
    assert [row.reason for row in recorded.unwritten] == ["changed"]
    [account] = (await payer.store.view(payer.held, at=payer.at(), limit=1)).accounts
    assert [frame.height for frame in account.kept] == [1_051, 1_052]
    assert account.baseline == payer.frame(height=1_053)


async def test_a_frame_read_again_at_its_height_replaces_the_old_one(payer: Bench) -> None:
    """More destinations may be watched meanwhile; the parsed copy is not the old one."""
    await payer.store.view(payer.held, at=payer.at(), limit=1)
    more = payer.frame(tb1payee=3)
    await payer.written(BaselineMoved(account=PAYER, frame=more, keep_from=Height(0)))
    [account] = (await payer.store.view(payer.held, at=payer.at(), limit=1)).accounts
    assert account.baseline == more


async def test_a_count_above_ours_freezes_whoever_was_thawed_meanwhile(payer: Bench) -> None:
    """R14: who decided saw the account frozen; thawed since, it would stand active below the chain's count for ever."""
    ours = await payer.sql("SELECT next_nonce - 1 FROM account WHERE id = ?", PAYER)
    payer.nonce = Nonce(ours[0][0])
    await payer.written(BaselineMoved(account=PAYER, frame=payer.frame(height=1_060), keep_from=Height(0)))
    [account] = (await payer.store.view(payer.held, at=payer.at(), limit=1)).accounts
    assert account.state is AccountState.ACTIVE

    payer.nonce = Nonce(payer.nonce + 2)
    await payer.written(BaselineMoved(account=PAYER, frame=payer.frame(height=1_061), keep_from=Height(0)))
    [account] = (await payer.store.view(payer.held, at=payer.at(), limit=1)).accounts
    assert (account.state, account.cause, account.thaw_above) == (
        AccountState.FROZEN,
        "foreign_nonce",
        payer.nonce,
    )


async def test_settled_never_falls_and_the_pinned_genesis_stays(payer: Bench) -> None:
    """R15, R16: whatever is written."""
    high = ChainState(
        chain_id=CHAIN_ID,
        genesis=BlockHash("g"),
        believed=Height(100),
        risen_at=UnixSeconds(5.0),
        settled_height=Height(97),
        settled=Epoch(9),
    )
    await payer.written(ChainMoved(account=PAYER, chain=high))
    low = replace(high, believed=Height(50), settled_height=Height(47), settled=Epoch(4), genesis=None)
    await payer.written(ChainMoved(account=PAYER, chain=low))
    assert await payer.store.chain_state() == replace(high, believed=Height(50))
    again = await payer.written(ChainMoved(account=PAYER, chain=await payer.store.chain_state()))
    assert again.events == (), "what is known already is not written once more"
    for other in (replace(high, genesis=BlockHash("h")), replace(high, chain_id=8)):
        recorded = await payer.record([ChainMoved(account=PAYER, chain=other)])
        assert [row.reason for row in recorded.unwritten] == ["changed"]


async def test_a_change_of_a_foreign_intent_is_not_written(bench: Bench) -> None:
    """The fence is the account's: naming an own account with another one's intent gets nowhere."""
    await bench.adopt(PAYER, OTHER)
    [intent] = await bench.seal(await bench.stage(await bench.insert(account=OTHER)))
    recorded = await bench.record([replace(sent(intent), account=PAYER)])
    assert [row.reason for row in recorded.unwritten] == ["changed"]


async def test_the_books_balance_to_the_unit(payer: Bench) -> None:
    """D36: paid total and fees equal the fall of the booked balance."""
    ids = await payer.insert(5)
    intents = await payer.pay(ids)
    await payer.written(*(seen(intent, 1_050, fee=100 + place) for place, intent in enumerate(intents)))
    [(booked,)] = await payer.sql("SELECT booked FROM account WHERE id = ?", PAYER)
    assert booked == payer.balance - 5 * 1_000 - sum(100 + place for place in range(5))


# --- view -----------------------------------------------------------------------------------------------------


async def test_the_view_lists_what_is_consumed_and_what_is_in_flight(payer: Bench) -> None:
    """Nonces up to the frame's count are consumed, those above it unburned."""
    intents = await payer.pay(await payer.insert(4))
    payer.nonce = Nonce(2)
    view = await payer.store.view(payer.held, at=payer.at(payer.frame()), limit=10)
    assert [intent.id for intent in view.consumed] == [intent.id for intent in intents[:2]]
    assert view.unburned == {PAYER: 2}
    assert view.oldest_sent[PAYER].id == intents[2].id
    assert view.intervals[PAYER].consumed == 2


async def test_bytes_are_loaded_where_they_are_sent(payer: Bench) -> None:
    """`unsent` and `resend` carry bytes, the others do not."""
    ids = await payer.insert(2)
    await payer.pay(ids[:1])
    await payer.seal(await payer.stage(ids[1:]))
    payer.nonce = Nonce(2)
    first = await payer.store.view(payer.held, at=payer.at(payer.frame()), limit=10)
    payer.nonce = Nonce(0)
    later = await payer.store.view(payer.held, at=_later(payer), limit=10)
    assert [intent.current().tx_bytes is None for intent in first.consumed] == [True, True]
    assert [intent.current().tx_bytes is None for intent in (*later.unsent, *later.resend)] == [False, False]


async def test_the_unaffordable_does_not_stand_before_the_affordable(bench: Bench) -> None:
    """D8: a huge item is passed over inside the query, so no limit lets it starve the small one behind it."""
    bench.balance = BaseUnits(5_000)
    await bench.adopt(PAYER)
    await bench.insert(5, amount=10**9)
    [small] = await bench.insert(scheduled_epoch=2)
    view = await bench.store.view(bench.held, at=bench.at(bench.frame()), limit=2)
    assert [item.id for item in view.candidates] == [small]


async def test_a_full_queue_of_one_account_does_not_starve_another(bench: Bench) -> None:
    """Lists are bounded per account."""
    await bench.adopt(PAYER, OTHER)
    await bench.insert(10)
    await bench.insert(1, account=OTHER)
    view = await bench.store.view(bench.held, at=bench.at(), limit=3)
    assert [item.account for item in view.candidates] == [OTHER] + [PAYER] * 3


async def test_what_epochs_move_is_listed_when_they_do(payer: Bench) -> None:
    """Drafts at once, votes at their deadline, queued items at their activation."""
    [draft] = await payer.insert(status="draft")
    [closing] = await payer.insert(status="voting", vote_deadline_epoch=100)
    [active] = await payer.insert(status="queued", activation_epoch=100)
    await payer.insert(status="voting", vote_deadline_epoch=101)
    await payer.insert(status="queued", activation_epoch=101)
    view = await payer.store.view(payer.held, at=payer.at(), limit=10)
    assert [item.id for item in view.advancing] == [draft, closing, active]


async def test_in_quarantine_nothing_advances_and_a_frozen_account_asks_for_no_tick(payer: Bench) -> None:
    """§8; and a cut list of an account that does not act must not keep the executor busy."""
    await payer.insert(3, status="draft")
    await payer.stage(await payer.insert(3))
    assert (await payer.store.view(payer.held, at=payer.at(), limit=2)).more
    await payer.written(QuarantinedNow(account=PAYER, detail="older"))
    view = await payer.store.view(payer.held, at=payer.at(), limit=2)
    assert (view.advancing, len(view.unsealed), view.more) == ((), 2, False)


async def test_blocks_group_what_is_included(payer: Bench) -> None:
    """They become final, or are taken back, together."""
    intents = await payer.pay(await payer.insert(3))
    await payer.include(intents[:2], height=1_050)
    await payer.include(intents[2:], height=1_051)
    view = await payer.store.view(payer.held, at=payer.at(), limit=10)
    assert [(found.height, found.block_hash, found.count) for found in view.blocks] == [
        (1_050, block(1_050), 2),
        (1_051, block(1_051), 1),
    ]
    await payer.written(BlockBuried(account=PAYER, height=Height(1_050), block_hash=BlockHash("other")))
    assert await payer.sql("SELECT count(*) FROM intent WHERE state = 'included'") == [(3,)]


async def test_claims_name_what_else_may_have_paid_a_destination(bench: Bench) -> None:
    """§5.1 item 1: intents of accounts that this process does not hold count too."""
    await bench.adopt(PAYER, OTHER)
    [mine] = await bench.pay(await bench.insert())
    [theirs] = await bench.pay(await bench.insert(account=OTHER, amount=77))
    bench.held = Held(leases={PAYER: bench.held.leases[PAYER]}, until=bench.held.until)
    bench.nonce = Nonce(1)
    view = await bench.store.view(bench.held, at=bench.at(bench.frame(), Evidence.BALANCE), limit=10)
    assert [intent.id for intent in view.consumed] == [mine.id]
    assert [(claim.account, claim.nonce, claim.amount) for claim in view.claims] == [
        (OTHER, theirs.nonce, 77)
    ]


async def test_claims_of_an_account_that_the_baseline_does_not_show_follow_its_own_frame(
    bench: Bench,
) -> None:
    """§5.1 item 1: what its own newest frame shows as consumed is no claim; without a frame everything is one."""
    await bench.adopt(PAYER)
    await bench.pay(await bench.insert())
    lease = bench.held.leases[PAYER]
    await bench.adopt(OTHER)
    await bench.pay(await bench.insert(2, account=OTHER, amount=77))
    bench.nonce = Nonce(1)
    shown = bench.frame(OTHER)
    await bench.written(BaselineMoved(account=OTHER, frame=shown, keep_from=Height(0)))
    bench.held = Held(leases={PAYER: lease}, until=bench.held.until)

    async def claimed() -> list[int]:
        view = await bench.store.view(bench.held, at=bench.at(bench.frame(), Evidence.BALANCE), limit=10)
        return [claim.nonce for claim in view.claims if claim.account == OTHER]

    assert await claimed() == [2]
    await bench.sql("DELETE FROM frame WHERE account = ?", OTHER)
    assert await claimed() == [1, 2]


async def test_intervals_say_what_was_placed_above_the_baseline(payer: Bench) -> None:
    """Included, burned and open nonces between the baseline's count and the frame's."""
    one, two, three = await payer.pay(await payer.insert(3))
    await payer.include([one])
    await payer.written(Burned(account=PAYER, intent_id=two.id))
    payer.nonce = Nonce(3)
    interval = (await payer.store.view(payer.held, at=payer.at(payer.frame()), limit=9)).intervals[PAYER]
    assert (interval.consumed, interval.placed, interval.cost) == (1, 2, 1_000 + FEE)
    assert (interval.burned, three.nonce) == (2, 3)


async def test_watched_names_where_money_may_go(payer: Bench) -> None:
    """§5.1: open intents, the next candidates, the account and its sink."""
    await payer.stage(await payer.insert(destination="tb1open"))
    await payer.insert(destination="tb1next")
    await payer.insert(destination="tb1later", scheduled_epoch=101)
    found = await payer.store.watched(payer.held, settled=payer.settled, limit=10)
    assert set(found) == {PAYER, f"{PAYER}-sink", "tb1open", "tb1next"}


async def test_five_thousand_staged_intents_survive(payer: Bench) -> None:
    """D18: no retention drops a staged intent; each keeps its nonce and its bytes."""
    ids = await payer.insert(5_000, amount=10)
    sealed = await payer.seal(await payer.stage(ids))
    view = await payer.store.view(payer.held, at=payer.at(), limit=5_000)
    assert [(intent.nonce, intent.current().tx_bytes) for intent in view.unsent] == [
        (intent.nonce, intent.current().tx_bytes) for intent in sealed
    ]
    assert len(view.unsent) == 5_000


async def test_the_snapshot_is_kept(bench: Bench) -> None:
    """One row, written over."""
    for nonce in (1, 2):
        await bench.store.note(Snapshot(last_tick_at=UnixSeconds(3.0), last_submitted_nonce=Nonce(nonce)))
    assert await bench.sql("SELECT last_tick_at, last_submitted_nonce FROM executor_snapshot") == [(3.0, 2)]


def _later(bench: Bench) -> Moment:
    return replace(bench.at(bench.frame()), unix=UnixSeconds(bench.unix + bench.rules.resend_seconds))


def _cancel(intent_id: IntentId) -> VariantStaged:
    return VariantStaged(account=PAYER, intent_id=intent_id, number=2, kind=VariantKind.CANCEL, fee=FEE)
