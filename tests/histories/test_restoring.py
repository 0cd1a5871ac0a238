"""Old stores put back: nothing is paid twice, nothing is lost, and a person is shown what nobody can know (§8)."""

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest
from tests.histories.conftest import Begin
from tests.histories.restoring import (
    PERSON,
    Backup,
    Clone,
    forget_pools,
    held,
    leave,
    lose_journal,
    lose_ledger,
    office,
    quarantined,
    reached,
    release_unpaid,
    reset_breaker,
    rows,
    settled,
)
from tests.histories.test_failure_rows import Blind
from tests.matrix import Row
from tests.world import ADA, AMOUNT, PAYER, RESERVE, RULES, Crash, History, new

from treasuryd.commands import control, quarantine
from treasuryd.core.model import (
    AccountId,
    BaseUnits,
    Decision,
    Epoch,
    Evidence,
    Hold,
    House,
    HouseName,
    Ppm,
    Proposal,
    State,
    Status,
    UnixSeconds,
    Vote,
)
from treasuryd.errors import Rejected
from treasuryd.store import migrations

PROPOSAL = Proposal(
    title="t",
    summary="s",
    operators_ppm=Ppm(500_000),
    builders_ppm=Ppm(500_000),
    vote_window_epochs=50,
    timelock_epochs=1,
    rollback_window_epochs=1,
)


STAGES = {
    "before staging": "store.stage",
    "staged, not signed": "signer.sign",
    "signed, not sealed": "store.seal",
    "sealed, not sent": "chain.broadcast",
}


@pytest.mark.matrix(Row.RESTORED)
@pytest.mark.parametrize("journal", [True, False], ids=["journal kept", "no journal"])
@pytest.mark.parametrize("stage", [*STAGES, "sent", "included", "final"])
async def test_a_backup_from_any_stage_of_a_payment_pays_it_once(
    begin: Begin, evidence: Evidence, stage: str, *, journal: bool, injected: Callable[[int], None]
) -> None:
    """Two payments: the backup is taken while the first is on its way, both become final, then it is put back."""
    history = await begin(evidence, journal=journal)
    await history.run(3)
    (first,) = await history.submit(new("first"))
    if stage in STAGES:
        backup = await _backup_at(history, STAGES[stage])
    else:
        state = {"sent": State.BROADCAST, "included": State.INCLUDED, "final": State.FINAL}[stage]
        await history.until(lambda: reached(history, first, state), blocks=0 if stage == "sent" else 1)
        backup = Backup.of(history)
    (second,) = await history.submit(new("second", to="tb1bob"))
    await history.finalized([first, second])

    await backup.put_back(history)
    injected(1)

    assert await quarantined(history)
    with pytest.raises(Rejected, match="quarantine"):
        await history.submit(new("third"))
    await leave(history)
    await release_unpaid(history)
    (third,) = await history.submit(new("third", to="tb1carol"))
    await history.finalized([third])
    await settled(history, ["first", "second", "third"])


async def _backup_at(history: History, call: str) -> Backup:
    """Go on until that call of a port is about to begin, and take the backup there."""
    taken: list[Backup] = []

    def watch(name: str, after: bool) -> None:
        if name == call and not after and not taken:
            taken.append(Backup.of(history))

    history.fuse.watch = watch
    await history.until(lambda: _truth(taken))
    history.fuse.watch = lambda _name, _after: None
    return taken[0]


async def _truth(found: list[Any]) -> bool:
    return bool(found)


@pytest.mark.matrix(Row.RESTORED)
async def test_what_people_said_after_the_backup_is_replayed(
    begin: Begin, evidence: Evidence, injected: Callable[[int], None]
) -> None:
    """Submissions, cancels and freezes stand in the journal's copy: nothing is judged anew, and nothing has to be held."""
    history = await begin(evidence, journal=True)
    await history.run(3)
    (cancelled,) = await history.submit(new("cancelled", scheduled=50))
    backup = Backup.of(history)
    await history.cancel(cancelled)
    (later,) = await history.submit(new("later", scheduled=3))
    await history.desk.freeze(PAYER, by=ADA)

    await backup.put_back(history)
    injected(1)

    assert await quarantined(history)
    assert await history.status(cancelled) is Status.ROLLED_BACK
    assert await history.status(later) in {Status.DRAFT, Status.TIMELOCKED}
    report, _ = await quarantine.show(office(history))
    assert report["found"][0]["sign"] == "journal_replayed"
    assert report["replayed"]["verbs"]["cancel"] == 1
    await leave(history)
    assert ((await history.account()).state, (await history.account()).cause) == ("frozen", "person")
    await control.thaw(office(history), PAYER, PERSON)
    await history.finalized([later])
    await settled(history, ["later"])
    assert history.paid("cancelled") == 0


