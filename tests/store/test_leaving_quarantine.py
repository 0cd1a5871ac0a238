"""What is asked of an account before it leaves quarantine, and what the store says once it has left (protocol.md §8.6)."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from tests.store.kit import OTHER, PAYER, RULES, Bench
from tests.store.test_said_of_restores import PERSON, found, said

from treasuryd.core.changes import BaselineMoved, FrozenNow, QuarantinedNow, Unproven
from treasuryd.core.events import Event, EventKind, Severity
from treasuryd.core.model import (
    AccountId,
    Address,
    Approval,
    BaseUnits,
    FreezeCause,
    Height,
    Hold,
    Holding,
    IntentId,
    Nonce,
    NotWritten,
    UnixSeconds,
)
from treasuryd.core.restore import Reason, Sign, Standing, open_points
from treasuryd.errors import Rejected
from treasuryd.store.desk import SqliteDesk
from treasuryd.store.restore_report import put_report, report

LATER = Approval(who="bob", reason="checked", at=UnixSeconds(3_000.0))


@pytest.fixture
def desk(payer: Bench) -> SqliteDesk:
    return SqliteDesk(payer.driver, RULES)


async def declared(bench: Bench, desk: SqliteDesk) -> Sequence[Event]:
    """A person says that the store was restored, and the executor has taken every account up."""
    events = await desk.declare_restored(by=PERSON)
    await bench.sql("UPDATE account SET cause = 'taken_up'")
    return events


async def leave(
    desk: SqliteDesk, account: AccountId = PAYER, by: Approval = PERSON, signer: int = 0
) -> Event:
    return await desk.leave_quarantine(
        account, by=by, signer=Nonce(signer), signer_lost=False, lineage="lineage-2"
    )


async def standing(desk: SqliteDesk, signer: int = 0) -> Standing:
    return await desk.in_quarantine(PAYER, signer=Nonce(signer), signer_lost=False)


async def test_an_account_that_leaves_is_told_with_whose_word_it_was(payer: Bench, desk: SqliteDesk) -> None:
    """One event, one entry of people's journal, one line in the report; with the last account the quarantine ends."""
    await payer.adopt(OTHER)
    await payer.stage(await payer.insert())
    await payer.sql("UPDATE intent SET state = 'void', live = NULL, step = NULL, proof = 'burned'")
    await declared(payer, desk)
    before = await payer.driver.read(report)

    event = await leave(desk)

    assert event == Event(
        kind=EventKind.ACCOUNT_THAWED,
        severity=Severity.WARNING,
        account=PAYER,
        reason="quarantine",
        detail="next nonce 2: because",
    )
    body = {"who": "ada", "reason": "because", "account": PAYER, "next_nonce": 2}
    assert await said(payer) == [("people", "leave_quarantine", body)]
    by_ada = {"by": "ada", "reason": "because", "at": 2_000.0}
    assert await payer.driver.read(report) == before | {"left": {PAYER: by_ada}}
    stands = "SELECT state, cause, detail, next_nonce FROM account WHERE id = ?"
    assert await payer.sql(stands, PAYER) == [("active", "", "", 2)]

    await leave(desk, OTHER, LATER)

    by_bob = {"by": "bob", "reason": "checked", "at": 3_000.0}
    ended = {"left": {PAYER: by_ada, OTHER: by_bob}, "left_at": 3_000.0}
    assert await payer.driver.read(report) == before | ended


async def test_a_quarantine_that_is_over_does_not_hide_the_next_one(payer: Bench, desk: SqliteDesk) -> None:
    """The same word is news again once everybody has left: the accounts stop anew, under a report of their own."""
    await declared(payer, desk)
    await leave(desk)
    again = replace(PERSON, at=UnixSeconds(4_000.0))
    assert [event.kind for event in await desk.declare_restored(by=again)] == [EventKind.ACCOUNT_QUARANTINED]
    assert await payer.sql("SELECT state, cause FROM account") == [("quarantined", "restored")]
    found = await payer.driver.read(report)
    assert found["found_at"] == 4_000.0
    assert found.keys().isdisjoint({"left", "left_at"})