@pytest.mark.matrix(Row.RESTORED)
async def test_without_the_journal_what_is_open_is_held_for_a_person(
    begin: Begin, evidence: Evidence, injected: Callable[[int], None]
) -> None:
    """A cancel after the backup is lost with the journal: the item waits until a person has read it."""
    history = await begin(evidence)
    await history.run(3)
    cancelled, wanted = await history.submit(
        new("cancelled", scheduled=4), new("wanted", to="tb1bob", scheduled=4)
    )
    backup = Backup.of(history)
    await history.cancel(cancelled)
    (paid,) = await history.submit(new("paid", to="tb1carol"))
    await history.finalized([paid])

    await backup.put_back(history)
    injected(1)

    assert await held(history, cancelled)
    await leave(history)
    await history.run(60)
    assert history.paid("cancelled") == history.paid("wanted") == 0
    await history.desk.release([wanted], by=ADA)
    await history.finalized([wanted])
    await settled(history, ["wanted", "paid"])
    assert history.paid("cancelled") == 0


@pytest.mark.matrix(Row.RESTORED)
async def test_a_cancellation_under_way_is_open_again(
    begin: Begin, evidence: Evidence, injected: Callable[[int], None]
) -> None:
    """Both payloads come back from the signer; whichever is final decides."""
    history = await begin(evidence)
    await history.run(3)
    backup = Backup.of(history)
    (item,) = await history.submit(new("rent"))
    await history.until(lambda: reached(history, item, State.BROADCAST), blocks=0)
    forget_pools(history)
    await history.cancel(item)
    await history.until(lambda: _has_cancel(history, item), blocks=0)

    await backup.put_back(history)
    injected(1)

    found = await history.item(item)
    assert (found.status, found.live_intent is not None) == (Status.TIMELOCKED, True)
    assert found.cancel_requested
    await leave(history)
    await settled(history, [], seconds=30)
    ended = await history.item(item)
    assert history.paid("rent") == (1 if ended.status in {Status.EXECUTED, Status.FINALIZED} else 0)


@pytest.mark.matrix(Row.RESTORED)
async def test_a_nonce_that_the_backup_gave_to_a_refused_payment_is_adopted_with_the_next_one(
    begin: Begin, evidence: Evidence, injected: Callable[[int], None]
) -> None:
    """§8.1: staged in the backup, then refused and its nonce given to another item, which the signer alone knows."""
    history = await begin(evidence)
    await history.run(3)
    generous = history.policy
    history.policy = replace(generous, max_amount=BaseUnits(AMOUNT - 1))
    await history.crash()
    history.ticker.world = replace(
        history.world, signer=cast("Any", Blind(history.signer, history.fuse, "signer"))
    )
    (first,) = await history.submit(new("first"))
    backup = await _backup_at(history, "signer.sign")
    await history.run(1, blocks=0)
    assert (await history.item(first)).hold is Hold.REFUSED
    history.policy = generous
    await history.crash()
    (second,) = await history.submit(new("second", to="tb1bob"))
    await history.until(lambda: reached(history, second, State.BROADCAST), blocks=0)
    forget_pools(history)

    await backup.put_back(history)
    injected(1)

    assert await rows(history, "SELECT nonce, state FROM intent") == [(1, "void"), (1, "broadcast")]
    await leave(history)
    await release_unpaid(history)
    await settled(history, ["first", "second"])


async def _has_cancel(history: History, item: Any) -> bool:
    found = await history.desk.intents(item)
    return bool(found) and any(one.kind == "cancel" and one.tx_hash for one in found[-1].variants)