async def test_what_we_used_ourselves_holds_no_item(payer: Bench, desk: SqliteDesk) -> None:
    """The chain shows as many nonces used as store and signer know: nobody paid what is not remembered here."""
    paid, waiting = await payer.insert(2)
    await payer.include(await payer.pay([paid]))
    await payer.bury()
    payer.nonce = Nonce(1)
    await payer.written(BaselineMoved(account=PAYER, frame=payer.frame(), keep_from=Height(0)))
    await declared(payer, desk)
    assert (await leave(desk)).detail == "next nonce 2: because"
    assert (await payer.item(waiting)).hold is None


@pytest.mark.parametrize(
    ("used_before", "by_whom", "hold"),
    [
        pytest.param(False, "a person", Hold.RESTORED, id="since it was found"),
        pytest.param(True, "a person", None, id="before it was found"),
        pytest.param(False, "the executor", Hold.RESTORED, id="since nobody knows when"),
    ],
)
async def test_a_returned_nonce_that_somebody_used_holds_every_item(
    payer: Bench, desk: SqliteDesk, used_before: bool, by_whom: str, hold: Hold | None
) -> None:
    """§8.2: staged here, given back, and then signed by a store that nobody remembers: it may have paid any of these."""
    [item] = await payer.insert()
    [intent] = await payer.stage([item])
    await payer.store.take_back([intent.id], payer.held)
    used = replace(
        payer.frame(height=1_055), holdings={Address(PAYER): Holding(balance=payer.balance, nonce=Nonce(1))}
    )
    moved = BaselineMoved(account=PAYER, frame=used, keep_from=Height(0))
    await payer.sql("UPDATE chain SET settled_height = 1055")
    if used_before:
        await payer.written(moved)
    if by_whom == "a person":
        await declared(payer, desk)
    else:
        await payer.written(QuarantinedNow(account=PAYER, detail="older"))
        await payer.sql("UPDATE account SET cause = 'taken_up'")
    if not used_before:
        await payer.written(moved)
    warned = "; the chain shows payments of this account that nobody here remembers, up to nonce 1: look there before "
    said = "next nonce 2: because" + (f"{warned}anything is submitted again" if hold else "")
    assert (await leave(desk)).detail == said
    assert (await payer.item(item)).hold is hold


async def test_a_filler_that_lost_its_nonce_is_judged_by_leaving_once_that_is_final(
    payer: Bench, desk: SqliteDesk
) -> None:
    """§8: it paid nobody, whatever was included in its place; until that is final the account stays."""
    await payer.sql("UPDATE account SET high_water = 1, next_nonce = 2")
    await payer.sql("UPDATE counter SET next = 41 WHERE name = 'intent'")
    await declared(payer, desk)
    await desk.fill_unknown(PAYER, fee=BaseUnits(9), by=PERSON)
    await payer.send(await payer.seal((await payer.store.view(payer.held, at=payer.at(), limit=9)).unsealed))
    first = payer.frame()
    payer.nonce = Nonce(1)
    second = payer.frame(height=1_055)
    await payer.written(
        Unproven(account=PAYER, intent_id=IntentId(41), first=first, second=second),
        BaselineMoved(account=PAYER, frame=second, keep_from=Height(0)),
    )
    await payer.sql("UPDATE chain SET believed = 1057, settled_height = 1054")
    now = await standing(desk)
    assert (now.included, open_points(now)) == (1_055, ["not final yet: in 1 block"])
    await payer.sql("UPDATE chain SET believed = 1058, settled_height = 1055")
    assert (await standing(desk)).included is None
    await leave(desk)
    assert await payer.sql("SELECT id, state, proof FROM intent") == [(41, "void", "judged")]


async def test_payments_that_are_not_certain_yet_keep_an_account(payer: Bench, desk: SqliteDesk) -> None:
    """One in a block is named by its height, one whose outcome is unknown by its disbursement."""
    included, unclear = await payer.pay(await payer.insert(2))
    await payer.include([included])
    two = Unproven(account=PAYER, intent_id=unclear.id, first=payer.frame(), second=payer.frame(height=1_052))
    await payer.written(two)
    await declared(payer, desk)
    now = await standing(desk)
    assert (now.included, now.ambiguous) == (1_050, (unclear.disbursement_id,))
    assert len(open_points(now)) == 2


async def test_a_store_that_forgot_its_whole_sequence_misses_it_from_the_first_nonce(
    payer: Bench, desk: SqliteDesk
) -> None:
    """The signer bound nonces and nothing here has any: each is missing, where the chain shows no such account at all."""
    absent = replace(payer.frame(height=1_060), holdings={Address(PAYER): None})
    await payer.written(BaselineMoved(account=PAYER, frame=absent, keep_from=Height(0)))
    await payer.sql("UPDATE chain SET settled_height = 1060")
    await declared(payer, desk)
    now = await standing(desk, signer=3)
    assert (now.burned, now.consumed, now.unknown) == (0, 0, (1, 2, 3))


async def test_nothing_below_the_first_nonce_of_a_sequence_is_missing(payer: Bench, desk: SqliteDesk) -> None:
    """Somebody used the account before us; what is missing above is named, a thousand nonces at most."""
    await payer.sql("UPDATE account SET next_nonce = 5")
    await payer.stage(await payer.insert(2))
    await declared(payer, desk)
    assert (await standing(desk, signer=8)).unknown == (7, 8)
    assert (await standing(desk, signer=10**12)).unknown == tuple(range(7, 1_007))


async def test_no_filler_is_ordered_where_no_nonce_was_ever_given(payer: Bench, desk: SqliteDesk) -> None:
    """§8.4: nothing can be out, so nothing is signed."""
    await declared(payer, desk)
    assert (await desk.fill_unknown(PAYER, fee=BaseUnits(9), by=PERSON)).count == 0
    assert await payer.sql("SELECT count(*) FROM intent") == [(0,)]


async def test_what_another_store_may_have_paid_keeps_an_account_until_a_person_gives_that_store_up(
    payer: Bench, desk: SqliteDesk
) -> None:
    """§8.4: nobody gives it up by saying nothing; once somebody does, all that it may have paid waits."""
    await payer.adopt(OTHER)
    item, beside = await payer.insert(2)
    [elsewhere] = await payer.insert(account=OTHER)
    words = "intent 41: other bytes here than the signer gave"
    keyed = f"the idempotency key 'k' is disbursement {elsewhere} here, and 77 to the signer"
    filled = "nonce 1 is intent 3 here, and intent 43 to the signer"
    disputed = {words: [41, 1, item], keyed: [42, 1, elsewhere], filled: [43, 1, None]}
    await declared(payer, desk)
    found = await payer.driver.read(report)
    await payer.driver.write(put_report, found | {"accounts": {PAYER: {"disputed": disputed}}})
    used = replace(
        payer.frame(height=1_055), holdings={Address(PAYER): Holding(balance=payer.balance, nonce=Nonce(1))}
    )
    await payer.written(BaselineMoved(account=PAYER, frame=used, keep_from=Height(0)))
    await payer.sql("UPDATE chain SET settled_height = 1055")
    await payer.sql("UPDATE account SET next_nonce = 2, high_water = 1")
    shown = [(one.intent_id, one.nonce, one.item) for one in (await standing(desk)).contradictions]
    assert shown == [(41, 1, item), (42, 1, elsewhere), (43, 1, None)]
    with pytest.raises(Rejected, match=r"stays in quarantine: .*intent 41: other bytes here"):
        await leave(desk)
    assert (await payer.item(item)).hold is None
    await desk.leave_quarantine(
        PAYER, by=PERSON, signer=Nonce(0), signer_lost=False, lineage="lineage-2", give_up=True
    )
    lost = "the signer served another store too, which is lost: it may have paid this"
    held = await payer.sql("SELECT id, hold, hold_detail FROM disbursement ORDER BY id")
    assert held == [(one, Hold.RESTORED, lost) for one in (item, beside, elsewhere)]
    body = {
        "who": "ada",
        "reason": "because",
        "account": PAYER,
        "next_nonce": 2,
        "given_up": [words, keyed, filled],
    }
    assert await said(payer) == [("people", "leave_quarantine", body)]


async def test_a_new_account_of_a_store_in_quarantine_is_in_it_too(payer: Bench, desk: SqliteDesk) -> None:
    """§8.2: the store did not know it yet, and the lost one may have paid from it; after the quarantine it is like any."""
    stands = "SELECT id, state, cause, detail FROM account WHERE id = ?"
    await declared(payer, desk)
    await payer.claim(OTHER)
    detail = "it is new in a store that is older than the world (protocol.md §8)"
    assert await payer.sql(stands, OTHER) == [(OTHER, "quarantined", "restored", detail)]
    await payer.sql("UPDATE account SET cause = 'taken_up'")
    await leave(desk)
    await payer.adopt(OTHER)
    await leave(desk, OTHER)
    await payer.claim(AccountId("third"))
    assert await payer.sql(stands, "third") == [("third", "active", "", "")]