@pytest.mark.matrix(Row.RESTORED)
async def test_restored_twice_and_to_the_backup_of_a_backup(
    begin: Begin, evidence: Evidence, injected: Callable[[int], None]
) -> None:
    """A replayed store writes the very same journal again, so that an older backup finds all of it."""
    history = await begin(evidence, journal=True)
    await history.run(3)
    oldest = Backup.of(history, "oldest")
    (first,) = await history.submit(new("first"))
    await history.finalized([first])
    older = Backup.of(history, "older")
    (second,) = await history.submit(new("second", to="tb1bob"))
    await history.finalized([second])

    for count, backup in enumerate((older, oldest, older), start=1):
        await backup.put_back(history)
        injected(count)
        assert await quarantined(history)
        assert await history.status(first) is await history.status(second) is Status.FINALIZED
        await leave(history)
    (third,) = await history.submit(new("third", to="tb1carol"))
    await history.finalized([third])
    await settled(history, ["first", "second", "third"])


@pytest.mark.matrix(Row.RESTORED)
async def test_a_backup_from_before_an_upgrade_is_replayed_across_it(
    begin: Begin, evidence: Evidence, injected: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the older version paid, and the newer one after its migration, stands in the copy: nothing has to be held."""
    first = migrations.known()[1]
    with monkeypatch.context() as older:
        older.setattr(migrations, "known", lambda: {1: first})
        history = await begin(evidence, journal=True)
        await history.run(3)
        backup = Backup.of(history)
        (rent,) = await history.submit(new("rent"))
        await history.finalized([rent])
    await history.crash()  # and the newer version starts
    (tax,) = await history.submit(new("tax", to="tb1bob"))
    await history.finalized([tax])

    await backup.put_back(history)
    injected(1)

    report, _ = await quarantine.show(office(history))
    assert [one["sign"] for one in report["found"]][:1] == ["journal_replayed"]
    assert report["replayed"]["verbs"]["migrate"] == 1
    assert report["replayed"]["not_replayed"] == []
    assert await history.status(rent) is await history.status(tax) is Status.FINALIZED
    await leave(history)
    (later,) = await history.submit(new("later", to="tb1carol"))
    await history.finalized([later])
    await settled(history, ["rent", "tax", "later"])


@pytest.mark.matrix(Row.RESTORED)
async def test_restored_again_before_the_first_restore_was_resolved(
    begin: Begin, evidence: Evidence, injected: Callable[[int], None]
) -> None:
    """Adopting is repeatable: the same bytes, the same intents."""
    history = await begin(evidence)
    await history.run(3)
    backup = Backup.of(history)
    (item,) = await history.submit(new("rent"))
    await history.finalized([item])
    await backup.put_back(history)
    await history.run(5)
    await backup.put_back(history)
    injected(2)
    assert await quarantined(history)
    await leave(history)
    await history.finalized([item])
    await settled(history, ["rent"])


@pytest.mark.matrix(Row.RESTORED)
async def test_a_quarantine_says_what_it_waits_for(begin: Begin, injected: Callable[[int], None]) -> None:
    """While adopted bytes are in no block, and until they are final, it is not left."""
    history = await begin()
    await history.run(3)
    backup = Backup.of(history)
    (item,) = await history.submit(new("rent"))
    await history.until(lambda: reached(history, item, State.BROADCAST), blocks=0)
    forget_pools(history)
    await backup.put_back(history)
    injected(1)
    with pytest.raises(Rejected, match=r"not in a block yet: the nonces 1 \(the kill switch is on"):
        await quarantine.resolve(office(history), PAYER, PERSON)
    await history.run(40)
    assert history.paid("rent") == 0  # the kill switch is on
    await leave(history)
    await settled(history, ["rent"], seconds=30)


async def test_what_waits_behind_a_cancel_that_needs_a_signature_keeps_nobody_in_quarantine(
    begin: Begin,
) -> None:
    """Found by seed 18168: no quarantine signs the replacement, and nothing behind its nonce gets into a block before."""
    history = await begin()
    await history.run(3)
    first, second = await history.submit(new("first"), new("second", to="tb1bob"))
    await history.until(lambda: reached(history, second, State.BROADCAST), blocks=0)
    await quarantine.declare(office(history), PERSON)
    await history.cancel(first)
    forget_pools(history)
    await leave(history)
    await history.finalized([second])
    assert await history.status(first) is Status.ROLLED_BACK
    await settled(history, ["second"])


@pytest.mark.matrix(Row.RESTORED)
async def test_a_whole_machine_rolled_back_pays_nothing_by_itself(
    begin: Begin, evidence: Evidence, injected: Callable[[int], None]
) -> None:
    """Store, ledger and journal all old: the chain alone is newer. It stops the account, and a person reads every item."""
    history = await begin(evidence, journal=True)
    await history.run(3)
    (first,) = await history.submit(new("first"))
    taken: list[Backup] = []

    def watch(name: str, after: bool) -> None:
        if name == "signer.sign" and not after and not taken:
            taken.append(Backup.of(history))  # staged, not signed

    history.fuse.watch = watch
    await history.until(lambda: _truth(taken))
    history.fuse.watch = lambda _name, _after: None
    (second,) = await history.submit(new("second", to="tb1bob"))
    await history.finalized([first, second])

    await taken[0].put_back(history, ledger=True, journal=True)
    injected(1)
    await history.run(30)

    account = await history.account()
    assert (account.state, account.cause) == ("frozen", "foreign_nonce")
    await quarantine.declare(office(history), PERSON)  # a person knows what was done to the machine
    await history.step()
    assert await quarantined(history)
    await leave(history)
    await history.run(40)
    assert (
        await history.account()
    ).state == "frozen"  # as it was before: a second word, after the items were read
    await control.thaw(office(history), PAYER, PERSON)
    await history.run(40)
    assert history.paid("first") == 1  # a consumed nonce voids nothing that is then paid anew by itself
    (third,) = await history.submit(new("third", to="tb1carol"))
    await history.finalized([third])
    await settled(history, ["first", "second", "third"])


@pytest.mark.matrix(Row.RESTORED)
async def test_a_thaw_after_a_rollback_does_not_pay_what_was_staged(
    begin: Begin, evidence: Evidence, injected: Callable[[int], None]
) -> None:
    """Nobody noticed the rollback, and the frozen account was thawed: what was bound to the consumed nonce still waits."""
    history = await begin(evidence)
    await history.run(3)
    (first,) = await history.submit(new("first"))
    taken: list[Backup] = []

    def watch(name: str, after: bool) -> None:
        if name == "signer.sign" and not after and not taken:
            taken.append(Backup.of(history))

    history.fuse.watch = watch
    await history.until(lambda: _truth(taken))
    history.fuse.watch = lambda _name, _after: None
    await history.finalized([first])
    await taken[0].put_back(history, ledger=True)
    injected(1)
    await history.run(20)
    assert (await history.account()).state == "frozen"
    await control.thaw(office(history), PAYER, PERSON)
    await history.run(60)
    assert history.paid("first") == 1
    assert (await history.item(first)).hold == "needs_release"


@pytest.mark.matrix(Row.RESTORED)
async def test_a_clone_beside_the_original_stops_one_of_them(
    begin: Begin, evidence: Evidence, injected: Callable[[int], None]
) -> None:
    """A copy of the store on the same signer: its file is another one, and it stops before it stages anything."""
    history = await begin(evidence)
    await history.run(3)
    await history.submit(new("first"))
    clone = Clone(history)
    await history.submit(new("second", to="tb1bob"))
    injected(1)
    for _ in range(15):
        await history.step()
        await clone.step()
    assert clone.quarantined() or await quarantined(history)
    assert await clone.stopped()
    await history.run(60)
    await history.check()
    assert history.paid("first") <= 1
    assert history.paid("second") <= 1
    await clone.close()


@pytest.mark.matrix(Row.LEDGER_LOST)
async def test_a_signer_that_lost_its_ledger_imports_what_the_store_sealed(
    begin: Begin, evidence: Evidence, injected: Callable[[int], None]
) -> None:
    """Until then it signs nothing; after it, it knows every binding again and refuses a second payload."""
    history = await begin(evidence)
    await history.run(3)
    (first,) = await history.submit(new("first"))
    await history.finalized([first])
    await lose_ledger(history)
    injected(1)
    (second,) = await history.submit(new("second", to="tb1bob"))
    await history.run(20)
    assert history.paid("second") == 0

    assert await quarantine.import_bindings(office(history), PAYER, PERSON) == 1

    await history.finalized([second])
    await settled(history, ["first", "second"])
    marks = (await history.signer.marks())[PAYER]
    assert (marks.nonce, marks.disbursement_id) == (2, second)


@pytest.mark.matrix(Row.LEDGER_LOST)
@pytest.mark.parametrize("journal", [True, False], ids=["journal kept", "journal lost too"])
async def test_store_restored_and_ledger_lost(
    begin: Begin, evidence: Evidence, *, journal: bool, injected: Callable[[int], None]
) -> None:
    """The journal's copy has every byte; without it the chain alone is newer, and every open item waits for a person."""
    history = await begin(evidence, journal=True)
    await history.run(3)
    (first,) = await history.submit(new("first"))
    backup = Backup.of(history)
    await history.finalized([first])
    await lose_ledger(history)
    if not journal:
        await lose_journal(history)
    await backup.put_back(history)
    injected(1)
    await history.run(30)
    assert (await history.account()).state != "active"
    if not journal:
        await quarantine.declare(office(history), PERSON)
        with pytest.raises(Rejected, match="the import for treasury ends at nonce 0"):
            await quarantine.import_bindings(office(history), PAYER, PERSON)
        await quarantine.import_bindings(office(history), PAYER, PERSON, give_up=True)
        await history.step()
    else:
        assert await history.status(first) is Status.FINALIZED
        with pytest.raises(Rejected, match="signer import"):
            await quarantine.resolve(office(history), PAYER, PERSON)
        await quarantine.import_bindings(office(history), PAYER, PERSON)
    await leave(history)
    await history.run(30)
    assert history.paid("first") == 1
    await release_unpaid(history)
    (second,) = await history.submit(new("second", to="tb1bob"))
    await history.finalized([second])
    await settled(history, ["first", "second"])


@pytest.mark.matrix(Row.RESTORED)
async def test_an_old_transaction_comes_back_from_some_mempool(
    begin: Begin, evidence: Evidence, injected: Callable[[int], None]
) -> None:
    """No chain scan shows it: the signer's bytes are adopted, so that it pays the item it was signed for, once."""
    history = await begin(evidence)
    await history.run(3)
    backup = Backup.of(history)
    (item,) = await history.submit(new("rent"))
    await history.until(lambda: reached(history, item, State.BROADCAST), blocks=0)
    intent = await history.intent(item)
    kept = [offer for pool in history.node.ledger.pools for offer in pool]
    assert [offer.nonce for offer in kept] == [intent.nonce]
    forget_pools(history)
    await backup.put_back(history)
    injected(1)
    await history.run(10)
    assert history.paid("rent") == 0  # the kill switch is on: nothing of ours left
    for offer in kept:
        history.node.ledger.admit(offer, now=history.clock.now)
    await leave(history)
    await history.finalized([item])
    await settled(history, ["rent"])


@pytest.mark.matrix(Row.RESTORED)
async def test_a_moved_store_waits_for_a_person_and_holds_nothing(
    begin: Begin, injected: Callable[[int], None]
) -> None:
    """A copy put in place of the file, with nothing lost: one word, and it goes on."""
    history = await begin(journal=True)
    await history.run(3)
    (item,) = await history.submit(new("rent", scheduled=2))
    await Backup.of(history).put_back(history, moved=True)
    injected(1)
    report, (shown,) = await quarantine.show(office(history))
    assert [one["sign"] for one in report["found"]] == ["moved"]
    assert shown.points == ()
    assert not await held(history, item)
    await leave(history)
    await history.finalized([item])
    await settled(history, ["rent"])


@pytest.mark.matrix(Row.RESTORED)
async def test_a_moved_machine_that_was_rolled_back_holds_every_item(
    begin: Begin, evidence: Evidence, injected: Callable[[int], None]
) -> None:
    """Another file, and all memories agree; but the chain shows payments that none of them knows."""
    history = await begin(evidence, journal=True)
    await history.run(3)
    (first,) = await history.submit(new("first", scheduled=1))
    backup = Backup.of(history)
    await history.finalized([first])
    await backup.put_back(history, ledger=True, journal=True, moved=True)
    injected(1)
    await leave(history)
    await history.run(40)
    assert history.paid("first") == 1
    assert await held(history, first)


@pytest.mark.matrix(Row.RESTORED)
@pytest.mark.parametrize("pooled", [False, True], ids=["in a block", "still in a mempool"])
async def test_a_moved_machine_that_was_rolled_back_does_not_pay_what_was_staged(
    begin: Begin, evidence: Evidence, *, pooled: bool, injected: Callable[[int], None]
) -> None:
    """§8.2: its nonce is below the mark, and still nobody remembers what used it: every item waits for a person."""
    history = await begin(evidence, journal=True)
    await history.run(3)
    (first,) = await history.submit(new("first"))
    taken: list[Backup] = []

    def watch(name: str, after: bool) -> None:
        if name == "signer.sign" and not after and not taken:
            taken.append(Backup.of(history))  # staged, not signed

    history.fuse.watch = watch
    await history.until(lambda: _truth(taken), blocks=0)
    history.fuse.watch = lambda _name, _after: None
    await history.until(lambda: reached(history, first, State.BROADCAST), blocks=0)
    kept = [offer for pool in history.node.ledger.pools for offer in pool]
    if pooled:
        forget_pools(history)
    else:
        await history.finalized([first])
    await taken[0].put_back(history, ledger=True, journal=True, moved=True)
    injected(1)
    assert await quarantined(history)
    await history.step()
    if pooled:
        await quarantine.fill(office(history), PAYER, PERSON)
        for offer in kept:
            history.node.ledger.admit(offer, now=history.clock.now)
    await leave(history)
    await history.run(40)
    assert history.paid("first") == 1
    assert await held(history, first)


@pytest.mark.matrix(Row.RESTORED)
@pytest.mark.parametrize("moved", [False, True], ids=["declared in place", "moved"])
async def test_a_machine_set_back_to_before_an_account_was_there_holds_its_items(
    begin: Begin, evidence: Evidence, *, moved: bool, injected: Callable[[int], None]
) -> None:
    """Found by the simulator: the old store did not know the account yet, so it was in no quarantine, and paid again."""
    history = await begin(evidence, journal=True, accounts=(PAYER, RESERVE))
    await _begun_without(history, PAYER)
    (first,) = await history.submit(new("first"))
    backup = Backup.of(history)
    history.accounts = (PAYER, RESERVE)
    await history.close()
    await history.start()
    await history.finalized([first])
    history.accounts = (RESERVE,)
    await backup.put_back(history, ledger=True, journal=True, moved=moved)
    injected(1)
    if not moved:
        await quarantine.declare(office(history), PERSON)
    history.accounts = (PAYER, RESERVE)
    await history.close()
    await history.start()
    await history.run(10)
    assert await quarantined(history)
    await leave(history)
    await history.run(40)
    assert history.paid("first") == 1
    assert await held(history, first)
    (second,) = await history.submit(new("second", to="tb1bob"))
    await history.finalized([second])


async def _begun_without(history: History, account: AccountId) -> None:
    """Start it anew over empty folders, and without one of its accounts."""
    await history.close()
    for path in history.folder.glob("*.db*"):
        path.unlink()
    assert history.journal is not None
    for path in history.journal.iterdir():
        path.unlink()
    history.accounts = tuple(one for one in history.accounts if one != account)
    await history.start()
    await history.run(3)


@pytest.mark.matrix(Row.LEDGER_LOST)
async def test_nonces_whose_bytes_are_lost_everywhere_are_filled(
    begin: Begin, evidence: Evidence, injected: Callable[[int], None]
) -> None:
    """The ledger knows that something was sealed, and nobody knows what: a person has its nonce filled."""
    history = await begin(evidence)
    await history.run(3)
    (rent,) = await history.submit(new("rent", scheduled=1))
    backup = Backup.of(history)
    await history.until(lambda: reached(history, rent, State.BROADCAST), blocks=3)
    forget_pools(history)
    await lose_ledger(history)  # and is told what was sealed
    await backup.put_back(history)
    injected(1)
    await history.step()
    assert await quarantined(history)
    await quarantine.import_bindings(office(history), PAYER, PERSON, give_up=True)
    await history.step()
    _, (shown,) = await quarantine.show(office(history))
    assert shown.standing.unknown == (1,)
    with pytest.raises(Rejected, match="nothing is known of the nonces 1"):
        await quarantine.resolve(office(history), PAYER, PERSON)
    await quarantine.fill(office(history), PAYER, PERSON)
    await leave(history)
    await history.run(20)
    assert history.paid("rent") == 0
    assert await held(history, rent)
    await history.desk.release([rent], by=ADA)
    await history.finalized([rent])
    await settled(history, ["rent"])


@pytest.mark.matrix(Row.LEDGER_LOST, Row.STRANGER)
@pytest.mark.parametrize("shown", [True, False], ids=["shown before it was filled", "taken from the filler"])
async def test_a_stranger_takes_a_nonce_that_nobody_knows(
    begin: Begin, evidence: Evidence, *, shown: bool, injected: Callable[[int], None]
) -> None:
    """Found by seed 109892: a filler under a consumed nonce was never signed, and kept the account in quarantine."""
    history = await begin(evidence, journal=True)
    await history.run(3)
    (first,) = await history.submit(new("first"))
    await history.finalized([first])
    await lose_ledger(history)
    rent, food = await history.submit(new("rent"), new("food", to="tb1bob"))
    await history.until(lambda: reached(history, food, State.STAGED))  # the signer waits for its memory
    await Backup.of(history).put_back(history, moved=True)
    assert await quarantined(history)
    await quarantine.import_bindings(office(history), PAYER, PERSON)
    await history.step()
    if not shown:
        await quarantine.fill(office(history), PAYER, PERSON)
    history.node.ledger.foreign_spend(PAYER, to="tb1thief", amount=0, fee=1_000)
    injected(1)
    await history.run(3)
    _, (account,) = await quarantine.show(office(history))
    assert account.standing.unknown == (2, 3)
    assert (account.standing.used, account.standing.to_fill) == (2, (3,))
    await quarantine.fill(office(history), PAYER, PERSON)
    with pytest.raises(Rejected, match="nothing is to be filled"):
        await quarantine.fill(office(history), PAYER, PERSON)
    with pytest.raises(Rejected, match="nonce 2 used, which nobody here knows"):
        await quarantine.resolve(office(history), PAYER, PERSON)
    await leave(history)
    await history.run(20)
    assert (history.paid("rent"), history.paid("food")) == (0, 0)
    assert [await held(history, item) for item in (rent, food)] == [True, True]
    await release_unpaid(history)
    await history.finalized([rent, food])
    await settled(history, ["first", "rent", "food"])
    (last,) = await history.submit(new("last", scheduled=1_000))
    await Backup.of(history, "moved once more").put_back(history, moved=True)
    await leave(history)
    assert not await held(history, last), "what was final when the quarantine began was answered for before"


@pytest.mark.matrix(Row.LEDGER_LOST)
async def test_a_filler_that_loses_to_the_payment_whose_bytes_were_lost(
    begin: Begin, evidence: Evidence, injected: Callable[[int], None]
) -> None:
    """It sat in some mempool: the filler is void by the word that ends the quarantine, and the item is not paid again."""
    history = await begin(evidence)
    await history.run(3)
    (rent,) = await history.submit(new("rent", scheduled=1))
    backup = Backup.of(history)
    await history.until(lambda: reached(history, rent, State.BROADCAST), blocks=3)
    kept = [offer for pool in history.node.ledger.pools for offer in pool]
    forget_pools(history)
    await lose_ledger(history)
    await backup.put_back(history)
    injected(1)
    await history.step()
    await quarantine.import_bindings(office(history), PAYER, PERSON, give_up=True)
    await history.step()
    await quarantine.fill(office(history), PAYER, PERSON)
    await reset_breaker(history)
    await history.until(lambda: _filler_is(history, State.BROADCAST), blocks=0)
    forget_pools(history)
    for offer in kept:
        history.node.ledger.admit(offer, now=history.clock.now)
    await history.step()
    if evidence is Evidence.BALANCE:
        assert await _filler_is(history, State.AMBIGUOUS)
        with pytest.raises(Rejected, match="not final yet"):
            await quarantine.resolve(office(history), PAYER, PERSON)
    await leave(history)
    assert await _filler_is(history, State.VOID)
    assert history.paid("rent") == 1
    assert await held(history, rent)
    await history.cancel(rent)  # the chain shows it
    (food,) = await history.submit(new("food", to="tb1bob"))
    await history.finalized([food])
    await settled(history, ["rent", "food"])


async def _filler_is(history: History, state: State) -> bool:
    return await rows(history, "SELECT state FROM intent WHERE disbursement_id IS NULL") == [(state,)]


@pytest.mark.matrix(Row.RESTORED)
async def test_a_second_store_on_the_same_signer_is_found_by_its_reply(
    begin: Begin, injected: Callable[[int], None]
) -> None:
    """Between two renewals another store had a nonce signed: nothing of this tick leaves, and all accounts stop."""
    history = await begin()
    await history.run(3)
    await history.submit(new("rent"))

    def meanwhile(name: str, after: bool) -> None:
        if name == "store.stage" and not after:
            history.fuse.watch = lambda _name, _after: None
            ledger = sqlite3.connect(history.folder / "ledger.db")
            ledger.execute(
                "INSERT INTO account (name, nonce, disbursement_id, term) VALUES ('treasury', 7, 9, 1) "
                "ON CONFLICT DO UPDATE SET nonce = 7, disbursement_id = 9"
            )
            ledger.commit()
            ledger.close()

    history.fuse.watch = meanwhile
    injected(1)
    await history.run(5)
    assert await quarantined(history)
    assert history.paid("rent") == 0
    report, _ = await quarantine.show(office(history))
    assert {"signer_nonce", "signer_disbursement"} <= {one["sign"] for one in report["found"]}


async def test_no_vote_is_taken_in_quarantine(begin: Begin) -> None:
    """Its count may have been another one after the backup."""
    houses = {name: House(name=name, keys={"ab" * 32: 1}) for name in HouseName}
    history = await begin(rules=replace(RULES, houses=houses))
    (item,) = await history.submit(new("rent", proposal=PROPOSAL))
    await history.until(lambda: _voting(history, item))
    await quarantine.declare(office(history), PERSON)
    vote = Vote(
        disbursement_id=item, house=HouseName.OPERATORS, key="ab" * 32, counter=1, decision=Decision.APPROVE,
        signature="", taken_at=UnixSeconds(1.0), seen_epoch=Epoch(0),
    )  # fmt: skip
    with pytest.raises(Rejected, match="no votes are taken"):
        await history.desk.take_vote(vote, now=UnixSeconds(1.0))


async def _voting(history: History, item: Any) -> bool:
    return await history.status(item) is Status.VOTING


@pytest.mark.matrix(Row.RESTORED)
async def test_a_crash_anywhere_in_the_repair_is_repaired_by_the_next_start(
    begin: Begin, injected: Callable[[int], None]
) -> None:
    """Found, returned, adopted, taken up: each is one transaction, and repeating it changes nothing."""
    history = await begin()
    await history.run(3)
    backup = Backup.of(history)
    (item,) = await history.submit(new("rent"))
    await history.finalized([item])
    crashed = 0
    for call in range(0, 45, 2):
        history.fuse.left = call
        try:
            await backup.put_back(history)
        except Crash:
            crashed += 1
            await history.crash()
        history.fuse.left = -1
        assert await quarantined(history)
        assert (await history.account()).cause == "taken_up"
        assert len(await history.desk.intents(item)) == 1
    injected(crashed)
    assert crashed >= 5
    await leave(history)
    await history.finalized([item])
    await settled(history, ["rent"])