# --- found meanwhile, and found again ---------------------------------------------------------------------------------


def deep(cause: FreezeCause = FreezeCause.DEEP_REORG, detail: str = "block 5 was replaced") -> FrozenNow:
    return FrozenNow(account=PAYER, cause=cause, detail=detail)


async def test_what_is_found_in_quarantine_pages_once_and_freezes_the_account_that_leaves(
    payer: Bench, desk: SqliteDesk
) -> None:
    """R9, R14: the graver of two causes stays; what shows again by itself is not kept."""
    await declared(payer, desk)
    fall = deep(FreezeCause.UNEXPLAINED_FALL, "it fell by 5")
    told = await payer.written(deep(FreezeCause.FOREIGN_NONCE), fall, deep(), deep(), fall)
    once = "; it is in quarantine, and frozen once it leaves"
    assert told.events == tuple(
        Event(
            kind=EventKind.ACCOUNT_FROZEN,
            severity=Severity.PAGE,
            account=PAYER,
            reason=change.cause,
            detail=f"{change.detail}{once}",
        )
        for change in (fall, deep())
    )
    notes = [[change.cause, f"{change.detail}{once}", None] for change in (fall, deep())]
    assert await said(payer) == [(f"account:{PAYER}", "record", {"frozen": notes})]
    assert await payer.sql("SELECT state FROM account WHERE id = ?", PAYER) == [("quarantined",)]
    await leave(desk)
    stands = "SELECT state, cause, detail FROM account WHERE id = ?"
    assert await payer.sql(stands, PAYER) == [("frozen", "deep_reorg", "block 5 was replaced")]


async def test_an_account_that_had_left_is_taken_up_anew_by_what_happens_next(
    payer: Bench, desk: SqliteDesk
) -> None:
    """§8: another account keeps the quarantine open; what was said of this one is over, and nothing of it is kept."""
    await payer.adopt(OTHER)
    await declared(payer, desk)
    await payer.written(deep())
    await leave(desk)
    await payer.sql("UPDATE account SET state = 'active', cause = '', detail = '' WHERE id = ?", PAYER)
    await payer.sql(
        "UPDATE meta SET value = json_set(value, '$.burned.treasury', 9) WHERE name = 'quarantine'"
    )
    told = await desk.declare_restored(by=PERSON)

    assert {event.account for event in told} == {PAYER, OTHER}
    assert await payer.sql("SELECT DISTINCT state, cause FROM account") == [("quarantined", "restored")]
    said = await payer.driver.read(report)
    assert (said["left"], said["accounts"].get(PAYER), said["burned"][PAYER]) == ({}, None, 0)
    assert await desk.declare_restored(by=PERSON) == (), "nobody took it up since: it is the same word"
    await payer.sql("UPDATE account SET cause = 'taken_up'")
    await leave(desk)
    assert await payer.sql("SELECT state FROM account WHERE id = ?", PAYER) == [("active",)]


async def test_a_report_that_says_nothing_of_burned_nonces_is_gone_on_with(
    payer: Bench, desk: SqliteDesk
) -> None:
    """An older version wrote it, and the next restore comes before that quarantine is over."""
    await payer.driver.write(put_report, {"found_at": 1.0, "found": [], "accounts": {}})
    await declared(payer, desk)
    assert (await payer.driver.read(report))["burned"] == {PAYER: 0}


@pytest.mark.parametrize(
    ("sign", "may_be_paid"),
    [
        pytest.param(Sign.MOVED, True, id="the machine may have been set back with the file"),
        pytest.param(Sign.JOURNAL_REPLAYED, False, id="nothing of its past is missing"),
    ],
)
async def test_what_may_be_paid_unknown_to_the_store_is_not_cancelled_in_quarantine(
    payer: Bench, desk: SqliteDesk, sign: Sign, may_be_paid: bool
) -> None:
    """§8: rolled back and paid would be a lie; whoever believes it submits it anew."""
    (item,) = await payer.insert()
    await found(payer, Reason(sign=sign, detail="seen"))
    await payer.sql("UPDATE account SET cause = 'taken_up'")
    (answer,) = await desk.cancel([item], by=PERSON)
    assert isinstance(answer, NotWritten) is may_be_paid
    assert not isinstance(answer, NotWritten) or answer.reason == "in_quarantine"
